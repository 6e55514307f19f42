"""Files that hold keys: written once, whole, and readable by their owner only."""

import os
from pathlib import Path

from casebook.kit.ids import new_id

OWNER_ONLY = 0o600


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read, whole or not at all.

    :raises FileExistsError: when the file exists: a key is never replaced by accident.
    """
    draft = path.with_name(f".{path.name}.{new_id().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename, it fails when the target exists
    finally:
        draft.unlink()
