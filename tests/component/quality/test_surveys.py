from datetime import timedelta
from uuid import UUID, uuid4

from casebook.events.request import RequestCancelled, RequestClosed, RequestReopened
from tests.component.quality.history import (
    SUBMITTED,
    closed_request,
    confirmation,
    handled_by,
    member,
)
from tests.support.running_service import TRACEPARENT, Headers, RunningService, problem

SURVEYS = "/quality/v1/surveys"


async def answered(
    quality: RunningService, who: Headers, request_id: UUID, satisfaction: int
) -> None:
    body = {"satisfaction": satisfaction}
    path = f"{SURVEYS}/{request_id}/answer"
    response = await quality.send("PUT", path, who, body, match='"1"')
    assert response.status_code == 200, response.text


async def test_the_requester_is_asked_at_closure_and_answers_once(
    quality: RunningService, requester: Headers
) -> None:
    request_id, closing = await closed_request(quality, confirmation(), basis="confirmed")
    path = f"{SURVEYS}/{request_id}"
    asked = await quality.read(path, requester)
    assert asked.json()["status"] == "sent"
    assert asked.headers["ETag"] == '"1"'

    body = {"satisfaction": 5, "comment": "解决得很快，谢谢！"}
    response = await quality.send("PUT", f"{path}/answer", requester, body, match='"1"')
    assert response.status_code == 200, response.text
    assert response.json()["satisfaction"] == 5
    assert response.headers["Casebook-Version"] == f"survey/{request_id}@2"

    read = await quality.read(path, requester)
    assert (read.json()["status"], read.json()["comment"]) == ("answered", "解决得很快，谢谢！")
    again = await quality.send("PUT", f"{path}/answer", requester, body, match='"2"')
    assert problem(again) == (409, "survey-already-answered")

    record = await quality.value("SELECT record::json FROM events WHERE type LIKE '%survey.sent%'")
    assert str(closing) in record
    assert TRACEPARENT in record
    plain = await quality.value("SELECT count(*) FROM events WHERE record LIKE '%谢谢%'")
    assert plain == 0


async def test_a_survey_is_read_as_it_was(quality: RunningService, requester: Headers) -> None:
    request_id, _ = await closed_request(quality)
    path, before = f"{SURVEYS}/{request_id}", quality.clock.now()
    quality.clock.pass_(timedelta(hours=1))
    body = {"satisfaction": 5, "comment": "谢谢！"}
    await quality.send("PUT", f"{path}/answer", requester, body, match='"1"')
    assert (await quality.read(path, requester)).json()["status"] == "answered"
    then = await quality.read(path, requester, as_of=before.isoformat())
    assert (then.json()["status"], then.json()["comment"]) == ("sent", None)
    assert then.headers["ETag"] == '"1"'
    earlier = (before - timedelta(days=1)).isoformat()
    assert problem(await quality.read(path, requester, as_of=earlier)) == (404, "not-found")
    stranger = await quality.read(path, quality.person("x", "requester"), as_of=before.isoformat())
    assert problem(stranger) == (404, "not-found")


async def test_an_answer_sent_again_is_answered_the_same(
    quality: RunningService, requester: Headers
) -> None:
    request_id, _ = await closed_request(quality)
    path, body = f"{SURVEYS}/{request_id}/answer", {"satisfaction": 3, "comment": "一般"}
    first = await quality.send("PUT", path, requester, body, match='"1"', key="same")
    again = await quality.send("PUT", path, requester, body, match='"1"', key="same")
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert await quality.value("SELECT count(*) FROM events WHERE type LIKE '%answered%'") == 1


async def test_only_the_requester_answers(quality: RunningService, auditor: Headers) -> None:
    request_id, _ = await closed_request(quality)
    path, body = f"{SURVEYS}/{request_id}/answer", {"satisfaction": 1}
    stranger = quality.person("sun.li", "requester", organisation="别的公司")
    colleague = quality.person("zhao.min", "requester", organisation="青岛分公司")
    for who in (stranger, colleague):
        assert problem(await quality.send("PUT", path, who, body, match='"1"'))[0] == 404
        assert problem(await quality.read(f"{SURVEYS}/{request_id}", who))[0] == 404
    assert problem(await quality.send("PUT", path, auditor, body, match='"1"'))[0] == 403
    assert (await quality.read(f"{SURVEYS}/{request_id}", auditor)).status_code == 200


async def test_nobody_scores_their_own_work(quality: RunningService, requester: Headers) -> None:
    request_id, _ = await closed_request(quality)
    await handled_by(quality, request_id, "mail", "wang.fang")
    path = f"{SURVEYS}/{request_id}/answer"
    response = await quality.send("PUT", path, requester, {"satisfaction": 5}, match='"1"')
    assert problem(response) == (409, "own-work")


async def test_an_answer_keeps_the_conditions_of_commands(
    quality: RunningService, requester: Headers
) -> None:
    request_id, _ = await closed_request(quality)
    path, body = f"{SURVEYS}/{request_id}/answer", {"satisfaction": 4}
    assert problem(await quality.send("PUT", path, requester, body))[0] == 428
    assert problem(await quality.send("PUT", path, requester, body, match='"7"'))[0] == 412
    for bad in ({"satisfaction": 6}, {"satisfaction": "5"}, body | {"by": "me"}, {}):
        assert problem(await quality.send("PUT", path, requester, bad, match='"1"'))[0] == 422
    nothing = f"{SURVEYS}/{uuid4()}/answer"
    assert problem(await quality.send("PUT", nothing, requester, body, match='"1"'))[0] == 404


async def test_a_later_closure_asks_again_until_there_is_an_answer(
    quality: RunningService, requester: Headers
) -> None:
    request_id, _ = await closed_request(quality)
    stream = f"request/{request_id}"
    await quality.happened(stream, RequestReopened(), RequestClosed(basis="direct"))
    assert await quality.etag(f"survey/{request_id}") == '"2"'
    body = {"satisfaction": 2}
    path = f"{SURVEYS}/{request_id}/answer"
    assert (await quality.send("PUT", path, requester, body, match='"2"')).status_code == 200
    await quality.happened(stream, RequestReopened(), RequestClosed(basis="direct"))
    assert await quality.etag(f"survey/{request_id}") == '"3"'


async def test_observed_history_and_cancelled_requests_lead_to_no_survey(
    quality: RunningService,
) -> None:
    await closed_request(quality, origin="observed", basis="observed")
    await quality.happened(f"request/{uuid4()}", SUBMITTED, RequestCancelled())
    assert await quality.value("SELECT count(*) FROM events") == 0


async def test_the_results_have_their_interval(
    quality: RunningService, requester: Headers, auditor: Headers
) -> None:
    empty = (await quality.read(f"{SURVEYS}/results", auditor)).json()
    assert (empty["n"], empty["share"], empty["interval"], empty["mean"]) == (0, None, None, None)
    for satisfaction in (5, 4, 3, 1):
        request_id, _ = await closed_request(quality)
        await answered(quality, requester, request_id, satisfaction)
    await closed_request(quality)
    results = (await quality.read(f"{SURVEYS}/results", auditor)).json()
    assert (results["sent"], results["n"], results["satisfied"]) == (5, 4, 2)
    assert (results["share"], results["mean"]) == (0.5, 3.25)
    assert round(results["interval"]["low"], 4) == 0.15
    assert round(results["interval"]["high"], 4) == 0.85
    observed = await quality.read(f"{SURVEYS}/results", auditor, origin="observed")
    assert observed.json()["n"] == 0


async def test_a_team_reads_the_results_of_its_own_requests(
    quality: RunningService, requester: Headers, lead: Headers
) -> None:
    for team, satisfaction in (("mail", 5), ("network", 1)):
        request_id, _ = await closed_request(quality)
        await handled_by(quality, request_id, team, "li.na")
        await answered(quality, requester, request_id, satisfaction)
    await member(quality, "he.jun", "mail")
    results = (await quality.read(f"{SURVEYS}/results", lead)).json()
    assert (results["n"], results["mean"]) == (1, 5.0)
    assert problem(await quality.read(f"{SURVEYS}/results", requester))[0] == 403
