"""Text that is not JSON but comes from outside too: addresses, header values, token claims.

The character rules are those of :mod:`casebook.events.values`; this module applies them to
bytes, and answers yes or no.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

from casebook.events.values import LABEL_LENGTH_MAX, UNSAFE_LABEL, UNSAFE_TEXT

_UNSAFE_HEADER = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def is_label(value: object) -> bool:
    """Say whether ``value`` is one visible line of at most 200 characters, in NFC."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= LABEL_LENGTH_MAX
        and not UNSAFE_TEXT.search(value)
        and not UNSAFE_LABEL.search(value)
        and bool(value.strip())
        and unicodedata.is_normalized("NFC", value)
    )


def is_safe_address(raw: bytes) -> bool:
    """Say whether a path or a query, percent-encoded, holds only text that can be stored."""
    try:
        text = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return False
    return UNSAFE_TEXT.search(text) is None


def is_safe_header(value: bytes) -> bool:
    """Say whether a header's value is free of control characters."""
    return _UNSAFE_HEADER.search(value) is None
