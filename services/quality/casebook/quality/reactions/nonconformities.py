"""Raises a nonconformity for every live finding of the control over closures (handbook 3.4).

A finding takes the whole history of a request, which one fact does not carry; so this does not
react to the closing but follows the read model. Its id derives from the closing, and the read
model says what is still missing, so being killed between the two costs a round and no more.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import select

from casebook.events.definitions import CLOSURE_CONTROL
from casebook.kit.ids import derived_id
from casebook.kit.reading.following import keep_following, work_through
from casebook.kit.store.store import Cause
from casebook.quality.domain import nonconformity
from casebook.quality.projections.closure_control import ClosureControl

if TYPE_CHECKING:
    from casebook.kit.runtime import Runtime

_CONTROL = ClosureControl.table


async def keep_raising(runtime: "Runtime") -> None:
    """Raise what is missing whenever facts were applied, until cancelled."""
    await keep_following(runtime, raise_missing)


async def raise_missing(runtime: "Runtime") -> int:
    """Raise a nonconformity for every live finding without one; return how many were raised."""
    pending = select(_CONTROL.c.request_id, _CONTROL.c.findings).where(_CONTROL.c.pending)
    return await work_through(runtime, pending, _CONTROL.c.request_id, _raise_all)


async def _raise_all(runtime: "Runtime", row: Mapping[str, Any]) -> int:
    """Raise what is missing for the findings about one request; return how many were raised."""
    raised = 0
    for finding in row["findings"]:
        if finding["nonconformity"] is not None and not finding["raised"]:
            raised += await _raise(runtime, row["request_id"], finding)
    return raised


async def _raise(runtime: "Runtime", request_id: UUID, finding: Mapping[str, Any]) -> int:
    """Raise one, unless it is there and only the read model is behind; return how many."""
    stream = f"nonconformity/{finding['nonconformity']}"
    closing = UUID(finding["closing"])
    evidence = [UUID(finding[name]) for name in ("closing", "resolution") if finding[name]]
    cause = Cause(
        actor=f"service:{runtime.service.name}",
        causationid=closing,
        after=datetime.fromisoformat(finding["recordedtime"]),
        time=datetime.fromisoformat(finding["closed_at"]),
        traceparent=finding["traceparent"],
        event_id=lambda index: derived_id(closing, CLOSURE_CONTROL.id, index),
    )
    async with runtime.database.transaction() as connection:
        work = runtime.store.begin(connection)
        await work.lock([stream])
        events = nonconformity.raise_for_closing(
            work.head(stream).state, request_id=request_id, evidence=evidence
        )
        await work.append(stream, str(request_id), events, cause)
        await work.flush()
    return len(events)
