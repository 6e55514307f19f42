"""The world of one seed: services, processes, one log, one clock, one random generator.

Every touch of the outside — a statement, a commit, a send, a poll — waits here. Each step lets one
of them go on, chosen by the seed, or makes it fail, or ends its process; when nothing waits, the
time moves to the next timer. So a seed is a schedule, and the same seed is the same schedule.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zlib import crc32

from casebook.kit.bookkeeping.checkpoints import LIVE
from tests.simulation.log import ProcessLog
from tests.simulation.loop import VirtualLoop
from tests.simulation.processes import Process

if TYPE_CHECKING:
    import asyncio

    from casebook.kit.log.event_log import LogRecord
    from casebook.kit.service import Service
    from tests.simulation.faults import FaultMix
    from tests.simulation.stage import Stage
    from tests.simulation.tables import Schema

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
STEPS_MAX = 6_000
PROCESSES_MAX = 3
DOWN_SECONDS = (0.2, 3.0, 30.0)


Touch = tuple["asyncio.Future[str | None]", Process, str, str, set[str] | None]
"""Who waits for the outside, in which process, for what kind of thing and what exactly, and where
is noted what goes wrong."""


class Stuck(AssertionError):
    """The world does not come to rest."""


class WorldClock:
    """The wall clock: virtual seconds, and what it was moved by."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.moved = timedelta(0)
        self.set_back = False

    def now(self) -> datetime:
        """Return the current moment in UTC."""
        return START + self.moved + timedelta(seconds=self._loop.now)


class World:
    """Everything that one seed moves."""

    def __init__(self, seed: int, stage: "Stage", *, tracing: bool = False) -> None:
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.loop = VirtualLoop()
        self.clock = WorldClock(self.loop)
        self.stage = stage
        self.log: dict[int, list[LogRecord]] = {p: list(r) for p, r in stage.log.items()}
        self.logs: list[ProcessLog] = []
        self.written: dict[tuple[int, int], datetime] = {
            (p, record.offset): START for p, records in self.log.items() for record in records
        }
        """When each record came into the log."""
        self.schemas: dict[str, Schema] = {}
        self.processes: dict[str, list[Process]] = {}
        self.services: dict[str, Service] = {}
        self.touches: list[Touch] = []
        self.parked: list[Touch] = []
        self.faults: FaultMix | None = None
        self.steps = 0
        self.fault_counts: Counter[str] = Counter()
        self.ingress = False
        self.idle = False
        self.journal: Any = None
        self.broken: BaseException | None = None
        """What ends the simulation at once: it is a defect of its own."""
        self.log_hints: dict[str, dict[int, int]] = {}
        self.traces: list[str] | None = [] if tracing else None
        self._processes = 0

    # --- processes --------------------------------------------------------------------------

    def next_process(self) -> int:
        """Return the number of a new process."""
        self._processes += 1
        return self._processes

    def add(self, service: "Service") -> None:
        """Bring in a service with what the stage prepared for it."""
        self.services[service.name] = service
        self.schemas[service.name] = self.stage.schemas[service.name].copy()
        self.processes[service.name] = []

    def start(self, name: str) -> Process:
        """Start a process of a service; after the faults, one that works in large batches."""
        variant = 0 if self.faults is None else self.rng.randrange(2)
        settings = self.stage.settings[name, variant]
        process = Process(self, self.services[name], settings, self.schemas[name])
        self.processes[name].append(process)
        return process

    def alive(self, name: str) -> list[Process]:
        """Return the processes of a service that are not dead."""
        found = self.processes[name] = [p for p in self.processes[name] if not p.dead]
        return found

    def serving(self, name: str) -> list[Process]:
        """Return the processes of a service that answer requests."""
        return [process for process in self.alive(name) if process.ready]

    def ensure(self, name: str) -> None:
        """Start a process of a service that has none."""
        if not self.alive(name):
            self.start(name)

    def log_of(self, process: Process) -> ProcessLog:
        """Return the log as a process sees it."""
        return ProcessLog(self, process)

    def hints(self, process: Process) -> Mapping[int, int]:
        """Return first positions for a reader: mostly where its service is, sometimes older."""
        if self.faults is None or self.rng.random() < 0.5:
            rows = self.schemas[process.service.name].table("checkpoints")
            return {place[1]: offset for place, offset in rows.items() if place[0] == LIVE}
        return {}

    # --- the scheduler ----------------------------------------------------------------------

    def step(self) -> bool:
        """Let one touch go on, or move the time; say whether there was anything to do."""
        loop, touches = self.loop, self.touches
        loop.settle()
        if self.broken is not None:
            raise self.broken
        self.idle = False
        while touches:
            place = int(self.rng.random() * len(touches))
            touch = touches[place]
            touches[place] = touches[-1]
            touches.pop()
            future, process, kind, what, own = touch
            if future.done():
                continue
            if process.still_until > loop.now:
                self.parked.append(touch)
                continue
            self.steps += 1
            self._go_on(future, process, kind, what, own)
            loop.settle()
            return True
        self.idle = True
        if self.parked:
            self._wake_still()
            return True
        return loop.advance()

    def _wake_still(self) -> None:
        """Move the time until the first of the processes that stand still goes on, or a timer."""
        until = min(process.still_until for _, process, *_ in self.parked)
        woken = self.loop.call_at(until, lambda: None)
        self.loop.advance()
        if self.loop.now >= until:
            woken.cancel()
        self.touches += self.parked
        self.parked = []

    def _go_on(
        self, future: Any, process: Process, kind: str, what: str, own: set[str] | None
    ) -> None:
        """Let a touch go on, with or without a fault."""
        fault = None if self.faults is None else self.faults.choose(kind, self.rng)
        if self.traces is not None:
            self.trace(kind, process.name, fault or "", " ".join(what.split())[:70])
        verdict = None
        if fault is not None:
            self.fault_counts[f"{fault} × {kind}"] += 1
            if own is not None:
                own.add(fault)
            verdict = self._fail(fault, process)
        if not future.done():
            future.set_result(verdict)

    def _fail(self, fault: str, process: Process) -> str | None:
        """Let a fault happen; return what the toucher learns of it."""
        name = process.service.name
        match fault:
            case "kill":
                process.kill()
                self._restart_later(name)
            case "kill-after":
                self._restart_later(name)
                return fault
            case "still":
                process.still_until = self.loop.now + 10 * self.rng.random()
            case "zombie":
                process.still_until = self.loop.now + 5 + 20 * self.rng.random()
                process.cut()
                self._second(name)
            case "second":
                self._second(name)
            case "clock":
                self.move_clock()
            case _:
                return fault
        return None

    def _restart_later(self, name: str) -> None:
        """Let somebody start the service again, soon or after a while."""
        seconds = self.rng.choice(DOWN_SECONDS) * self.rng.random()
        self.loop.call_later(seconds, self.ensure, name)

    def _second(self, name: str) -> None:
        """Start one more process of a service, up to a bound."""
        if len(self.alive(name)) < PROCESSES_MAX:
            self.start(name)

    def move_clock(self) -> None:
        """Let the wall clock jump."""
        hours = self.rng.choice((0.01, 0.5, 3, 30, 130))
        if self.rng.random() < 0.15:
            hours = -min(hours, 1.0)
        self.moved_to(timedelta(hours=hours))

    def moved_to(self, by: timedelta) -> None:
        """Move the wall clock."""
        self.clock.moved += by
        self.clock.set_back = self.clock.set_back or by < timedelta(0)
        self.trace("clock", str(by))

    # --- looking ----------------------------------------------------------------------------

    def trace(self, *words: str) -> None:
        """Remember what happened, for a person who replays the seed."""
        if self.traces is not None:
            self.traces.append(f"{self.steps:6} {self.loop.now:10.3f} {'  '.join(words)}")

    def digest(self) -> str:
        """Return what identifies the schedule: the same for the same seed and code."""
        lengths = [len(records) for records in self.log.values()]
        return f"{crc32(repr((self.rng.random(), self.steps, lengths)).encode()):08x}"

    def rest_until(self, done: Callable[[], bool]) -> None:
        """Step until ``done()`` at a moment at which nothing can go on without time.

        :raises Stuck: when it does not come to that.
        """
        self.run_until(lambda: self.idle and not self.touches and done())

    def run_until(self, done: Callable[[], bool], *, steps_max: int = STEPS_MAX) -> None:
        """Step until ``done()``.

        :raises Stuck: when it does not come to that.
        """
        end = self.steps + steps_max
        while not done():
            if not self.step():
                raise Stuck("nothing is left to do")
            if self.steps > end:
                raise Stuck(f"no rest after {steps_max} steps")

    def close(self) -> None:
        """End every process, and forget what was to come."""
        for processes in self.processes.values():
            for process in processes:
                process.kill()
        self.loop.settle()
        self.loop.close()
