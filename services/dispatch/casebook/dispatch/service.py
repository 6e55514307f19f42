"""What dispatch is made of: its streams, reactions, read models and background work."""

from casebook.dispatch import matcher
from casebook.dispatch.domain.families import AGENT, TEAM, WORK_ORDER
from casebook.dispatch.policy import POLICY
from casebook.dispatch.projections import agent_load
from casebook.dispatch.projections.team_queue import TeamQueue
from casebook.dispatch.reactions import REACTIONS
from casebook.kit.service import InlineTable, Service, Worker

SERVICE = Service(
    name="dispatch",
    found_at=f"{__name__}:SERVICE",
    families=(WORK_ORDER, TEAM, AGENT),
    policy=POLICY,
    reactions=REACTIONS,
    projections=(TeamQueue(),),
    tables=(agent_load.TABLE,),
    indexes=(agent_load.INDEX, matcher.INDEX),
    on_append=agent_load.keep,
    inline=(
        InlineTable(
            "agent_load", agent_load.COLUMNS, json=frozenset({"skills"}), fold=agent_load.fold
        ),
    ),
    workers=(Worker(matcher.FOLLOWS, matcher.run_matcher),),
)
