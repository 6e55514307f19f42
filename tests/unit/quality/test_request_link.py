import pytest

from casebook.events.event import Event
from casebook.events.quality import (
    RequestLinkKnowledgeLinked,
    RequestLinkKnowledgeUnlinked,
    RequestLinkProblemLinked,
)
from casebook.quality.domain.request_link import FAMILY, RequestLinks, guard
from tests.unit.quality.given import given, observed, refusal

LINKED = RequestLinkKnowledgeLinked(article="KB0042")
UNLINKED = RequestLinkKnowledgeUnlinked(article="KB0042")
SOMETHING_LINKED = RequestLinkKnowledgeLinked()
EVERYTHING_UNLINKED = RequestLinkKnowledgeUnlinked()
PROBLEM = RequestLinkProblemLinked(problem="PRB0007")


def test_articles_and_the_problem_are_kept() -> None:
    links: RequestLinks = given(FAMILY, LINKED, SOMETHING_LINKED, LINKED, PROBLEM)
    assert (links.articles, links.problem) == (("", "KB0042"), "PRB0007")


def test_unlinking_takes_back_the_article_or_all() -> None:
    assert given(FAMILY, LINKED, SOMETHING_LINKED, UNLINKED).articles == ("",)
    assert given(FAMILY, LINKED, SOMETHING_LINKED, EVERYTHING_UNLINKED).articles == ()


def test_links_are_live_from_their_first_live_fact_on() -> None:
    assert given(FAMILY, observed(LINKED)).origin == "observed"
    assert given(FAMILY, observed(LINKED), PROBLEM).origin == "live"


@pytest.mark.parametrize("event", [LINKED, SOMETHING_LINKED, PROBLEM])
def test_a_new_link_is_taken(event: Event) -> None:
    guard(FAMILY.initial, event)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("event", [UNLINKED, EVERYTHING_UNLINKED])
def test_what_is_linked_may_be_unlinked(event: Event) -> None:
    guard(given(FAMILY, LINKED), event)  # pyright: ignore[reportArgumentType]


def test_a_fact_that_changes_nothing_is_refused() -> None:
    linked = given(FAMILY, LINKED, PROBLEM)
    assert refusal(lambda: guard(linked, LINKED)) == "knowledge-already-linked"
    assert refusal(lambda: guard(FAMILY.initial, UNLINKED)) == "knowledge-not-linked"
    assert refusal(lambda: guard(FAMILY.initial, EVERYTHING_UNLINKED)) == "knowledge-not-linked"
    assert refusal(lambda: guard(linked, PROBLEM)) == "problem-already-linked"
