"""Facts about requests, written by intake (handbook 2.1, 2.4)."""

from typing import Annotated, ClassVar

from pydantic import Field

from casebook.events.event import Audience, Event
from casebook.events.values import (
    COUNT_MAX,
    DefinitionReference,
    Label,
    Level,
    Moment,
    Priority,
    SecretText,
    SecretTitle,
)


class _Request(Event):
    family: ClassVar[str] = "request"
    audience: ClassVar[Audience] = "customer"


class RequestSubmitted(_Request):
    """A customer asked for something (handbook 2.1, submission)."""

    type: ClassVar[str] = "casebook.request.submitted.v1"
    number: Label
    kind: Label
    requester: Label
    organisation: Label | None = None
    channel: Label | None = None
    location: Label | None = None
    opened_by: Label | None = None
    service: Label | None = None
    title: SecretTitle | None = None
    description: SecretText | None = None


class RequestClassified(_Request):
    """The request got its problem type and category (handbook 2.1, needs assessment)."""

    type: ClassVar[str] = "casebook.request.classified.v1"
    problem_type: Label
    category: Label | None = None
    subcategory: Label | None = None
    symptom: Label | None = None


class RequestReclassified(_Request):
    """The classification was corrected; the fields are the whole new classification."""

    type: ClassVar[str] = "casebook.request.reclassified.v1"
    problem_type: Label
    category: Label | None = None
    subcategory: Label | None = None
    symptom: Label | None = None


class RequestPrioritised(_Request):
    """Impact and urgency gave the first priority; 1 is the highest (handbook 2.1)."""

    type: ClassVar[str] = "casebook.request.prioritised.v1"
    impact: Level | None = None
    urgency: Level | None = None
    priority: Priority | None = None
    matrix: DefinitionReference | None = None


class RequestReprioritised(_Request):
    """Impact, urgency or priority changed; the fields are the whole new assessment."""

    type: ClassVar[str] = "casebook.request.reprioritised.v1"
    impact: Level | None = None
    urgency: Level | None = None
    priority: Priority | None = None
    matrix: DefinitionReference | None = None
    reason: SecretText | None = None


class RequestPriorityConfirmed(_Request):
    """A person confirmed the priority."""

    type: ClassVar[str] = "casebook.request.priority-confirmed.v1"
    audience: ClassVar[Audience] = "staff"


class RequestCommented(_Request):
    """Somebody wrote a comment that the customer reads."""

    type: ClassVar[str] = "casebook.request.commented.v1"
    body: SecretText


class RequestInternallyCommented(_Request):
    """Staff wrote a comment for staff."""

    type: ClassVar[str] = "casebook.request.internally-commented.v1"
    audience: ClassVar[Audience] = "staff"
    body: SecretText


class RequestResolutionProposed(_Request):
    """The work is done; the requester is asked to confirm (handbook 2.1, final confirmation)."""

    type: ClassVar[str] = "casebook.request.resolution-proposed.v1"
    resolved_at: Moment


class RequestResolutionConfirmed(_Request):
    """The requester accepted the resolution (handbook 2.1, final confirmation)."""

    type: ClassVar[str] = "casebook.request.resolution-confirmed.v1"


class RequestClosureAnnounced(_Request):
    """The requester was told that the request closes by itself unless they answer."""

    type: ClassVar[str] = "casebook.request.closure-announced.v1"
    closes_at: Moment
    policy: DefinitionReference | None = None


class RequestClosed(_Request):
    """The request is over (handbook 2.4); ``basis`` says what allowed it.

    Known bases: ``confirmed``, ``announced``, ``direct`` (by a lead, without either) and
    ``observed`` (another system's history).
    """

    type: ClassVar[str] = "casebook.request.closed.v1"
    basis: Label
    code: Label | None = None
    reason: SecretText | None = None


class RequestReopened(_Request):
    """The resolution did not hold; work goes on."""

    type: ClassVar[str] = "casebook.request.reopened.v1"
    reason: SecretText | None = None


class RequestCancelled(_Request):
    """The requester no longer needs it; nothing more is done."""

    type: ClassVar[str] = "casebook.request.cancelled.v1"
    reason: SecretText | None = None


class RequestConfigurationItemLinked(_Request):
    """The request concerns this configuration item."""

    type: ClassVar[str] = "casebook.request.configuration-item-linked.v1"
    audience: ClassVar[Audience] = "staff"
    configuration_item: Label


RequestEvent = (
    RequestSubmitted
    | RequestClassified
    | RequestReclassified
    | RequestPrioritised
    | RequestReprioritised
    | RequestPriorityConfirmed
    | RequestCommented
    | RequestInternallyCommented
    | RequestResolutionProposed
    | RequestResolutionConfirmed
    | RequestClosureAnnounced
    | RequestClosed
    | RequestReopened
    | RequestCancelled
    | RequestConfigurationItemLinked
)


class SourceRegistered(Event):
    """A system was allowed to publish: which types, for whom, and as what kind of history.

    ``mode`` is ``live`` (strict, guarded like a command) or ``observed`` (history, tolerated).
    ``publisher`` is the subject of the tokens that may speak for the source.
    """

    type: ClassVar[str] = "casebook.source.registered.v1"
    family: ClassVar[str] = "definition/source"
    source: Label
    types: Annotated[tuple[Label, ...], Field(max_length=500)]
    organisation: Label | None = None
    mode: Label
    publisher: Label


SourceEvent = SourceRegistered


class IngressSkipped(Event):
    """A published event was refused; this stands in its place in the history of its subject."""

    type: ClassVar[str] = "casebook.ingress.skipped.v1"
    family: ClassVar[str] = "ingress"
    skipped_type: Label
    code: Label


class ImportRowRejected(Event):
    """A row of an import file could not be read; it goes to intake's quarantine, never the log."""

    type: ClassVar[str] = "casebook.import.row-rejected.v1"
    family: ClassVar[str] = "import"
    file: Label
    line: Annotated[int, Field(strict=True, ge=1, le=COUNT_MAX)]
    reason: Label
