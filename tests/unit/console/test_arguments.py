"""What people may write on the command line: names in paths, services, durations."""

from datetime import timedelta
from urllib.parse import unquote_to_bytes

import pytest

from casebook.console.cli import say
from casebook.console.operations import SERVICES, known, named
from casebook.console.tokens import duration


@pytest.mark.parametrize("text", ["服务台", "a/../b", "?x#y", "%2F", " ", "\n", "\udcff"])
def test_a_name_is_one_segment_of_a_path(text: str) -> None:
    segment = named(text)
    assert segment.isascii()
    assert not set(segment) & set("/?#\n ")
    assert unquote_to_bytes(segment) == text.encode(errors="surrogateescape")


@pytest.mark.parametrize("text", ["", ".", ".."])
def test_what_is_no_name_would_be_another_path(text: str) -> None:
    with pytest.raises(LookupError):
        named(text)


def test_services_are_known_by_name() -> None:
    assert [known(name) for name in SERVICES] == list(SERVICES)
    with pytest.raises(LookupError, match="the services are"):
        known("../intake")


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1y", "-1h", "²h", "9" * 12 + "d", "9" * 5_000 + "s"]
)
def test_what_is_no_duration_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|too long|invalid|limit"):
        duration(text)
    assert duration("90s") == timedelta(seconds=90)


def test_what_is_said_is_one_line_that_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("casebook: no request this number: 服务\u2028台\n\x1b[2J\udcff \\n")
    told = capsys.readouterr().err
    assert told == "casebook: no request this number: 服务\\u2028台\\n\\x1b[2J\\udcff \\n\n"
