import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from casebook.kit.access.identity import TokenVerifier
from casebook.kit.access.policy import Operation, Policy
from casebook.kit.access.tokens import Signer, new_key_file
from casebook.kit.clock import SystemClock
from casebook.kit.decider import SealedText
from casebook.kit.http.layers import install_http
from casebook.kit.http.sealed_text import TextReader, keys_router
from casebook.kit.keys import (
    KeyRing,
    MissingMasterKey,
    new_master_key,
    seal,
)
from casebook.kit.postgres.database import Database
from casebook.kit.settings import Settings
from tests.support.postgres import fresh_database, postgres_for_tests
from tests.support.tokens import write_jwks

TABLE = """
CREATE SCHEMA {0};
CREATE TABLE {0}.data_keys (key_id text PRIMARY KEY, case_key text NOT NULL UNIQUE,
    wrapped bytea NOT NULL, created_at timestamptz NOT NULL)
"""


class Place:
    """The databases, key rings and tokens of two services."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn = dsn
        self.folder = folder
        self.settings = Settings(
            database_url=dsn,
            jwks=str(folder / "jwks.json"),
            signing_key=folder / "key.json",
            master_key_file=folder / "master.key",
        )
        self.databases = {
            name: Database(dsn, name, http=2, background=1) for name in ("intake", "dispatch")
        }
        self.rings = {name: KeyRing(name, self.settings.master_key_file) for name in self.databases}
        self.signer = Signer(folder / "key.json", "casebook", "casebook")
        self.calls = 0
        self.away = False

    async def prepare(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        for name, database in self.databases.items():
            await connection.execute(TABLE.format(name))
            await database.open()
        await connection.close()

    async def sealed(self, service: str, case: str, text: str) -> SealedText:
        """Return a text as the service would keep it."""
        async with self.databases[service].http() as connection:
            key = (await self.rings[service].ensure(connection, [case]))[case]
        event_id = uuid4()
        sealed = seal(key, event_id, "title", text)
        return SealedText(sealed.key, sealed.ciphertext, event_id, "title")

    def intake_app(self) -> FastAPI:
        """Return an app that answers for intake's keys."""
        app = FastAPI()
        policy = Policy(Operation("keys.read", {"service": "all"}))
        app.state.runtime = SimpleNamespace(
            service=SimpleNamespace(name="intake", policy=policy),
            clock=SystemClock(),
            database=self.databases["intake"],
            keys=self.rings["intake"],
        )
        app.include_router(keys_router("intake"))
        verifier = TokenVerifier(self.settings.jwks, "casebook", "casebook")
        install_http(app, service="intake", verifier=verifier)
        return app

    def reader(self) -> TextReader:
        """Return dispatch's reader, which reaches intake's app."""
        transport = httpx.ASGITransport(app=cast("Any", self.intake_app()))

        async def counted(request: httpx.Request) -> httpx.Response:
            self.calls += 1
            if self.away:
                raise httpx.ConnectError("away")
            return await transport.handle_async_request(request)

        client = httpx.AsyncClient(transport=httpx.MockTransport(counted))
        return TextReader(self.rings["dispatch"], self.databases["dispatch"], self.settings, client)


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[Place]:
    new_key_file(folder / "key.json")
    write_jwks(folder / "jwks.json", folder / "key.json")
    new_master_key(folder / "master.key")
    async with fresh_database(postgres_for_tests()) as dsn:
        place = Place(dsn, folder)
        await place.prepare()
        try:
            yield place
        finally:
            for database in place.databases.values():
                await database.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place]:
    async with opened(tmp_path) as running:
        yield running


async def test_a_case_has_one_key_for_ever(place: Place) -> None:
    ring, fresh = place.rings["intake"], KeyRing("intake", place.settings.master_key_file)
    async with place.databases["intake"].http() as connection:
        first = await ring.ensure(connection, ["a", "b", "a"])
        again = await fresh.ensure(connection, ["b", "c"])
        assert first.keys() == {"a", "b"}
        assert again["b"] == first["b"]
        assert len({key.secret for key in (*first.values(), again["c"])}) == 3
        assert first["a"].key_id.startswith("intake.")
        stored = await connection.fetchval("SELECT wrapped FROM data_keys WHERE case_key = 'a'")
        assert first["a"].secret not in stored
        assert await fresh.fetch(connection, [first["a"].key_id, "intake.none"]) == {
            first["a"].key_id: first["a"]
        }
        assert await ring.ensure(connection, []) == await ring.fetch(connection, []) == {}


async def test_two_writers_at_once_get_the_same_keys(place: Place) -> None:
    cases = [f"case-{number}" for number in range(50)]

    async def write(ring: KeyRing) -> Any:
        database = place.databases["intake"]
        async with database.http() as connection, connection.transaction():
            found = await ring.ensure(connection, cases)
            await asyncio.sleep(0.05)
            return found

    rings = [KeyRing("intake", place.settings.master_key_file) for _ in range(2)]
    first, second = await asyncio.gather(*map(write, rings))
    assert first == second


async def test_a_key_of_a_rolled_back_transaction_is_never_used(place: Place) -> None:
    ring = place.rings["intake"]
    async with place.databases["intake"].http() as connection:
        transaction = connection.transaction()
        await transaction.start()
        lost = (await ring.ensure(connection, ["a"]))["a"]
        await transaction.rollback()
        assert (await ring.ensure(connection, ["a"]))["a"] != lost
        assert await ring.fetch(connection, [lost.key_id]) == {}


async def test_another_master_key_opens_nothing(place: Place) -> None:
    new_master_key(place.folder / "other.key")
    async with place.databases["intake"].http() as connection:
        await place.rings["intake"].ensure(connection, ["a"])
        for ring in (KeyRing("intake", place.folder / "other.key"), KeyRing("intake", None)):
            with pytest.raises(MissingMasterKey):
                await ring.ensure(connection, ["a"])


async def test_text_of_all_services_is_opened_in_its_order(place: Place) -> None:
    own = await place.sealed("dispatch", "a", "own")
    foreign = await place.sealed("intake", "a", "他人的文字")
    nobody = SealedText("quality2.x", "AAAA", uuid4(), "title")
    reader = place.reader()
    expected = ["他人的文字", None, "own", None, "他人的文字"]
    assert await reader.open([foreign, None, own, nobody, foreign]) == expected
    assert await reader.open([foreign]) == ["他人的文字"]
    assert place.calls == 1
    assert await reader.open([]) == []
    await reader.aclose()


async def test_many_foreign_texts_are_few_calls(place: Place) -> None:
    texts = [await place.sealed("intake", f"case-{number}", str(number)) for number in range(201)]
    reader = place.reader()
    assert await reader.open(texts) == [str(number) for number in range(201)]
    assert place.calls == 2
    await reader.aclose()


async def test_text_whose_key_is_destroyed_or_away_is_none(place: Place) -> None:
    erased = await place.sealed("intake", "a", "erased")
    own = await place.sealed("dispatch", "a", "own")
    reader = place.reader()
    assert await reader.open([own]) == ["own"]
    place.away = True
    assert await reader.open([erased, own]) == [None, "own"]
    place.away = False
    for name in ("intake", "dispatch"):
        async with place.databases[name].http() as connection:
            await connection.execute("DELETE FROM data_keys")
    assert await reader.open([erased, own]) == [None, None]
    await reader.aclose()


async def test_only_services_get_keys_and_only_so_many(place: Place) -> None:
    text = await place.sealed("intake", "a", "x")
    transport = httpx.ASGITransport(app=cast("Any", place.intake_app()))
    async with httpx.AsyncClient(transport=transport, base_url="http://intake.test") as client:

        async def ask(role: str, key_ids: list[str]) -> httpx.Response:
            token = place.signer.mint("x", [role])
            return await client.post(
                "/intake/v1/keys",
                json={"key_ids": key_ids},
                headers={"Authorization": f"Bearer {token}"},
            )

        for role in ("admin", "auditor", "operator", "requester", "publisher"):
            assert (await ask(role, [text.key])).status_code == 403
        answer = await ask("service", [text.key, "intake.none"])
        assert answer.json()["keys"].keys() == {text.key}
        assert answer.headers["cache-control"] == "no-store"
        assert (await ask("service", ["x"] * 201)).status_code == 422
        assert (await ask("service", ["a\u202e"])).status_code == 422
