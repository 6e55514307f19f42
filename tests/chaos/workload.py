"""People and another system at work over HTTP, while things break: they record what they were told.

Each client is a task with a generator of its own, seeded, so that a seed asks for the same things
again (what it finds differs: processes die at other moments). A command whose outcome nobody
knows is sent again with the same Idempotency-Key, most of the time. Clients share requests and
people, so they also meet each other.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from casebook.kit.access.tokens import Signer
from tests.chaos.client import PUBLISHER, Call, Client, Shared
from tests.chaos.history import History, Op, Person

REQUESTERS = (
    Person("li.na", "requester", "acme"),
    Person("zhang.min", "requester", "acme"),
    Person("wu.jing", "requester", "globex"),
    Person("sun.tao", "requester"),
)
AGENTS = (
    Person("wang.wei", "agent", teams=("service-desk",)),
    Person("zhao.lei", "agent", teams=("service-desk",)),
    Person("qian.yu", "agent", teams=("network",)),
    Person("zhou.bo", "agent", teams=("network",)),
)
ADMIN, AUDITOR = Person("root", "admin"), Person("he.ping", "auditor")
TEAMS = ("service-desk", "network")
SOURCE = "legacy-desk"
NETWORK = {"problem_type": "infrastructure-maintenance", "category": "network"}
SKILLS = {"networking": 5, "infrastructure": 5}
PUBLISHED = {
    "intake": ("request.submitted", "request.prioritised", "request.closed"),
    "dispatch": ("work-order.assigned-to-team", "work-order.resolved"),
}
ORDER = (
    "request.submitted", "request.prioritised", "work-order.assigned-to-team",
    "work-order.resolved", "request.closed",
)  # fmt: skip
WAITING = ("customer", "supplier", "internal")
FINISH_SECONDS_MAX = 180.0
BATCH_EVENTS_MAX = 200
RECENT = 25
"""So many of the newest requests are worked on: few enough that clients meet."""
Step = tuple[str, str, str, Any, float]
"""What a command is called, how it is sent, and how often it is chosen."""


class Workload:
    """Clients of a deployment; ``urls`` are the services' (or the console's, for each)."""

    def __init__(
        self,
        urls: Mapping[str, str],
        signer: Signer,
        *,
        seed: int,
        clients: int = 6,
        think_seconds: float = 0.05,
        timeout_seconds: float = 8.0,
    ) -> None:
        tokens = {
            person.subject: signer.mint(
                person.subject,
                [person.role],
                person.organisation if person.role == "requester" else None,
                [SOURCE] if person is PUBLISHER else (),
                ttl=timedelta(days=60),
            )
            for person in (*REQUESTERS, *AGENTS, ADMIN, AUDITOR, PUBLISHER)
        }
        self.shared = Shared(urls, tokens)
        dice = [random.Random(f"{seed}/{number}") for number in range(clients)]  # noqa: S311
        self._clients = [
            Actor(number, self.shared, rng, timeout_seconds) for number, rng in enumerate(dice)
        ]
        self._think_seconds = think_seconds

    @property
    def history(self) -> History:
        """Return what was recorded."""
        return self.shared.history

    async def prepare(self) -> None:
        """Register teams, agents and the source; all must be well for this."""
        client = self._clients[0]
        for team in TEAMS:
            await client.must(ADMIN, Call("PUT", "dispatch", f"/teams/{team}", body={"name": team}))
        for agent in AGENTS:
            body = {"team": agent.teams[0], "capacity": 1000, "skills": SKILLS}
            await client.must(ADMIN, Call("PUT", "dispatch", f"/agents/{agent.subject}", body=body))
        body = {
            "types": [f"casebook.{name}.v1" for name in ORDER],
            "mode": "observed",
            "publisher": PUBLISHER.subject,
            "organisation": PUBLISHER.organisation,
        }
        await client.must(ADMIN, Call("PUT", "intake", f"/sources/{SOURCE}", body=body))

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; every client then ends what it is doing."""
        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(self._work(client, stop))

    async def finish(self) -> None:
        """Publish what was not accepted yet: a publisher repeats until it knows.

        :raises TimeoutError: when the deployment does not accept it in time.
        """
        try:
            async with asyncio.timeout(FINISH_SECONDS_MAX):
                while self.shared.unpublished:
                    for service in PUBLISHED:
                        waiting = [e for owner, e in self.shared.unpublished if owner == service]
                        if waiting:
                            await self._clients[0].publish(service, waiting[:BATCH_EVENTS_MAX])
        except TimeoutError:
            left = len(self.shared.unpublished)
            raise TimeoutError(f"{left} events were not accepted in time") from None

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.http.aclose()

    async def _work(self, client: "Actor", stop: asyncio.Event) -> None:
        while not stop.is_set():
            await client.turn()
            await asyncio.sleep(client.rng.uniform(0, 2 * self._think_seconds))


class Actor(Client):
    """A client that does what people and publishers do."""

    async def turn(self) -> None:
        """Do one thing."""
        actions = {
            self._submit: 3, self._comment: 3, self._handle: 10, self._answer: 5,
            self._publish: 2, self._list: 2, self._poison: 0.2,
        }  # fmt: skip
        [action] = self.rng.choices(list(actions), list(actions.values()))
        await action()

    # --- what people do ----------------------------------------------------------------------

    async def _submit(self) -> None:
        person = self.rng.choice(REQUESTERS)
        body: dict[str, Any] = {
            "kind": self.rng.choice(["incident", "service_request", "question"]),
            "title": f"请求 {self.rng.randrange(10**6)}",
            "description": "打印机没有反应",
            "impact": self.rng.randint(1, 3),
            "urgency": self.rng.randint(1, 3),
            "service": self.rng.choice(["mail", "vpn", "erp"]),
        }
        if self.rng.random() < 0.5:
            body["classification"] = NETWORK
        op = await self.command("submit", person, Call("POST", "intake", "/requests", body=body))
        if op.outcome == "ok":
            self.shared.cases.append((op.stream.rpartition("/")[2], person))
            await self._read_own(op)

    async def _comment(self) -> None:
        if case := self._case():
            id_, person = case
            body = {"body": f"还有一点 {self.rng.randrange(10**6)}"}
            call = Call("POST", "intake", f"/requests/{id_}/comments", f"request/{id_}", body)
            op = await self.command("comment", person, call)
            await self._read_own(op)

    async def _handle(self) -> None:
        """Take the work on a request one step further, as the agent who has it."""
        if not (case := self._case()):
            return
        order = _work_order(case[0])
        read, found = await self.read("get-work-order", AUDITOR, order)
        state = found or {}
        agent = next((a for a in AGENTS if a.subject == state.get("agent")), None)
        if agent is None:
            return
        steps: Mapping[str, Sequence[Step]] = {
            "assigned": [("accept", "PUT", "/acceptance", None, 1)],
            "accepted": [("start", "PUT", "/start", None, 1)],
            "in-progress": [
                ("resolve", "PUT", "/resolution", {"code": "fixed", "summary": "重启了"}, 3),
                ("wait", "POST", "/waits", {"reason": self.rng.choice(WAITING)}, 2),
            ],
            "waiting": [("resume", "POST", "/resumptions", None, 1)],
        }
        choices = steps.get(state["status"], ())
        if choices:
            [step] = self.rng.choices(choices, [choice[-1] for choice in choices])
            op = await self._step(agent, order, step, read.version)
            await self._read_elsewhere(op, agent)

    async def _answer(self) -> None:
        """Confirm, reopen or cancel, as the requester."""
        if not (case := self._case()):
            return
        id_, person = case
        request = _request(id_)
        read, found = await self.read("get-request", person, request)
        state = found or {}
        steps: Mapping[str, Sequence[Step]] = {
            "open": [("cancel", "PUT", "/cancellation", {}, 0.06)],
            "resolved": [
                ("confirm", "PUT", "/confirmation", None, 0.6),
                ("reopen", "POST", "/reopenings", {"reason": "又坏了"}, 0.3),
            ],
            "closed": [("reopen", "POST", "/reopenings", {}, 0.1)],
        }
        for step in steps.get(str(state.get("status")), ()):
            if self.rng.random() < step[-1]:
                await self._step(person, request, step, read.version)
                return

    async def _step(self, person: Person, resource: Call, step: "Step", seen: int) -> Op:
        """Run a command on a resource of which a version was seen."""
        name, method, end, body, _ = step
        call = Call(method, resource.service, resource.path + end, resource.stream, body)
        op = await self.command(name, person, call, seen=seen)
        await self._read_own(op)
        return op

    async def _list(self) -> None:
        """Read a list within one's scope."""
        if self.rng.random() < 0.5:
            person = self.rng.choice((*REQUESTERS, *AGENTS))
            call = Call("GET", "intake", "/requests?limit=100")
            await self.read("list-requests", person, call, ids="id")
        else:
            agent = self.rng.choice(AGENTS)
            call = Call("GET", "dispatch", f"/queues/{agent.teams[0]}?limit=100")
            await self.read("list-queue", agent, call, ids="request_id")

    async def _publish(self) -> None:
        """Publish the history of a subject, in pieces, out of order, some of them twice."""
        self.shared.subjects += 1
        subject = f"OLD-{self.shared.subjects:06d}"
        length = self.rng.randint(1, len(ORDER))
        events = [
            (service, published(subject, name, place))
            for place, name in enumerate(ORDER[:length], 1)
            for service, names in PUBLISHED.items()
            if name in names
        ]
        self.shared.unpublished += events
        self.rng.shuffle(events)
        for service in PUBLISHED:
            mine = [event for owner, event in events if owner == service]
            if mine and self.rng.random() < 0.8:
                again = self.rng.sample(mine, 1) if self.rng.random() < 0.3 else []
                await self.publish(service, [*mine, *again])

    async def _poison(self) -> None:
        """Publish what can only be quarantined."""
        self.shared.subjects += 1
        subject = f"BAD-{self.shared.subjects:06d}"
        event = published(subject, "request.prioritised", 1) | {"data": {"priority": "high"}}
        self.shared.unpublished.append(("intake", event))
        self.shared.history.planted.add((SOURCE, str(event["id"])))
        await self.publish("intake", [event])

    async def _read_own(self, done: Op) -> None:
        """Sometimes read at once what was written, from the service that took it."""
        if done.outcome == "ok" and self.rng.random() < 0.3:
            family, _, id_ = done.stream.rpartition("/")
            resource = _request(id_) if family == "request" else _work_order(id_)
            await self.read("read-own", done.person, resource)

    async def _read_elsewhere(self, done: Op, person: Person) -> None:
        """Sometimes read from another service, with the version that one has seen."""
        if done.outcome == "ok" and self.rng.random() < 0.4:
            id_ = done.stream.rpartition("/")[2]
            call = Call("GET", "intake", f"/requests/{id_}/timeline?limit=200", f"request/{id_}")
            minimum = f"{done.stream}@{done.version}"
            await self.read("timeline", person, call, minimum=minimum, ids="id")

    def _case(self) -> tuple[str, Person] | None:
        cases = self.shared.cases[-RECENT:]
        return self.rng.choice(cases) if cases else None


def _request(id_: str) -> Call:
    return Call("GET", "intake", f"/requests/{id_}", f"request/{id_}")


def _work_order(id_: str) -> Call:
    return Call("GET", "dispatch", f"/work-orders/{id_}", f"work-order/{id_}")


def published(subject: str, name: str, place: int) -> dict[str, Any]:
    """Return an event of another system's history."""
    data: dict[str, dict[str, Any]] = {
        "request.submitted": {"number": subject, "kind": "incident", "requester": "old.user"},
        "request.prioritised": {"impact": 2, "urgency": 2, "priority": 3},
        "work-order.assigned-to-team": {"team": "service-desk", "initial": True},
        "work-order.resolved": {"code": "fixed"},
        "request.closed": {"basis": "observed"},
    }
    return {
        "specversion": "1.0", "source": SOURCE, "id": f"{subject}-{place}-{name}",
        "type": f"casebook.{name}.v1", "subject": subject, "sourcesequence": place,
        "time": f"2026-01-05T08:{place:02d}:00Z", "data": data[name],
    }  # fmt: skip
