"""Train image classifiers when some classes are rare.

Names are imported when they are first used, so that ``import underdog`` costs nothing; ``__init__.pyi`` says where they are.
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *__all__]  # noqa: PLE0604
