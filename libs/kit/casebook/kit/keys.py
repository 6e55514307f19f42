"""Keys of secret text: each case has a data key, wrapped by the service's master key.

Text is sealed with AES-256-GCM under its case's data key before it reaches any table or log,
and opened again only at the HTTP edge (decisions 3.7). Destroying the row of a data key makes
the text unreadable wherever its ciphertext went, and no hash changes.
"""

import asyncio
import base64
import hmac
import secrets
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, cast
from uuid import UUID

import httpx
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from casebook.events.catalog import SERVICES
from casebook.events.values import Label, Sealed
from casebook.kit.database import Connection, Database
from casebook.kit.decider import SealedText
from casebook.kit.ids import new_id
from casebook.kit.logging import get_logger
from casebook.kit.problems import PROBLEM_RESPONSES
from casebook.kit.secret_files import write_secret
from casebook.kit.settings import Settings
from casebook.kit.tokens import ServiceTokens, Signer
from casebook.kit.tracing import current_traceparent

KEY_BYTES = 32
NONCE_BYTES = 12
KEYS_CACHED_MAX = 10_000
KEYS_ASKED_MAX = 200
FOREIGN_SECONDS = 300.0
CALL_SECONDS_MAX = 2.0
_WRAPPING = b"\x01"

_SELECT_BY_CASE = "SELECT key_id, case_key, wrapped FROM data_keys WHERE case_key = ANY($1::text[])"
_SELECT_BY_ID = "SELECT key_id, wrapped FROM data_keys WHERE key_id = ANY($1::text[])"
_INSERT = """
INSERT INTO data_keys (key_id, case_key, wrapped, created_at)
SELECT u.key_id, u.case_key, u.wrapped, now()
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS u (key_id, case_key, wrapped)
ON CONFLICT DO NOTHING
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
        found = await self._by_case(connection, wanted)
        missing = [case_key for case_key in wanted if case_key not in found]
        if missing:
            new = [f"{self.service}.{new_id()}" for _ in missing]
            wrapped = [self._wrap(key_id, secrets.token_bytes(KEY_BYTES)) for key_id in new]
            await connection.execute(_INSERT, new, missing, wrapped)
            found |= await self._by_case(connection, missing)  # another writer's key wins
        return found

    async def fetch(self, connection: Connection, key_ids: Collection[str]) -> dict[str, DataKey]:
        """Return the keys that exist among ``key_ids``.

        :raises MissingMasterKey: when there is no master key, or another one.
        """
        if not key_ids:
            return {}
        rows = await connection.fetch(_SELECT_BY_ID, list(key_ids))
        return {row["key_id"]: self._unwrap(row["key_id"], row["wrapped"]) for row in rows}

    async def _by_case(
        self, connection: Connection, case_keys: Sequence[str]
    ) -> dict[str, DataKey]:
        """Return the keys that exist, by case."""
        rows = await connection.fetch(_SELECT_BY_CASE, case_keys)
        return {row["case_key"]: self._unwrap(row["key_id"], row["wrapped"]) for row in rows}

    def _wrap(self, key_id: str, secret: bytes) -> bytes:
        """Return a data key as it is stored."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return _WRAPPING + nonce + self._master_key().encrypt(nonce, secret, key_id.encode())

    def _unwrap(self, key_id: str, wrapped: bytes) -> DataKey:
        """Return a stored data key."""
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


# --- reading text of every service ----------------------------------------------------------


class TextReader:
    """Opens sealed text at the HTTP edge, with the keys of its own and of other services."""

    def __init__(
        self,
        keys: KeyRing,
        database: Database,
        settings: Settings,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._keys = keys
        self._database = database
        self._settings = settings
        self._client = client
        self._tokens: ServiceTokens | None = None
        self._foreign: OrderedDict[str, tuple[float, DataKey]] = OrderedDict()
        self._log = get_logger(keys.service)

    async def open(self, texts: Sequence[SealedText | None]) -> list[str | None]:
        """Return the texts in their order; ``None`` for one that is erased or unavailable."""
        by_service: defaultdict[str, set[str]] = defaultdict(set)
        for text in texts:
            if text is not None:
                by_service[service_of(text.key)].add(text.key)
        found = await asyncio.gather(
            *(self._fetch(service, key_ids) for service, key_ids in by_service.items())
        )
        keys = {key_id: key for group in found for key_id, key in group.items()}
        return [
            None if text is None or text.key not in keys else open_(keys[text.key], text)
            for text in texts
        ]

    async def aclose(self) -> None:
        """Close the connections to other services."""
        if self._client is not None:
            await self._client.aclose()

    async def _fetch(self, service: str, key_ids: set[str]) -> Mapping[str, DataKey]:
        """Return the keys that one service has."""
        if service == self._keys.service:
            async with self._database.http() as connection:
                return await self._keys.fetch(connection, key_ids)
        if service not in SERVICES:
            return {}
        now = time.monotonic()
        known = {
            key_id: kept[1]
            for key_id in key_ids
            if (kept := self._foreign.get(key_id)) is not None and now - kept[0] < FOREIGN_SECONDS
        }
        asked = sorted(key_ids - known.keys())
        for start in range(0, len(asked), KEYS_ASKED_MAX):
            for key in await self._ask(service, asked[start : start + KEYS_ASKED_MAX]):
                known[key.key_id] = key
                self._remember(now, key)
        return known

    def _remember(self, now: float, key: DataKey) -> None:
        """Keep a foreign key for a while."""
        self._foreign[key.key_id] = (now, key)
        self._foreign.move_to_end(key.key_id)
        if len(self._foreign) > KEYS_CACHED_MAX:
            self._foreign.popitem(last=False)

    async def _ask(self, service: str, key_ids: Sequence[str]) -> list[DataKey]:
        """Return the keys that another service answers with; none when it does not answer."""
        try:
            if self._client is None:
                self._client = httpx.AsyncClient(timeout=CALL_SECONDS_MAX)
            response = await self._client.post(
                f"{self._settings.service_url(service)}/{service}/v1/keys",
                json={"key_ids": key_ids},
                headers=self._headers(),
            )
            response.raise_for_status()
            answer = KeyAnswer.model_validate_json(response.content)
            pairs = answer.keys.items()
            return [DataKey(key_id, base64.b64decode(secret)) for key_id, secret in pairs]
        except (httpx.HTTPError, ValueError) as error:
            self._log.warning("keys.unavailable", of=service, error=type(error).__name__)
            return []

    def _headers(self) -> dict[str, str]:
        """Return the headers of a call between services.

        :raises ValueError: when there is no signing key.
        """
        if self._tokens is None:
            if self._settings.signing_key is None:
                raise ValueError("CASEBOOK_SIGNING_KEY is not set")
            signer = Signer(
                self._settings.signing_key, self._settings.jwt_issuer, self._settings.jwt_audience
            )
            self._tokens = ServiceTokens(signer, self._keys.service)
        traceparent = current_traceparent()
        headers = self._tokens.headers()
        return headers if traceparent is None else {**headers, "traceparent": traceparent}


class KeyQuestion(BaseModel):
    """The ids of the data keys that another service wants to read text with."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"key_ids": ["intake.0199a0f3-5d5a-7c3e-8c3e-2f6d1b1c9a10"]}},
    )
    key_ids: Annotated[list[Label], Field(max_length=KEYS_ASKED_MAX)]


class KeyAnswer(BaseModel):
    """The data keys that exist, base64 by id."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "keys": {
                    "intake.0199a0f3-5d5a-7c3e-8c3e-2f6d1b1c9a10": (
                        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
                    )
                }
            }
        }
    )
    keys: dict[str, str]


def keys_router(service: str) -> APIRouter:
    """Return the route by which other services get this one's data keys (role ``service``)."""
    from casebook.kit.exchange import operation  # noqa: PLC0415 - commands seal answers with us

    router = APIRouter(prefix=f"/{service}/v1", tags=["operations"])

    @router.post(
        "/keys",
        operation_id="readKeys",
        response_model=KeyAnswer,
        responses=PROBLEM_RESPONSES,
    )
    async def read_keys(
        question: KeyQuestion, queries: Annotated[Any, operation("keys.read")]
    ) -> Response:
        """Return the data keys that exist among those asked for; for other services only."""
        runtime = queries.runtime
        async with cast("Database", runtime.database).http() as connection:
            found = await cast("KeyRing", runtime.keys).fetch(connection, question.key_ids)
        pairs = {id_: base64.b64encode(key.secret).decode() for id_, key in found.items()}
        return JSONResponse({"keys": pairs})

    return router
