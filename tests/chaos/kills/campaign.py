"""kill -9 while people work: which process, when, and at which failpoint, is drawn from a seed.

A service that was killed comes back at once, most of the time with a failpoint armed at which it
dies by itself some passings later. PostgreSQL and Kafka come back too. In the end everything
heals, comes to rest, and is judged.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from tests.chaos.checker import check
from tests.chaos.deployment import Deployment
from tests.chaos.evidence import Violation
from tests.chaos.snapshot import Snapshot, load, settle
from tests.chaos.workload import Workload
from tests.support.production import SERVICES

READERS = SERVICES
WRITERS = ("intake", "dispatch")
FAILPOINTS: dict[str, tuple[tuple[str, ...], int]] = {
    "after-commit": (WRITERS, 6),
    "between-send-and-delete": (("intake", "dispatch", "monitoring"), 8),
    "inside-reader-transaction": (READERS, 10),
    "after-commit-before-hint": (READERS, 10),
    "inside-timer-transaction": (("monitoring",), 2),
    "after-promotion": (WRITERS, 3),
}
"""Where each can be hit, and after how many passings at most."""
ARMED_SHARE, ARMED_AGAIN_SHARE = 0.75, 0.3
"""So often a service is started armed after it was killed, and after it died by itself."""
ARMED_SECONDS_MAX = 20.0
"""So long an armed service is left alone, to die where it should."""
DECK = (*SERVICES, *["postgres"] * 4, "kafka")
"""Victims are dealt from a shuffled deck, so that everything gets its turn."""
PAUSE_SECONDS = (0.2, 2.0)
DOWN_SECONDS_MAX = 1.0
AHEAD_A_KILL = timedelta(minutes=15)
"""So far the clock moves with each kill, so that targets are missed and timers fire."""
STILL_SECONDS_MAX = 180.0
CALM_SECONDS_MAX = 600.0
Told = Callable[[int], None]


@dataclass
class Campaign:
    """A deployment with people at work in it, and what was done to it."""

    deployment: Deployment
    workload: Workload
    rng: random.Random
    kills: Counter[str] = field(default_factory=Counter[str])
    rest_seconds: list[float] = field(default_factory=list[float])
    _started: dict[str, float] = field(default_factory=dict[str, float])
    _deck: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, deployment: Deployment, seed: int, *, think_seconds: float = 0.05) -> "Campaign":
        """Return a campaign that a seed repeats, as far as the machine lets it."""
        workload = Workload(
            deployment.urls, deployment.production.home.signer(), seed=seed,
            think_seconds=think_seconds,
        )  # fmt: skip
        return cls(deployment, workload, random.Random(seed))  # noqa: S311 - it can be repeated

    @property
    def total(self) -> int:
        """Return how many kills there were."""
        return sum(self.kills.values())

    async def calm(self, **least: int) -> None:
        """Let people work in peace, until they have done so much of everything."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group, asyncio.timeout(CALM_SECONDS_MAX):
            group.create_task(self.workload.run(stop))
            while not self.workload.history.done() >= Counter(least):  # noqa: ASYNC110 - a look
                await asyncio.sleep(0.1)
            stop.set()

    async def strike(self, kills: int, *, told: Told = lambda total: None) -> None:
        """Kill so many processes while people work; cancelled, it ends after the current one."""
        stop = asyncio.Event()
        until = self.total + kills
        async with asyncio.TaskGroup() as group:
            group.create_task(self.workload.run(stop))
            try:
                while self.total < until:
                    await asyncio.sleep(self.rng.uniform(*PAUSE_SECONDS))
                    self._bury()
                    if self.total < until:
                        await self._kill()
                    told(self.total)
            finally:
                stop.set()

    async def cover(self) -> None:
        """Let a service die at each failpoint that none has died at yet, while people work."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group, asyncio.timeout(CALM_SECONDS_MAX):
            group.create_task(self.workload.run(stop))
            for point, (services, _) in FAILPOINTS.items():
                while not self.deployment.hits[point]:
                    await self._die_at(point, self.rng.choice(services))
            stop.set()

    async def _die_at(self, point: str, name: str) -> None:
        """Start a service such that it dies the first time it passes a failpoint."""
        await asyncio.to_thread(self.deployment.kill, name)
        self.kills[name] += 1
        self.deployment.start(name, failpoints=f"{point}=kill@1")
        ends = time.monotonic() + ARMED_SECONDS_MAX
        while time.monotonic() < ends and not await asyncio.to_thread(self.deployment.died, name):
            self.deployment.clock.ahead += timedelta(minutes=1)  # so that timers are due
            await asyncio.sleep(0.2)
        if self.deployment.died(name):
            self.kills[f"{name} at a failpoint"] += 1
            self.deployment.start(name)

    async def rest(self) -> Snapshot:
        """Heal everything, and wait until nothing is left to do."""
        await asyncio.to_thread(self.deployment.heal)
        await self.workload.finish()
        waited = await settle(self.deployment.place, seconds_max=STILL_SECONDS_MAX)
        self.rest_seconds.append(waited)
        return await load(self.deployment.place)

    async def judge(self) -> list[Violation]:
        """Come to rest, and return what does not hold."""
        snapshot = await self.rest()
        return await asyncio.to_thread(check, snapshot, self.workload.history)

    def _bury(self) -> None:
        """Count the services that died at a failpoint, and start them again."""
        for name in SERVICES:
            if self.deployment.died(name):
                self.kills[f"{name} at a failpoint"] += 1
                self._start(name, ARMED_AGAIN_SHARE)

    async def _kill(self) -> None:
        """Kill what is up and has its turn, at whatever it is doing."""
        if not self._deck:
            self._deck = self.rng.sample(DECK, len(DECK))
        for victim in self._deck:
            if victim not in SERVICES or await self._is_due(victim):
                break
        else:
            return  # all that are left are only just starting, or about to die
        self._deck.remove(victim)
        await asyncio.to_thread(self.deployment.kill, victim)
        self.kills[victim] += 1
        self.deployment.clock.ahead += AHEAD_A_KILL
        if victim in SERVICES:
            await asyncio.sleep(self.rng.uniform(0, DOWN_SECONDS_MAX))
            self._start(victim, ARMED_SHARE)

    async def _is_due(self, name: str) -> bool:
        """Say whether a service is up, and not about to die by itself."""
        lived = time.monotonic() - self._started.get(name, 0.0)
        if name in self.deployment.armed and lived < ARMED_SECONDS_MAX:
            return False
        return await asyncio.to_thread(self.deployment.is_ready, name)

    def _start(self, name: str, armed_share: float) -> None:
        """Start a service, often such that it dies again."""
        armed = ""
        self._started[name] = time.monotonic()
        if self.rng.random() < armed_share:
            here = [point for point, (services, _) in FAILPOINTS.items() if name in services]
            least = min(self.deployment.hits[point] for point in here)
            point = self.rng.choice([p for p in here if self.deployment.hits[p] <= least + 3])
            armed = f"{point}=kill@{self.rng.randint(1, FAILPOINTS[point][1])}"
        self.deployment.start(name, failpoints=armed)


@dataclass
class Progress:
    """A line about how far a campaign is, now and then."""

    wanted: int
    write: Callable[[str], object]
    started: float = field(default_factory=time.monotonic)
    done: int = 0

    def __call__(self, done: int) -> None:
        """Say how far it is, how fast it goes, and how long it will take."""
        if done == self.done:
            return
        self.done = done
        rate = done / max(0.1, time.monotonic() - self.started)
        left = (self.wanted - done) / rate if rate else 0.0
        self.write(f"\r{done}/{self.wanted} kills, {60 * rate:.1f} a minute, {left:.0f} s left ")
