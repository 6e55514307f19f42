"""Text opened for readers: with the keys of this service, and those that other services hand out.

The one call between services: who shows a fact of another service asks for its data keys, and
remembers them for a while (decisions 3.7).
"""

import asyncio
import base64
import time
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated

import httpx
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from casebook.events.catalog import SERVICES
from casebook.events.values import Label
from casebook.kit.access.tokens import ServiceTokens, Signer
from casebook.kit.decider import SealedText
from casebook.kit.http.exchange import Exchange, operation
from casebook.kit.http.problems import PROBLEM_RESPONSES
from casebook.kit.keys import KEYS_CACHED_MAX, DataKey, KeyRing, open_, service_of
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import Database
from casebook.kit.settings import Settings
from casebook.kit.tracing import current_traceparent

KEYS_ASKED_MAX = 200
FOREIGN_SECONDS = 300.0
CALL_SECONDS_MAX = 2.0


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
            return [
                DataKey(key_id, base64.b64decode(answer.keys[key_id]))
                for key_id in key_ids
                if key_id in answer.keys  # what nobody asked for is nobody's business
            ]
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
    router = APIRouter(prefix=f"/{service}/v1", tags=["operations"])

    @router.post(
        "/keys",
        operation_id="readKeys",
        response_model=KeyAnswer,
        responses=PROBLEM_RESPONSES,
    )
    async def read_keys(
        question: KeyQuestion, exchange: Annotated[Exchange, operation("keys.read")]
    ) -> Response:
        """Return the data keys that exist among those asked for; for other services only."""
        async with exchange.runtime.database.http() as connection:
            found = await exchange.runtime.keys.fetch(connection, question.key_ids)
        pairs = {id_: base64.b64encode(key.secret).decode() for id_, key in found.items()}
        return JSONResponse({"keys": pairs})

    return router
