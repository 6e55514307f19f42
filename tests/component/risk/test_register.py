from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from casebook.events.workforce import AgentRegistered, AgentTeamChanged
from tests.support.crowd import SOME_ID, multiply
from tests.support.running_service import Headers, Json, RunningService, problem

RISKS = "/risk/v1/risks"
REGISTRATION: Json = {
    "category": "supplier",
    "title": "备份供应商可能破产",
    "description": "第三季度起未按时交付备份介质。",
    "owner": "sun.li",
    "service": "backup",
}
ASSESSMENT: Json = {"likelihood": 3, "impact": 4, "reason": "两次延迟"}
TREATMENT: Json = {
    "strategy": "reduce",
    "owner": "sun.li",
    "due_at": "2099-06-30T16:00:00+08:00",
    "plan": "与第二家供应商签约。",
}


async def registered(risk: RunningService, who: Headers, **changes: object) -> str:
    """Register a risk and return its path."""
    response = await risk.send("POST", RISKS, who, REGISTRATION | changes)
    assert response.status_code == 201, response.text
    assert response.headers["Location"] == f"{RISKS}/{response.json()['id']}"
    return response.headers["Location"]


async def done(
    risk: RunningService, method: str, path: str, who: Headers, body: Json, *, version: int
) -> Json:
    """Run a command that must succeed."""
    response = await risk.send(method, path, who, body, match=f'"{version}"')
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_risk_is_assessed_treated_and_closed(
    risk: RunningService, manager: Headers, auditor: Headers
) -> None:
    path = await registered(risk, manager)
    receipt = await done(risk, "POST", f"{path}/assessments", manager, ASSESSMENT, version=1)
    assert (receipt["status"], receipt["score"], receipt["rating"]) == ("assessed", 12, "high")
    receipt = await done(risk, "PUT", f"{path}/treatment", manager, TREATMENT, version=2)
    assert (receipt["status"], receipt["due_at"]) == ("treating", "2099-06-30T08:00:00Z")
    completion = {"result": "合同已签。"}
    await done(risk, "PUT", f"{path}/treatment/completion", manager, completion, version=3)
    residual = {"stage": "residual", "likelihood": 1, "impact": 4}
    receipt = await done(risk, "POST", f"{path}/assessments", manager, residual, version=4)
    assert (receipt["status"], receipt["score"], receipt["rating"]) == ("treated", 4, "low")
    await done(risk, "PUT", f"{path}/closure", manager, {"reason": "已有备用。"}, version=5)

    response = await risk.read(path, auditor)
    document = response.json()
    assert response.headers["ETag"] == '"6"'
    assert (document["status"], document["title"]) == ("closed", REGISTRATION["title"])
    assert document["description"] == REGISTRATION["description"]
    assert document["inherent"]["reason"] == "两次延迟"
    assert document["residual"]["assessed_by"] == "zhao.min"
    assert document["treatment"]["plan"] == TREATMENT["plan"]
    assert document["treatment"]["result"] == "合同已签。"
    assert (document["closed_by"], document["closing_reason"]) == ("zhao.min", "已有备用。")
    plain = await risk.value("SELECT count(*) FROM events WHERE record LIKE '%供应商%'")
    assert plain == 0


async def test_a_risk_is_read_as_it_was(
    risk: RunningService, manager: Headers, auditor: Headers
) -> None:
    path, before = await registered(risk, manager), risk.clock.now()
    risk.clock.pass_(timedelta(hours=1))
    await done(risk, "POST", f"{path}/assessments", manager, ASSESSMENT, version=1)
    assert (await risk.read(path, auditor)).json()["status"] == "assessed"
    then = await risk.read(path, auditor, as_of=before.isoformat())
    assert (then.json()["status"], then.json()["inherent"]) == ("identified", None)
    assert (then.json()["title"], then.headers["ETag"]) == (REGISTRATION["title"], '"1"')
    earlier = {"as_of": (before - timedelta(days=1)).isoformat()}
    assert problem(await risk.read(path, auditor, **earlier)) == (404, "not-found")
    stranger = await risk.read(path, risk.person("x", "agent"), as_of=before.isoformat())
    assert problem(stranger) == problem(await risk.read(path, risk.person("x", "agent")))
    assert problem(stranger) == (404, "not-found")


async def test_the_rules_are_kept_over_http(risk: RunningService, manager: Headers) -> None:
    path = await registered(risk, manager)
    owner = risk.person("sun.li", "risk-manager")

    async def refused(method: str, name: str, body: Json, who: Headers = manager) -> str:
        stream = f"risk/{path.rpartition('/')[2]}"
        match = await risk.etag(stream)
        response = await risk.send(method, f"{path}/{name}", who, body, match=match)
        assert response.status_code == 409, response.text
        return problem(response)[1]

    assert await refused("PUT", "treatment", TREATMENT) == "risk-not-assessed"
    await done(risk, "POST", f"{path}/assessments", manager, ASSESSMENT, version=1)
    late = TREATMENT | {"due_at": "2001-01-01T00:00:00Z"}
    assert await refused("PUT", "treatment", late) == "due-date-passed"
    assert await refused("PUT", "treatment/completion", {}) == "treatment-not-planned"
    residual = ASSESSMENT | {"stage": "residual"}
    assert await refused("POST", "assessments", residual) == "treatment-not-planned"
    await done(risk, "PUT", f"{path}/treatment", manager, TREATMENT, version=2)
    assert await refused("PUT", "closure", {"reason": "x"}) == "treatment-not-completed"
    await done(risk, "PUT", f"{path}/treatment/completion", manager, {}, version=3)
    assert await refused("POST", "assessments", residual, owner) == "assessor-owns-treatment"
    assert await refused("PUT", "closure", {"reason": "x"}, owner) == "closer-owns-treatment"
    await done(risk, "PUT", f"{path}/closure", manager, {"reason": "x"}, version=4)
    assert await refused("POST", "assessments", ASSESSMENT) == "risk-closed"


async def test_a_repeated_command_adds_nothing(risk: RunningService, manager: Headers) -> None:
    path = await registered(risk, manager)
    for _ in range(2):
        response = await risk.send(
            "POST", f"{path}/assessments", manager, ASSESSMENT, match='"1"', key="once"
        )
        assert response.headers["ETag"] == '"2"'
    await done(risk, "POST", f"{path}/assessments", manager, ASSESSMENT, version=2)
    assert (await risk.read(path, manager)).headers["ETag"] == '"2"'


@pytest.mark.parametrize(
    "body",
    [
        {},
        REGISTRATION | {"owner": ""},
        REGISTRATION | {"title": "two\nlines"},
        REGISTRATION | {"description": " "},
        REGISTRATION | {"status": "closed"},
        REGISTRATION | {"category": 5},
    ],
)
async def test_a_malformed_registration_is_refused(
    risk: RunningService, manager: Headers, body: Json
) -> None:
    assert problem(await risk.send("POST", RISKS, manager, body))[0] == 422


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("assessments", ASSESSMENT | {"likelihood": 6}),
        ("assessments", ASSESSMENT | {"impact": 2.5}),
        ("assessments", ASSESSMENT | {"stage": "someday"}),
        ("treatment", TREATMENT | {"strategy": "pray"}),
        ("treatment", TREATMENT | {"due_at": "2099-06-30T16:00:00"}),
        ("treatment", TREATMENT | {"due_at": "9999-06-30T16:00:00Z"}),
        ("treatment", TREATMENT | {"due_at": 4_000_000_000_000}),
        ("closure", {}),
    ],
)
async def test_a_malformed_command_is_refused(
    risk: RunningService, manager: Headers, name: str, body: Json
) -> None:
    path = await registered(risk, manager)
    method = "POST" if name == "assessments" else "PUT"
    response = await risk.send(method, f"{path}/{name}", manager, body, match='"1"')
    assert problem(response)[0] == 422


async def test_the_register_is_filtered_and_in_pages(
    risk: RunningService, manager: Headers, auditor: Headers
) -> None:
    paths = [await registered(risk, manager, category=f"c{number % 2}") for number in range(5)]
    await done(risk, "POST", f"{paths[0]}/assessments", manager, ASSESSMENT, version=1)

    async def listed(**parameters: Any) -> Json:
        response = await risk.read(RISKS, auditor, **parameters)
        assert response.status_code == 200, response.text
        return response.json()

    first = await listed(limit=3)
    rest = await listed(limit=3, cursor=first["next_cursor"])
    ids = [item["id"] for item in first["items"] + rest["items"]]
    assert ids == [path.rpartition("/")[2] for path in reversed(paths)]
    assert rest["next_cursor"] is None
    assert {item["title"] for item in first["items"]} == {REGISTRATION["title"]}
    assert len((await listed(category="c1"))["items"]) == 2
    assert len((await listed(status="assessed", rating="high", service="backup"))["items"]) == 1
    assert len((await listed(kind="registered", owner="sun.li"))["items"]) == 5
    assert (await listed(kind="candidate"))["items"] == []
    assert problem(await risk.read(RISKS, auditor, status="odd"))[0] == 422
    assert problem(await risk.read(RISKS, auditor, cursor="x")) == (400, "cursor-malformed")


async def test_the_heat_map_counts_open_risks_where_they_stand_now(
    risk: RunningService, manager: Headers, auditor: Headers
) -> None:
    paths = [await registered(risk, manager) for _ in range(4)]
    for path in paths[:3]:
        await done(risk, "POST", f"{path}/assessments", manager, ASSESSMENT, version=1)
    await done(risk, "PUT", f"{paths[0]}/treatment", manager, TREATMENT, version=2)
    residual = {"stage": "residual", "likelihood": 2, "impact": 2}
    await done(risk, "POST", f"{paths[0]}/assessments", manager, residual, version=3)
    await done(risk, "PUT", f"{paths[1]}/closure", manager, {"reason": "x"}, version=2)
    heat_map = (await risk.read(f"{RISKS}/heatmap", auditor)).json()
    cells = {(c["likelihood"], c["impact"]): c for c in heat_map["cells"]}
    assert len(cells) == 25
    assert {place for place, cell in cells.items() if cell["risks"]} == {(3, 4), (2, 2)}
    assert (cells[3, 4]["risks"], cells[3, 4]["rating"]) == (1, "high")
    assert heat_map["unassessed"] == 1


async def test_staff_report_risks_and_see_their_own_only(
    risk: RunningService, manager: Headers, agent: Headers
) -> None:
    mine, other = await registered(risk, agent), await registered(risk, manager)
    assert (await risk.read(mine, agent)).status_code == 200
    assert problem(await risk.read(other, agent))[0] == 404
    items = (await risk.read(RISKS, agent)).json()["items"]
    assert [f"{RISKS}/{item['id']}" for item in items] == [mine]
    body = {"likelihood": 1, "impact": 1}
    assert problem(await risk.send("POST", f"{mine}/assessments", agent, body))[0] == 403
    assert problem(await risk.read(f"{RISKS}/heatmap", agent))[0] == 403
    assert problem(await risk.read(f"{mine}/evidence", agent))[0] == 403


async def test_a_thousand_risks_of_others_do_not_hide_ones_own(
    risk: RunningService, manager: Headers, agent: Headers
) -> None:
    mine = await registered(risk, agent)
    risk.clock.pass_(timedelta(seconds=1))
    other = (await registered(risk, manager)).rpartition("/")[2]
    where = f"stream = 'risk/{other}'"
    await multiply(risk.runtime, "streams", where, stream=f"'risk/' || {SOME_ID}")

    async def listed(who: Headers) -> list[str]:
        items = (await risk.read(RISKS, who, limit=200)).json()["items"]
        return [f"{RISKS}/{item['id']}" for item in items]

    assert mine not in await listed(manager), "they come first"
    assert await listed(agent) == [mine]


async def test_a_lead_sees_the_risks_that_their_team_answers_for(
    risk: RunningService, manager: Headers, agent: Headers
) -> None:
    for person, team in (("he.jun", "mail"), ("li.na", "mail"), ("hu.bo", "network")):
        member = AgentRegistered(agent=person, team=team, capacity=5)
        await risk.happened(f"agent/{person}", member, key=person)
    lead, other = risk.person("he.jun", "lead"), risk.person("hu.bo", "lead")
    path = await registered(risk, manager, owner="li.na")
    mine = await registered(risk, lead, owner="hu.bo")

    async def listed(who: Headers) -> list[str]:
        items = (await risk.read(RISKS, who)).json()["items"]
        return [f"{RISKS}/{item['id']}" for item in items]

    assert await listed(lead) == [mine, path], "what they reported, and what is their team's"
    assert await listed(other) == [mine]
    assert await listed(agent) == [], "an agent sees their own only"
    assert (await risk.read(path, lead)).status_code == 200
    assert problem(await risk.read(path, other))[0] == 404
    for who, status in ((lead, 403), (other, 403)):
        answer = await risk.send("POST", f"{path}/assessments", who, ASSESSMENT, match='"1"')
        assert problem(answer)[0] == status
    moved = AgentTeamChanged(team="network")
    await risk.happened("agent/li.na", moved, key="li.na")
    assert (await listed(lead), await listed(other)) == ([mine], [mine, path])
    assert problem(await risk.read(path, lead))[0] == 404


async def test_a_publisher_reports_a_risk_and_reads_none(risk: RunningService) -> None:
    publisher = risk.person("monitor", "publisher", source="monitor")
    path = await registered(risk, publisher)
    for each in (RISKS, path, f"{path}/evidence", f"{RISKS}/heatmap"):
        assert problem(await risk.read(each, publisher))[0] == 403


@pytest.mark.parametrize("role", ["requester", "admin", "operator"])
async def test_others_have_no_part_in_the_register(
    risk: RunningService, manager: Headers, role: str
) -> None:
    path = await registered(risk, manager)
    who = risk.person("someone", role)
    for each in (RISKS, path, f"{path}/evidence", f"{RISKS}/heatmap"):
        assert problem(await risk.read(each, who))[0] == 403
    assert problem(await risk.send("POST", RISKS, who, REGISTRATION))[0] == 403


async def test_an_auditor_reads_and_changes_nothing(
    risk: RunningService, manager: Headers, auditor: Headers
) -> None:
    path = await registered(risk, manager)
    assert (await risk.read(path, auditor)).status_code == 200
    for method, name, body in (
        ("POST", "assessments", ASSESSMENT),
        ("PUT", "treatment", TREATMENT),
        ("PUT", "treatment/completion", {}),
        ("PUT", "closure", {"reason": "x"}),
    ):
        response = await risk.send(method, f"{path}/{name}", auditor, body, match='"1"')
        assert problem(response)[0] == 403


async def test_commands_keep_the_conditions(risk: RunningService, manager: Headers) -> None:
    path = await registered(risk, manager)
    name = f"{path}/assessments"
    assert problem(await risk.send("POST", name, manager, ASSESSMENT))[0] == 428
    assert problem(await risk.send("POST", name, manager, ASSESSMENT, match='"3"'))[0] == 412
    nothing = f"{RISKS}/{uuid4()}"
    response = await risk.send("POST", f"{nothing}/assessments", manager, ASSESSMENT, match='"1"')
    assert problem(response)[0] == 404
    assert problem(await risk.read(nothing, manager))[0] == 404
    assert problem(await risk.read(f"{path}/evidence", manager)) == (404, "no-evidence")
