"""Pages and tables on finished runs."""

from __future__ import annotations

from underdog.reporting.grid_tables import write_tables
from underdog.reporting.html import write_report

__all__ = ["write_report", "write_tables"]
