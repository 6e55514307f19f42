"""An import: a file published to the services that own its events, until all of it is a fact.

The same HTTP ingress is used that any other system uses. Requests go out whole, in chunks, and
only a few chunks at a time; all services get their part of a chunk, each tried again until it is
taken. So what waits in one service for an event of another never waits for one that was not sent,
however full the inboxes are. Everything carries ids: an import that was stopped is completed by
running it again.
"""

import asyncio
import base64
import binascii
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from casebook.console.client import ApiError, Client
from casebook.console.importing.audit_file import AuditLog
from casebook.console.importing.audit_rows import NotAnAuditLog
from casebook.console.importing.progress import Report, Silent, Tally
from casebook.console.importing.rules import TYPES
from casebook.console.importing.servicenow import AuditMapping
from casebook.console.importing.settling import NotCompleted, Statuses, registered, settle
from casebook.events.catalog import SERVICES

CHUNK_EVENTS = 1_800
"""A good half of them are for dispatch: so its part is one batch."""

CHUNKS_IN_FLIGHT = 3
BATCH_EVENTS_MAX = 1_000
BATCH_BYTES_MAX = 4_500_000
WATCH_SECONDS = 2.0
BUSY_SECONDS_MAX = 900.0
UNREACHABLE_SECONDS_MAX = 60.0
CURIOSITIES_SHOWN = 20
RESUME = "stopped; run the same command again to complete it, nothing is taken twice"
SEEN_BEFORE = "quarantined before"

Json = dict[str, Any]


_FAILURES = (NotCompleted, ApiError, NotAnAuditLog, OSError)


@dataclass(frozen=True, slots=True)
class Summary:
    """What an import did.

    ``rows`` and ``requests`` were read, ``events`` are new facts of this run, ``duplicates`` were
    known with equal content; ``quarantined`` are rows that cannot be read and refused events. An
    event that arrived twice because an answer was lost on the way counts as a duplicate.
    """

    rows: int
    requests: int
    events: int
    duplicates: int
    quarantined: int
    seconds: float
    curiosities: Mapping[str, int] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """Return 0, or 3 when something was quarantined."""
        return 3 if self.quarantined else 0

    def as_json(self) -> Json:
        """Return what the command prints."""
        return {
            "rows": self.rows,
            "requests": self.requests,
            "events": self.events,
            "duplicates": self.duplicates,
            "quarantined": self.quarantined,
            "seconds": round(self.seconds, 3),
        }


@dataclass(slots=True)
class Chunk:
    """Events of whole requests, by the service that takes them."""

    rows: int = 0
    requests: int = 0
    events: int = 0
    parts: dict[str, list[Json]] = field(default_factory=dict)


async def run_import(
    path: Path,
    *,
    url: str,
    token: str,
    source: str = "uci498",
    utc_offset: str = "+00:00",
    limit: int | None = None,
    progress: Report | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Summary:
    """Import an audit log; return when all of it is a fact, known already, or quarantined.

    ``transport`` is for tests.

    :raises NotCompleted: when that could not be reached.
    """
    report = progress or Silent()
    tally = Tally()
    try:
        log, mapping = _opened(path, limit, source, utc_offset)
        tally.rows_total = log.rows
        async with Client(url, token, transport=transport) as client:
            importer = _Importer(client, source, tally, report)
            report.start(tally)
            try:
                return await importer.run(log, mapping, subject_of(token))
            finally:
                report.finish(tally)
    except asyncio.CancelledError:
        report.note(RESUME)
        raise
    except BaseExceptionGroup as group:
        error = _first(group)
        if not isinstance(error, _FAILURES):
            raise error from None
        raise NotCompleted(str(error)) from error
    except _FAILURES as error:
        raise NotCompleted(str(error)) from error


def _opened(
    path: Path, limit: int | None, source: str, utc_offset: str
) -> tuple[AuditLog, AuditMapping]:
    try:
        log = AuditLog(path, limit=limit)
        return log, AuditMapping(log.columns, file=log.name, source=source, utc_offset=utc_offset)
    except ValueError as error:
        raise NotCompleted(str(error)) from error


def subject_of(token: str) -> str:
    """Return whom a token was given to; whether it is genuine, the services decide.

    :raises NotCompleted: when it is no token.
    """
    try:
        payload = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["sub"])
    except (IndexError, KeyError, TypeError, binascii.Error, orjson.JSONDecodeError) as error:
        raise NotCompleted("the token is not a JWT with a subject") from error


def chunks(log: AuditLog, mapping: AuditMapping) -> Iterator[Chunk]:
    """Yield the events of a file in chunks of whole requests."""
    chunk = Chunk()
    for number, lines in log.requests():
        known = mapping.requests
        if number is None:
            addressed = [mapping.stray(line) for line in lines]
        else:
            addressed = mapping.request(number, lines)
        for service, event in addressed:
            chunk.parts.setdefault(service, []).append(event)
        chunk.rows += len(lines)
        chunk.requests += mapping.requests - known
        chunk.events += len(addressed)
        if chunk.events >= CHUNK_EVENTS:
            yield chunk
            chunk = Chunk()
    if chunk.rows:
        yield chunk


def batches(events: Sequence[Json]) -> Iterator[tuple[int, bytes]]:
    """Yield events as JSON arrays of about equal size, with how many are in each."""
    count = -(-len(events) // BATCH_EVENTS_MAX)
    size = -(-len(events) // max(count, 1))
    for start in range(0, len(events), max(size, 1)):
        yield from _within_bytes(events[start : start + size])


def _within_bytes(events: Sequence[Json]) -> Iterator[tuple[int, bytes]]:
    body = orjson.dumps(events)
    if len(body) <= BATCH_BYTES_MAX or len(events) == 1:
        yield len(events), body
    else:
        middle = len(events) // 2
        yield from _within_bytes(events[:middle])
        yield from _within_bytes(events[middle:])


class _Importer:
    """One import under way."""

    def __init__(self, client: Client, source: str, tally: Tally, report: Report) -> None:
        self._client = client
        self._source = source
        self._tally = tally
        self._report = report
        self._refused: Counter[str] = Counter()

    async def run(self, log: AuditLog, mapping: AuditMapping, publisher: str) -> Summary:
        """Register the source, publish everything, wait until it has settled."""
        before = await self._statuses()
        await self._register(publisher)
        if "live" in {status["mode"] for status in before.values()}:
            raise NotCompleted(f"the source {self._source} is live, and what is imported is not")
        self._client.busy_seconds_max = BUSY_SECONDS_MAX
        self._client.unreachable_seconds_max = UNREACHABLE_SECONDS_MAX
        watcher = asyncio.create_task(self._watch())
        try:
            await self._publish(log, mapping)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        after = await settle(self._progress)
        late = sum(
            max(after[name]["quarantined"] - before[name]["quarantined"] - self._refused[name], 0)
            for name in SERVICES
        )
        self._tally.accepted -= late
        self._tally.quarantined += late
        self._tell(mapping, log, before, after)
        return self._summary(mapping)

    async def _register(self, publisher: str) -> None:
        """Make the source known as history, or use it as an administrator has registered it.

        :raises NotCompleted: when it is registered as something else, which stays as it is.
        """
        try:
            sources = await self._client.get("/intake/v1/sources")
            known = next((one for one in sources if one["source"] == self._source), None)
            seen = None if known is None else f'"{known.pop("version", None)}"'
            if known is None:
                known = {"types": [], "mode": "observed", "publisher": publisher}
            if (known["mode"], known["publisher"]) != ("observed", publisher):
                raise NotCompleted(
                    f"the source {self._source} is registered as {known['mode']}, for"
                    f" {known['publisher']}; import under another name: --source"
                )
            if not set(TYPES) <= set(known["types"]):
                wanted = known | {"types": sorted({*TYPES, *known["types"]})}
                path = f"/intake/v1/sources/{quote(self._source, safe='')}"
                await self._client.put(path, wanted | {"source": self._source}, if_match=seen)
                if known["types"]:  # who has the old ones would refuse what is not among them
                    await registered(self._statuses, TYPES)
        except ApiError as error:
            if error.status != 403:  # noqa: PLR2004 - forbidden
                raise
            self._report.note("the token may not register sources; one that is registered is used")

    async def _publish(self, log: AuditLog, mapping: AuditMapping) -> None:
        """Publish the chunks of a file, a few at a time."""
        window = asyncio.Semaphore(CHUNKS_IN_FLIGHT)
        pending = chunks(log, mapping)
        async with asyncio.TaskGroup() as group:
            while True:
                await window.acquire()
                chunk = next(pending, None)
                if chunk is None:
                    break
                group.create_task(self._publish_chunk(chunk, window))

    async def _publish_chunk(self, chunk: Chunk, window: asyncio.Semaphore) -> None:
        """Publish a chunk to all services at once, until all of it is taken."""
        async with asyncio.TaskGroup() as group:
            for service, events in chunk.parts.items():
                group.create_task(self._publish_part(service, list(batches(events))))
            chunk.parts = {}
        self._tally.rows += chunk.rows
        self._tally.requests += chunk.requests
        window.release()
        self._report.update(self._tally)

    async def _publish_part(self, service: str, parts: Sequence[tuple[int, bytes]]) -> None:
        """Publish a service's part of a chunk, in order."""
        for count, body in parts:
            answer = await self._client.publish(service, body)
            tally = self._tally
            tally.sent += count
            tally.accepted += answer["accepted"]
            tally.duplicates += answer["duplicates"]
            if answer["accepted"] + answer["duplicates"] != count:
                self._examine(service, answer["results"])

    def _examine(self, service: str, results: Sequence[Json]) -> None:
        """Count the quarantined events of a batch.

        :raises NotCompleted: when one was neither taken nor quarantined.
        """
        for result in results:
            outcome = result["outcome"]
            if outcome == "quarantined":
                self._tally.quarantined += 1
                self._refused[service] += result.get("detail") != SEEN_BEFORE
            elif outcome not in {"accepted", "duplicate"}:
                why = result.get("detail") or result.get("code") or "no reason given"
                raise NotCompleted(f"{service} did not take {result.get('id')}: {outcome}, {why}")

    async def _watch(self) -> None:
        """Keep an eye on how many accepted events wait, for the progress."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self._statuses()
            except ApiError:
                continue
            self._report.update(self._tally)

    async def _statuses(self) -> Statuses:
        """Return how far each service is with the source."""
        found = await asyncio.gather(
            *(
                self._client.get(f"/{service}/v1/ingress", {"source": self._source})
                for service in SERVICES
            )
        )
        self._tally.pending = sum(status["pending"] for status in found)
        return dict(zip(SERVICES, found, strict=True))

    async def _progress(self) -> Statuses:
        """Return how far each service is, and tell of it."""
        statuses = await self._statuses()
        self._report.update(self._tally)
        return statuses

    def _summary(self, mapping: AuditMapping) -> Summary:
        tally = self._tally
        return Summary(
            rows=mapping.rows,
            requests=mapping.requests,
            events=tally.accepted,
            duplicates=tally.duplicates,
            quarantined=tally.quarantined,
            seconds=tally.seconds,
            curiosities=dict(mapping.curiosities),
        )

    def _tell(
        self, mapping: AuditMapping, log: AuditLog, before: Statuses, after: Statuses
    ) -> None:
        """Tell what an operator should know about the file."""
        odd = Counter(mapping.curiosities)
        if log.scattered:
            odd["requests whose rows do not stand together"] = log.scattered
        if odd:
            shown = odd.most_common(CURIOSITIES_SHOWN)
            listed = "; ".join(f"{name} ({count:,})" for name, count in shown)
            more = "" if len(odd) == len(shown) else f"; and {len(odd) - len(shown)} more"
            self._report.note(f"taken although unexpected: {listed}{more}")
        deviations: Counter[str] = Counter()
        for service in SERVICES:
            deviations.update(after[service].get("deviations") or {})
            deviations.subtract(before[service].get("deviations") or {})
        if counted := +deviations:
            listed = "; ".join(f"{name} ({count:,})" for name, count in counted.most_common())
            self._report.note(f"deviations from the process, counted: {listed}")
        if mapping.rejected:
            self._report.note(f"{mapping.rejected:,} rows cannot be read: see casebook quarantine")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
