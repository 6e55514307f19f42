"""Keys of secret text: each case has a data key, wrapped by the service's master key.

Text is sealed with AES-256-GCM under its case's data key before it reaches any table or log,
and opened again only at the HTTP edge (decisions 3.7). Destroying the row of a data key makes
the text unreadable wherever its ciphertext went, and no hash changes.
"""

import base64
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casebook.events.values import Sealed
from casebook.kit.decider import SealedText
from casebook.kit.ids import new_id
from casebook.kit.postgres.database import Connection
from casebook.kit.secret_files import write_secret

KEY_BYTES = 32
NONCE_BYTES = 12
KEYS_CACHED_MAX = 10_000
_WRAPPING = b"\x01"

_SELECT_BY_CASE = "SELECT key_id, case_key, wrapped FROM data_keys WHERE case_key = ANY($1::text[])"
_SELECT_BY_ID = "SELECT key_id, wrapped FROM data_keys WHERE key_id = ANY($1::text[])"
_ENSURE = """
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) AS u (key_id, case_key, wrapped)
), found AS (
    SELECT d.key_id, d.case_key, d.wrapped FROM data_keys d JOIN wanted USING (case_key)
), made AS (
    INSERT INTO data_keys (key_id, case_key, wrapped, created_at)
    SELECT key_id, case_key, wrapped, now() FROM wanted
    WHERE case_key NOT IN (SELECT case_key FROM found) ORDER BY case_key
    ON CONFLICT DO NOTHING RETURNING key_id, case_key, wrapped
)
SELECT * FROM found UNION ALL SELECT * FROM made
"""


class MissingMasterKey(OSError):
    """``CASEBOOK_MASTER_KEY_FILE`` names no key, or one that did not wrap the data key.

    An error of the infrastructure: it says nothing about the events that could not be sealed.
    """


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of one case in one service; the id starts with the service's name."""

    key_id: str
    secret: bytes = field(repr=False)


# --- pure -----------------------------------------------------------------------------------


def seal(key: DataKey, event_id: UUID, name: str, text: str) -> Sealed:
    """Return ``text`` sealed for the field ``name`` of one event; the same every time."""
    sealed = _encrypt(key, f"{event_id}/{name}".encode(), text.encode())
    return Sealed(key=key.key_id, ciphertext=base64.urlsafe_b64encode(sealed).decode().rstrip("="))


def open_(key: DataKey, sealed: SealedText) -> str | None:
    """Return the text of ``sealed``; ``None`` when it was not sealed so, or was changed."""
    try:
        padded = sealed.ciphertext + "=" * (-len(sealed.ciphertext) % 4)
        content = base64.b64decode(padded, altchars=b"-_", validate=True)
        return _decrypt(key, f"{sealed.event_id}/{sealed.field}".encode(), content).decode()
    except (InvalidTag, ValueError):
        return None


def seal_bytes(key: DataKey, id_: UUID, content: bytes) -> bytes:
    """Return ``content`` sealed for the row ``id_``."""
    return _encrypt(key, str(id_).encode(), content)


def open_bytes(key: DataKey, id_: UUID, sealed: bytes) -> bytes:
    """Return the content of a row.

    :raises cryptography.exceptions.InvalidTag: when it was not sealed so, or was changed.
    """
    return _decrypt(key, str(id_).encode(), sealed)


def digest(key: DataKey | None, content: bytes) -> str:
    """Return what identifies ``content`` without telling it: keyed where it holds secrets."""
    value = sha256(content).digest() if key is None else _derived(key, b"digest", content)
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def service_of(key_id: str) -> str:
    """Return the service that keeps a data key."""
    return key_id.partition(".")[0]


def _encrypt(key: DataKey, associated: bytes, content: bytes) -> bytes:
    """Return nonce, ciphertext and tag.

    The nonce is derived from key, place and content, so that sealing needs no randomness and a
    repeated command writes the same record; a nonce comes twice only for the same message.
    """
    nonce = _derived(key, b"nonce", len(associated).to_bytes(4, "big") + associated + content)
    return nonce[:NONCE_BYTES] + AESGCM(key.secret).encrypt(
        nonce[:NONCE_BYTES], content, associated
    )


def _decrypt(key: DataKey, associated: bytes, sealed: bytes) -> bytes:
    """Return the content."""
    if len(sealed) < NONCE_BYTES:
        raise InvalidTag
    return AESGCM(key.secret).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)


def _derived(key: DataKey, purpose: bytes, content: bytes) -> bytes:
    """Return a keyed digest, under a key of its own for each purpose."""
    own = hmac.digest(key.secret, b"casebook/" + purpose, "sha256")
    return hmac.digest(own, content, "sha256")


# --- the keys of one service ----------------------------------------------------------------


class KeyRing:
    """The data keys of one service: rows of ``data_keys``, unwrapped by its master key.

    A row is always looked up, so that a destroyed key is gone at once and a key of a transaction
    that was rolled back is never used; only the unwrapping is remembered. Callers that lock
    several cases pass all of them in one call, which takes the rows in a fixed order.
    """

    def __init__(self, service: str, master_key_file: Path | None) -> None:
        self.service = service
        self._master_key_file = master_key_file
        self._master: AESGCM | None = None
        self._unwrapped: OrderedDict[str, DataKey] = OrderedDict()
        self._remembering = threading.Lock()

    async def ensure(self, connection: Connection, case_keys: Iterable[str]) -> dict[str, DataKey]:
        """Return the data key of every case, made where there was none.

        :raises MissingMasterKey: when there is no master key, or another one.
        """
        wanted = sorted(set(case_keys))
        if not wanted:
            return {}
        new = [f"{self.service}.{new_id()}" for _ in wanted]
        wrapped = [self._wrap(key_id, secrets.token_bytes(KEY_BYTES)) for key_id in new]
        found = self._by_case(await connection.fetch(_ENSURE, new, wanted, wrapped))
        missing = [case_key for case_key in wanted if case_key not in found]
        if missing:  # another writer was first, and its key wins
            found |= self._by_case(await connection.fetch(_SELECT_BY_CASE, missing))
        return found

    async def fetch(self, connection: Connection, key_ids: Collection[str]) -> dict[str, DataKey]:
        """Return the keys that exist among ``key_ids``.

        :raises MissingMasterKey: when there is no master key, or another one.
        """
        if not key_ids:
            return {}
        rows = await connection.fetch(_SELECT_BY_ID, list(key_ids))
        return {row["key_id"]: self.unwrap(row["key_id"], row["wrapped"]) for row in rows}

    def _by_case(self, rows: Iterable[asyncpg.Record]) -> dict[str, DataKey]:
        """Return the keys in rows, by case."""
        return {row["case_key"]: self.unwrap(row["key_id"], row["wrapped"]) for row in rows}

    def _wrap(self, key_id: str, secret: bytes) -> bytes:
        """Return a data key as it is stored."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return _WRAPPING + nonce + self._master_key().encrypt(nonce, secret, key_id.encode())

    def unwrap(self, key_id: str, wrapped: bytes) -> DataKey:
        """Return a stored data key.

        :raises MissingMasterKey: when there is no master key, or another one.
        """
        with self._remembering:
            known = self._unwrapped.get(key_id)
            if known is not None:
                self._unwrapped.move_to_end(key_id)
                return known
        nonce, sealed = wrapped[1 : 1 + NONCE_BYTES], wrapped[1 + NONCE_BYTES :]
        try:
            secret = self._master_key().decrypt(nonce, sealed, key_id.encode())
        except (InvalidTag, ValueError):
            raise MissingMasterKey(f"the master key did not wrap {key_id}") from None
        with self._remembering:
            key = self._unwrapped[key_id] = DataKey(key_id, secret)
            if len(self._unwrapped) > KEYS_CACHED_MAX:
                self._unwrapped.popitem(last=False)
        return key

    def _master_key(self) -> AESGCM:
        """Return the master key, read when it is first needed."""
        if self._master is None:
            if self._master_key_file is None:
                raise MissingMasterKey("CASEBOOK_MASTER_KEY_FILE is not set")
            self._master = AESGCM(read_master_key(self._master_key_file))
        return self._master


def new_master_key(path: Path) -> None:
    """Write a new master key to ``path``, readable by its owner only.

    :raises FileExistsError: when the file exists: a key is never replaced by accident.
    """
    write_secret(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")


def read_master_key(path: Path) -> bytes:
    """Return the master key in ``path``.

    :raises MissingMasterKey: when the file holds none.
    """
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except (OSError, ValueError) as error:
        raise MissingMasterKey(f"{path.name} cannot be read: {type(error).__name__}") from None
    if len(key) != KEY_BYTES:
        raise MissingMasterKey(f"{path.name} does not hold {KEY_BYTES} bytes in base64")
    return key
