"""Where an extra is not installed, the examples in the docstrings of what needs it are left away (see tests/loop/extras.py)."""

import os
from importlib.util import find_spec

NEEDS = {"src/underdog/loop/lightning.py": "lightning", "src/underdog/loop/trainer.py": "transformers"}

collect_ignore = [
    path for path, extra in NEEDS.items() if os.environ.get("UNDERDOG_EXTRAS") != "all" and find_spec(extra) is None
]
