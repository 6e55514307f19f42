"""What monitoring is made of; the runtime and the documentation follow from it."""

from casebook.kit.service import Service
from casebook.monitoring.domain.service_level import SERVICE_LEVEL
from casebook.monitoring.policy import POLICY
from casebook.monitoring.projections.kpi_facts import KpiFacts
from casebook.monitoring.projections.reopenings import Reopenings
from casebook.monitoring.projections.service_levels import INDEXES
from casebook.monitoring.reactions import REACTIONS, WORKERS

SERVICE = Service(
    name="monitoring",
    found_at=f"{__name__}:SERVICE",
    families=(SERVICE_LEVEL,),
    policy=POLICY,
    reactions=REACTIONS,
    projections=(KpiFacts(), Reopenings()),
    indexes=INDEXES,
    workers=WORKERS,
)
