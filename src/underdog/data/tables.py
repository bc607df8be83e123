"""What a table beside the images says of them: labels and groups."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from underdog.data.archive import Member
from underdog.errors import InputError, nearest

__all__ = ["Column"]


@dataclass(frozen=True)
class Column:
    """One column of a CSV file, by the column that names the image.

    Args:
        file: the table, on disk or inside the source.
        image: column with image names: a path inside the source, a file name, or one without its ending.
        value: column with what is wanted of them.
    """

    file: str
    image: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Column:
        """From FILE.csv:IMAGE,VALUE.

        Raises:
            InputError: another form.

        >>> Column.parse("meta.csv:image_id,lesion_id")
        Column(file='meta.csv', image='image_id', value='lesion_id')
        """
        file, _, columns = text.rpartition(":")
        names = [c.strip() for c in columns.split(",")]
        if not file or len(names) != 2 or not all(names):
            raise InputError(f"{text!r} is not of the form FILE.csv:IMAGE,VALUE (a table and two of its columns)")
        return cls(file, *names)

    def read(self, members: Sequence[Member]) -> dict[str, str]:
        """The value of every image named in the table.

        Raises:
            InputError: no such table or column, a row without a value, or one image with two values.
        """
        rows = csv.reader(io.StringIO(self._text(members), newline=""), strict=True)
        try:
            header = [name.strip() for name in next(rows, [])]
            at, of = self._column(header, self.image), self._column(header, self.value)
            values: dict[str, str] = {}
            for row in rows:
                if not row:
                    continue
                where = f"{self.file}, row {rows.line_num}"
                if len(row) != len(header):
                    raise InputError(f"{where}: {len(row)} columns, but the header names {len(header)}")
                image, value = row[at].strip(), row[of].strip()
                if not image or not value:
                    raise InputError(f"{where}: no {self.value if image else self.image}")
                if values.setdefault(image, value) != value:
                    raise InputError(
                        f"{where}: image {image!r} has two values of {self.value}, {values[image]!r} and {value!r}"
                        " (multi-label data are not supported: an image belongs to one class and one group)"
                    )
        except csv.Error as error:
            raise InputError(f"{self.file}, row {rows.line_num}: not readable as CSV ({error})") from error
        if not values:
            raise InputError(f"{self.file} has no row below its header")
        return values

    def _text(self, members: Sequence[Member]) -> str:
        path = Path(self.file).expanduser()
        inside = [m for m in members if self.file in (str(m.path), m.path.name)]
        try:
            if not path.is_file() and len(inside) != 1:
                raise InputError(
                    f"table {self.file!r}: "
                    + (
                        "no such file, on disk or in the source"
                        if not inside
                        else "several files in the source are called so"
                    )
                )
            data = path.read_bytes() if path.is_file() else inside[0].read()
        except OSError as error:
            raise InputError(f"table {self.file!r} cannot be read: {error.strerror}") from error
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            row = data[: error.start].count(b"\n") + 1
            raise InputError(f"{self.file}, row {row}: not UTF-8 text; save the table as UTF-8") from error

    def _column(self, header: Sequence[str], name: str) -> int:
        if header.count(name) != 1:
            problem = "no column" if name not in header else "several columns"
            raise InputError(
                f"{self.file}, row 1: {problem} {name!r}{nearest(name, header)}; it has {', '.join(header)}"
            )
        return header.index(name)

    def values(self, paths: Sequence[PurePosixPath], members: Sequence[Member]) -> list[str | None]:
        """The value of each path, None for images that the table does not name.

        Raises:
            InputError: as ``read``; a name that fits several images or none.
        """
        named: dict[str, set[int]] = defaultdict(set)
        for n, path in enumerate(paths):
            for key in (str(path), path.name, path.stem):
                named[key].add(n)
        found: list[str | None] = [None] * len(paths)
        absent = []
        for image, value in self.read(members).items():
            at = named.get(str(PurePosixPath(image)), set())
            if len(at) > 1:
                some = ", ".join(str(paths[n]) for n in sorted(at)[:3])
                raise InputError(f"{self.file}: image {image!r} fits several files ({some}): name their paths instead")
            if not at:
                absent.append(image)
            for n in at:
                if found[n] not in (None, value):
                    raise InputError(
                        f"{self.file}: {paths[n]} has two values of {self.value}, {found[n]!r} and {value!r}"
                    )
                found[n] = value
        if absent:
            raise InputError(_these(f"{self.file} names", absent, "that the source does not have"))
        return found


def missing(file: str, paths: Sequence[PurePosixPath]) -> InputError:
    """The error about images that a table should name."""
    return InputError(_these("the source has", [str(p) for p in paths], f"that {file} does not name"))


def _these(begin: str, names: Sequence[str], end: str) -> str:
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{begin} {len(names)} image{'s' * (len(names) != 1)} {end}: {some}"
