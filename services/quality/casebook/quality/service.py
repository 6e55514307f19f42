"""What the quality service is made of."""

from casebook.kit.service import Service
from casebook.quality.api.statements import INDEXES
from casebook.quality.domain import nonconformity, request_link, survey
from casebook.quality.policy import POLICY
from casebook.quality.projections.closure_control import ClosureControl
from casebook.quality.reactions import REACTIONS, WORKERS

SERVICE = Service(
    name="quality",
    found_at=f"{__name__}:SERVICE",
    families=(survey.FAMILY, nonconformity.FAMILY, request_link.FAMILY),
    policy=POLICY,
    reactions=REACTIONS,
    projections=(ClosureControl(),),
    indexes=INDEXES,
    workers=WORKERS,
)
