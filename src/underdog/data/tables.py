"""What a table beside the images says of them: labels and groups."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from underdog.data.archive import LARGEST, Member
from underdog.errors import InputError, nearest

__all__ = ["CsvColumn", "CsvTable", "check_labels"]

_ONE = "multi-label data are not supported: an image belongs to one class and one group"


@dataclass(frozen=True)
class CsvColumn:
    """One column of a CSV file, by the column that names the image.

    Args:
        file: the table, on disk or inside the source.
        image: column with image names: a path inside the source or the end of one, a file name, or one without its ending.
        value: column with what is wanted of them.
    """

    file: str
    image: str
    value: str

    @classmethod
    def parse(cls, text: str, option: str = "column") -> CsvColumn:
        """A column from its description on the command line, where it is the value of ``option``.

        Raises:
            InputError: another form, or more than one column of values.

        >>> CsvColumn.parse("meta.csv:image_id,lesion_id")
        CsvColumn(file='meta.csv', image='image_id', value='lesion_id')
        """
        file, _, columns = text.rpartition(":")
        names = [c.strip() for c in columns.split(",")]
        if file and len(names) > 2 and all(names):
            raise InputError(f"{option} {text!r} names {len(names) - 1} columns of values ({_ONE})")
        if not file or len(names) != 2 or not all(names):
            raise InputError(
                f"{option} {text!r} is not of the form FILE.csv:IMAGE,VALUE (a table and two of its columns)"
            )
        return cls(file, *names)

    def read(self, members: Sequence[Member]) -> CsvTable:
        """The table: what is on disk under its name, or the one file of a source that is called so.

        Raises:
            InputError: no such table or column, not UTF-8, not CSV, a row of another length or without image or value.
        """
        rows = list(_rows(self.file, self._text(members)))
        header = [name.strip() for name in rows[0]] if rows else []
        table = CsvTable(
            self, tuple(header), tuple(rows[1:]), self._at(header, self.image), self._at(header, self.value)
        )
        for n, row in table.numbered():
            if len(row) != len(header):
                raise InputError(f"{self.file}, row {n}: {len(row)} columns, but the header names {len(header)}")
            for at, name in ((table.image, self.image), (table.value, self.value)):
                if not row[at].strip():
                    raise InputError(f"{self.file}, row {n}: no {name}")
        if not any(rows[1:]):
            raise InputError(f"{self.file} has no row below its header")
        return table

    def _text(self, members: Sequence[Member]) -> str:
        path = Path(self.file).expanduser()
        inside = [m for m in members if self.file in (str(m.path), m.path.name)]
        try:
            if path.is_file():
                with path.open("rb") as file:
                    data = file.read(LARGEST)
            elif len(inside) == 1:
                data = inside[0].read()
            else:
                why = (
                    "several files in the source are called so" if inside else "no such file, on disk or in the source"
                )
                raise InputError(f"table {self.file!r}: {why}")
        except OSError as error:
            raise InputError(f"table {self.file!r} cannot be read: {error.strerror}") from error
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            row = data[: error.start].count(b"\n") + 1
            raise InputError(f"{self.file}, row {row}: not UTF-8 text; save the table as UTF-8") from error

    def _at(self, header: Sequence[str], name: str) -> int:
        if header.count(name) == 1:
            return header.index(name)
        problem = "no column" if name not in header else "several columns"
        hint = nearest(name, header) if name not in header else ""
        if len(header) == 1 and re.search(r"[;\t|]", header[0]):
            hint = "; columns have to be separated by commas"
        raise InputError(f"{self.file}, row 1: {problem} {name!r}{hint}; it has {', '.join(header) or 'none'}")


def _rows(file: str, text: str) -> Iterator[list[str]]:
    """The rows of a CSV file, empty ones as empty lists."""
    rows, n = csv.reader(io.StringIO(text, newline=""), strict=True), 0
    try:
        for n, row in enumerate(rows, 1):  # noqa: B007  (n tells the error where it was)
            yield row
    except csv.Error as error:
        raise InputError(f"{file}, row {n + 1}: not readable as CSV ({error})") from error


@dataclass(frozen=True)
class CsvTable:
    """A table of which two columns are wanted.

    Attributes:
        column: its file, and the names of the columns.
        header, rows: as they are in the file.
        image, value: where in a row the two columns are.
    """

    column: CsvColumn
    header: tuple[str, ...]
    rows: tuple[list[str], ...]
    image: int
    value: int

    def numbered(self) -> Iterator[tuple[int, list[str]]]:
        """The rows below the header that are not empty, with their numbers, the header's being 1."""
        return ((n, row) for n, row in enumerate(self.rows, 2) if row)

    def values(self, paths: Sequence[PurePosixPath]) -> list[str]:
        """The value of each path.

        Raises:
            InputError: an image with two values, an image in only one of table and source, a name that fits several.
        """
        file, find = self.column.file, _Finder(paths)
        found: dict[int, str] = {}
        absent = []
        for row, cells in self.numbered():
            image, value = cells[self.image].strip(), cells[self.value].strip()
            at = find(image)
            if len(at) > 1:
                some = ", ".join(str(paths[n]) for n in at[:3])
                raise InputError(
                    f"{file}, row {row}: image {image!r} fits several files ({some}); give their paths in the source instead"
                )
            absent += [f"{image} (row {row})"] * (not at)
            for n in at:
                if found.setdefault(n, value) != value:
                    both = f"{found[n]!r} and {value!r}"
                    raise InputError(
                        f"{file}, row {row}: image {image!r} has two values of {self.column.value}, {both} ({_ONE})"
                    )
        if absent:
            raise InputError(_these(f"{file} names", absent, "that the source does not have"))
        if len(found) < len(paths):
            unnamed = [str(path) for n, path in enumerate(paths) if n not in found]
            raise InputError(_these("the source has", unnamed, f"that {file} does not name"))
        return [found[n] for n in range(len(paths))]


class _Finder:
    """Positions of the paths that a name in a table may mean."""

    def __init__(self, paths: Sequence[PurePosixPath]) -> None:
        self.paths = paths
        self.exact = {str(path): n for n, path in enumerate(paths)}
        self.ending: dict[str, list[int]] = defaultdict(list)
        for n, path in enumerate(paths):
            for name in {path.name, path.stem}:
                self.ending[name].append(n)

    def __call__(self, image: str) -> list[int]:
        path = PurePosixPath(image.replace("\\", "/"))
        if (exact := self.exact.get(str(path))) is not None:
            return [exact]
        above = path.parent.parts
        here = [
            n for n in self.ending.get(path.name, ()) if self.paths[n].parts[:-1][-len(above) :] == above or not above
        ]
        return [n for n in here if self.paths[n].name == path.name] or here


def _these(begin: str, names: Sequence[str], end: str) -> str:
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{begin} {len(names)} image{'s' * (len(names) != 1)} {end}: {some}"


def check_labels(table: CsvTable) -> None:
    """Refuse labels of which an image may have several.

    Raises:
        InputError: cells that list labels, or a column of zeros and ones among others of the kind.
    """
    file, name = table.column.file, table.column.value
    lists = _lists({row[table.value].strip() for _, row in table.numbered()})
    for n, row in table.numbered():
        if (label := row[table.value].strip()) in lists:
            raise InputError(f"{file}, row {n}: {name} {label!r} lists several labels ({_ONE})")
    columns = [[_flag(row[at]) for _, row in table.numbered()] for at in range(len(table.header)) if at != table.image]
    if all(None not in column for column in columns) and (
        len(columns) > 2
        or (len(columns) == 2 and all(sum(filter(None, row)) == 1 for row in zip(*columns, strict=True)))
    ):
        raise InputError(
            f"{file}: {name} is one of {len(columns)} columns of zeros and ones, as multi-label and one-hot tables have "
            "them; what is needed is one column with the name of each image's class"
        )


def _flag(cell: str) -> int | None:
    """0 or 1 where a cell has it in any form, else None."""
    try:
        return {0.0: 0, 1.0: 1}.get(float(cell))
    except ValueError:
        return None


def _lists(labels: set[str]) -> set[str]:
    """Those labels that are lists: in brackets, of pieces that recur (| and ;), or of labels that are there alone (,)."""
    found = {label for label in labels if re.fullmatch(r"\[.*\]|\{.*\}", label, re.DOTALL)}
    for separator in "|;":
        pieces = {label: {piece.strip() for piece in label.split(separator)} for label in labels}
        often = Counter(chain.from_iterable(pieces.values()))
        found |= {label for label, own in pieces.items() if len(own) > 1 and any(often[piece] > 1 for piece in own)}
    # Names of classes have commas too, such as ImageNet's.
    return found | {
        label for label in labels if "," in label and {piece.strip() for piece in label.split(",")} <= labels
    }
