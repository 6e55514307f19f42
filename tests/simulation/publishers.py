"""Other systems that publish: late, out of order, more than once, and now and then nonsense.

A history is a subject with events in the order of its source. What is expected to stay in
quarantine is remembered, so that everything else must have become a fact in the end.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from casebook.events.definitions import PRIORITY_MATRIX
from casebook.events.event import Event
from casebook.events.ingress import Published
from casebook.events.request import (
    RequestClosed,
    RequestCommented,
    RequestPrioritised,
    RequestResolutionProposed,
    RequestSubmitted,
)
from casebook.events.work_order import (
    WorkOrderAccepted,
    WorkOrderAssignedToTeam,
    WorkOrderResolved,
)
from casebook.kit.ids import source_id
from casebook.kit.ingress.inbox import owner_of_published
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS
from tests.simulation.processes import Killed, Process
from tests.simulation.world import START

if TYPE_CHECKING:
    from tests.simulation.world import World

_DAY = timedelta(days=1)


@dataclass(slots=True)
class Publisher:
    """What the sources of one seed publish, and what must become of it."""

    events: list[Published] = field(default_factory=list[Published])
    refused: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Source events that end in quarantine, with the reason."""

    def fact_ids(self) -> dict[str, str]:
        """Return the fact ids of what must be in the store at the end, and the owner."""
        bad = {name for name, _ in self.refused}
        return {
            str(source_id(event.source, "fact", event.id)): owner_of_published(event.type)
            for event in self.events
            if event.id not in bad
        }


def draw(world: "World") -> Publisher:
    """Return the histories of a seed."""
    rng = world.rng
    publisher = Publisher()
    for number in range(rng.randint(1, 2)):
        observed = rng.random() < 0.6
        subject = f"case-{number}"
        told = _history() if observed else _history()[:2]
        source = "old-desk" if observed else "crm"
        for place, event in enumerate(told, 1):
            publisher.events.append(_published(source, subject, event, place))
        if rng.random() < 0.3:
            _spoil(publisher, source, subject, len(told) + 1)
    return publisher


def _history() -> list[Event]:
    """Return what another system tells of one request, from its submission to its closure."""
    return [
        RequestSubmitted(number="X1", kind="incident", requester="rita"),
        RequestPrioritised(impact=2, urgency=2, priority=3, matrix=PRIORITY_MATRIX.reference),
        WorkOrderAssignedToTeam(team="network", initial=True),
        WorkOrderAccepted(agent="zoe"),
        WorkOrderResolved(code="fixed"),
        RequestResolutionProposed(resolved_at=START - _DAY),
        RequestClosed(basis="confirmed"),
    ]


def _published(source: str, subject: str, event: Event, place: int) -> Published:
    return Published(
        source=source,
        id=f"{source}-{subject}-{place}",
        type=event.type,
        subject=subject,
        time=START - 2 * _DAY + timedelta(hours=place),
        data=event.payload(),
        sourcesequence=place,
    )


def _spoil(publisher: Publisher, source: str, subject: str, place: int) -> None:
    """Let a source say what it may not: its place in the history is skipped."""
    event = _published(source, subject, RequestCommented(body="not my type"), place)
    publisher.events.append(event)
    publisher.refused.add((event.id, "type-not-allowed"))


async def publish(world: "World", publisher: Publisher, depth: int) -> None:
    """Send everything in disorder, parts of it twice, parts of it never (until the end)."""
    rng = world.rng
    pending = [event for event in publisher.events if rng.random() < 0.85]
    rng.shuffle(pending)
    while pending and world.steps < depth:
        size = rng.randint(1, 4)
        batch, pending = pending[:size], pending[size:]
        if rng.random() < 0.2:
            pending += batch
        await offer(world, batch)
        await asyncio.sleep(rng.random() / 4)


async def publish_all(world: "World", publisher: Publisher) -> None:
    """Send everything once more, until every event was taken."""
    for owner in ("intake", "dispatch"):
        mine = [event for event in publisher.events if owner_of_published(event.type) == owner]
        while mine and not await offer(world, mine):
            await asyncio.sleep(1.0)


async def offer(world: "World", events: Sequence[Published]) -> bool:
    """Offer events to the inboxes of their owners, as HTTP does; say whether all were taken."""
    taken = True
    for owner in {owner_of_published(event.type): None for event in events}:
        living = world.serving(owner)
        if not living:
            taken = False
            continue
        process = world.rng.choice(living)
        mine = [event for event in events if owner_of_published(event.type) == owner]
        task = process.spawn(_accept(process, mine))
        await asyncio.wait([task])
        taken = taken and not task.cancelled() and task.exception() is None
        if not task.cancelled():
            with contextlib.suppress(Killed, *INFRASTRUCTURE_ERRORS):
                task.result()
    return taken


async def _accept(process: Process, events: Sequence[Published]) -> None:
    runtime = process.runtime
    publisher = f"{events[0].source}-key"
    groups = {
        source: [e for e in events if e.source == source]
        for source in {e.source: None for e in events}
    }
    cases: set[str] = set()
    for source, group in groups.items():
        publisher = f"{source}-key"
        async with runtime.database.http() as connection, connection.transaction():
            _, touched = await runtime.inbox.accept(
                connection, group, publisher=publisher, channel="http"
            )
        cases |= touched
    runtime.signals.cases.add(cases)
    runtime.signals.inbox.set()
