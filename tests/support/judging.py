"""How answers to bad input are judged, and what such input must have left behind."""

import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.support.interface import SERVICES
from tests.support.stage import Stage

CANARY = "金丝雀7f3c9a"
"""A secret: it stands in free text, and may be told to nobody."""

_THREADS = 6


def all_of(calls: Iterable[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """Make calls, several at a time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda call: call(), calls))


def check(answer: httpx.Response, *allowed: int, what: object = None) -> str | None:
    """Check that an answer is no failure, and that a refusal is a problem; return its code."""
    place = (what, answer.request.method, str(answer.request.url)[:200], answer.status_code)
    assert answer.status_code < 500, (*place, answer.text[:300])
    assert not allowed or answer.status_code in allowed, (*place, answer.text[:300])
    if answer.status_code < 400:
        return None
    assert answer.headers["content-type"] == "application/problem+json", place
    document = answer.json()
    assert document["status"] == answer.status_code, place
    assert re.fullmatch(r"[a-z][a-z0-9-]+", document["code"]), place
    assert document["type"] == f"urn:casebook:problem:{document['code']}", place
    assert CANARY not in answer.text, place
    return str(document["code"])


async def check_soundness(platform: Stage) -> None:
    """Check that nothing is stuck, failed or told, and that every chain and fold verifies."""
    platform.quiet()
    for service in SERVICES:
        assert platform.everybody.get(f"/{service}/v1/parked").json()["items"] == []
    assert platform.running.command.json("verify")["differences"] == []
    log = platform.log()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert len(lines) > 100
    assert [line for line in lines if line["level"] in {"error", "critical"}] == []
    failed = [line for line in lines if (line.get("status") or 0) >= 500]
    assert {line["code"] for line in failed} <= {"not-caught-up"}, failed[:3]
    assert CANARY not in log
    assert "eyJ" not in log
    for service in SERVICES:
        for table in ("events", "inbox", "quarantine", "idempotency", "parked"):
            rows = await platform.running.fetch(
                f"SELECT count(*) FROM {service}.{table} t WHERE t::text LIKE $1", f"%{CANARY}%"
            )
            assert rows[0]["count"] == 0, (service, table)
