"""A candidate risk that counted a breach and has gone by since, without the twenty it takes."""

import uuid
from datetime import UTC, datetime
from uuid import UUID

from casebook.events.risk import RiskCandidateRecovered
from casebook.kit.runtime import Runtime
from casebook.kit.store.store import Cause
from casebook.risk.domain.breach_rate import Measurement, Rate, window_start
from casebook.risk.domain.register import raise_candidate
from casebook.risk.domain.risk import Risk
from tests.support.service import append


async def count_as_evidence(risk: Runtime, breach: UUID) -> None:
    """Let a breach be evidence of a risk."""
    now = datetime.now(UTC)
    measured = Measurement(window_start(now), now, Rate(measured=20, breached=1), (breach,))
    raised = raise_candidate(Risk(), service="mail", measurement=measured)
    recovered = RiskCandidateRecovered(measured=20, breached=0, lower_bound_millionths=0)
    stream, cause = f"risk/{uuid.uuid4()}", Cause(actor="service:risk")
    await risk.beside(append(risk, stream, *raised, recovered, cause=cause))
