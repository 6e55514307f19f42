# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# aiokafka has no types; it is used in this adapter and its ingress twin only.
"""The log on Apache Kafka: topic ``casebook.events``, 12 partitions, kept for ever.

Publishing sends one record batch per partition and awaits it before the next; any producer error
throws the producer away, and the outbox is read again (aiokafka's idempotent producer can stay
stuck after a fatal error). Consumers take part in the group only for the division of work: where
reading goes on is decided by the checkpoint rows.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from casebook.events.kafka import record_from_kafka, record_to_kafka, type_of
from casebook.kit.failpoints import reach
from casebook.kit.log import outbox
from casebook.kit.log.event_log import PARTITIONS, TOPIC, Batch, LogRecord
from casebook.kit.log.kafka_polling import poll
from casebook.kit.log.outbox import OutboxRow
from casebook.kit.logging import get_logger
from casebook.kit.postgres.database import Connection
from casebook.kit.signals import is_cancelled

BATCH_BYTES_MAX = 900_000
SEND_SECONDS_MAX = 30.0
ASK_SECONDS_MAX = 5.0
READ_SECONDS_MAX = 30.0
CLOSE_SECONDS_MAX = 5.0
GROUP = "casebook.{}"
_TURN = """
SET LOCAL lock_timeout = '2s'; SELECT pg_advisory_lock(hashtext('relay:' || current_schema()))
"""
_END_TURN = "SELECT pg_advisory_unlock(hashtext('relay:' || current_schema()))"
Result = TypeVar("Result")
_LOG = get_logger("log.kafka")


class LogUnavailable(OSError):
    """Kafka cannot be reached, or does not take the events now."""


class KafkaLog:
    """The shared log on a Kafka cluster."""

    def __init__(self, bootstrap: str, topic: str = TOPIC) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._producer: Any = None
        self._asker: Any = None
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        """Do nothing: producer and consumers connect when they are needed, and again."""

    async def relay(self, connection: Connection, events_max: int) -> int:
        """Publish the oldest events of the outbox; delete them when all are acknowledged.

        Replicas take turns, so that the log holds an event once. That is courtesy, not safety:
        after two seconds a turn is taken, because its holder may hang, and readers drop what
        comes twice.

        :raises LogUnavailable: when Kafka did not acknowledge; the events stay in the outbox.
        """
        if not await outbox.is_anything_unpublished(connection):
            return 0
        async with _turn(connection):
            rows = await outbox.read_outbox(connection, events_max)
            if rows:
                await self.publish(rows)
                reach("between-send-and-delete")
                await outbox.delete_published(connection, [row.position for row in rows])
            return len(rows)

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Send events, per partition in order, and await every batch.

        :raises LogUnavailable: when any batch was not acknowledged.
        """
        by_partition: dict[int, list[OutboxRow]] = {}
        for row in rows:
            by_partition.setdefault(row.partition, []).append(row)
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                producer = await self._connected()
                await asyncio.gather(
                    *(self._send(producer, p, part) for p, part in by_partition.items())
                )
        except (KafkaError, TimeoutError, OSError) as error:
            await self._discard()
            raise LogUnavailable(repr(error)) from error

    async def _send(self, producer: Any, partition: int, rows: Sequence[OutboxRow]) -> None:
        """Send one partition's events, batch by batch."""
        batch = producer.create_batch()
        for row in rows:
            key, headers, value = record_to_kafka(row.record, row.hash)
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                await self._send_batch(producer, batch, partition)
                batch = producer.create_batch()
                if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                    raise LogUnavailable("an event does not fit a batch")
        await self._send_batch(producer, batch, partition)

    async def _send_batch(self, producer: Any, batch: Any, partition: int) -> None:
        """Send one batch and await its acknowledgement."""
        batch.close()
        future = await producer.send_batch(batch, self._topic, partition=partition)
        await future

    async def _connected(self) -> Any:
        """Return a started producer."""
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                enable_idempotence=True,
                acks="all",
                linger_ms=0,
                max_batch_size=BATCH_BYTES_MAX,
                request_timeout_ms=10_000,
                metadata_max_age_ms=30_000,
            )
            try:
                await finished(producer.start())
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _discard(self) -> None:
        """Throw the producer away; the next round makes a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                async with asyncio.timeout(2.0):
                    await finished(producer.stop())
            except (KafkaError, TimeoutError, OSError) as error:
                _LOG.warning("producer.discarded", error=repr(error))

    async def consumer(self, group: str | None) -> "_Consumer":
        """Return a consumer: of the group's share, or of everything without a group.

        :raises LogUnavailable: when Kafka cannot be reached.
        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None if group is None else GROUP.format(group),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=2 * 1024 * 1024,
            max_poll_interval_ms=300_000,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1_000,  # how soon members learn that the group has changed
            metadata_max_age_ms=30_000,
        )
        try:
            await finished(consumer.start())
        except (KafkaError, OSError) as error:
            await consumer.stop()
            raise LogUnavailable(repr(error)) from error
        except BaseException:
            await consumer.stop()
            raise
        if group is None:
            consumer.assign([TopicPartition(self._topic, p) for p in range(PARTITIONS)])
            await consumer.seek_to_beginning()
        else:
            consumer.subscribe([self._topic])
        return _Consumer(consumer, self._topic, grouped=group is not None)

    async def read(
        self, partition: int, start: int, end: int
    ) -> AsyncGenerator[list[LogRecord], None]:
        """Yield the records of one partition from ``start`` up to ``end``, batch by batch.

        :raises LogUnavailable: when Kafka cannot be reached, or nothing comes for 30 seconds.
        """
        place = TopicPartition(self._topic, partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="none",  # what is not there any more is an error, never passed over
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )
        try:
            await finished(consumer.start())
            consumer.assign([place])
            consumer.seek(place, start)
            at = start
            while at < end:
                found = await poll(consumer, place, seconds=READ_SECONDS_MAX)
                before, at = at, await consumer.position(place)
                if at == before:
                    raise LogUnavailable(f"partition {partition} does not come to its end")
                yield [_record(message) for message in found.get(place, ()) if message.offset < end]
        except KafkaError as error:
            raise LogUnavailable(repr(error)) from error
        finally:
            await finished(consumer.stop())

    async def heads(self, seconds_max: float = ASK_SECONDS_MAX) -> dict[int, int]:
        """Return the next offset of every partition.

        :raises LogUnavailable: when Kafka cannot be reached.
        """
        return await self._offsets("end_offsets", seconds_max)

    async def starts(self, seconds_max: float = ASK_SECONDS_MAX) -> dict[int, int]:
        """Return the first offset of every partition that Kafka still has.

        :raises LogUnavailable: when Kafka cannot be reached.
        """
        return await self._offsets("beginning_offsets", seconds_max)

    async def remembered(self, group: str) -> dict[int, int]:
        """Return the offsets that the group's members have committed.

        :raises LogUnavailable: when Kafka cannot be reached.
        """
        places = [TopicPartition(self._topic, p) for p in range(PARTITIONS)]
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            async with asyncio.timeout(ASK_SECONDS_MAX):
                await finished(admin.start())
                found = await admin.list_consumer_group_offsets(
                    GROUP.format(group), partitions=places
                )
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogUnavailable(repr(error)) from error
        finally:
            await finished(admin.close())
        return {place.partition: told.offset for place, told in found.items() if told.offset >= 0}

    async def _offsets(self, question: str, seconds_max: float) -> dict[int, int]:
        """Ask the brokers about all partitions, over one connection that is kept."""
        places = [TopicPartition(self._topic, p) for p in range(PARTITIONS)]
        async with self._asking:
            try:
                async with asyncio.timeout(seconds_max):
                    if self._asker is None:
                        self._asker = AIOKafkaConsumer(bootstrap_servers=self._bootstrap)
                        await finished(self._asker.start())
                    offsets = await finished(getattr(self._asker, question)(places))
            except (KafkaError, TimeoutError, OSError) as error:
                await self._forget_asker()
                raise LogUnavailable(f"Kafka does not answer: {error!r}") from error
            except BaseException:
                await self._forget_asker()
                raise
        return {place.partition: offset for place, offset in offsets.items()}

    async def _forget_asker(self) -> None:
        """Close the connection that offsets are asked over; the next question opens another."""
        asker, self._asker = self._asker, None
        if asker is not None:
            await finished(asker.stop())

    def wakes(self) -> bool:
        """Say yes: ``poll`` waits for records."""
        return True

    async def close(self) -> None:
        """Disconnect."""
        await self._discard()
        await self._forget_asker()


class _Consumer:
    """A Kafka consumer behind the kit's protocol."""

    def __init__(self, consumer: Any, topic: str, *, grouped: bool) -> None:
        self._consumer = consumer
        self._topic = topic
        self._grouped = grouped

    async def poll(self, records_max: int, timeout_seconds: float) -> Batch:
        """Return the next records by partition.

        :raises LogUnavailable: when Kafka answers with an error.
        """
        try:
            found = await poll(self._consumer, seconds=timeout_seconds, records_max=records_max)
        except KafkaError as error:
            raise LogUnavailable(repr(error)) from error
        return {
            partition.partition: [_record(message) for message in messages]
            for partition, messages in found.items()
            if messages
        }

    def assigned(self) -> frozenset[int]:
        """Return the partitions that the group gave to this consumer."""
        return frozenset(partition.partition for partition in self._consumer.assignment())

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition from ``offset`` on, if it is still this consumer's."""
        place = TopicPartition(self._topic, partition)
        if place in self._consumer.assignment():
            self._consumer.seek(place, offset)

    async def hint(self, positions: Mapping[int, int]) -> None:
        """Commit the positions to the group, for lag tools; failure does not matter."""
        if not self._grouped:
            return
        assigned = self.assigned()
        offsets = {
            TopicPartition(self._topic, p): offset
            for p, offset in positions.items()
            if p in assigned
        }
        try:
            async with asyncio.timeout(2.0):
                await self._consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:
            _LOG.debug("hint.failed", error=repr(error))

    async def close(self) -> None:
        """Leave the group."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await finished(self._consumer.stop())
        except (KafkaError, TimeoutError, OSError) as error:
            _LOG.warning("consumer.close-failed", error=repr(error))


@asynccontextmanager
async def _turn(connection: Connection) -> AsyncGenerator[None]:
    """Have this service's turn to publish.

    A lock of the session outlives the connection's return to its pool. Where a cancellation leaves
    it open whether it was given back, the session is ended, and the lock with it.
    """
    held = True
    try:
        held = await _take_turn(connection)
        try:
            yield
        finally:
            if held and not connection.is_closed():
                await connection.execute(_END_TURN)
                held = False
    finally:
        if held:
            connection.terminate()


async def _take_turn(connection: Connection) -> bool:
    """Wait for this service's turn to publish; say whether we hold it, or just go on."""
    try:
        await connection.execute(_TURN)
    except asyncpg.LockNotAvailableError:
        _LOG.warning("turn.taken")
        return False
    return True


async def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """Await work of the client that must not be cut off: half of a connection would stay open.

    When the caller is cancelled, the work still gets a moment to end.

    :raises LogUnavailable: when the client cancels its own work, as it does in losing a broker:
        to whoever awaits it, that would look like the end of the process.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled() and not is_cancelled():
            raise LogUnavailable("the client has given up its own work") from None
        await asyncio.wait({task}, timeout=CLOSE_SECONDS_MAX)
        # How it ended, or ends at last, is of no interest any more.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        raise


def _record(message: Any) -> LogRecord:
    """Return a Kafka message as a record of the log.

    What is not an event keeps its bytes and its type, so that the reader can quarantine it.
    """
    type_ = type_of(message.headers) or ""
    try:
        record, hash_ = record_from_kafka(message.key, message.headers, message.value)
        key = message.key.decode()
    except ValueError:
        return LogRecord(
            message.partition, message.offset, "", type_, "null", b"", message.value or b""
        )
    return LogRecord(message.partition, message.offset, key, type_, record, hash_)
