"""Progress: what is told, how often, and to whom."""

import io
import time

import pytest

from casebook.console.importing import progress
from casebook.console.importing.progress import Bar, Lines, Silent, Tally, report_on


def tally(seconds: float = 10.0) -> Tally:
    return Tally(
        rows_total=1_000, rows=500, sent=2_000, accepted=1_500, duplicates=300, quarantined=200,
        pending=500, started=time.monotonic() - seconds,
    )  # fmt: skip


def test_a_line_says_rates_and_the_time_left() -> None:
    assert tally().line() == (
        "500 of 1,000 rows (50/s), 2,000 events sent, 1,000 promoted (150/s), 500 waiting, "
        "300 duplicates, 200 quarantined, 0:17 left"
    )


def test_nothing_is_promised_at_the_beginning() -> None:
    assert "left" not in tally(seconds=1).line()
    assert "left" not in Tally(rows_total=9).line()


def test_at_the_end_nothing_is_left() -> None:
    done = Tally(rows_total=9, rows=9, sent=9, accepted=9, started=time.monotonic() - 60)
    assert (done.share, done.seconds_left) == (1.0, 0.0)


def test_lines_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    report = report_on(stream)
    assert isinstance(report, Lines)
    report.start(tally())
    for _ in range(10):
        report.update(tally())
    assert stream.getvalue() == "import: 1,000 rows\n"
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    report.update(tally())
    report.finish(tally())
    assert stream.getvalue().count("\n") == 3


def test_a_terminal_gets_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    report = report_on(stream)
    assert isinstance(report, Bar)
    report.start(tally())
    report.note("[bold] is no markup")
    report.update(tally())
    report.finish(tally())
    assert "[bold] is no markup" in stream.getvalue()
    assert "2,000 events sent" in stream.getvalue().replace("\n", " ")


def test_silence() -> None:
    report = Silent()
    report.start(tally())
    report.update(tally())
    report.note("")
    report.finish(tally())
