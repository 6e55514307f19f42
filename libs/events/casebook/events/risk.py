"""Facts about risks, written by risk (handbook 5.1–5.3)."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from casebook.events.event import Audience, Event
from casebook.events.values import (
    COUNT_MAX,
    Count,
    DefinitionReference,
    Label,
    Millionths,
    Moment,
    Score,
    SecretText,
    SecretTitle,
)


class _Risk(Event):
    family: ClassVar[str] = "risk"
    audience: ClassVar[Audience] = "restricted"


class RiskRegistered(_Risk):
    """Somebody entered a risk into the register (handbook 5.1)."""

    type: ClassVar[str] = "casebook.risk.registered.v1"
    category: Label
    service: Label | None = None
    owner: Label
    title: SecretTitle
    description: SecretText | None = None


class RiskCandidateRaised(_Risk):
    """The log itself shows a risk: a service breaches its targets too often (handbook 5.1).

    Of ``measured`` resolution clocks in the window, those of the ``evidence`` breached; the
    lower bound of the 95 % Wilson interval, in millionths, is above the tolerance.
    """

    type: ClassVar[str] = "casebook.risk.candidate-raised.v1"
    rule: DefinitionReference
    category: Label
    service: Label
    window_start: Moment
    window_end: Moment
    measured: Annotated[int, Field(strict=True, ge=1, le=COUNT_MAX)]
    evidence: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=4000)]
    lower_bound_millionths: Millionths
    tolerance_millionths: Millionths


class RiskCandidateRecovered(_Risk):
    """The rate is back within the tolerance; a new candidate may be raised later."""

    type: ClassVar[str] = "casebook.risk.candidate-recovered.v1"
    measured: Count
    breached: Count
    lower_bound_millionths: Millionths


class RiskAssessed(_Risk):
    """Likelihood and impact, 1 to 5 each; ``stage`` is ``inherent`` or ``residual``."""

    type: ClassVar[str] = "casebook.risk.assessed.v1"
    stage: Label
    likelihood: Score
    impact: Score
    score: Annotated[int, Field(strict=True, ge=1, le=25)]
    rating: Label
    scale: DefinitionReference
    reason: SecretText | None = None


class RiskTreatmentPlanned(_Risk):
    """What will be done: avoid, reduce, transfer or accept (handbook 5.2)."""

    type: ClassVar[str] = "casebook.risk.treatment-planned.v1"
    strategy: Label
    owner: Label
    due_at: Moment | None = None
    plan: SecretText


class RiskTreatmentCompleted(_Risk):
    """The planned treatment is in place (handbook 5.3)."""

    type: ClassVar[str] = "casebook.risk.treatment-completed.v1"
    result: SecretText | None = None


class RiskClosed(_Risk):
    """The risk is no longer in the register's open part."""

    type: ClassVar[str] = "casebook.risk.closed.v1"
    reason: SecretText


RiskEvent = (
    RiskRegistered
    | RiskCandidateRaised
    | RiskCandidateRecovered
    | RiskAssessed
    | RiskTreatmentPlanned
    | RiskTreatmentCompleted
    | RiskClosed
)
