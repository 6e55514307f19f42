"""What a request is linked with: knowledge articles and a problem (handbook 4.3).

Assumption: of 4.3 only the heading is known. Links come from other systems for now; a link to
knowledge may leave out which article it is, as some sources know only that there was one.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from casebook.events.envelope import Envelope
from casebook.events.quality import (
    RequestLinkEvent,
    RequestLinkKnowledgeLinked,
    RequestLinkKnowledgeUnlinked,
    RequestLinkProblemLinked,
)
from casebook.kit.decider import Refused, StoredMoment, StreamFamily


@dataclass(frozen=True, slots=True)
class RequestLinks:
    """The links of a request; ``""`` among the articles is one that the source does not name."""

    origin: str = "observed"
    articles: tuple[str, ...] = ()
    problem: str | None = None
    updated_at: StoredMoment | None = None


def evolve(links: RequestLinks, event: RequestLinkEvent, envelope: Envelope) -> RequestLinks:
    """Return the links after ``event``; total, and never refuses."""
    links = replace(
        links,
        origin="live" if envelope.origin == "live" else links.origin,
        updated_at=envelope.time,
    )
    match event:
        case RequestLinkKnowledgeLinked():
            return replace(links, articles=tuple(sorted({*links.articles, event.article or ""})))
        case RequestLinkKnowledgeUnlinked():
            # Unlinking what has no name takes back every link: the source knows only one.
            kept = tuple(name for name in links.articles if event.article not in {None, name})
            return replace(links, articles=kept)
        case RequestLinkProblemLinked():
            return replace(links, problem=event.problem)
        case _:
            assert_never(event)


def guard(links: RequestLinks, event: RequestLinkEvent) -> None:
    """Hold what another system publishes to the rules.

    :raises Refused: ``knowledge-already-linked``, ``knowledge-not-linked`` or
        ``problem-already-linked`` for a fact that changes nothing.
    """
    match event:
        case RequestLinkKnowledgeLinked():
            if (event.article or "") in links.articles:
                raise Refused("knowledge-already-linked", "this article is linked already")
        case RequestLinkKnowledgeUnlinked():
            known = (
                bool(links.articles) if event.article is None else event.article in links.articles
            )
            if not known:
                raise Refused("knowledge-not-linked", "this article is not linked")
        case RequestLinkProblemLinked():
            if event.problem == links.problem:
                raise Refused("problem-already-linked", "the request belongs to it already")
        case _:
            assert_never(event)


FAMILY: StreamFamily[RequestLinks] = StreamFamily(
    name="request-link", initial=RequestLinks(), evolve=evolve, guard=guard
)
