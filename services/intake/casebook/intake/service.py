"""What the intake service is made of."""

from casebook.intake.api.statements import BELONGING, INDEXES
from casebook.intake.domain.families import REQUEST, SOURCE
from casebook.intake.policy import POLICY
from casebook.intake.projections.request_sources import RequestSources
from casebook.intake.projections.risk_evidence import RiskEvidence
from casebook.intake.projections.timeline import Timeline
from casebook.intake.projections.work import Work
from casebook.intake.reactions import REACTIONS
from casebook.kit.service import Service

SERVICE = Service(
    name="intake",
    found_at=f"{__name__}:SERVICE",
    families=(REQUEST, SOURCE),
    policy=POLICY,
    reactions=REACTIONS,
    projections=(Timeline(), Work(), RequestSources(), RiskEvidence()),
    indexes=INDEXES,
    belongings={REQUEST.name: BELONGING},
)
