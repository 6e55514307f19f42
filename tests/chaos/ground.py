"""A deployment with people at work on it, for many faults after each other, and one verdict.

Tests have loops of their own, so each gets a workload of its own; what all of them were told is
one history, because the verdict is about everything that the deployment holds.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.checker import check
from tests.chaos.client import Call, Client, Shared
from tests.chaos.deployment import Deployment
from tests.chaos.evidence import Violation
from tests.chaos.history import History, Op, Person
from tests.chaos.snapshot import Snapshot, load, settle
from tests.chaos.workload import ADMIN, AGENTS, AUDITOR, REQUESTERS, Workload
from tests.support.production import execute

SETTLE_SECONDS_MAX = 240.0
PATIENCE_SECONDS = 180.0


@dataclass
class Ground:
    """A deployment, and everything that clients of it were told so far."""

    deployment: Deployment
    history: History = field(default_factory=History)
    cases: list[tuple[str, Person]] = field(default_factory=list[tuple[str, Person]])
    subjects: int = 0
    planted_places: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    """Partition and offset of what somebody else wrote on the log."""
    planted_keys: set[str] = field(default_factory=set[str])
    """Cases that nobody has but those records."""
    _prepared: bool = False
    _visits: int = 0

    def workload(self, seed: int, *, clients: int = 4, think_seconds: float = 0.1) -> Workload:
        """Return a workload for the present loop, which goes on with the common history."""
        made = Workload(
            self.deployment.urls, self.deployment.production.home.signer(),
            seed=seed, clients=clients, think_seconds=think_seconds,
        )  # fmt: skip
        made.shared.history, made.shared.cases = self.history, self.cases
        made.shared.subjects = self.subjects
        return made

    @asynccontextmanager
    async def people(self, seed: int) -> AsyncGenerator["People"]:
        """Let a few people do single things."""
        workload = self.workload(seed, clients=1)
        await self._prepare(workload)
        self._visits += 1  # so that nobody uses an Idempotency-Key again
        client = People(self, workload.shared, f"people/{seed}/{self._visits}")
        try:
            yield client
        finally:
            await client.http.aclose()
            await workload.close()

    @asynccontextmanager
    async def at_work(self, seed: int, *, clients: int = 4) -> AsyncGenerator[Workload]:
        """Let clients work for the length of the block, and end what they began."""
        workload, stop = self.workload(seed, clients=clients), asyncio.Event()
        await self._prepare(workload)
        work = asyncio.create_task(workload.run(stop))
        try:
            yield workload
            stop.set()
            await work
            await workload.finish()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self.subjects = workload.shared.subjects
            await workload.close()

    async def _prepare(self, workload: Workload) -> None:
        if not self._prepared:
            self._prepared = True
            await workload.prepare()

    async def violations(self, *, seconds_max: float = SETTLE_SECONDS_MAX) -> list[Violation]:
        """Wait until all is quiet; return what then does not hold."""
        await settle(self.deployment.place, seconds_max=seconds_max)
        snapshot = await load(self.deployment.place)
        self._leave_out_what_was_planted(snapshot)
        return check(snapshot, self.history)

    def _leave_out_what_was_planted(self, snapshot: Snapshot) -> None:
        """Remove what no client of the history did, so that the rest can be judged by it."""
        snapshot.topic = [
            record
            for record in snapshot.topic
            if (record.partition, record.offset) not in self.planted_places
        ]
        for tables in snapshot.tables.values():
            for table in ("cases", "parked"):
                tables[table] = [
                    row for row in tables[table] if row["key"] not in self.planted_keys
                ]

    def fetch(self, statement: str) -> list[Any]:
        """Look into the database, past any door."""
        return execute(self.deployment.production.dsn, statement)

    def value(self, statement: str) -> Any:
        """Return the one value of a statement."""
        [row] = self.fetch(statement)
        return row[0]


class People(Client):
    """Does one thing after the other for a test that asks for it."""

    def __init__(self, ground: Ground, shared: Shared, seed: str) -> None:
        super().__init__(0, shared, random.Random(seed), timeout_seconds=30)  # noqa: S311
        self.ground = ground

    async def submit(self, *, impact: int = 1, urgency: int = 1) -> str:
        """Submit a request; return its id."""
        person = REQUESTERS[0]
        body = {"kind": "incident", "title": "断网", "impact": impact, "urgency": urgency}
        op = await self.command("submit", person, Call("POST", "intake", "/requests", body=body))
        assert op.outcome == "ok", op
        return op.stream.rpartition("/")[2]

    async def comment(self, request: str) -> Op:
        """Comment on a request; return what came of it."""
        call = Call(
            "POST", "intake", f"/requests/{request}/comments", f"request/{request}",
            {"body": "还是不行"},
        )  # fmt: skip
        return await self.command("comment", REQUESTERS[0], call)

    async def resolve(self, request: str) -> None:
        """Accept, start and resolve the work on a request, once somebody has it."""
        for name, end, body in (
            ("accept", "/acceptance", None),
            ("start", "/start", None),
            ("resolve", "/resolution", {"code": "fixed", "summary": "重启了"}),
        ):
            agent, version = await self.holder(request)
            order = f"/work-orders/{request}"
            call = Call("PUT", "dispatch", order + end, f"work-order/{request}", body)
            op = await self.command(name, agent, call, seen=version)
            assert op.outcome == "ok", op

    async def holder(self, request: str) -> tuple[Person, int]:
        """Wait until an agent has the work on a request; return who, and the version seen."""
        call = Call("GET", "dispatch", f"/work-orders/{request}", f"work-order/{request}")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                op, found = await self.read("get-work-order", AUDITOR, call)
                for agent in AGENTS:
                    if found and agent.subject == found.get("agent"):
                        return agent, op.version
                await asyncio.sleep(0.1)

    async def ask(
        self, person: Person, method: str, service: str, path: str, body: object = None
    ) -> httpx.Response:
        """Send something that is not part of the history, such as what an operator does."""
        url = f"{self.shared.urls[service]}/{service}/v1{path}"
        headers = {"Authorization": f"Bearer {self.shared.tokens[person.subject]}"}
        if method != "GET":
            headers["Idempotency-Key"] = f"{self.rng.getrandbits(128):032x}"
        return await self.http.request(method, url, json=body, headers=headers)

    async def operate(self, method: str, service: str, path: str, body: object = None) -> Any:
        """Do what an operator does, which must succeed; return the answer."""
        answer = await self.ask(ADMIN, method, service, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def becomes(check: Any, what: str, *, seconds_max: float = PATIENCE_SECONDS) -> Any:
    """Return what ``check()`` returns as soon as it is true; the loop goes on meanwhile."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds_max
    while not (found := await asyncio.to_thread(check)):
        assert loop.time() < ends, f"{what} did not come about in {seconds_max} s"
        await asyncio.sleep(0.1)
    return found


def command_seconds(ops: Sequence[Op]) -> list[float]:
    """Return how long the commands among ``ops`` took, answered or not, in order of length."""
    return sorted(op.ended - op.started for op in ops if op.kind == "command" and op.ended)


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the nearest rank of sorted values."""
    return seconds[max(0, -(-len(seconds) * int(share * 100) // 100) - 1)]


def write_history(history: History, folder: Path) -> str:
    """Keep a history for whoever looks for the cause of a violation; return where."""
    path = folder / "history.jsonl"
    history.write(path)
    return json.dumps(str(path))
