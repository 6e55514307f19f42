"""Every cell of who may do what: operations × nine actors × three relations (reliability 1.3).

The expected verdicts stand in ``authorisation_matrix`` and the operations in the OpenAPI
documents, so that a new operation without a verdict is a failure, and a widened policy too.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import true

from casebook.kit.access.policy import Operation as Row
from casebook.kit.http.exchange import Exchange
from tests.support.cast import Cast, cast
from tests.support.deeds import failed
from tests.support.figures import Tell
from tests.support.interface import SERVICES
from tests.support.reach import COUNTS, LISTS, Cell, wrong
from tests.system.authorisation_matrix import (
    ACTORS,
    ANONYMOUS,
    AUDIENCES,
    RELATIONS,
    ROWS,
    reaches,
    verdict,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    async with cast(tmp_path_factory.mktemp("matrix")) as found:
        yield found


def cells(scene: Cast, *names: str) -> list[Cell]:
    """Return the cells of operations, or of all."""
    return [
        Cell(
            operation,
            actor,
            relation,
            verdict(operation.name, actor, relation),
            not any(reaches(operation.name, actor, other) for other in RELATIONS),
            frozenset(other for other in RELATIONS if reaches(operation.name, actor, other)),
        )
        for operation in scene.operations
        if not names or operation.name in names
        for actor in ACTORS
        for relation in RELATIONS
    ]


async def test_every_operation_has_a_verdict_and_every_verdict_an_operation(scene: Cast) -> None:
    assert {operation.name for operation in scene.operations} == set(ROWS)


async def test_every_cell_is_what_is_written_down(scene: Cast, tell: Tell) -> None:
    every = cells(scene)
    assert len(every) == len(ROWS) * len(ACTORS) * len(RELATIONS)
    assert await wrong(scene, every) == []
    counts = {what: sum(cell.verdict == what for cell in every) for what in sorted(
        {cell.verdict for cell in every})}  # fmt: skip
    tell(f"{len(every)} cells of the authorisation matrix asserted: {counts}")
    assert min(counts.values()) > 50


async def test_history_of_other_systems_is_as_hidden_as_live_work(scene: Cast) -> None:
    for name in ("intake.getRequest", "intake.listRequestTimeline", "dispatch.getWorkOrder",
                 "monitoring.getServiceLevel"):  # fmt: skip
        operation = next(o for o in scene.operations if o.name == name)
        for actor in ACTORS:
            for relation in RELATIONS:
                request = scene.cases[relation].ids["observed"]
                path = operation.path({"request_id": request})
                answer = await scene.ask("GET", path, headers=scene.actor(actor))
                expected = {"allowed": 200, "hidden": 404, "forbidden": 403, "unauthenticated": 401}
                found = verdict(name, actor, relation)
                if ROWS[name][0].get(actor) == "linked":
                    found = "hidden"  # what was observed is never evidence
                assert answer.status_code == expected[found], (name, actor, relation)


async def test_a_timeline_tells_each_reader_their_audience_s_facts_only(scene: Cast) -> None:
    told: dict[str, set[str]] = {}
    for actor, audiences in AUDIENCES.items():
        path = f"/intake/v1/requests/{scene.cases['own'].ids['open']}/timeline"
        items = (await scene.ask("GET", path, headers=scene.actor(actor))).json()["items"]
        told[actor] = {item["audience"] for item in items}
        assert told[actor] <= audiences, actor
    assert told["requester"] == {"customer"}
    assert told["agent"] >= {"customer", "staff"}
    assert told["risk-manager"] >= {"customer", "staff"}


async def test_a_publisher_reads_of_their_requests_what_a_customer_reads(scene: Cast) -> None:
    path = f"/intake/v1/requests/{scene.cases['own'].ids['observed']}/timeline"
    answer = await scene.ask("GET", path, headers=scene.actor("publisher"))
    assert {item["audience"] for item in answer.json()["items"]} == {"customer"}


async def test_what_a_team_takes_is_not_taken_from_another_agent(scene: Cast) -> None:
    """Accepting reaches the whole team, for queued work; what somebody holds stays theirs."""
    order = f"/dispatch/v1/work-orders/{scene.cases['same'].ids['open']}"
    answer = await scene.send(scene.actor("agent"), "PUT", f"{order}/acceptance")
    assert answer.status_code == 409, answer.text
    assert answer.json()["code"] == "already-accepted"


@pytest.mark.parametrize(
    ("operation", "row", "role"),
    [
        ("dispatch.startWorkOrder", "work-order.start", "agent"),
        ("intake.getRequest", "request.read", "requester"),
        ("intake.closeRequest", "request.close", "agent"),
        ("quality.answerSurvey", "survey.answer", "requester"),
        ("risk.getRisk", "risk.read", "admin"),
        ("monitoring.getLag", "lag.read", "auditor"),
    ],
)
async def test_a_widened_row_is_found(
    scene: Cast, monkeypatch: pytest.MonkeyPatch, operation: str, row: str, role: str
) -> None:
    policy = scene.desk.platform.runtime(operation.partition(".")[0]).service.policy
    old = policy.operations[row]
    wide = Row(row, {**old.grants, role: "all"}, old.visible)
    monkeypatch.setattr(policy, "operations", {**policy.operations, row: wide})
    found = await wrong(scene, cells(scene, operation))
    assert found
    assert all(f"by {role} on" in what for what in found), found


@pytest.mark.parametrize("operation", sorted((LISTS | COUNTS) - {"intake.listSources"}))
async def test_a_list_without_its_scope_is_found(
    scene: Cast, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Where some see a part; who sees all of a list, or nothing, has no need of a filter."""
    partly = [cell for cell in cells(scene, operation) if 0 < len(cell.visible) < len(RELATIONS)]
    unfiltered: Callable[..., Any] = lambda self, columns: true()  # noqa: E731
    monkeypatch.setattr(Exchange, "scope", unfiltered)
    found = await wrong(scene, partly)
    assert bool(found) == bool(partly), (operation, found)
    assert ANONYMOUS not in "".join(found)


async def test_every_operation_succeeds_for_every_role_that_may(scene: Cast, tell: Tell) -> None:
    """The last of this file: it changes what the cases above are counted by."""
    permitted = [
        (operation, actor)
        for operation in scene.operations
        for actor in ACTORS
        if any(reaches(operation.name, actor, relation) for relation in RELATIONS)
    ]
    nobody = {operation.name for operation in scene.operations} - {
        operation.name for operation, _ in permitted
    }
    assert nobody == {f"{service}.readKeys" for service in SERVICES}  # services read them
    assert await failed(scene, permitted) == []
    counts = {(operation.name, actor): scene.granted[operation.name, actor]
              for operation, actor in permitted}  # fmt: skip
    for service in SERVICES:
        lines = [
            f"{operation.described['operationId']} "
            + " ".join(f"{a}={n}" for (name, a), n in counts.items() if name == operation.name)
            for operation in scene.operations
            if operation.service == service and operation.name not in nobody
        ]
        tell(f"2xx by permitted role, {service}: {'; '.join(lines)}")
    assert [place for place, number in counts.items() if number == 0] == []
