"""The import against a platform that is busy, refuses, fails and is killed."""

import asyncio
import io
from pathlib import Path
from typing import Any

import httpx
import pytest

from casebook.console import client
from casebook.console.importing import run, settling
from casebook.console.importing.progress import Lines
from casebook.console.importing.rules import TYPES
from casebook.console.importing.run import Summary, batches, run_import, subject_of
from casebook.console.importing.settling import NotCompleted
from tests.support.audit_log import SAMPLE
from tests.unit.console.fakes import TOKEN, FakePlatform
from tests.unit.console.given import SAMPLE_EVENTS, events_of, line, write

REGISTERED = {
    "source": "uci498",
    "types": sorted(TYPES),
    "mode": "observed",
    "publisher": "importer",
}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks and short waits, so that a small file shows everything."""
    monkeypatch.setattr(run, "CHUNK_EVENTS", 100)
    monkeypatch.setattr(run, "BATCH_EVENTS_MAX", 40)
    monkeypatch.setattr(run, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.001)
    monkeypatch.setattr(client, "BACK_OFF_SECONDS_MIN", 0.001)


async def imported(platform: Any, path: Path = SAMPLE, **options: Any) -> Summary:
    transport = httpx.ASGITransport(platform)
    given = {"url": "http://casebook", "token": TOKEN, "transport": transport} | options
    return await run_import(path, **given)


async def test_a_file_is_imported_once_and_for_all() -> None:
    platform = FakePlatform()
    summary = await imported(platform)
    assert summary.as_json() | {"seconds": 0} == {
        "rows": 6_097, "requests": 900, "events": SAMPLE_EVENTS, "duplicates": 0,
        "quarantined": 0, "seconds": 0,
    }  # fmt: skip
    assert summary.exit_status == 0
    assert len(platform.facts) == SAMPLE_EVENTS
    assert platform.source == REGISTERED
    again = await imported(platform)
    assert (again.events, again.duplicates, again.exit_status) == (0, SAMPLE_EVENTS, 0)
    assert len(platform.facts) == SAMPLE_EVENTS


async def test_batches_are_of_about_equal_size_and_every_service_gets_its_own() -> None:
    platform = FakePlatform()
    await imported(platform, limit=100)
    assert {service for service, _ in platform.batches} == {
        "intake", "dispatch", "monitoring", "quality",
    }  # fmt: skip
    assert max(size for _, size in platform.batches) <= 40
    assert platform.calls["PUT sources"] == sum(key is not None for key in platform.keys) == 1


async def test_full_inboxes_do_not_lock_each_other_out() -> None:
    """Each inbox holds little more than the chunks that are in flight."""
    platform = FakePlatform(inbox_events_max=400, promote_max=25)
    summary = await imported(platform, limit=300)
    assert platform.calls["POST events"] > len(platform.batches)
    assert platform.pending_max < 400 + 40
    assert summary.events == len(platform.facts) > 3_000
    assert (summary.duplicates, summary.quarantined) == (0, 0)


async def test_a_busy_or_lost_platform_is_tried_again() -> None:
    platform = FakePlatform()
    platform.failures = [
        (503, {"code": "unavailable", "detail": "later", "retry_after": 0.001}),
        httpx.ConnectError("refused"),
        (429, {"code": "inbox-full", "detail": "full"}),
        httpx.ReadTimeout("slow"),
    ]
    summary = await imported(platform, limit=50)
    assert summary.events == len(platform.facts)
    assert summary.duplicates == 0


async def test_killed_in_the_middle_and_run_again_it_completes() -> None:
    told = io.StringIO()

    class Killer(FakePlatform):
        def _accept(self, service: str, events: list[dict[str, Any]]) -> Any:
            if len(self.batches) == 100:
                running.cancel()
            return super()._accept(service, events)

    platform = Killer()
    running = asyncio.create_task(imported(platform, progress=Lines(told)))
    with pytest.raises(asyncio.CancelledError):
        await running
    taken = len(platform.facts) + sum(map(len, platform.waiting.values()))
    assert 0 < taken < SAMPLE_EVENTS
    assert "run the same command again" in told.getvalue()
    summary = await imported(platform)
    assert len(platform.facts) == SAMPLE_EVENTS
    assert summary.events + summary.duplicates == SAMPLE_EVENTS


async def test_what_cannot_be_taken_is_counted(tmp_path: Path) -> None:
    """A row that cannot be read, and an event that is refused after it was accepted."""
    path = write(tmp_path / "log.csv", [line(), line(sys_updated_at="?"), line()])
    events = events_of(path)
    platform = FakePlatform(refused={events[0]["id"]})
    told = io.StringIO()
    summary = await imported(platform, path, progress=Lines(told))
    assert (summary.events, summary.quarantined, summary.exit_status) == (len(events) - 2, 2, 3)
    assert "1 rows cannot be read" in told.getvalue()
    assert "already-closed (2)" in told.getvalue()
    again = await imported(platform, path)
    assert (again.events, again.quarantined, again.exit_status) == (0, 2, 3)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ((401, {"code": "unauthenticated", "detail": "a valid token"}), "a valid token"),
        ((413, {"code": "body-too-large", "detail": "too large"}), "too large"),
        (
            (202, {"results": [{"id": None, "outcome": "malformed", "detail": "bad time"}],
                   "accepted": 0, "duplicates": 0, "quarantined": 0}),
            "did not take None: malformed, bad time",
        ),
    ],
)  # fmt: skip
async def test_what_is_neither_taken_nor_quarantined_ends_the_import(
    failure: Any, reason: str
) -> None:
    with pytest.raises(NotCompleted, match=reason):
        await imported(FakePlatform(failures=[failure]))


async def test_without_services_nothing_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "BACK_OFF_SECONDS_MAX", 0.001)

    async def down(scope: Any, receive: Any, send: Any) -> None:
        raise httpx.ConnectError("connection refused")

    real = client.Client.__init__

    def impatient(self: Any, *args: Any, **options: Any) -> None:
        real(self, *args, **options, unreachable_seconds_max=0.05)

    monkeypatch.setattr(client.Client, "__init__", impatient)
    with pytest.raises(NotCompleted, match="cannot reach http://casebook: connection refused"):
        await imported(down)


async def test_an_import_that_no_longer_moves_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "STALLED_SECONDS_MAX", 0.05)
    platform = FakePlatform(promote_max=0)
    with pytest.raises(NotCompleted, match=r"nothing moves any more in dispatch\b.*: events wait"):
        await imported(platform, limit=3)


async def test_an_import_ends_beside_others_when_its_own_is_applied() -> None:
    """Readers that follow a busy log are never at its end, and need not be."""
    assert (await imported(FakePlatform(others=True), limit=3)).events > 0


async def test_a_reader_that_stands_still_is_told_whatever_others_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "STALLED_SECONDS_MAX", 0.05)
    with pytest.raises(NotCompleted, match=r"no.* more in dispatch, .*: the log is not applied"):
        await imported(FakePlatform(others=True, halted=True), limit=3)


async def test_a_token_that_may_not_register_uses_what_is_registered() -> None:
    told = io.StringIO()

    class Registered(FakePlatform):
        def _register(self, body: bytes) -> Any:
            return 403, {"code": "forbidden", "detail": "not you"}

    summary = await imported(Registered(), limit=3, progress=Lines(told))
    assert summary.events > 0
    assert "may not register" in told.getvalue()


async def test_nothing_is_imported_into_a_live_source_that_one_may_not_look_up() -> None:
    class Registered(FakePlatform):
        def _sources(self) -> Any:
            return 403, {"code": "forbidden", "detail": "not you"}

    platform = Registered(source=REGISTERED | {"mode": "live"})
    with pytest.raises(NotCompleted, match="uci498 is live"):
        await imported(platform, limit=3)
    assert platform.facts == {}


@pytest.mark.parametrize("changed", [{"mode": "live"}, {"publisher": "somebody"}])
async def test_a_source_that_is_something_else_stays_as_it_is(changed: dict[str, str]) -> None:
    platform = FakePlatform(source=REGISTERED | changed)
    with pytest.raises(NotCompleted, match=r"uci498 is registered as .*--source"):
        await imported(platform, limit=3)
    assert platform.source == REGISTERED | changed
    assert platform.facts == {}


async def test_what_an_administrator_said_of_a_source_is_kept() -> None:
    platform = FakePlatform(
        source=REGISTERED | {"types": ["x"], "organisation": "acme"}, types_unread=8
    )
    await imported(platform, limit=3)
    assert platform.too_early == 0, "who knows the old types would refuse the new ones"
    assert platform.source is not None
    assert platform.source["organisation"] == "acme"
    assert set(platform.source["types"]) == {"x", *TYPES}
    platform.calls.clear()
    await imported(platform, limit=3)
    assert platform.calls["PUT sources"] == 0


async def test_a_source_that_cannot_be_registered_is_not_waited_for() -> None:
    class Elsewhere(FakePlatform):
        def _register(self, body: bytes) -> Any:
            return 404, {"code": "not-found", "detail": "nothing here"}

    with pytest.raises(NotCompleted, match="not-found"):
        await imported(Elsewhere(), limit=3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"token": "nonsense"}, "not a JWT"),
        ({"token": "a.b.c"}, "not a JWT"),
        ({"token": "two\nlines"}, "one line of visible ASCII"),
        ({"utc_offset": "CET"}, "offset from UTC"),
        ({"path": Path("no-such-file.csv")}, "No such file"),
        ({"url": "http://a:b"}, "is no address"),
        ({"url": "localhost:8080"}, "is no address"),
    ],
)
async def test_what_cannot_work_is_said_at_once(options: dict[str, Any], reason: str) -> None:
    platform = FakePlatform()
    with pytest.raises(NotCompleted, match=reason):
        await imported(platform, **options)
    assert not platform.facts


def test_the_subject_of_a_token() -> None:
    assert subject_of(TOKEN) == "importer"


def test_a_batch_is_never_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BATCH_BYTES_MAX", 1_000)
    events = [{"id": f"{n:03}", "data": "x" * 90} for n in range(85)]
    found = list(batches(events))
    assert sum(count for count, _ in found) == 85
    assert all(len(body) <= 1_000 for _, body in found)
    assert list(batches([])) == []
    (alone,) = batches([{"data": "x" * 2_000}])
    assert alone[0] == 1
