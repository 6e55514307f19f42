"""What a relay reads costs what it takes, also with statistics of a time when it was behind."""

import pytest

from casebook.kit.log.outbox import _READ  # pyright: ignore[reportPrivateUsage]
from casebook.kit.log.postgres import _RELAY  # pyright: ignore[reportPrivateUsage]
from tests.support.service import Bench
from tests.support.toy import intake

EVENTS, UNPUBLISHED, TAKEN = 20_000, 2_000, 500
ALONE = """
ALTER TABLE events SET (autovacuum_enabled = off);
ALTER TABLE outbox SET (autovacuum_enabled = off)
"""
FILL = """
INSERT INTO events (id, stream, version, type, case_key, partition, recordedtime, record, hash)
SELECT gen_random_uuid(), 'request/' || n, 1, 'x', n::text, 0, now(), repeat('x', 500), ''
FROM generate_series(1, $1::int) n
"""
WAIT = """
INSERT INTO outbox (position, partition) SELECT position, partition FROM events;
ANALYZE events, outbox
"""
PUBLISHED = """
DELETE FROM outbox WHERE position <= (SELECT max(position) FROM events) - $1
"""
BY_JOIN = """
SELECT e.* FROM events e JOIN outbox o USING (position) ORDER BY e.position LIMIT $1
"""


@pytest.mark.parametrize("statement", [_READ, _RELAY], ids=["to Kafka", "to the table"])
async def test_a_relay_looks_its_events_up(bench: Bench, statement: str) -> None:
    touched, plan = await _explained(bench, statement)
    assert touched < 30 * TAKEN, plan
    assert "Seq Scan on events" not in plan, plan
    assert "Merge Join" not in plan, plan


async def test_a_join_would_read_all_events(bench: Bench) -> None:
    """Shows that the test above can fail."""
    _, plan = await _explained(bench, BY_JOIN)
    assert "Seq Scan on events" in plan or "Merge Join" in plan, plan


async def _explained(bench: Bench, statement: str) -> tuple[int, str]:
    """Return how many blocks a statement touches, and its plan, with stale statistics."""
    async with bench.idle(intake()) as runtime, runtime.database.background() as connection:
        await connection.execute(ALONE)
        await connection.execute(FILL, EVENTS)
        await connection.execute(WAIT)
        await connection.execute(PUBLISHED, UNPUBLISHED)
        async with connection.transaction():
            lines = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", TAKEN)
    plan = "\n".join(line[0] for line in lines)
    buffers = next(line[0] for line in lines if "Buffers:" in line[0])
    hits = sum(int(part.partition("=")[2]) for part in buffers.split() if part.startswith("hit="))
    return hits, plan
