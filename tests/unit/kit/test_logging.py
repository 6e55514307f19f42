import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
import structlog
from pydantic import BaseModel, ValidationError

from casebook.kit.logging import configure_logging, describe_exception, get_logger, summary
from casebook.kit.tracing import trace

CANARY = "canary-51c2"
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, structlog.get_config()
    written = io.StringIO()
    configure_logging("info", written)
    yield written
    root.handlers[:], root.level = before[:2]
    structlog.configure(**before[2])


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_how_grave_which_service_and_trace(stream: io.StringIO) -> None:
    with trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        get_logger("intake").info("request.done", n=1)
    (line,) = lines(stream)
    assert list(line) == ["ts", "level", "service", "event", "trace_id", "span_id", "n"]
    assert line["level"] == "info"
    assert line["service"] == "intake"
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert line["ts"].endswith("+00:00")


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    get_logger("intake").debug("quiet")
    assert lines(stream) == []


def test_secrets_and_tokens_are_taken_out(stream: io.StringIO) -> None:
    get_logger("intake").info("x", body=CANARY, Authorization=CANARY, note=f"Bearer {TOKEN}")
    assert CANARY not in stream.getvalue()
    assert TOKEN not in stream.getvalue()


def test_an_exception_is_described_without_input(stream: io.StringIO) -> None:
    class Model(BaseModel):
        number: int

    try:
        try:
            Model.model_validate({"number": CANARY})
        except ValidationError as error:
            raise RuntimeError(f"with {TOKEN}") from error
    except RuntimeError:
        get_logger("intake").exception("x")
    (line,) = lines(stream)
    assert [part["type"] for part in line["exception"]] == ["RuntimeError", "ValidationError"]
    assert "test_logging.py" in line["exception"][0]["frames"][0]
    assert CANARY not in stream.getvalue()
    assert TOKEN not in stream.getvalue()


def test_one_line_about_an_exception_repeats_no_input_and_can_be_stored() -> None:
    class Model(BaseModel):
        number: int

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"number": CANARY})
    assert summary(caught.value) == "ValidationError: Model: ['int_parsing']"
    assert summary(KeyError(CANARY)) == "KeyError"
    assert summary(ValueError("a\x00b\ud800")) == "ValueError: a\ufffdb\ufffd"


def test_the_database_may_not_repeat_values_either() -> None:
    error = asyncpg.InvalidTextRepresentationError(f'invalid uuid: "{CANARY}"')
    assert CANARY not in str(describe_exception(error))
    assert CANARY not in str(describe_exception(KeyError(CANARY)))
    assert CANARY not in str(describe_exception(UnicodeEncodeError("utf-8", CANARY, 0, 1, "x")))


def test_libraries_write_the_same_lines(stream: io.StringIO) -> None:
    logging.getLogger("aiokafka").warning("lost %s", "it")
    (line,) = lines(stream)
    assert line["event"] == "library.aiokafka"
    assert line["message"] == "lost it"


def test_the_server_writes_no_second_line_about_a_request(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").warning("GET /")
    assert stream.getvalue() == ""


def test_what_json_cannot_say_is_still_one_line(stream: io.StringIO) -> None:
    get_logger("intake").info("x", a="\ud800", b=2**70, c=object())
    assert len(lines(stream)) == 1


def test_the_form_holds_before_anything_is_configured(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise RuntimeError("why")
    except RuntimeError:
        structlog.get_logger("casebook.reader").exception("x", password=CANARY)
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert line["exception"][0]["message"] == "why"
    assert line["password"] == "[redacted]"
