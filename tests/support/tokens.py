"""Tokens for tests: good ones, and every kind of bad one."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from casebook.kit.access.tokens import Signer, new_key_file, public_jwks

ISSUER = "https://issuer.test"
AUDIENCE = "casebook"
NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


class TestClock:
    """A clock that stands until it is moved."""

    __test__ = False

    def __init__(self, now: datetime = NOW) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment

    def pass_(self, time: timedelta) -> None:
        self.moment += time


def new_signer(folder: Path, clock: TestClock, name: str = "key.json") -> Signer:
    """Return a signer with a key of its own."""
    path = folder / name
    new_key_file(path)
    return Signer(path, ISSUER, AUDIENCE, clock)


def write_jwks(path: Path, *keys: Path) -> None:
    """Write the key set of the public halves."""
    path.write_text(json.dumps(public_jwks(*keys)))


def segment(value: Mapping[str, Any] | bytes) -> str:
    """Return a segment of a token."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
