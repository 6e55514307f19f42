"""Clients who read all the time, and rebuilds that take no step without one of them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from casebook.kit.rebuilding.rebuild import _Rebuild  # pyright: ignore[reportPrivateUsage]
from tests.support.service import Served, until

READS_PER_SECOND = 50


@dataclass
class Reads:
    """What clients saw while they read."""

    marks: list[str] = field(default_factory=list)
    facts: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    begun: int = 0
    last_ended: int = 0

    async def another(self) -> None:
        """Wait until a read has ended that began after now."""
        begun = self.begun

        async def ended() -> bool:
            return self.last_ended > begun

        await until(ended)


def after_reads(monkeypatch: pytest.MonkeyPatch, seen: Reads, *, records: int) -> Counter[str]:
    """Let each step of a rebuild wait for a read; return how many did, by phase.

    A step over more than the first ``records`` does not wait: what is written meanwhile would be
    more each time, for ever.
    """
    waited = Counter[str]()

    def gated(phase: str, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def after_a_read(job: _Rebuild, *arguments: Any) -> Any:
            if phase != "_step" or job.records < records:
                await seen.another()
                waited[phase] += 1
            return await work(job, *arguments)

        return after_a_read

    for phase in ("_prepare", "_step", "_swap"):
        monkeypatch.setattr(_Rebuild, phase, gated(phase, getattr(_Rebuild, phase)))
    return waited


@asynccontextmanager
async def reads(served: Served, seen: Reads) -> AsyncGenerator[None]:
    """Read 50 times a second while the block runs."""
    auditor = served.bench.person("qian.yu", "auditor")

    async def one() -> None:
        seen.begun += 1
        number, started = seen.begun, time.monotonic()
        response = await served.read("/tally", auditor)
        seen.slowest_seconds = max(seen.slowest_seconds, time.monotonic() - started)
        seen.last_ended = max(seen.last_ended, number)
        if response.status_code != 200 or len(response.json()) != 1:
            seen.failures.append(response.text)
            return
        ((mark, facts),) = response.json().items()
        seen.marks.append(mark)
        seen.facts.append(facts)

    async def read() -> None:
        async with asyncio.TaskGroup() as group:
            while not done.is_set():
                group.create_task(one())
                await asyncio.sleep(1 / READS_PER_SECOND)

    done = asyncio.Event()
    reading = asyncio.create_task(read())
    try:
        yield
    finally:
        done.set()
        await reading
