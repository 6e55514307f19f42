"""Broker failovers under load on three brokers, and what they cost (F-03).

``python -m tests.chaos.failovers --cycles 10 --seed 7`` is the long run: a few on a deployment,
then the next, each added to ``docs/results``, so that it may be ended and begun again.

Commands are acknowledged from PostgreSQL, so they must not notice. A member is killed and started
again, or stopped for longer than its session lasts and continued; or two of three are away, and
nothing can be published at all.
"""

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tests.chaos.deployment import new_deployment
from tests.chaos.ground import Ground, becomes, command_seconds, percentile
from tests.chaos.kills.results import commit
from tests.support.kafka import KafkaServer
from tests.support.kafka_cluster import KafkaCluster, kafka_cluster
from tests.support.production import SERVICES

Kind: TypeAlias = Literal["kill", "stop", "two-down"]
KINDS: tuple[Kind, ...] = ("kill", "stop", "two-down")
DOWN_SECONDS = (5.0, 12.0)
"""More than the three seconds after which a broker's session is over."""
DRAIN_SECONDS_MAX = 120.0
OLD_SECONDS = 5.0
A_DEPLOYMENT = 5
"""So many failovers happen to one deployment before it is judged."""
P99_SECONDS_MAX = 0.5
RESULTS = Path("docs/results/failovers.json")
_OLDEST = " UNION ALL ".join(
    f"SELECT min(e.recordedtime) AS at FROM {name}.outbox o JOIN {name}.events e USING (position)"
    for name in SERVICES
)
OUTBOX_AGE = f"SELECT coalesce(extract(epoch FROM now() - min(at)), 0) FROM ({_OLDEST}) o"
"""The age of the oldest event that is not published, in seconds."""


def run(
    cycles: int, seed: int, *, kinds: Sequence[Kind] = KINDS, clients: int = 4
) -> dict[str, Any]:
    """Let brokers fail over ``cycles`` times; return what was measured, and what does not hold."""
    return asyncio.run(failovers(cycles, seed, kinds=kinds, clients=clients))


async def failovers(
    cycles: int, seed: int, *, kinds: Sequence[Kind] = KINDS, clients: int = 4
) -> dict[str, Any]:
    """Do the same in the loop of the caller."""
    dice = random.Random(seed)  # noqa: S311 - a run that can be repeated
    with kafka_cluster() as cluster, new_deployment(bootstrap=cluster.bootstrap) as deployment:
        ground = Ground(deployment)
        drains: list[float] = []
        away: list[tuple[float, float]] = []
        async with ground.at_work(seed, clients=clients):
            await asyncio.sleep(1)
            for number in range(cycles):
                kind = kinds[number % len(kinds)]
                began = time.monotonic()
                await _fail_over(cluster, deployment.production.topic, kind, dice)
                away.append((began, time.monotonic()))
                drains.append(await _drained(ground))
        violations = await ground.violations()
    found = _measured(ground, away, drains, [str(violation) for violation in violations])
    return {"seed": seed, "kinds": list(itertools.islice(itertools.cycle(kinds), cycles)), **found}


async def _fail_over(cluster: KafkaCluster, topic: str, kind: Kind, dice: random.Random) -> None:
    """Take the leader away, or two members, and give them back."""
    leader = cluster.members[await asyncio.to_thread(cluster.leader, topic)]
    other = dice.choice([member for member in cluster.members.values() if member is not leader])
    seconds = dice.uniform(*DOWN_SECONDS)
    if kind == "kill":
        await asyncio.to_thread(_killed, leader, seconds)
    elif kind == "stop":
        await asyncio.to_thread(_stopped, seconds, leader)
    else:
        await asyncio.to_thread(_stopped, seconds, leader, other)
    await asyncio.to_thread(cluster.wait_until_whole, topic)


def _killed(member: KafkaServer, seconds: float) -> None:
    member.kill()
    time.sleep(seconds)
    member.start()


def _stopped(seconds: float, *members: KafkaServer) -> None:
    with _paused(*members):
        time.sleep(seconds)


@contextmanager
def _paused(*members: KafkaServer) -> Iterator[None]:
    for member in members:
        member.pause()
    try:
        yield
    finally:
        for member in members:
            member.resume()


async def _drained(ground: Ground) -> float:
    """Wait until what waits for Kafka is young again; return the seconds since the healing."""
    healed = time.monotonic()
    await becomes(
        lambda: ground.value(OUTBOX_AGE) < OLD_SECONDS, "a young outbox",
        seconds_max=DRAIN_SECONDS_MAX,
    )  # fmt: skip
    return time.monotonic() - healed


def _measured(
    ground: Ground,
    away: Sequence[tuple[float, float]],
    drains: Sequence[float],
    violations: Sequence[str],
) -> dict[str, Any]:
    """Return the figures of a run; times in seconds, of what began while a broker was away."""
    commands = [op for op in ground.history.ops if op.kind == "command" and op.ended]
    seconds = command_seconds(
        [op for op in commands if any(began <= op.started <= ended for began, ended in away)]
    )
    return {
        "failovers": len(drains),
        "commands": len(commands),
        "commands_meanwhile": len(seconds),
        "command_p50_seconds": round(percentile(seconds, 0.5), 3),
        "command_p99_seconds": round(percentile(seconds, 0.99), 3),
        "command_max_seconds": round(seconds[-1], 3),
        "drain_seconds_max": round(max(drains), 1),
        "server_errors": sum(op.status >= 500 for op in commands),
        "unanswered": sum(not op.status for op in commands),
        "counts": dict(ground.history.counts()),
        "violations": list(violations),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run for long, and return 0 when everything held."""
    parser = argparse.ArgumentParser(prog="tests.chaos.failovers", description=__doc__)
    parser.add_argument("--cycles", type=int, default=12, help="failovers of this run")
    parser.add_argument("--seed", type=int, help="default: the next after the last run")
    wanted = parser.parse_args(arguments)
    runs: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    seed = wanted.seed or 1 + max((run["seed"] for run in runs), default=0)
    left, held = wanted.cycles, True
    while left > 0 and held:
        measured: dict[str, Any] = {
            **run(min(left, A_DEPLOYMENT), seed), "commit": commit(),
        }  # fmt: skip
        runs.append(measured)
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(runs, indent=1) + "\n")
        sys.stderr.write(f"{json.dumps(measured)}\n")
        in_time = measured["command_p99_seconds"] < P99_SECONDS_MAX
        answered = not measured["server_errors"] and not measured["unanswered"]
        held = in_time and answered and not measured["violations"]
        left, seed = left - measured["failovers"], seed + 1
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
