"""Facts as the store hands them over: what the unit tests of risk start from."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid5

import pytest

from casebook.events.definitions import BREACH_RATE_RULE, RISK_SCALE
from casebook.events.envelope import Envelope
from casebook.events.event import Event
from casebook.events.risk import (
    RiskAssessed,
    RiskCandidateRaised,
    RiskCandidateRecovered,
    RiskClosed,
    RiskRegistered,
    RiskTreatmentCompleted,
    RiskTreatmentPlanned,
)
from casebook.events.values import Sealed
from casebook.kit.decider import Fact, Refused
from casebook.risk.domain.register import FAMILY
from casebook.risk.domain.risk import Risk

CASE = UUID("01890000-0000-7000-8000-000000000005")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

REGISTERED = RiskRegistered(category="supplier", owner="zhao.min", title="备份供应商破产")
CANDIDATE = RiskCandidateRaised(
    rule=BREACH_RATE_RULE.reference,
    category="service-level",
    service="mail",
    window_start=NOON - timedelta(days=28),
    window_end=NOON,
    measured=20,
    evidence=tuple(uuid5(CASE, f"breach-{index}") for index in range(6)),
    lower_bound_millionths=145_477,
    tolerance_millionths=100_000,
)
RECOVERED = RiskCandidateRecovered(measured=40, breached=3, lower_bound_millionths=25_836)
ASSESSED = RiskAssessed(
    stage="inherent",
    likelihood=4,
    impact=5,
    score=20,
    rating="extreme",
    scale=RISK_SCALE.reference,
)
PLANNED = RiskTreatmentPlanned(strategy="reduce", owner="sun.li", plan="第二家供应商")
COMPLETED = RiskTreatmentCompleted()
CLOSED = RiskClosed(reason="合同已终止")


@dataclass(frozen=True)
class At:
    """An event at another time, of another origin, case, actor or id than usual."""

    event: Event
    time: datetime = NOON
    origin: Literal["live", "observed"] = "live"
    case: UUID = CASE
    id: UUID | None = None
    actor: str = "li.na"


def fact(item: Event | At, index: int = 0) -> Fact:
    """Return the event as the store would hand it over: with its text sealed."""
    at = item if isinstance(item, At) else At(item)
    texts = {
        name: Sealed(key="key", ciphertext=f"sealed-{index}-{name}")
        for name in at.event.secret_fields
        if getattr(at.event, name) is not None
    }
    event = at.event.model_copy(update=texts)
    return Fact(
        envelope=Envelope(
            id=at.id or uuid5(at.case, str(index)),
            source="/casebook/test",
            type=event.type,
            subject=f"{event.family}/{at.case}",
            streamversion=index + 1,
            partitionkey=str(at.case),
            time=at.time,
            recordedtime=at.time + timedelta(milliseconds=1),
            correlationid=str(at.case),
            actor=at.actor,
            origin=at.origin,
            audience=event.audience,
            data=event.payload(),
        ),
        event=event,
    )


def given(*items: Event | At) -> Risk:
    """Return the risk that these facts make, in their order."""
    risk = FAMILY.initial
    for index, item in enumerate(items):
        each = fact(item, index)
        risk = FAMILY.evolve(risk, each.event, each.envelope)
    return risk


def refusal(command: Callable[[], object]) -> str:
    """Return the code with which ``command`` is refused."""
    with pytest.raises(Refused) as refused:
        command()
    assert refused.value.detail
    return refused.value.code
