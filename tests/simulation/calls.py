"""Calls of people: the product's own endpoints, run inside a process, with all that can be lost.

A call is made with an idempotency key and tried again when its outcome is unknown, perhaps at
another process, sometimes twice at once. What was answered is remembered for the checks.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from casebook.kit.access.identity import Principal
from casebook.kit.access.principals import with_teams
from casebook.kit.decider import Refused
from casebook.kit.http.exchange import Exchange
from casebook.kit.http.problems import Problem
from casebook.kit.postgres.database import INFRASTRUCTURE_ERRORS
from casebook.kit.tracing import trace
from tests.simulation.processes import Killed, Process, own_faults

if TYPE_CHECKING:
    from tests.simulation.world import World

ATTEMPTS_MAX = 4
UNKNOWN = (Killed, TimeoutError, asyncio.CancelledError, *INFRASTRUCTURE_ERRORS)
"""What leaves the caller without an answer."""
PERMISSIONS = {
    "risk.assess-residual": "risk.assess",
    "risk.plan-treatment": "risk.treat",
    "risk.complete-treatment": "risk.treat",
}
"""Commands that the table of rights has under another name."""
Endpoint = Callable[[Exchange], Awaitable[Any]]


@dataclass(slots=True)
class Call:
    """One call, and what the caller knows of its outcome: ``ok``, ``fail`` or ``unknown``."""

    number: int
    service: str
    operation: str
    principal: Principal
    endpoint: Endpoint
    if_match: str | None = None
    outcome: str = "unknown"
    code: str = ""
    stream: str = ""
    version: int = 0
    invoked: int = 0
    answered: int = 0
    tried: int = 0
    answers: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    faults: set[str] = field(default_factory=set[str])
    """What went wrong at the statements and commits of its attempts."""

    @property
    def trace_id(self) -> str:
        """Return the trace that every attempt of this call belongs to."""
        return f"{self.number + 1:032x}"


def request_of(call: Call) -> Any:
    """Return what an endpoint sees of the HTTP request."""
    headers: dict[str, str] = {"idempotency-key": f"call-{call.number}"}
    if call.if_match is not None:
        headers["if-match"] = call.if_match
    url = SimpleNamespace(query="", path=f"/{call.operation}/{call.number}")

    async def body() -> bytes:
        return str(call.number).encode()

    return SimpleNamespace(headers=headers, url=url, method="POST", body=body)


async def attempt(process: Process, call: Call) -> Any:
    """Run the endpoint once in a process, as its routes do."""
    own_faults.set(call.faults)
    with trace(f"00-{call.trace_id}-{'1' * 16}-01"):
        runtime = process.runtime
        permission = PERMISSIONS.get(call.operation, call.operation)
        if not runtime.service.policy.permits(call.principal, permission):
            raise Problem(403, "forbidden", "your roles do not allow this operation")
        principal = await with_teams(runtime, call.principal, permission)
        exchange = Exchange(runtime, request_of(call), principal, permission)
        return await call.endpoint(exchange)


async def perform(world: "World", call: Call) -> Any:
    """Make a call until its outcome is known, or the caller gives up; return the answer."""
    call.invoked = world.steps
    answer = None
    for _ in range(ATTEMPTS_MAX):
        living = world.serving(call.service)
        if not living:
            await asyncio.sleep(1.0)
            continue
        call.tried += 1
        twice = world.faults is not None and world.rng.random() < 0.05
        processes = [world.rng.choice(living) for _ in range(2 if twice else 1)]
        tasks = [process.spawn(attempt(process, call)) for process in processes]
        await asyncio.wait(tasks)
        for task in tasks:
            answer = _take(call, task) or answer
        if call.outcome != "unknown":
            break
        await asyncio.sleep(world.rng.random())
    call.answered = world.steps
    return answer


def _take(call: Call, task: "asyncio.Task[Any]") -> Any:
    """Learn the outcome of an attempt; an answer once known stays."""
    if task.cancelled():
        return None
    error = task.exception()
    if error is None:
        response = task.result()
        stream, _, version = response.headers["Casebook-Version"].rpartition("@")
        call.answers.add((stream, int(version)))
        call.outcome, call.stream, call.version = "ok", stream, int(version)
        return response
    if isinstance(error, UNKNOWN):
        return None
    if isinstance(error, Refused):  # by a hook of the append; the application answers 409
        error = Problem(409, error.code, error.detail)
    if not isinstance(error, Problem):
        raise error
    retry = error.status == 503 or error.code in {"idempotency-key-in-flight", "concurrent-change"}
    if call.outcome == "unknown" and not retry:
        call.outcome, call.code = "fail", error.code
    return None


async def read_back(world: "World", call: Call) -> None:
    """Read one's own write at once, as anybody of the service answers it.

    :raises AssertionError: when it is not there (I5).
    """
    living = world.serving(call.service)
    if not living:
        return
    process = world.rng.choice(living)

    async def read() -> int | None:
        async with process.runtime.database.http() as connection:
            row = await connection.fetchrow(
                "SELECT version, case_key, state::text FROM streams WHERE stream = $1", call.stream
            )
            return None if row is None else cast("int", row[0])

    task = process.spawn(read())
    with contextlib.suppress(Killed, TimeoutError, *INFRASTRUCTURE_ERRORS):
        await asyncio.wait([task])
        if not task.cancelled():
            version = task.result() or 0
            assert version >= call.version, f"I5: {call.stream}@{call.version} reads {version}"
