"""The rules for facts about requests that other systems publish: those of the commands.

A live source is refused where a command would be; in observed history every refusal is counted
as a deviation from the process, and the fact is kept (handbook 2.1, 2.4).
"""

from typing import assert_never

from casebook.events.request import (
    RequestCancelled,
    RequestClassified,
    RequestClosed,
    RequestClosureAnnounced,
    RequestCommented,
    RequestConfigurationItemLinked,
    RequestEvent,
    RequestInternallyCommented,
    RequestPrioritised,
    RequestPriorityConfirmed,
    RequestReclassified,
    RequestReopened,
    RequestReprioritised,
    RequestResolutionConfirmed,
    RequestResolutionProposed,
    RequestSubmitted,
)
from casebook.intake.domain import lifecycle, priority
from casebook.intake.domain.classification import ensure_known_kind, ensure_known_problem_type
from casebook.intake.domain.request import Request, Status
from casebook.kit.decider import Refused


def guard(request: Request, event: RequestEvent) -> None:
    """Refuse a published fact that the rules of the commands do not allow.

    :raises Refused: with the code of the command, ``already-classified``, ``not-classified``,
        ``already-prioritised``, ``not-prioritised``, ``priority-not-by-matrix`` or
        ``closure-without-basis``.
    """
    match event:
        case RequestSubmitted():
            lifecycle.ensure_new(request)
            ensure_known_kind(event.kind)
        case RequestClassified() | RequestReclassified():
            _guard_classification(request, event)
        case RequestPrioritised() | RequestReprioritised():
            _guard_priority(request, event)
        case (
            RequestPriorityConfirmed()
            | RequestCommented()
            | RequestInternallyCommented()
            | RequestConfigurationItemLinked()
        ):
            lifecycle.ensure_submitted(request)
        case RequestResolutionProposed():
            lifecycle.ensure_not_over(request)
        case RequestResolutionConfirmed() | RequestClosureAnnounced():
            lifecycle.ensure_resolved(request)
        case RequestClosed():
            _guard_closure(request, event)
        case RequestReopened():
            _guard_reopening(request)
        case RequestCancelled():
            lifecycle.ensure_not_resolved(request)
        case _:
            assert_never(event)


def _guard_classification(request: Request, event: RequestClassified | RequestReclassified) -> None:
    lifecycle.ensure_not_over(request)
    ensure_known_problem_type(event.problem_type)
    first = isinstance(event, RequestClassified)
    if first and request.classification is not None:
        raise Refused("already-classified", "it is classified; this would be a correction")
    if not first and request.classification is None:
        raise Refused("not-classified", "there is no classification to correct")


def _guard_priority(request: Request, event: RequestPrioritised | RequestReprioritised) -> None:
    lifecycle.ensure_not_resolved(request)
    first = isinstance(event, RequestPrioritised)
    if first and request.prioritised:
        raise Refused("already-prioritised", "it has a priority; this would be a change")
    if not first and not request.prioritised:
        raise Refused("not-prioritised", "there is no priority to change")
    if (
        event.impact is None
        or event.urgency is None
        or event.priority != priority.resolve(event.impact, event.urgency)
    ):
        raise Refused("priority-not-by-matrix", "impact and urgency do not give this priority")


def _guard_closure(request: Request, event: RequestClosed) -> None:
    lifecycle.ensure_not_over(request)
    if event.basis == "observed" and not request.live:
        return  # intake does not see how the other system resolved it
    lifecycle.ensure_resolved(request)
    grounds = {
        "confirmed": request.confirmed_at is not None,
        "announced": request.closes_at is not None,
        "direct": event.reason is not None,
    }
    if not grounds.get(event.basis, False):
        raise Refused("closure-without-basis", "nothing on record allows to close it like this")


def _guard_reopening(request: Request) -> None:
    if request.status is Status.OPEN and not request.live:
        return  # intake does not see how the other system resolved it
    if request.status is not Status.CLOSED:
        lifecycle.ensure_resolved(request)
