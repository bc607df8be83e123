"""Pages, tables and numbers on finished runs; imported when one is used, since matplotlib and pandas take a while."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
