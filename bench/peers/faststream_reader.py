# pyright: reportMissingImports=false
"""Reads the topic with FastStream into PostgreSQL, in batches or message by message.

Each batch, or message, is one transaction; its offsets are committed when it is done.
"""

import asyncio
import json
import sys
import time
from typing import Annotated, Any

import psycopg
from faststream import AckPolicy, Context, FastStream
from faststream.kafka import KafkaBroker
from work_fold import COLUMNS, UPSERT, Row, fold, kind_of

task = json.loads(sys.argv[1])
BATCH: int | None = task["batch"]
_UPSERT = UPSERT.format(
    "faststream.work",
    "%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[]",
)

broker = KafkaBroker(task["bootstrap"])
application = FastStream(broker)
progress: dict[str, Any] = {"events": 0, "rows": {}}


async def write(messages: list[Any]) -> None:
    """Fold messages of Kafka and write the rows that they change."""
    rows: dict[str, Row] = progress["rows"]
    changed: dict[str, Row] = {}
    for message in messages:
        key, headers = message.key.decode(), dict(message.headers)
        time_ = headers["ce_time"].decode()
        row = fold(rows.get(key), kind_of(headers["ce_type"]), json.loads(message.value), time_)
        rows[key] = changed[key] = row
    columns = [[row[index] for row in changed.values()] for index in range(len(COLUMNS))]
    await progress["connection"].execute(_UPSERT, (list(changed), *columns))
    await progress["connection"].commit()
    progress["events"] += len(messages)
    if progress["events"] >= task["events"]:
        progress["ended"] = time.perf_counter()
        application.exit()


Raw = Annotated[Any, Context("message.raw_message")]
COMMON = {
    "group_id": task["group"],
    "auto_offset_reset": "earliest",
    "ack_policy": AckPolicy.ACK,
}
if BATCH is None:

    @broker.subscriber(task["topic"], **COMMON)
    async def on_message(body: Any, raw: Raw) -> None:
        """Take one message."""
        await write([raw])

else:

    @broker.subscriber(task["topic"], batch=True, max_records=BATCH, **COMMON)
    async def on_batch(body: list[Any], raw: Raw) -> None:
        """Take a batch."""
        await write(list(raw))


async def main() -> None:
    """Read to the end; print how long that took."""
    progress["connection"] = await psycopg.AsyncConnection.connect(task["dsn"])
    started = time.perf_counter()
    await application.run()
    seconds = progress["ended"] - started
    await progress["connection"].close()
    print(json.dumps({"events": progress["events"], "seconds": seconds}))


asyncio.run(main())
