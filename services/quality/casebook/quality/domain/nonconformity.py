"""A nonconformity: a case that did not follow the process (handbook 3.3, 3.4).

Assumption: the handbook has headings only; here a control raises it, with the events that show
it as evidence. What is done about it (containment, corrective action) is later work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from casebook.events.definitions import CLOSURE_CONTROL
from casebook.events.envelope import Envelope
from casebook.events.quality import NonconformityEvent, NonconformityRaised
from casebook.kit.decider import Refused, StoredMoment, StreamFamily


@dataclass(frozen=True, slots=True)
class Nonconformity:
    """A nonconformity as its facts tell it; without a control while there is none."""

    origin: str = "observed"
    control: str | None = None
    control_version: int | None = None
    request_id: UUID | None = None
    grade: str | None = None
    evidence: tuple[UUID, ...] = ()
    raised_at: StoredMoment | None = None

    @property
    def raised(self) -> bool:
        """Say whether it was raised."""
        return self.control is not None


def evolve(
    nonconformity: Nonconformity, event: NonconformityEvent, envelope: Envelope
) -> Nonconformity:
    """Return the nonconformity after ``event``; total, and never refuses."""
    return Nonconformity(
        origin="live" if envelope.origin == "live" else nonconformity.origin,
        control=event.control.id,
        control_version=event.control.version,
        request_id=event.request_id,
        grade=event.grade,
        evidence=event.evidence,
        raised_at=envelope.time,
    )


def raise_for_closing(
    nonconformity: Nonconformity, *, request_id: UUID, evidence: Sequence[UUID]
) -> list[NonconformityEvent]:
    """Raise what the control over closures found; once is enough."""
    if nonconformity.raised:
        return []
    return [
        NonconformityRaised(
            control=CLOSURE_CONTROL.reference,
            request_id=request_id,
            grade=CLOSURE_CONTROL.body.grade,
            evidence=tuple(evidence),
        )
    ]


def guard(nonconformity: Nonconformity, event: NonconformityEvent) -> None:
    """Hold what another system publishes to the rules of the command.

    :raises Refused: ``nonconformity-already-raised`` for a second one of the same id.
    """
    if nonconformity.raised:
        raise Refused(
            "nonconformity-already-raised", "a nonconformity of this id was raised before"
        )


FAMILY: StreamFamily[Nonconformity] = StreamFamily(
    name="nonconformity", initial=Nonconformity(), evolve=evolve, guard=guard
)
