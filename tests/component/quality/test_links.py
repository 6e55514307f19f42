"""Links come from other systems; observed history leads to nothing else here."""

from uuid import UUID, uuid4

from casebook.events.quality import (
    RequestLinkKnowledgeLinked,
    RequestLinkKnowledgeUnlinked,
    RequestLinkProblemLinked,
    SurveyAnswered,
    SurveySent,
)
from casebook.events.request import SourceRegistered
from casebook.kit.ids import source_id
from tests.component.quality.history import handled_by, member
from tests.support.running_service import Headers, Json, RunningService, problem

LINKED = RequestLinkKnowledgeLinked.type


async def a_source(quality: RunningService, name: str, mode: str) -> Headers:
    """Register a source; return the headers of its publisher."""
    types = (
        LINKED,
        RequestLinkKnowledgeUnlinked.type,
        RequestLinkProblemLinked.type,
        SurveySent.type,
        SurveyAnswered.type,
    )
    registered = SourceRegistered(source=name, types=types, mode=mode, publisher=f"{name}.bot")
    await quality.happened(f"definition/source/{name}", registered, key=name)
    return quality.person(f"{name}.bot", "publisher", source=name)


def cloud_event(source: str, type_: str, **data: object) -> Json:
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": source,
        "type": type_,
        "subject": "INC0000045",
        "time": "2016-03-01T10:00:00Z",
        "datacontenttype": "application/json",
        "data": data,
    }


async def published(quality: RunningService, who: Headers, event: Json) -> None:
    response = await quality.client.post(
        "/quality/v1/events",
        json=event,
        headers=who | {"Content-Type": "application/cloudevents+json"},
    )
    assert response.status_code == 202, response.text
    await quality.until("SELECT count(*) FROM inbox", 0)


def path_of(source: str) -> tuple[UUID, str]:
    request_id = source_id(source, "request", "INC0000045")
    return request_id, f"/quality/v1/request-links/{request_id}"


async def test_links_of_observed_history_are_kept(
    quality: RunningService, auditor: Headers, lead: Headers
) -> None:
    who = await a_source(quality, "uci498", "observed")
    await published(quality, who, cloud_event("uci498", LINKED))
    await published(
        quality, who, cloud_event("uci498", RequestLinkProblemLinked.type, problem="P1")
    )
    request_id, path = path_of("uci498")
    links = (await quality.read(path, auditor)).json()
    assert (links["knowledge_linked"], links["articles"], links["problem"]) == (True, [], "P1")
    assert links["origin"] == "observed"

    assert problem(await quality.read(path, lead))[0] == 404
    await handled_by(quality, request_id, "mail", "li.na")
    await member(quality, "he.jun", "mail")
    assert (await quality.read(path, lead)).status_code == 200


async def test_a_live_source_keeps_the_rules(quality: RunningService, auditor: Headers) -> None:
    who = await a_source(quality, "wiki", "live")
    unlinked = RequestLinkKnowledgeUnlinked.type
    await published(quality, who, cloud_event("wiki", LINKED, article="KB1"))
    await published(quality, who, cloud_event("wiki", unlinked, article="KB2"))
    _, path = path_of("wiki")
    assert (await quality.read(path, auditor)).json()["articles"] == ["KB1"]
    reason = await quality.value("SELECT reason FROM quarantine")
    assert reason == "knowledge-not-linked"


async def test_observed_surveys_are_folded_and_ask_nobody(
    quality: RunningService, auditor: Headers
) -> None:
    who = await a_source(quality, "uci498", "observed")
    await published(quality, who, cloud_event("uci498", SurveyAnswered.type, satisfaction=4))
    results = await quality.read("/quality/v1/surveys/results", auditor, origin="observed")
    assert (results.json()["n"], results.json()["sent"]) == (1, 0)
    assert await quality.value("SELECT count(*) FROM events WHERE type LIKE '%survey.sent%'") == 0


async def test_a_request_without_links_is_not_found(
    quality: RunningService, auditor: Headers
) -> None:
    assert problem(await quality.read(f"/quality/v1/request-links/{uuid4()}", auditor))[0] == 404
