"""One request on its way through a running platform, and the people around it."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

from tests.system.platforms import EVENTUALLY_SECONDS_MAX, Person, RunningPlatform

LONG = {"title": "打印机坏了 — 三楼", "description": "换了墨盒也没用。"}


def eventually(check: Callable[[], Any], what: str) -> Any:
    """Return what ``check`` returns as soon as it is true."""
    deadline = time.monotonic() + EVENTUALLY_SECONDS_MAX
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.03)
    raise AssertionError(f"{what} did not happen in {EVENTUALLY_SECONDS_MAX} s")


class Journey:
    """One request and the people around it."""

    def __init__(self, platform: RunningPlatform, **body: object) -> None:
        self.platform = platform
        self.requester = platform.people["li"]
        self.lead = platform.people["chen"]
        self.auditor = platform.people["auditor"]
        answer = self.requester.send(
            "POST", "/intake/v1/requests", {"kind": "incident", **LONG, **body}
        )
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["id"]
        self.request = f"/intake/v1/requests/{self.id}"
        self.work_order = f"/dispatch/v1/work-orders/{self.id}"
        self.survey = f"/quality/v1/surveys/{self.id}"
        self.service_level = f"/monitoring/v1/service-levels/{self.id}"

    def state(self, resource: str) -> dict[str, Any]:
        """Return a resource as the auditor sees it; empty while there is none."""
        answer = self.auditor.get(resource)
        assert answer.status_code in {200, 404}, answer.text
        return answer.json() if answer.status_code == 200 else {}

    def agent(self) -> Person:
        """Return the agent who was assigned."""
        name = eventually(lambda: self.state(self.work_order).get("agent"), "assignment")
        return self.platform.people[name]

    def work(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Let the assigned agent do something about the work order."""
        answer = self.agent().change(method, self.work_order, path, body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Let the requester do something about the request."""
        return self.requester.change(method, self.request, path, body)

    def until(self, resource: str, **expected: object) -> dict[str, Any]:
        """Wait until a resource has these values."""

        def reached() -> dict[str, Any] | None:
            found = self.state(resource)
            matches = all(found.get(name) == value for name, value in expected.items())
            return found if found and matches else None

        return eventually(reached, f"{resource} {expected}")

    def stopped(self, name: str) -> dict[str, Any]:
        """Wait until one of the clocks has stopped; return it."""

        def ended() -> dict[str, Any] | None:
            found = clock(self.state(self.service_level), name)
            return found if found["met"] is not None else None

        return eventually(ended, f"the {name} clock stops")

    def types(self, person: Person | None = None) -> list[str]:
        """Return the types on the timeline, in log order, without prefix and version."""
        answer = (person or self.auditor).get(f"{self.request}/timeline", limit=200)
        assert answer.status_code == 200, answer.text
        return [
            item["type"].removeprefix("casebook.").removesuffix(".v1")
            for item in answer.json()["items"]
        ]

    def told(self, *types: str) -> list[str]:
        """Wait until the timeline tells these types, each as often as named; return all types.

        The timeline follows the log on its own: what a service's state shows may be ahead of it.
        """
        wanted = Counter(types)
        seen = eventually(
            lambda: (found := self.types()) and Counter(found) >= wanted and found,
            f"{', '.join(types)} on the timeline",
        )
        return list(seen)

    def resolved(self) -> "Journey":
        """Take the work to its resolution, and wait until the requester is asked."""
        self.agent()
        self.work("PUT", "/acceptance")
        self.work("PUT", "/start")
        self.work("PUT", "/resolution", {"code": "fixed", "summary": "重启了打印服务"})
        self.until(self.request, status="resolved")
        return self


def clock(state: dict[str, Any], name: str) -> dict[str, Any]:
    """Return one clock of a service level."""
    return next(item for item in state["clocks"] if item["clock"] == name)
