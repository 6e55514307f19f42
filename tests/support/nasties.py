"""The corpus of bad (and of good but unusual) JSON bodies, by name.

``nasties.json`` holds one row per body: its name, the body as ``text`` (sent as UTF-8) or as
``base64``, and the ``code`` that it is refused with, or null when it is accepted. Every failure
that a fuzzer finds becomes a row here.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Nasty:
    """A body with the code that it is refused with; ``None`` when it is accepted."""

    name: str
    body: bytes
    code: str | None


def _read() -> tuple[Nasty, ...]:
    """Return the rows of the corpus."""
    rows = json.loads(Path(__file__).with_suffix(".json").read_text())
    return tuple(
        Nasty(
            name=row["name"],
            body=row["text"].encode() if "text" in row else base64.b64decode(row["base64"]),
            code=row["code"],
        )
        for row in rows
    )


NASTIES = _read()
