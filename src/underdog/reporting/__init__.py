"""Pages, tables and numbers on finished runs."""

from __future__ import annotations

from underdog.reporting.grid.files import write_tables
from underdog.reporting.html import report_json, write_report

__all__ = ["report_json", "write_report", "write_tables"]
