"""``casebook demo``: real history, one live request from submission to closure, and the KPIs.

Everything goes over the public APIs with the tokens of the people concerned, as a user would do
it. Running it again imports nothing twice and walks another request.
"""

import asyncio
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import typer

from casebook.console.client import ApiError, Client
from casebook.console.connection import Connection, connected
from casebook.console.importing.progress import report_on
from casebook.console.importing.run import run_import
from casebook.console.kpi import kpi_table
from casebook.console.live import Etags
from casebook.platform.runner import LOOPBACK

TEAM, AGENT, LEAD, REQUESTER, ORGANISATION = (
    "service-desk",
    "wang.wei",
    "chen.jing",
    "li.na",
    "acme",
)
SOURCE = "uci498"
SAMPLE = "samples/servicenow-audit-900.csv.gz"
STEP_SECONDS_MAX = 20.0
REQUEST = {
    "kind": "incident",
    "title": "三楼打印机无法打印",
    "description": "从早上开始一直卡纸。",
    "impact": 2,
    "urgency": 1,
}


async def demo(home: Path, port: int, *, once: bool) -> None:
    """Run the demonstration; serve until Ctrl-C unless ``once``.

    :raises RuntimeError: when a step does not come about in 20 s.
    """
    started = time.monotonic()
    async with connected(home, None, port=_free(port)) as connection:
        typer.echo(f"Casebook runs on {connection.url}\n")
        await _import(connection)
        async with AsyncExitStack() as stack:
            people = await _people(connection, stack)
            request_id = await _walk(people)
            await _print_kpis(people["admin"])
        typer.echo(_where_to_look(connection, home, request_id))
        typer.echo(f"\nAll of this took {time.monotonic() - started:.0f} s.")
        if not once:
            typer.echo("Serving until Ctrl-C.")
            await asyncio.Event().wait()


def _free(port: int) -> int:
    """Return ``port``, or 0 for any free one when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            typer.echo(f"Port {port} is taken; another one is used.", err=True)
            return 0
    return port


async def _import(connection: Connection) -> None:
    """Import the sample of a real service desk's audit log."""
    typer.echo("Importing 900 real incidents (UCI Machine Learning Repository no. 498, CC BY 4.0)")
    with as_file(files("casebook.console").joinpath(SAMPLE)) as path:
        summary = await run_import(
            path,
            url=connection.url,
            token=connection.token(roles=("admin", "publisher"), source=SOURCE),
            source=SOURCE,
            progress=report_on(),
        )
    typer.echo(
        f"  {summary.rows:,} rows, {summary.requests:,} requests: {summary.events:,} new events, "
        f"{summary.duplicates:,} known already, {summary.seconds:.1f} s\n"
    )


async def _people(connection: Connection, stack: AsyncExitStack) -> dict[str, Client]:
    """Create a team with an agent and a lead; return everybody's client by role."""
    signer = connection.home.signer()
    tokens = {
        "admin": connection.token(),
        "requester": signer.mint(REQUESTER, ["requester"], ORGANISATION),
        "agent": signer.mint(AGENT, ["agent"]),
        "lead": signer.mint(LEAD, ["lead"]),
    }
    people = {
        role: await stack.enter_async_context(Client(connection.url, token))
        for role, token in tokens.items()
    }
    admin = people["admin"]
    await _ensure(admin.put(f"/dispatch/v1/teams/{TEAM}", {"name": "服务台"}))
    for name, available in ((AGENT, True), (LEAD, False)):
        body = {"team": TEAM, "capacity": 50, "available": available}
        await _ensure(admin.put(f"/dispatch/v1/agents/{name}", body))
    return people


class Story:
    """The timeline of a request as its requester sees it, printed fact by fact as they come."""

    def __init__(self, requester: Client, request_id: str) -> None:
        self._requester = requester
        self._path = f"/intake/v1/requests/{request_id}/timeline"
        self._printed = 0

    async def step(self, what: str, command: Awaitable[Any], *, until: str) -> None:
        """Say what somebody does, let them do it, and print what follows up to this fact.

        :raises RuntimeError: when the fact does not come in 20 s.
        """
        typer.echo(f"  {what}")
        await command
        await self.print_until(until)

    async def print_until(self, name: str) -> None:
        """Print the facts as they come, until there is one of this type.

        :raises RuntimeError: when there is none in 20 s.
        """
        await _until(self._requester, self._path, lambda page: self._reached(page["items"], name))

    def _reached(self, items: list[dict[str, Any]], name: str) -> bool:
        """Print what is new, and say whether a fact of this type is there."""
        for item in items[self._printed :]:
            moment = datetime.fromisoformat(item["time"]).strftime("%H:%M:%S.%f")[:-3]
            typer.echo(f"    {moment}  {_short(item):<38} {item['actor']}")
        self._printed = len(items)
        return any(_short(item) == name for item in items)


def _short(item: dict[str, Any]) -> str:
    """Return the type of a fact without what all have in common."""
    return item["type"].removeprefix("casebook.").removesuffix(".v1")


async def _walk(people: dict[str, Client]) -> str:
    """Walk one live request from submission to the survey; return its id."""
    typer.echo("One live request, each step by the person concerned, and what its requester sees:")
    requester, agent = Etags(people["requester"]), Etags(people["agent"])
    typer.echo(f"  {REQUESTER} submits it")
    submitted = await requester.post("/intake/v1/requests", REQUEST)
    request_id = str(submitted["id"])
    request = f"/intake/v1/requests/{request_id}"
    work_order = f"/dispatch/v1/work-orders/{request_id}"
    survey = f"/quality/v1/surveys/{request_id}"
    story = Story(people["requester"], request_id)
    await story.print_until("work-order.assigned-to-agent")
    assigned = await _until(people["admin"], work_order, lambda found: bool(found.get("agent")))
    typer.echo(f"  {submitted['number']} by {REQUESTER}, assigned to {assigned['agent']}")
    step, wang, li = story.step, assigned["agent"], REQUESTER
    problem = {"problem_type": "other", "category": "打印"}
    await step(f"{wang} classifies it", agent.put(request, "/classification", problem),
               until="request.classified")  # fmt: skip
    await step(f"{wang} accepts the work", agent.put(work_order, "/acceptance", None),
               until="work-order.accepted")  # fmt: skip
    await step(f"{wang} starts", agent.put(work_order, "/start", None),
               until="work-order.started")  # fmt: skip
    question = {"reason": "customer", "note": "请告知打印机编号"}
    await step(f"{wang} asks which printer it is", agent.post_to(work_order, "/waits", question),
               until="work-order.waiting-started")  # fmt: skip
    reply = requester.post(f"{request}/comments", {"body": "编号是 P-301"})
    await step(f"{li} says which", reply, until="request.commented")
    await step(f"{wang} goes on", agent.post_to(work_order, "/resumptions", None),
               until="work-order.resumed")  # fmt: skip
    resolution = {"code": "fixed", "summary": "更换了定影器"}
    await step(f"{wang} resolves it", agent.put(work_order, "/resolution", resolution),
               until="request.resolution-proposed")  # fmt: skip
    await step(f"{li} confirms", requester.put(request, "/confirmation", None),
               until="survey.sent")  # fmt: skip
    answer = {"satisfaction": 5, "comment": "很快，谢谢！"}
    await step(f"{li} answers the survey", requester.put(survey, "/answer", answer),
               until="survey.answered")  # fmt: skip
    return request_id


async def _until(
    client: Client, path: str, reached: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Return a resource as soon as it is as expected.

    :raises RuntimeError: when it is not in 20 s.
    """
    deadline = time.monotonic() + STEP_SECONDS_MAX
    while time.monotonic() < deadline:
        found = await _if_there(client.get(path))
        if found is not None and reached(found):
            return found
        await asyncio.sleep(0.05)
    raise RuntimeError(f"{path} did not get there in {STEP_SECONDS_MAX:.0f} s")


async def _ensure(creation: Awaitable[Any]) -> None:
    """Create something, unless it is there already, perhaps with other properties."""
    try:
        await creation
    except ApiError as error:
        if error.code not in {"team-exists", "agent-exists"}:
            raise


async def _if_there(answer: Awaitable[Any]) -> Any | None:
    """Return an answer, or ``None`` while there is nothing yet."""
    try:
        return await answer
    except ApiError as error:
        if error.status in {404, 503}:
            return None
        raise


async def _print_kpis(admin: Client) -> None:
    """Print the KPI table of the observed history and of what happened live."""
    documents = [
        await admin.get("/monitoring/v1/kpis", {"origin": origin})
        for origin in ("observed", "live")
    ]
    for document in documents:
        for row in document["kpis"]:
            row["dims"].pop("origin", None)
    typer.echo()
    typer.echo(kpi_table(*documents, titles=("observed", "live")))


def _where_to_look(connection: Connection, home: Path, request_id: str) -> str:
    """Return where to go from here."""
    command = shlex.join((_program(), "--home", _from_here(home)))
    return f"""
Where to look:
  start page and API docs   {connection.url}/  (for example {connection.url}/intake/docs)
  a token                   {command} token --role admin
  the KPIs by month         {command} kpi --by month
  what is stored            {command} events --case {request_id}
  prove it                  {command} verify"""


def _program() -> str:
    """Return how a shell in the current folder calls this command, which may not be on its path."""
    program = Path(sys.executable).with_name("casebook")
    found = shutil.which(program.name)
    if found is not None and Path(found) == program:
        return program.name
    return _from_here(program)


def _from_here(path: Path) -> str:
    """Return the shorter of a path from the root and one from the current folder."""
    relative = os.path.relpath(path)
    if os.sep not in relative:
        relative = os.path.join(os.curdir, relative)  # a Path would drop the dot
    return min(str(path.absolute()), relative, key=len)
