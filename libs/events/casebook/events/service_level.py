"""Facts about response and resolution clocks, written by monitoring (handbook 2.3, 4.2).

``clock`` is ``response`` or ``resolution``. Elapsed time is without pauses, in whole seconds,
rounded up: a target is met exactly where ``elapsed_seconds`` is not above it.
"""

from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from casebook.events.event import Audience, Event
from casebook.events.values import (
    Count,
    DefinitionReference,
    Flag,
    Label,
    Moment,
    Priority,
    Seconds,
)


class _ServiceLevel(Event):
    family: ClassVar[str] = "service-level"


class CarriedBreach(BaseModel):
    """A resolution target that a history missed: when, and which it was."""

    model_config = ConfigDict(frozen=True)
    at: Moment
    priority: Priority
    target_seconds: Seconds


class CarriedTime(BaseModel):
    """What the resolution clock showed when a history ended; it runs on from there."""

    model_config = ConfigDict(frozen=True)
    elapsed_microseconds: Count
    breach: CarriedBreach | None = None


class ServiceLevelOpened(_ServiceLevel):
    """A request arrived; its time is counted from here, whichever target it gets.

    With ``carried``, the history of another system was reopened here: only the resolution clock
    runs, on from the time that the history had used up.
    """

    type: ClassVar[str] = "casebook.service-level.opened.v1"
    service: Label | None = None
    carried: CarriedTime | None = None


class ServiceLevelClockStarted(_ServiceLevel):
    """The request got its first priority, so a promise runs, from the submission on.

    ``due_at`` is missing where the clock stands still already.
    """

    type: ClassVar[str] = "casebook.service-level.clock-started.v1"
    audience: ClassVar[Audience] = "customer"
    clock: Label
    priority: Priority
    target_seconds: Seconds
    due_at: Moment | None = None
    policy: DefinitionReference
    service: Label | None = None


class ServiceLevelClockPaused(_ServiceLevel):
    """The clock stands still: the work waits for the customer."""

    type: ClassVar[str] = "casebook.service-level.clock-paused.v1"
    audience: ClassVar[Audience] = "customer"
    clock: Label
    elapsed_seconds: Seconds


class ServiceLevelClockResumed(_ServiceLevel):
    """The clock runs again, after a pause or a reopening; due once there is a target."""

    type: ClassVar[str] = "casebook.service-level.clock-resumed.v1"
    audience: ClassVar[Audience] = "customer"
    clock: Label
    elapsed_seconds: Seconds
    due_at: Moment | None = None


class ServiceLevelClockRetargeted(_ServiceLevel):
    """The priority changed, so the target did; elapsed time is kept."""

    type: ClassVar[str] = "casebook.service-level.clock-retargeted.v1"
    audience: ClassVar[Audience] = "customer"
    clock: Label
    priority: Priority
    target_seconds: Seconds
    elapsed_seconds: Seconds
    due_at: Moment | None = None
    policy: DefinitionReference


class ServiceLevelTargetWarned(_ServiceLevel):
    """Three quarters of the target are used up."""

    type: ClassVar[str] = "casebook.service-level.target-warned.v1"
    clock: Label
    due_at: Moment
    fired_at: Moment


class ServiceLevelTargetBreached(_ServiceLevel):
    """The target was missed at ``due_at``; recorded at ``fired_at``."""

    type: ClassVar[str] = "casebook.service-level.target-breached.v1"
    audience: ClassVar[Audience] = "customer"
    clock: Label
    priority: Priority
    target_seconds: Seconds
    due_at: Moment
    fired_at: Moment
    service: Label | None = None


class ServiceLevelBreachWithdrawn(_ServiceLevel):
    """The breach did not happen: something earlier became known after it was recorded.

    That is a stop, pause, cancellation or change of priority whose time is before the breach's.
    """

    type: ClassVar[str] = "casebook.service-level.breach-withdrawn.v1"
    audience: ClassVar[Audience] = "customer"
    clock: Label
    breach: UUID
    service: Label | None = None


class ServiceLevelClockStopped(_ServiceLevel):
    """The promise was kept or not; ``met`` is whether within target and never breached.

    Without ``met``, the request was answered before it had a priority to judge it by.
    """

    type: ClassVar[str] = "casebook.service-level.clock-stopped.v1"
    audience: ClassVar[Audience] = "customer"
    clock: Label
    elapsed_seconds: Seconds
    met: Flag | None = None
    service: Label | None = None


class ServiceLevelClockCancelled(_ServiceLevel):
    """The request was cancelled; the promise no longer counts."""

    type: ClassVar[str] = "casebook.service-level.clock-cancelled.v1"
    audience: ClassVar[Audience] = "customer"
    clock: Label


class ServiceLevelSourceResultRecorded(_ServiceLevel):
    """What another system says of its own service level: ``met`` or ``missed``."""

    type: ClassVar[str] = "casebook.service-level.source-result-recorded.v1"
    result: Label


ServiceLevelEvent = (
    ServiceLevelOpened
    | ServiceLevelClockStarted
    | ServiceLevelClockPaused
    | ServiceLevelClockResumed
    | ServiceLevelClockRetargeted
    | ServiceLevelTargetWarned
    | ServiceLevelTargetBreached
    | ServiceLevelBreachWithdrawn
    | ServiceLevelClockStopped
    | ServiceLevelClockCancelled
    | ServiceLevelSourceResultRecorded
)
