"""What a process must have to start, and the one line that says what is missing."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from casebook.kit.access.tokens import new_key_file
from casebook.kit.clock import MovedClock
from casebook.kit.keys import new_master_key
from casebook.kit.settings import Settings
from casebook.kit.starting import (
    StartRefusals,
    StartRefused,
    check_settings,
    connect,
    settings_of_process,
)


@pytest.fixture
def complete(tmp_path: Path) -> dict[str, Any]:
    new_key_file(tmp_path / "signing.jwk")
    new_master_key(tmp_path / "master.key")
    (tmp_path / "jwks.json").write_text("{}")
    return {
        "database_url": "postgresql:///x",
        "jwks": str(tmp_path / "jwks.json"),
        "signing_key": tmp_path / "signing.jwk",
        "master_key_file": tmp_path / "master.key",
    }


def test_what_is_complete_may_start(complete: dict[str, Any], tmp_path: Path) -> None:
    for change in (
        {},
        {"jwks": "https://issuer.test/jwks.json"},
        {"clock_file": tmp_path / "clock", "testing": True},
        {"failpoints": "after-commit=kill@1000000", "testing": True},
        {"failpoints": ""},  # and off again
    ):
        check_settings(Settings.model_validate(complete | change))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"database_url": "", "jwks": ""}, "not set: CASEBOOK_DATABASE_URL, CASEBOOK_JWKS"),
        ({"signing_key": None}, "not set: CASEBOOK_SIGNING_KEY"),
        ({"master_key_file": Path("nowhere")}, "CASEBOOK_MASTER_KEY_FILE names no file"),
        ({"jwks": "nowhere"}, "CASEBOOK_JWKS names no file; run casebook init"),
        ({"clock_file": Path("clock")}, "CASEBOOK_CLOCK_FILE moves the clock: for tests"),
        ({"failpoints": "after-commit=kill"}, "CASEBOOK_FAILPOINTS kills processes: for tests"),
        ({"failpoints": "x=kill", "testing": True}, "CASEBOOK_FAILPOINTS: unknown failpoint 'x'"),
    ],
)
def test_what_is_missing_is_named(
    complete: dict[str, Any], change: dict[str, Any], line: str
) -> None:
    with pytest.raises(StartRefused) as refused:
        check_settings(Settings.model_validate(complete | change))
    assert line in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("CASEBOOK_HTTP_CONNECTIONS", "many", "casebook: cannot be read: CASEBOOK_HTTP_CONNECTIO"),
        ("CASEBOOK_SIGNING_KEY", "nowhere.jwk", "casebook: CASEBOOK_SIGNING_KEY: nowhere.jwk"),
    ],
)
def test_a_value_that_cannot_be_read_ends_the_process_with_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        settings_of_process()
    assert str(ended.value).startswith(line)
    assert "\n" not in str(ended.value)


class Database:
    """A database that answers what a test says, in this order."""

    schema = "toy"

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)

    async def open(self) -> None:
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer

    async def close(self) -> None: ...


async def connected(database: Any, *, given_up: bool = False, seconds_max: float = 30.0) -> None:
    await connect(database, given_up=lambda: given_up, seconds_max=seconds_max)


async def test_a_database_that_is_away_is_waited_for() -> None:
    database = Database(OSError("refused"), asyncpg.CannotConnectNowError("starting up"), None)
    await connected(database)
    assert database.answers == []


@pytest.mark.parametrize(
    ("error", "options", "line"),
    [
        (OSError("refused"), {"seconds_max": 0.0}, "the database cannot be reached: refused"),
        (OSError("refused"), {"given_up": True}, "the database cannot be reached: refused"),
        (asyncpg.InvalidPasswordError("wrong"), {}, "does not admit us: wrong; run casebook init"),
        (asyncpg.InvalidCatalogNameError("none"), {}, "does not admit us: none"),
        (ValueError("bad address"), {}, "CASEBOOK_DATABASE_URL: bad address"),
    ],
)
async def test_waiting_that_cannot_help_is_refused(
    error: Exception, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(StartRefused) as refused:
        await connected(Database(error), **options)
    assert line in str(refused.value)


async def started(error: Exception) -> tuple[list[Message], Exception | None]:
    """Start an application that fails; return what the server hears, and what it catches."""

    def lifespan(app: Starlette) -> Any:
        raise error

    heard: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        heard.append(message)

    app = Starlette(lifespan=lifespan)
    app.add_middleware(StartRefusals)
    try:
        async with asyncio.timeout(5):
            await app({"type": "lifespan", "asgi": {}, "state": {}}, receive, send)
    except type(error) as caught:
        return heard, caught
    return heard, None


async def test_a_refusal_is_one_line_for_the_server_and_a_defect_stays_one() -> None:
    heard, caught = await started(StartRefused("run casebook init"))
    assert heard == [{"type": "lifespan.startup.failed", "message": "casebook: run casebook init"}]
    assert caught is None
    heard, caught = await started(ZeroDivisionError("a defect"))
    assert "Traceback" in heard[0]["message"]
    assert caught is not None


def test_a_moved_clock_follows_its_file(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    clock = MovedClock(file)

    def ahead() -> timedelta:
        return timedelta(seconds=round((clock.now() - datetime.now(UTC)).total_seconds()))

    assert ahead() == timedelta(0)
    for offset in (timedelta(hours=5), timedelta(days=-1)):
        draft = tmp_path / "draft"
        draft.write_text(str(offset.total_seconds()))
        os.replace(draft, file)
        assert ahead() == offset
