"""The services whose readers are measured: intake's with one projection and no reactions.

The limits and the peers fill the same table, and nothing else.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from casebook.intake.projections.timeline import Timeline
from casebook.intake.projections.work import Work
from casebook.intake.service import SERVICE
from casebook.kit.access.policy import Policy
from casebook.kit.read_models.projections import Projection
from casebook.kit.runtime import Runtime
from casebook.kit.service import Service
from casebook.kit.settings import Settings

Task = Mapping[str, Any]
Found = Mapping[str, float]


def _with(projection: Projection) -> Service:
    """Return intake with nothing but one projection."""
    return Service(SERVICE.name, SERVICE.families, Policy(), projections=(projection,))


READING = _with(Work())
"""Reads work orders, which are facts of another service."""

HOPPING = _with(Timeline())
"""Reads its own facts."""


@asynccontextmanager
async def connected(task: Task, service: Service) -> AsyncGenerator[Runtime]:
    """Connect a service to the database and the topic of a task, without its background work."""
    settings = Settings(
        database_url=task["dsn"], kafka_bootstrap=task["bootstrap"], kafka_topic=task["topic"]
    )
    runtime = Runtime(service, settings)
    await runtime.database.open()
    try:
        yield runtime
    finally:
        await runtime.stop()
