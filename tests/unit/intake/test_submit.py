import pytest

from casebook.events.definitions import PRIORITY_MATRIX
from casebook.events.request import RequestClassified, RequestPrioritised, RequestSubmitted
from casebook.intake.domain import priority
from casebook.intake.domain.classification import KINDS, PROBLEM_TYPE_NAMES, PROBLEM_TYPES
from casebook.intake.domain.lifecycle import submit
from casebook.intake.domain.request import Classification, Request, Status
from tests.unit.intake.given import OPEN, given, refusal

NEW = Request()


def test_a_request_is_submitted_with_the_default_priority() -> None:
    assert submit(NEW, number="REQ0000001", kind="question", requester="wang.fang") == [
        RequestSubmitted(number="REQ0000001", kind="question", requester="wang.fang"),
        RequestPrioritised(impact=2, urgency=2, priority=3, matrix=PRIORITY_MATRIX.reference),
    ]


def test_what_is_known_at_submission_is_recorded_with_it() -> None:
    submitted, classified, prioritised = submit(
        NEW,
        number="REQ0000002",
        kind="incident",
        requester="wang.fang",
        organisation="青岛分公司",
        channel="phone",
        location="3 楼",
        opened_by="li.na",
        service="mail",
        title="邮件无法发送",
        description="从今天早上开始，\n所有邮件都退回。",
        classification=Classification("data-processing", "mail", "delivery", "bounce"),
        impact=1,
        urgency=1,
    )
    assert isinstance(submitted, RequestSubmitted)
    assert submitted.description == "从今天早上开始，\n所有邮件都退回。"
    assert classified == RequestClassified(
        problem_type="data-processing", category="mail", subcategory="delivery", symptom="bounce"
    )
    assert isinstance(prioritised, RequestPrioritised)
    assert prioritised.priority == 1


def test_a_submitted_request_is_open_and_keeps_its_text_sealed() -> None:
    request = given(
        *submit(NEW, number="REQ1", kind="incident", requester="wang.fang", title="邮件")
    )
    assert request.status is Status.OPEN
    assert request.live
    assert request.title is not None
    assert request.title.field == "title"
    assert request.title.ciphertext == "sealed-0-title"
    assert (request.impact, request.urgency, request.priority) == (2, 2, 3)


def test_an_id_is_submitted_once() -> None:
    again = refusal(lambda: submit(OPEN, number="REQ2", kind="incident", requester="wang.fang"))
    assert again == "request-exists"


def test_a_kind_that_does_not_exist_is_refused() -> None:
    code = refusal(lambda: submit(NEW, number="REQ1", kind="wish", requester="wang.fang"))
    assert code == "unknown-kind"
    assert len(KINDS) == 6


def test_a_problem_type_that_does_not_exist_is_refused() -> None:
    code = refusal(
        lambda: submit(
            NEW,
            number="REQ1",
            kind="incident",
            requester="wang.fang",
            classification=Classification("weather"),
        )
    )
    assert code == "unknown-problem-type"


def test_the_six_kinds_of_service_have_the_names_of_the_handbook() -> None:
    assert set(PROBLEM_TYPE_NAMES) | {"other"} == set(PROBLEM_TYPES)


@pytest.mark.parametrize(
    ("impact", "urgency", "expected"),
    [
        (1, 1, 1),
        (1, 2, 2),
        (1, 3, 3),
        (2, 1, 2),
        (2, 2, 3),
        (2, 3, 4),
        (3, 1, 3),
        (3, 2, 4),
        (3, 3, 4),
    ],
)
def test_the_sum_of_impact_and_urgency_decides(impact: int, urgency: int, expected: int) -> None:
    assert priority.resolve(impact, urgency) == expected


@pytest.mark.parametrize(("impact", "urgency"), [(0, 1), (1, 4), (-1, 2)])
def test_a_level_outside_one_to_three_is_refused(impact: int, urgency: int) -> None:
    assert refusal(lambda: priority.resolve(impact, urgency)) == "unknown-level"
