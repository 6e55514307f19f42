"""What one cannot get by naming others' things, by forged tokens, or from logs and metrics.

Over every field of the OpenAPI documents that names something of somebody (reliability 1.1, API1
and API3), every service's door, and every place where free text could come out.
"""

import base64
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from casebook.kit import metrics
from tests.support.bad_values import bad_authorisations
from tests.support.cast import Case, Cast, all_of, cast
from tests.support.interface import SERVICES, Operation
from tests.support.judging import check
from tests.support.stage import encoded
from tests.system.authorisation_matrix import RELATIONS, ROLES, Relation, reaches

pytestmark = pytest.mark.asyncio(loop_scope="module")
CANARY = "kanarie-5d1e9"
NAMING = {
    "agent", "control", "key_ids", "organisation", "owner", "publisher", "request_id", "requester",
    "source", "team",
}  # fmt: skip
"""Fields that name somebody, or something of somebody."""

PLAIN = {
    "after", "as_of", "by", "category", "channel", "classification", "code", "cursor", "due_at",
    "due_before", "kind", "limit", "location", "mode", "name", "origin", "priority",
    "problem_type", "rating", "service", "stage", "state", "status", "strategy", "subcategory",
    "symptom", "types",
}  # fmt: skip
"""Fields that name nothing that could be somebody's."""

FILTERS = {
    "intake.listRequests": {"team", "organisation"},
    "dispatch.getTeamQueue": {"agent"},
    "dispatch.listAgents": {"team"},
    "quality.listNonconformities": {"control", "request_id"},
    "risk.listRisks": {"owner"},
    **{f"{service}.getIngressStatus": {"source"} for service in SERVICES},
    **{f"{service}.listQuarantine": {"source"} for service in SERVICES},
}
COMMANDS = {
    "intake.submitRequest": {"requester", "organisation"},
    "intake.registerSource": {"source", "organisation", "publisher"},
    "dispatch.reassignWorkOrder": {"agent", "team"},
    "dispatch.registerAgent": {"team"},
    "dispatch.changeTeam": {"team"},
    "risk.registerRisk": {"owner"},
    "risk.planRiskTreatment": {"owner"},
    **{f"{service}.readKeys": {"key_ids"} for service in SERVICES},
}
TEXTS = {
    "body", "comment", "description", "note", "plan", "reason", "result", "summary", "text",
    "title",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    async with cast(tmp_path_factory.mktemp("disclosure")) as found:
        yield found


def named(case: Case, field: str) -> str:
    """Return what a field names of a case."""
    return {
        "agent": case.agent,
        "control": "closure-agreed",
        "organisation": case.organisation,
        "owner": case.agent,
        "publisher": case.publisher,
        "requester": case.requester,
        "request_id": case.ids["closed"],
        "source": case.source,
        "team": case.team,
    }[field]


def markers(scene: Cast, relation: Relation) -> list[str]:
    """Return what would tell of a case, and of no case of one's own."""
    case, own = scene.cases[relation], scene.cases["own"]
    people = {case.requester, case.agent, case.organisation}
    mine = {own.requester, own.agent, own.organisation}
    return [*case.ids.values(), *(f'"{name}"' for name in people - mine)]


def hidden(scene: Cast, operation: str, role: str) -> list[str]:
    """Return what would tell somebody of cases that they do not reach with an operation."""
    return [
        marker
        for relation in RELATIONS
        if not reaches(operation, role, relation)
        for marker in markers(scene, relation)
    ]


async def test_every_field_that_names_something_is_under_test(scene: Cast) -> None:
    """A new one fails here, until it is written down above, and so injected below."""
    found: dict[str, dict[str, set[str]]] = {"query": {}, "body": {}}
    for operation in scene.operations:
        query = {parameter["name"] for parameter in operation.parameters("query")}
        body = {step for place in operation.texts() for step in place if isinstance(step, str)}
        for where, names in (("query", query), ("body", body)):
            assert names <= NAMING | PLAIN | TEXTS, operation.name
            if names & NAMING:
                found[where][operation.name] = names & NAMING
    assert found == {"query": FILTERS, "body": COMMANDS}


async def test_no_filter_shows_what_is_foreign(scene: Cast) -> None:
    cases: list[tuple[Operation, str, str, Relation]] = [
        (operation, field, role, relation)
        for operation in scene.operations
        for field in sorted(FILTERS.get(operation.name, ()))
        for role in ROLES
        for relation in RELATIONS
        if relation != "own" and not reaches(operation.name, role, relation)
    ]
    assert len(cases) > 150

    async def told(case: tuple[Operation, str, str, Relation]) -> str | None:
        operation, field, role, relation = case
        path = operation.path(scene.values("own", operation))
        query = {field: named(scene.cases[relation], field)}
        answer = await scene.ask("GET", path, params=query, headers=scene.actor(role))
        check(answer, 200, 403, 404, what=case)
        if answer.status_code != 200:
            return None
        items = json.dumps(answer.json(), ensure_ascii=False)
        leaked = [m for m in hidden(scene, operation.name, role) if m in items]
        return f"{operation.name} {field} by {role}: {leaked}" if leaked else None

    assert [what for what in await all_of(told(case) for case in cases) if what] == []


async def test_no_command_tells_whether_what_it_names_is_somebody_s(scene: Cast) -> None:
    """What is foreign and what there is not are answered alike, to whom it is hidden."""
    cases = [
        (operation, field, role)
        for operation in scene.operations
        for field in sorted(COMMANDS.get(operation.name, ()))
        for role in ROLES
        if field != "key_ids" and not reaches(operation.name, role, "foreign")
    ]
    assert len(cases) > 50

    async def told(case: tuple[Operation, str, str]) -> str | None:
        operation, field, role = case
        path, example = operation.path(scene.values("own", operation)), operation.example()
        foreign, nobody = named(scene.cases["foreign"], field), f"nobody-{uuid.uuid4().hex}"
        answers = []
        for name in (foreign, nobody):
            body = example | {field: [name] if isinstance(example.get(field), list) else name}
            who = scene.actor(role)
            answer = await scene.send(who, operation.method, path, body)
            check(answer, what=case)
            seen = re.sub(r'"(trace_id|id|number)":"[^"]+"', "", answer.text)
            answers.append((answer.status_code, seen.replace(name, "")))
        return None if answers[0] == answers[1] else f"{operation.name} {field} {role}: {answers}"

    assert [what for what in await all_of(told(case) for case in cases) if what] == []


async def test_work_goes_to_no_agent_of_another_team_and_unknown_ones_look_the_same(
    scene: Cast,
) -> None:
    order = f"/dispatch/v1/work-orders/{scene.cases['own'].ids['open']}/assignments"
    told = set()
    for agent in (scene.cases["foreign"].agent, "nobody-at-all"):
        body = {"agent": agent, "reason": "他懂"}
        answer = await scene.send(scene.actor("lead"), "POST", order, body)
        told.add((answer.status_code, answer.json().get("code"), answer.json().get("detail")))
    assert len(told) == 1, told
    assert {status for status, *_ in told} == {409}


async def test_a_requester_speaks_for_nobody_else(scene: Cast) -> None:
    for relation in ("same", "foreign"):
        other = scene.cases[relation]
        both = {"requester": other.requester, "organisation": other.organisation}
        for names in ({"requester": other.requester}, {"channel": "phone"}, both):
            body = {"kind": "incident", "title": "冒名", **names}
            answer = await scene.send(scene.actor("requester"), "POST", "/intake/v1/requests", body)
            assert check(answer, 403) == "forbidden"


async def test_nobody_but_a_service_gets_a_key(scene: Cast) -> None:
    everybody = scene.person("wang", *ROLES, sources=("own-system",))
    for service in SERVICES:
        for key in (str(uuid.uuid4()), scene.cases["foreign"].ids["open"]):
            answer = await scene.send(everybody, "POST", f"/{service}/v1/keys", {"key_ids": [key]})
            assert check(answer, 403) == "forbidden"


async def test_an_answer_is_replayed_to_whom_it_was_given_only(scene: Cast) -> None:
    own = scene.cases["own"]
    body = {"kind": "incident", "title": "机密标题"}
    key = {"Idempotency_Key": "shared-key"}
    first = await scene.send(scene.actor("requester"), "POST", "/intake/v1/requests", body, **key)
    again = await scene.send(scene.actor("requester"), "POST", "/intake/v1/requests", body, **key)
    zhou = scene.person(scene.cases["foreign"].requester, "requester", organisation="别的公司")
    other = await scene.send(zhou, "POST", "/intake/v1/requests", body, **key)
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    path = f"/intake/v1/requests/{own.ids['open']}/comments"
    comment = {"body": "只对我们"}
    done = await scene.send(scene.actor("requester"), "POST", path, comment, **key)
    assert done.status_code == 201
    hidden = await scene.send(zhou, "POST", path, comment, **key)
    assert check(hidden, 404) == "not-found"


async def test_a_place_in_somebody_s_list_shows_others_nothing_more(scene: Cast) -> None:
    for path in ("/intake/v1/requests", "/monitoring/v1/service-levels", "/risk/v1/risks"):
        page = await scene.ask("GET", path, params={"limit": "1"}, headers=scene.actor("auditor"))
        cursor = page.json()["next_cursor"]
        role = "agent" if "risk" in path else "requester"
        query = {"cursor": cursor, "limit": "200"}
        found = await scene.ask("GET", path, params=query, headers=scene.actor(role))
        assert check(found, 200) is None
        text = json.dumps(found.json(), ensure_ascii=False)
        assert not [m for m in markers(scene, "foreign") if m in text], path


def bad_tokens(scene: Cast) -> Iterator[dict[str, str]]:
    """Yield headers that prove nothing."""
    good = scene.person("root", "admin")["Authorization"].removeprefix("Bearer ")
    yield {}
    yield {"Authorization": good}
    yield {"Authorization": f"Basic {base64.b64encode(b'admin:admin').decode()}"}
    yield {"Cookie": f"token={good}", "X-Forwarded-User": "admin", "X-Remote-User": "admin"}
    for value in bad_authorisations(scene.desk.home, good):
        yield {"Authorization": value}


async def test_no_forged_token_opens_any_service(scene: Cast) -> None:
    root = scene.person("root", "admin")
    doors: list[tuple[str, str, object]] = [
        door
        for service in SERVICES
        for door in (
            ("GET", f"/{service}/v1/lag", None),
            ("POST", f"/{service}/v1/parked/x/retries", {"reason": "x"}),
        )
    ]
    for method, path, body in doors:
        assert (await scene.send(root, method, path, body)).status_code == 200
    tokens = list(bad_tokens(scene))
    assert len(tokens) > 40

    async def knock(headers: dict[str, str], door: tuple[str, str, object]) -> httpx.Response:
        method, path, body = door
        content = None if body is None else json.dumps(body).encode()
        given = encoded({"Content-Type": "application/json", "Idempotency-Key": "k", **headers})
        return await scene.client.request(method, path, content=content, headers=given)

    answers = await all_of(knock(headers, door) for headers in tokens for door in doors)
    told = set()
    for answer in answers:
        assert check(answer, 401, 431) in {"unauthenticated", "headers-too-large"}
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            told.add(re.sub(r'"trace_id":"\w+"', "", answer.text))
    assert len(told) == 1, told


async def test_free_text_and_tokens_come_out_nowhere(scene: Cast) -> None:
    """Planted in every free text of every command, in headers, paths and queries."""
    log_before = len(scene.log.getvalue())
    everybody = scene.person("wang", *ROLES, sources=("own-system",))
    problems: list[str] = []
    planted = taken = 0
    for operation in scene.operations:
        for body in _planted(operation):
            planted += 1
            path = operation.path(scene.values("own", operation))
            for headers in (
                {"If_Match": f'"{CANARY}"'},
                {"traceparent": f"00-{CANARY}", "tracestate": f"x={CANARY}", "baggage": CANARY},
                {"Idempotency_Key": f"{CANARY}-{uuid.uuid4().hex}"},
            ):
                answer = await scene.send(everybody, operation.method, path, body, **headers)
                assert answer.status_code < 500
                taken += answer.is_success
                if answer.status_code >= 400:
                    problems.append(answer.text)
    assert planted > 30
    assert taken > 10
    requests = "/intake/v1/requests"
    for path in (f"/{CANARY}", f"{requests}/{CANARY}", f"{requests}?x={CANARY}",
                 f"{requests}?cursor={CANARY}", f"/dispatch/v1/queues/{CANARY}"):  # fmt: skip
        problems.append((await scene.ask("GET", path, headers=everybody)).text)
    event = {"specversion": "1.0", "id": "x", "source": "own-system", "subject": CANARY,
             "type": "casebook.request.submitted.v1", "time": "x", "data": CANARY}  # fmt: skip
    for media in ("application/cloudevents+json", f"text/{CANARY}"):
        headers = everybody | {"Content-Type": media}
        answer = await scene.ask("POST", "/intake/v1/events", json=event, headers=headers)
        problems.append(answer.text)
    await scene.desk.settled()
    written = scene.log.getvalue()[log_before:]
    figures = (await scene.ask("GET", "/metrics")).text + metrics.exposition().decode()
    token = everybody["Authorization"].removeprefix("Bearer ")
    for place, text in (("log", written), ("metrics", figures), ("problems", "".join(problems))):
        assert len(text) > 1_000, place
        for secret in (CANARY, token, *token.split(".")[1:]):
            assert secret not in text, (place, text[max(0, text.find(secret) - 300) :][:600])
    assert await _stored(scene, CANARY) == []
    assert {"intake.cases", "log.records"} <= set(await _stored(scene, "own-system"))


def _planted(operation: Operation) -> Iterator[dict[str, Any]]:
    """Yield bodies with a secret in one free text each: one that is taken, one that is not.

    An operator's reason is meant for the log, where it stands beside their name (decisions §8).
    """
    if operation.schema is None or operation.is_common:
        return
    for place in operation.texts():
        if len(place) == 1 and place[0] in TEXTS:
            yield operation.example() | {str(place[0]): f"{CANARY} {place[0]}"}
            yield operation.example() | {str(place[0]): f"{CANARY}\x01"}
            yield operation.example() | {"unheard-of": CANARY}


async def _stored(scene: Cast, secret: str) -> list[str]:
    """Return the tables in which the secret can be read, as text or as bytes."""
    connection = await asyncpg.connect(scene.desk.platform.settings.database_url)
    try:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
        )
        assert len(tables) > 80
        found = []
        for schema, table in tables:
            keyed = table == "idempotency"  # by the key, which is no secret and planted above
            what = "t.body::text || t.headers::text" if keyed else "t::text"
            count = await connection.fetchval(
                f"SELECT count(*) FROM {schema}.{table} t"
                f" WHERE {what} LIKE '%{secret}%' OR {what} LIKE '%{secret.encode().hex()}%'"
            )
            if count:
                found.append(f"{schema}.{table}")
        return found
    finally:
        await connection.close()
