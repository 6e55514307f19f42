"""The file of an audit log: its lines, and which of them belong to one request.

The file may be larger than memory, so it is read twice: once to see what is in it, once to hand
out its requests. One line is one row, because no value of this format may break a line; so a
quote that nobody closed costs one row and not the rest of the file. A request whose rows do not
stand together is held back until its last row was read.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from casebook.console.importing.audit_rows import (
    LINE_BYTES_MAX,
    NUMBER,
    Columns,
    NotAnAuditLog,
    is_number,
)

_GZIP = b"\x1f\x8b"


class Line(NamedTuple):
    """A row as it stands in the file; ``number`` counts the header as 1."""

    number: int
    raw: bytes


@dataclass(slots=True)
class _Outline:
    """What the first reading found.

    ``runs`` counts, for requests whose rows do not stand together, in how many places they do.
    """

    rows: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    chosen: set[str] | None = None


class AuditLog:
    """An audit log on disk, plain or gzipped; with ``limit``, only its first requests.

    :raises NotAnAuditLog: when the header does not have the columns of an audit log, or the
        file is a damaged gzip.
    :raises OSError: when the file cannot be read.
    """

    def __init__(self, path: Path, *, limit: int | None = None) -> None:
        self.name = path.name
        self._path = path
        self._limit = limit
        with _open(path) as file:
            _, raw = next(_lines(file), Line(1, b""))
        self.columns = Columns.of(raw)
        self._prefix = b"\n"  # of no line
        self._number: str | None = None
        self._outline = self._outlined()

    @property
    def rows(self) -> int:
        """How many rows there are to import, those without a readable number among them."""
        return self._outline.rows

    @property
    def scattered(self) -> int:
        """How many requests have rows that do not stand together."""
        return len(self._outline.runs)

    def requests(self) -> Iterator[tuple[str | None, list[Line]]]:
        """Yield every request with its rows; a row without a readable number comes alone."""
        runs = dict(self._outline.runs)
        held: dict[str, list[Line]] = {}
        left = None if self._outline.chosen is None else len(self._outline.chosen)
        for number, lines in self._runs():
            if number is None:
                yield None, lines
                continue
            if not self._is_chosen(number):
                continue
            if number in runs:
                held.setdefault(number, []).extend(lines)
                runs[number] -= 1
                if runs[number]:
                    continue
            yield number, held.pop(number, lines)
            if left is not None:
                left -= 1
                if not left:
                    return

    def _is_chosen(self, number: str) -> bool:
        return self._outline.chosen is None or number in self._outline.chosen

    def _outlined(self) -> _Outline:
        """Read the file once and count."""
        outline = _Outline(chosen=None if self._limit is None else set())
        seen: set[str] = set()
        for number, lines in self._runs():
            if number is None:
                outline.rows += len(lines)
                continue
            chosen = outline.chosen
            if chosen is not None and number not in chosen:
                if len(chosen) == self._limit:
                    continue
                chosen.add(number)
            outline.rows += len(lines)
            if number in seen:
                outline.runs[number] = outline.runs.get(number, 1) + 1
            seen.add(number)
        return outline

    def _runs(self) -> Iterator[tuple[str | None, list[Line]]]:
        """Yield rows of one number that stand together; one without a number by itself.

        A row without a number does not part the rows around it.
        """
        current: str | None = None
        run: list[Line] = []
        with _open(self._path) as file:
            lines = _lines(file)
            next(lines, None)
            for line in lines:
                number = self._number_of(line.raw)
                if number is None:
                    yield None, [line]
                elif number == current:
                    run.append(line)
                else:
                    if current is not None:
                        yield current, run
                    current, run = number, [line]
        if current is not None:
            yield current, run

    def _number_of(self, raw: bytes) -> str | None:
        """Return the number of a row, if it can be read; whatever else is wrong with the row."""
        if raw.startswith(self._prefix):
            return self._number
        place = self.columns.places[NUMBER]
        cells = raw.split(b",", place + 1)[: place + 1]
        if any(b'"' in cell for cell in cells):
            try:
                cells = [cell.encode() for cell in next(csv.reader([raw.decode()], strict=True))]
            except (UnicodeDecodeError, csv.Error):
                return None
        if len(cells) <= place:
            return None
        try:
            number = cells[place].decode()
        except UnicodeDecodeError:
            return None
        if not is_number(number):
            return None
        if place == 0 and raw.startswith(cells[0] + b","):
            self._prefix, self._number = cells[0] + b",", number
        return number


def _open(path: Path) -> BinaryIO:
    """Open a file, unpacking it if it is gzipped, whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _lines(file: BinaryIO) -> Iterator[Line]:
    """Yield the lines that are not empty, without their ends.

    Of a line that is too long only the beginning is kept, which is still too long.
    """
    number = 0
    try:
        while raw := file.readline(LINE_BYTES_MAX + 2):
            number += 1
            if not raw.endswith(b"\n"):
                while (rest := file.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                    pass
            row = raw.rstrip(b"\r\n")
            if row.strip():
                yield Line(number, row)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise NotAnAuditLog("the gzip file is cut off or damaged") from error
