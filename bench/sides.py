"""The sides of the benches that read Kafka, each as a process of its own.

``python -m bench.sides SIDE TASK`` does one task and prints what it took as a JSON object. A
process that does nothing else says what memory it takes.
"""

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import asyncpg
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.hopping import bare_hop, hop
from bench.peers.work_fold import COLUMNS, UPSERT, Row, fold, kind_of
from bench.processes import cpu_seconds, rss_max_mib
from bench.reading_service import READING, Found, Task, connected
from casebook.intake.projections.work import Work
from casebook.kit.log.event_log import PARTITIONS
from casebook.kit.rebuilding.rebuild import rebuild

RECORDS_MAX = 2_000
"""The same as Casebook's, so that both commit as often."""
_TYPE, _TIME = "ce_type", "ce_time"
_UPSERT = UPSERT.format(
    "bare.work",
    "$1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[]",
)
_OFFSETS = """
INSERT INTO bare.offsets SELECT * FROM unnest($1::int[], $2::bigint[])
ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset
"""


async def reader(task: Task) -> Found:
    """Let Casebook's reader apply the topic, from its start to its end."""
    async with connected(task, READING) as runtime:
        started = time.perf_counter()
        reading = asyncio.create_task(runtime.reader.run())
        while runtime.reader.records_applied < task["events"]:
            if reading.done():
                raise RuntimeError(f"the reader stopped: {runtime.reader.halted}")
            await asyncio.sleep(0.005)
        seconds = time.perf_counter() - started
        reading.cancel()
        await asyncio.wait({reading})
        return {"seconds": seconds}


async def rebuilding(task: Task) -> Found:
    """Let Casebook rebuild a projection from the topic."""
    async with connected(task, READING) as runtime:
        started = time.perf_counter()
        done = await rebuild(runtime, Work())
        if done.records != task["events"]:
            raise RuntimeError(f"it read {done.records} records")
        return {"seconds": time.perf_counter() - started}


async def bare_reader(task: Task) -> Found:
    """Consume, decode, fold, and write the changed rows and the offsets of each poll."""
    rows: dict[str, Row] = {}
    connection = await asyncpg.connect(task["dsn"])
    started = time.perf_counter()
    async for batch in _polls(task):
        changed = _folded(rows, batch)
        ends = {place.partition: messages[-1].offset + 1 for place, messages in batch.items()}
        async with connection.transaction():
            await connection.execute(
                _UPSERT, list(changed), *(_column(changed, index) for index in range(len(COLUMNS)))
            )
            await connection.execute(_OFFSETS, list(ends), list(ends.values()))
    seconds = time.perf_counter() - started
    await connection.close()
    return {"seconds": seconds}


async def bare_rebuild(task: Task) -> Found:
    """Consume, decode, fold in memory, and COPY all rows at the end."""
    rows: dict[str, Row] = {}
    connection = await asyncpg.connect(task["dsn"])
    started = time.perf_counter()
    async for batch in _polls(task):
        _folded(rows, batch)
    text = io.BytesIO()
    for key, row in rows.items():
        fields = ("\\N" if value is None else value for value in (key, *row))
        text.write(("\t".join(fields) + "\n").encode())
    text.seek(0)
    await connection.copy_to_table(
        "work", schema_name="bare", source=text, columns=("request", *COLUMNS)
    )
    seconds = time.perf_counter() - started
    await connection.close()
    return {"seconds": seconds}


async def _polls(task: Task) -> AsyncGenerator[Mapping[Any, Any]]:
    """Yield what each poll of the topic brings, to its end."""
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=task["bootstrap"], enable_auto_commit=False,
        auto_offset_reset="earliest", max_partition_fetch_bytes=2 * 1024 * 1024,
    )  # fmt: skip
    await consumer.start()
    try:
        consumer.assign([TopicPartition(task["topic"], number) for number in range(PARTITIONS)])
        read = 0
        while read < task["events"]:
            batch = await consumer.getmany(timeout_ms=1_000, max_records=RECORDS_MAX)
            read += sum(map(len, batch.values()))
            if batch:
                yield batch
    finally:
        await consumer.stop()


def _folded(rows: dict[str, Row], batch: Mapping[Any, Any]) -> dict[str, Row]:
    """Fold the messages of a poll into the rows; return those that changed."""
    changed: dict[str, Row] = {}
    for messages in batch.values():
        for message in messages:
            key, headers = message.key.decode(), dict(message.headers)
            kind, time_ = kind_of(headers[_TYPE]), headers[_TIME].decode()
            row = fold(rows.get(key), kind, orjson.loads(message.value), time_)
            rows[key] = changed[key] = row
    return changed


def _column(rows: Mapping[str, Row], index: int) -> list[Any]:
    """Return one column of some rows; the last one is a time."""
    values = [row[index] for row in rows.values()]
    if COLUMNS[index] == "updated_at":
        return [datetime.fromisoformat(value or "") for value in values]
    return values


SIDES: Mapping[str, Callable[[Task], Awaitable[Found]]] = {
    "reader": reader,
    "rebuild": rebuilding,
    "bare-reader": bare_reader,
    "bare-rebuild": bare_rebuild,
    "hop": hop,
    "bare-hop": bare_hop,
}


async def main() -> None:
    """Do a task; print how long it took, and what it cost."""
    task = json.loads(sys.argv[2])
    before = cpu_seconds(os.getpid())
    found = await SIDES[sys.argv[1]](task)
    used = cpu_seconds(os.getpid()) - before
    cost = {"cpu_seconds": used, "rss_max_mib": rss_max_mib(os.getpid())}
    print(json.dumps({"events": task["events"], **found, **cost}))


if __name__ == "__main__":
    uvloop.run(main())
