from casebook.events.request import RequestCommented, RequestInternallyCommented
from casebook.intake.domain.lifecycle import comment, comment_internally
from casebook.intake.domain.request import Request
from tests.unit.intake.given import CLOSED, OPEN, SUBMITTED, given, observed, refusal, then


def test_a_comment_is_for_the_customer() -> None:
    assert comment(OPEN, body="已经好了吗？") == [RequestCommented(body="已经好了吗？")]
    assert RequestCommented.audience == "customer"


def test_an_internal_comment_is_for_staff() -> None:
    assert comment_internally(OPEN, body="同上次") == [RequestInternallyCommented(body="同上次")]
    assert RequestInternallyCommented.audience == "staff"


def test_a_closed_request_can_be_commented() -> None:
    assert comment(CLOSED, body="谢谢") == [RequestCommented(body="谢谢")]


def test_comments_change_nothing_but_the_time_of_the_last_change() -> None:
    after = then(OPEN, RequestCommented(body="a"), RequestInternallyCommented(body="b"))
    assert after == OPEN


def test_a_request_that_nobody_submitted_is_refused() -> None:
    assert refusal(lambda: comment(Request(), body="a")) == "request-unknown"


def test_a_request_of_another_system_is_refused() -> None:
    history = given(observed(SUBMITTED))
    assert refusal(lambda: comment(history, body="a")) == "observed-history"
    assert refusal(lambda: comment_internally(history, body="a")) == "observed-history"
