"""The trace that the current work belongs to (W3C Trace Context), carried by a context variable.

A request starts or continues a trace; every event that follows from it, its log lines and its
problems name the same trace id.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from casebook.kit.ids import new_id

TRACEPARENT_BYTES_MAX = 255
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_INVALID_VERSION, _FIRST_VERSION = "ff", "00"
_CURRENT: ContextVar[str | None] = ContextVar("casebook_traceparent", default=None)


def current_traceparent() -> str | None:
    """Return the traceparent of the current work; ``None`` outside of any."""
    return _CURRENT.get()


def current_trace_id() -> str | None:
    """Return the trace id of the current work: 32 hexadecimal digits."""
    traceparent = _CURRENT.get()
    return None if traceparent is None else traceparent[3:35]


def current_span_id() -> str | None:
    """Return the span id of the current work: 16 hexadecimal digits."""
    traceparent = _CURRENT.get()
    return None if traceparent is None else traceparent[36:52]


@contextmanager
def trace(received: str | None = None) -> Generator[str]:
    """Work in a span of the trace that ``received`` names, or of a new one."""
    traceparent = next_traceparent(received)
    token = _CURRENT.set(traceparent)
    try:
        yield traceparent
    finally:
        _CURRENT.reset(token)


def next_traceparent(received: str | None) -> str:
    """Return the traceparent of a new span in the received trace, or in a new one."""
    span = new_id().hex[16:]
    match = None if received is None else _TRACEPARENT.fullmatch(received)
    if match is None:
        return f"00-{new_id().hex}-{span}-01"
    version, trace_id, parent, flags, rest = match.groups()
    broken = version == _INVALID_VERSION or not int(trace_id, 16) or not int(parent, 16)
    if broken or (version == _FIRST_VERSION and rest is not None):
        return f"00-{new_id().hex}-{span}-01"
    return f"00-{trace_id}-{span}-{int(flags, 16) & 1:02x}"
