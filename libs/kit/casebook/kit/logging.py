"""Logs: one JSON object a line on standard error, and never a body, a token or a secret.

The fields are ``ts level service event trace_id span_id`` and what the caller adds. An
exception is logged as its type, its frames, and a message only where that cannot repeat input.
"""

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import asyncpg
import orjson
import structlog
from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from casebook.events.values import UNSAFE_TEXT
from casebook.kit.clock import SystemClock
from casebook.kit.tracing import current_span_id, current_trace_id

Logger = FilteringBoundLogger
Fields = MutableMapping[str, Any]

CAUSES_MAX = 5
FRAMES_MAX = 30
MESSAGE_LENGTH_MAX = 500
_CLOCK = SystemClock()
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")
_SECRET_NAMES = frozenset(
    {"authorization", "body", "cookie", "data", "password", "secret", "text", "token"}
)


def get_logger(service: str) -> Logger:
    """Return a logger whose lines name the service."""
    return cast("Logger", structlog.get_logger(service=service))


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every line of this process, of libraries too, to ``stream`` (standard error).

    Call it once, where a process starts; without it lines have this form too, but libraries
    are left as they are.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    _configure(threshold, stream)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))
    for name, heard in (("uvicorn", True), ("uvicorn.error", True), ("uvicorn.access", False)):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = heard  # of every request there is a line already


def describe_exception(error: BaseException) -> list[dict[str, Any]]:
    """Return an exception and its causes without what could be input."""
    described: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(described) < CAUSES_MAX:
        frames = traceback.extract_tb(current.__traceback__)[-FRAMES_MAX:]
        described.append(
            {
                "type": type(current).__qualname__,
                "message": _message(current),
                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)
    return described


def summary(error: BaseException) -> str:
    """Return one line about an exception that can be shown and stored, without what could be input.

    What the data hold that a handler fails on may be anything, also what no database takes.
    """
    message = _message(error)
    said = f"{type(error).__qualname__}: {message}" if message else type(error).__qualname__
    return UNSAFE_TEXT.sub("\ufffd", said)


def _message(error: BaseException) -> str:
    """Return what the exception says, where that cannot repeat what somebody sent."""
    if isinstance(error, ValidationError):
        problems = error.errors(include_input=False, include_context=False, include_url=False)
        return f"{error.title}: {sorted({problem['type'] for problem in problems})}"
    if isinstance(error, asyncpg.PostgresError):
        state = cast("dict[str, Any]", error.as_dict())
        named = (state.get(name) for name in ("sqlstate", "table_name", "constraint_name"))
        return " ".join(str(part) for part in named if part)
    if isinstance(error, UnicodeError | LookupError):
        return ""
    return _TOKEN.sub("[token]", str(error))[:MESSAGE_LENGTH_MAX]


def _stamp(_: Any, method: str, fields: Fields) -> Fields:
    """Add when, how grave, and in which trace."""
    fields["ts"] = _CLOCK.now().isoformat(timespec="milliseconds")
    fields["level"] = "warning" if method == "warn" else method
    trace_id = current_trace_id()
    if trace_id is not None:
        fields["trace_id"], fields["span_id"] = trace_id, current_span_id()
    return fields


def _explain(_: Any, __: str, fields: Fields) -> Fields:
    """Replace an exception by its description."""
    error = fields.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = cast("tuple[Any, ...]", error)[1]
    if isinstance(error, BaseException):
        fields["exception"] = describe_exception(error)
    return fields


def _redact(_: Any, __: str, fields: Fields) -> Fields:
    """Take out what is named like a secret, and what looks like a token."""
    for name, value in fields.items():
        if name.lower() in _SECRET_NAMES:
            fields[name] = "[redacted]"
        elif isinstance(value, str):
            fields[name] = _TOKEN.sub("[token]", value)
    return fields


def _render(_: Any, __: str, fields: Fields) -> str:
    """Return the line."""
    ordered = {name: fields.pop(name) for name in _FIRST if name in fields}
    try:
        return orjson.dumps({**ordered, **fields}, default=str).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, or an integer over 64 bits
        return orjson.dumps({**ordered, "fields": ascii(dict(fields))}, default=str).decode()


class _Writer:
    """Writes lines to a stream; to whatever standard error is at that moment if none is given."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write one line."""
        stream = self._stream or sys.stderr
        stream.write(line + "\n")
        stream.flush()

    debug = info = warning = warn = error = exception = critical = log = msg


def _configure(threshold: int, stream: TextIO | None) -> None:
    """Give the lines of Casebook their form."""
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _stamp, _explain, _redact, _render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Writer(stream),
    )


_FIRST = ("ts", "level", "service", "event", "trace_id", "span_id")


class _Formatter(logging.Formatter):
    """Gives the lines of libraries the same form."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one JSON line."""
        fields: Fields = {
            "service": "library",
            "event": f"library.{record.name}",
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        level = record.levelname.lower()
        return _render(
            None, level, _redact(None, level, _explain(None, level, _stamp(None, level, fields)))
        )


# From the first line on: structlog's own form would print the local variables of a traceback.
_configure(logging.INFO, None)
