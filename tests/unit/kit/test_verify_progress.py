"""What a long verification tells the person who waits."""

import re

from casebook.kit.verification.progress import Progress


def test_it_says_how_much_was_read_how_fast_and_how_long_the_rest_takes() -> None:
    told: list[str] = []
    progress = Progress(told.append, "verify risk", seconds=0.0)
    progress.expect(3_000)
    progress.expect(1_000)
    progress.done(1_000)
    progress.done(2_500)
    line = re.compile(r"verify risk: ([\d,]+) of 4,000 read, [\d,]+/s, about [\d,]+ s left")
    assert [found[1] for text in told if (found := line.fullmatch(text))] == ["1,000", "3,500"]


def test_what_is_over_soon_or_heard_by_nobody_says_nothing() -> None:
    told: list[str] = []
    for progress in (Progress(told.append), Progress()):
        progress.expect(10)
        progress.done(10)
    assert told == []
