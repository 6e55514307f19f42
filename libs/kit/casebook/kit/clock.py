"""The one place that reads the clock, so that tests and simulations can replace it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the current moment in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current moment in UTC."""
        return datetime.now(UTC)


class MovedClock:
    """The machine's clock, moved by the seconds that a file holds; for tests only.

    Tests of deadlines move several processes at once by replacing the file (a rename, so that
    nobody reads half of it). Without the file the time is the machine's. A process takes it
    from ``CASEBOOK_CLOCK_FILE``, and only if ``CASEBOOK_TESTING`` is set too.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int] | None = None
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """Return the moved time in UTC."""
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return datetime.now(UTC)
        if self._seen != (found.st_ino, found.st_mtime_ns):
            self._ahead = timedelta(seconds=float(self._file.read_text(encoding="ascii")))
            self._seen = (found.st_ino, found.st_mtime_ns)
        return datetime.now(UTC) + self._ahead
