"""How far an import is, for the person who waits: a bar on a terminal, else a line now and then.

All of it goes to standard error; standard output is for the result.
"""

import sys
import time
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

LINE_SECONDS = 5.0
_START_SECONDS = 2.0


@dataclass(slots=True)
class Tally:
    """What an import has done so far. Events are counted as the services answered.

    ``pending`` events of the source wait to become facts, some perhaps since an import before.
    """

    rows_total: int = 0
    rows: int = 0
    requests: int = 0
    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    pending: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it took until now."""
        return time.monotonic() - self.started

    @property
    def promoted(self) -> int:
        """How many of the accepted events have become facts, at least."""
        return max(self.accepted - self.pending, 0)

    @property
    def settled(self) -> int:
        """How many events nothing more is to be done about; known ones may wait, too."""
        return max(self.accepted + self.duplicates + self.quarantined - self.pending, 0)

    @property
    def share(self) -> float:
        """The part of the work that is done, 0 to 1."""
        if not (self.rows and self.sent):
            return 0.0
        expected = self.sent * max(self.rows_total / self.rows, 1.0)
        return min(self.settled / expected, 1.0)

    @property
    def seconds_left(self) -> float | None:
        """How long it will still take at the rate until now; ``None`` at the beginning."""
        if not self.share or self.seconds < _START_SECONDS:
            return None
        return self.seconds * (1.0 - self.share) / self.share

    def line(self) -> str:
        """Return all of it in one line."""
        seconds = max(self.seconds, 0.001)
        left = self.seconds_left
        return (
            f"{self.rows:,} of {self.rows_total:,} rows ({self.rows / seconds:,.0f}/s), "
            f"{self.sent:,} events sent, {self.promoted:,} promoted "
            f"({self.settled / seconds:,.0f}/s), {self.pending:,} waiting, "
            f"{self.duplicates:,} duplicates, "
            f"{self.quarantined:,} quarantined, "
            f"{'' if left is None else f'{_clock(left)} left'}"
        ).removesuffix(", ")


class Report(Protocol):
    """Who is told how an import goes."""

    def start(self, tally: Tally) -> None:
        """Begin."""
        ...

    def update(self, tally: Tally) -> None:
        """Take notice of the state; called often."""
        ...

    def note(self, text: str) -> None:
        """Tell something that happens once."""
        ...

    def finish(self, tally: Tally) -> None:
        """End, whether it went well or not."""
        ...


class Silent:
    """Tells nobody."""

    def start(self, tally: Tally) -> None:
        """Say nothing."""

    def update(self, tally: Tally) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def finish(self, tally: Tally) -> None:
        """Say nothing."""


class Lines:
    """Writes a line every few seconds, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._written = 0.0

    def start(self, tally: Tally) -> None:
        """Say how much there is."""
        self._written = time.monotonic()
        self.note(f"{tally.rows_total:,} rows")

    def update(self, tally: Tally) -> None:
        """Write the state, unless that was done a moment ago."""
        if time.monotonic() - self._written >= LINE_SECONDS:
            self._written = time.monotonic()
            self.note(tally.line())

    def note(self, text: str) -> None:
        """Write one line."""
        print(f"import: {text}", file=self._stream, flush=True)

    def finish(self, tally: Tally) -> None:
        """Write the last state."""
        self.note(tally.line())


class Bar:
    """Draws a bar, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("", total=1.0)

    def start(self, tally: Tally) -> None:
        """Show the bar."""
        self._progress.start()
        self.update(tally)

    def update(self, tally: Tally) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=tally.share, description=tally.line())

    def note(self, text: str) -> None:
        """Write one line above the bar."""
        self._progress.console.print(f"import: {text}", markup=False, highlight=False)

    def finish(self, tally: Tally) -> None:
        """Leave the bar as it is."""
        self.update(tally)
        self._progress.stop()


def report_on(stream: TextIO | None = None) -> Report:
    """Return the report that fits a stream: a bar for a terminal, else lines."""
    to = sys.stderr if stream is None else stream
    return Bar(Console(file=to)) if to.isatty() else Lines(to)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
