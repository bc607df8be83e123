"""Pages and tables on finished runs."""
from pathlib import Path
def write_report(folders, output: Path) -> None:
    output.write_text("")
