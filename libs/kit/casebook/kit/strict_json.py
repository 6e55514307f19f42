"""Strict JSON for everything that comes from outside (RFC 8259, RFC 7493).

What two parsers could read differently, and what PostgreSQL or another service would refuse
later, is refused here, once: duplicate keys, numbers beyond int64 or a double, deep nesting,
text that cannot be stored. The messages never repeat the input.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import NoReturn, TypeAlias

from casebook.events.values import UNSAFE_TEXT

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Container: TypeAlias = "list[Json] | dict[str, Json]"

DEPTH_MAX = 32
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

BAD_REQUEST, UNPROCESSABLE = 400, 422

PROBLEMS = {
    "byte-order-mark": (BAD_REQUEST, "the body starts with a byte order mark"),
    "invalid-utf-8": (BAD_REQUEST, "the body is not valid UTF-8"),
    "malformed-json": (BAD_REQUEST, "the body is not valid JSON"),
    "duplicate-key": (BAD_REQUEST, "an object holds the same key twice"),
    "too-deep": (BAD_REQUEST, f"the body nests deeper than {DEPTH_MAX} levels"),
    "number-out-of-range": (UNPROCESSABLE, "a number does not fit 64 bits"),
    "unsafe-text": (UNPROCESSABLE, "text holds a character that is not allowed"),
}
"""Every code that :func:`loads` raises, with its HTTP status and its explanation."""

# Characters below U+0020 cannot stand raw in a JSON string, and the parser refuses them there;
# what else is unsafe shows in the bytes, or hides behind an escape. Each pattern starts with
# one literal byte, because that makes the search some 20 times faster.
_RAW_NONCHARACTER = re.compile(rb"\xef\xb7[\x90-\xaf]")
_RAW_PLANE_END = re.compile(rb"\xbf[\xbe\xbf]")
_SUSPECT_ESCAPE = re.compile(
    rb"\\(?:[bfr]|u(?:00[01]|007[fF]|[dD][89a-fA-F]|[fF][dD][dDeE]|[fF][fF][fF][e-fE-F]))"
)
_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG_NUMBER = b"0" * 19
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity)')
_CONTAINERS = (dict, list)


class _Constant(Exception):
    """The text holds NaN or Infinity."""


class BadBody(ValueError):
    """The body is not strict JSON; ``code`` is stable, ``status`` the HTTP status it deserves."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = PROBLEMS[code][0]


def loads(body: bytes) -> Json:
    """Return the value that ``body`` describes.

    :raises BadBody: with a code of :data:`PROBLEMS` when it is not strict JSON.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        _refuse("byte-order-mark")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        _refuse("invalid-utf-8")
    value = _parse(text)
    containers = _containers(value)
    if _is_suspect(body):
        _check_scalars([value])
        for container in containers:
            _check_scalars(container)
    else:
        for _ in containers:
            pass
    return value


def _is_suspect(body: bytes) -> bool:
    """Say whether a text or an integer of ``body`` could be unacceptable and deserves a look."""
    return (
        b"\x7f" in body
        or _RAW_NONCHARACTER.search(body) is not None
        or _RAW_PLANE_END.search(body) is not None
        or _SUSPECT_ESCAPE.search(body) is not None
        or _LONG_NUMBER in body.translate(_DIGITS)
    )


def _parse(text: str) -> Json:
    """Return the value of ``text``, refusing what is no JSON and keys that repeat."""
    try:
        return _DECODER.decode(text)
    except BadBody:
        raise
    except _Constant:
        _refuse_at(text, next(found.start(1) for found in _CONSTANT.finditer(text) if found[1]))
    except RecursionError:
        _refuse("too-deep")
    except json.JSONDecodeError as error:
        _refuse_at(text, error.pos)
    except ValueError:  # an integer of more digits than Python converts
        _refuse("number-out-of-range")


def _containers(root: Json) -> Iterator[Container]:
    """Yield every object and array, refusing those that nest too deep."""
    level: list[Container] = [root] if isinstance(root, dict | list) else []
    for _ in range(DEPTH_MAX):
        yield from level
        level = [
            value
            for container in level
            for value in (container.values() if isinstance(container, dict) else container)
            if isinstance(value, _CONTAINERS)
        ]
    if level:
        _refuse("too-deep")


def _check_scalars(container: Container) -> None:
    """Check the integers and texts that stand in ``container``, and its keys."""
    values = [*container, *container.values()] if isinstance(container, dict) else container
    for value in values:
        if isinstance(value, str):
            if UNSAFE_TEXT.search(value):
                _refuse("unsafe-text")
        elif isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
            _refuse("number-out-of-range")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Return the object of ``pairs`` unless a key repeats."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        _refuse("duplicate-key")
    return unique


def _finite(text: str) -> float:
    """Return the number of ``text`` unless it is beyond a double."""
    number = float(text)
    if not math.isfinite(number):
        _refuse("number-out-of-range")
    return number


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise _Constant


def _refuse_at(text: str, position: int) -> NoReturn:
    """Say where ``text`` stops being JSON: line and column from 1, never what stands there."""
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    detail = f"{PROBLEMS['malformed-json'][1]}: line {line}, column {column}"
    raise BadBody("malformed-json", detail) from None


def _refuse(code: str) -> NoReturn:
    """Raise the problem of ``code``."""
    raise BadBody(code, PROBLEMS[code][1]) from None


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)
