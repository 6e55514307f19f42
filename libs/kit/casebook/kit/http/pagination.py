"""Keyset pagination: a page, and an opaque cursor to the next one (decisions 3.9)."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

import orjson
from pydantic import BaseModel, Field

from casebook.events.values import EARLIEST, LATEST
from casebook.kit.http.problems import Problem
from casebook.kit.strict_json import INT64_MAX, INT64_MIN

Item = TypeVar("Item")

PAGE_DEFAULT = 25
PAGE_MAX = 200
CURSOR_LENGTH_MAX = 255


class Page(BaseModel, Generic[Item]):
    """A page of a list; ``next_cursor`` is empty on the last one."""

    items: list[Item]
    next_cursor: str | None = Field(default=None, description="Send it back as ?cursor=")


def encode_cursor(values: Sequence[Any]) -> str:
    """Return the cursor after a row with these sort values (text, integers, times, ids)."""
    plain = [str(value) if isinstance(value, UUID) else value for value in values]
    return base64.urlsafe_b64encode(orjson.dumps(plain)).rstrip(b"=").decode()


def decode_cursor(cursor: str, types: Sequence[type[Any]]) -> list[Any]:
    """Return the sort values of a cursor, strictly of the given types.

    :raises Problem: 400 ``cursor-malformed`` for anything this service did not write.
    """
    if len(cursor) > CURSOR_LENGTH_MAX:
        raise Problem(400, "cursor-malformed", "this is not a cursor of this list")
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found: Any = orjson.loads(raw)
        if not isinstance(found, list) or len(values := cast("list[Any]", found)) != len(types):
            raise ValueError("wrong shape")
        return [_value(value, kind) for value, kind in zip(values, types, strict=True)]
    except (ValueError, binascii.Error) as error:
        raise Problem(400, "cursor-malformed", "this is not a cursor of this list") from error


def _value(value: Any, kind: type[Any]) -> Any:
    """Return a cursor value as ``kind``.

    :raises ValueError: when it is of another type.
    """
    if kind is datetime:
        if not isinstance(value, str):
            raise ValueError("not a time")
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None or not EARLIEST <= moment < LATEST:
            raise ValueError("not a time that this service writes")
        return moment
    if kind is UUID and isinstance(value, str):
        return UUID(value)
    if type(value) is not kind or (kind is str and "\x00" in value):
        raise ValueError("wrong type")
    if kind is int and not INT64_MIN <= value <= INT64_MAX:
        raise ValueError("not an integer that a database holds")
    return value
