# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# aiokafka has no types; it is used in this adapter and in that of the log only.
"""Publishing over Kafka: topics ``casebook.ingress.<publisher>`` (decisions 3.6).

A Kafka record does not say who sent it; the topic does, because only its publisher may write
there. Every service reads all of these topics and takes what it owns; what nobody owns is
intake's. An event is acknowledged when it is in the inbox, and harmless when it comes again.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from casebook.events.ingress import Published, from_kafka_ingress
from casebook.events.kafka import type_of
from casebook.events.malformed import Malformed
from casebook.kit import strict_json
from casebook.kit.bookkeeping.quarantine import Quarantined, quarantine
from casebook.kit.ids import named_id
from casebook.kit.ingress.inbox import count_results, owner_of_published
from casebook.kit.log.kafka import finished
from casebook.kit.log.kafka_polling import poll
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

PREFIX = "casebook.ingress."
PATTERN = r"^casebook\.ingress\..+"
RECORDS_MAX = 500
POLL_SECONDS = 0.2
RETRY_SECONDS = 1.0
NEW_TOPICS_SECONDS = 5.0
_NAMESPACE = UUID("8d0d7a52-3b8e-4f0e-9a53-5d2f6a1b7c44")
_LOG = get_logger("ingress")


async def read_ingress(runtime: "Runtime") -> None:
    """Take published events into the inbox until cancelled; Kafka that is down is waited for."""
    while True:
        consumer: Any = AIOKafkaConsumer(
            bootstrap_servers=runtime.settings.kafka_bootstrap,
            group_id=f"{PREFIX}{runtime.service.name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=int(NEW_TOPICS_SECONDS * 1000),
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )
        try:
            await finished(consumer.start())
            consumer.subscribe(pattern=PATTERN)
            await _read(runtime, consumer)
        except (KafkaError, *INFRASTRUCTURE_ERRORS) as error:
            _LOG.warning("ingress.retrying", error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            await finished(consumer.stop())


async def _read(runtime: "Runtime", consumer: Any) -> None:
    """Poll, accept, and commit what was accepted."""
    while True:
        if await _is_full(runtime):
            await asyncio.sleep(POLL_SECONDS)
            continue
        batch = await poll(consumer, seconds=POLL_SECONDS, records_max=RECORDS_MAX)
        for place, messages in batch.items():
            await _accept(runtime, place.topic.removeprefix(PREFIX), messages)
        if batch:
            await consumer.commit(
                {place: messages[-1].offset + 1 for place, messages in batch.items()}
            )


async def _is_full(runtime: "Runtime") -> bool:
    """Say whether enough events wait to be promoted."""
    limit = runtime.settings.inbox_events_max
    async with runtime.database.background() as connection:
        depth = await connection.fetchval(
            "SELECT count(*) FROM (SELECT FROM inbox LIMIT $1) AS i", limit
        )
    return depth >= limit


async def _accept(runtime: "Runtime", publisher: str, messages: Sequence[Any]) -> None:
    """Take a publisher's events; one that this code fails on is quarantined alone."""
    try:
        await _transact(runtime, publisher, messages)
    except INFRASTRUCTURE_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001 - one bad event must not stop the others
        _LOG.error("ingress.isolating", exc_info=error)
        if len(messages) == 1:
            bad = _unreadable(messages[0], "internal-error", type(error).__name__)
            await _quarantine(runtime, [bad])
            return
        for message in messages:
            await _accept(runtime, publisher, [message])


async def _transact(runtime: "Runtime", publisher: str, messages: Sequence[Any]) -> None:
    """Put what this service owns into its inbox, in one transaction."""
    events: list[Published] = []
    bad: list[Quarantined] = []
    mine = runtime.service.name
    for message in messages:
        try:
            event = from_kafka_ingress(
                message.key, message.headers, message.value, loads=strict_json.loads
            )
        except Malformed as error:
            if owner_of_published(type_of(message.headers) or "unknown") == mine:
                bad.append(_unreadable(message, error.code, error.detail))
            continue
        if owner_of_published(event.type) == mine:
            events.append(event)
    if bad:
        await _quarantine(runtime, bad)
    if not events:
        return
    runtime.history.check()
    async with runtime.database.transaction() as connection:
        results, cases = await runtime.inbox.accept(
            connection, events, publisher=publisher, channel="kafka"
        )
    count_results(runtime.service.name, results)
    runtime.signals.cases.add(cases)
    runtime.signals.inbox.set()


async def _quarantine(runtime: "Runtime", bad: Sequence[Quarantined]) -> None:
    """Keep what is no event."""
    async with runtime.database.transaction() as connection:
        await quarantine(connection, runtime.keys, bad, runtime.clock.now())


def _unreadable(message: Any, reason: str, detail: str) -> Quarantined:
    """Return the quarantine row of a record that is no event."""
    place = f"{message.topic}/{message.partition}/{message.offset}"
    return Quarantined(
        id=named_id(_NAMESPACE, place),
        reason=reason,
        detail=f"{place}: {detail}",
        channel="kafka",
        body=message.value or b"",
    )
