"""What the risk service is made of."""

from casebook.kit.service import Service
from casebook.risk.api.statements import BELONGING, INDEXES
from casebook.risk.domain import register
from casebook.risk.policy import POLICY
from casebook.risk.projections.resolution_breaches import ResolutionBreaches
from casebook.risk.projections.resolution_clocks import ResolutionClocks
from casebook.risk.reactions import REACTIONS, WORKERS

SERVICE = Service(
    name="risk",
    found_at=f"{__name__}:SERVICE",
    families=(register.FAMILY,),
    policy=POLICY,
    reactions=REACTIONS,
    projections=(ResolutionClocks(), ResolutionBreaches()),
    indexes=INDEXES,
    belongings={register.FAMILY.name: BELONGING},
    workers=WORKERS,
)
