from .grid.files import write_tables as write_tables
from .html import report_json as report_json
from .html import write_report as write_report
