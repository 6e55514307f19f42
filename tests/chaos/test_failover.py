"""A Kafka of three brokers that loses its leader (F-03); ten and more of them are a long run."""

import asyncio

from tests.chaos.failovers import KINDS, failovers
from tests.chaos.ground import Ground
from tests.support.figures import Tell

SEED = 3


async def test_commands_do_not_notice_that_brokers_are_away(tell: Tell) -> None:
    """F-03: the leader is killed, then stopped, then two of three; nothing is lost or doubled."""
    measured = await failovers(len(KINDS), SEED, clients=3)
    tell(str(measured))
    assert measured["failovers"] == len(KINDS)
    assert measured["kinds"] == list(KINDS)
    assert measured["commands_meanwhile"] > 30
    assert measured["server_errors"] == measured["unanswered"] == 0
    assert measured["violations"] == []


async def test_a_broker_that_is_away_for_a_moment_is_not_noticed_either(ground: Ground) -> None:
    """F-03: the only broker is killed and comes back; commands go on meanwhile."""
    first = len(ground.history.ops)
    async with ground.at_work(seed=SEED):
        await asyncio.to_thread(ground.deployment.kill, "kafka")
    commands = [op for op in ground.history.ops[first:] if op.kind == "command" and op.ended]
    assert not [op for op in commands if op.status >= 500 or not op.status]
    assert await ground.violations() == []
