"""``casebook verify``: on a running platform or a stopped home, without writing anything."""

import sys
from pathlib import Path
from typing import Any

import asyncpg

from casebook.events.catalog import SERVICES
from casebook.kit.log.kafka import READ_SECONDS_MAX
from casebook.kit.postgres import embedded as embedded_postgres
from casebook.kit.service import Service
from casebook.kit.settings import Settings
from casebook.kit.verification.processes import verify_in_processes
from casebook.kit.verification.verify import Place
from casebook.kit.verification.verify import verify as check
from casebook.platform.home import Home
from casebook.platform.runner import create_apps

RECORDS_ALONE_MAX = 30_000
"""Up to here, starting processes costs more than they save."""

FIRST_HALF = frozenset({"intake", "quality", "risk"})
"""Services that together take about as long as the others."""


async def verify(home: Path) -> dict[str, Any]:
    """Return the report of decisions §8.

    On a stopped home only PostgreSQL is started.

    :raises HomeNotFound: when there is no home and no ``CASEBOOK_DATABASE_URL``.
    """
    settings = Settings()
    if settings.database_url:
        return await _check(settings)
    place = Home(home)
    place.check()
    dsn = embedded_postgres.dsn_of(home)
    if dsn is not None:
        return await _check(place.settings(dsn, ""))
    async with embedded_postgres.running(home) as postgres:
        return await _check(place.settings(postgres.dsn, ""))


async def _check(settings: Settings) -> dict[str, Any]:
    """Check all five services; a large database by two processes."""
    place = Place(settings.database_url, settings.kafka_bootstrap, settings.kafka_topic)
    if await _records(place) > RECORDS_ALONE_MAX:
        groups = (FIRST_HALF, frozenset(SERVICES) - FIRST_HALF)
        report = await verify_in_processes(place, services, groups, say=tell)
    else:
        report = await check(place, services(), say=tell)
    return report.as_dict()


def services() -> list[Service]:
    """Return what the five services are made of."""
    return [app.state.runtime.service for app in create_apps(Settings()).values()]


def tell(message: str) -> None:
    """Tell the person who waits, on standard error."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - this is the command


async def _records(place: Place) -> int:
    """Return how many records the log has."""
    log = place.log()
    if log is not None:
        try:
            return sum((await log.heads(READ_SECONDS_MAX)).values())
        finally:
            await log.close()
    connection = await asyncpg.connect(place.dsn)
    try:
        return await connection.fetchval("SELECT sum(next_offset)::bigint FROM log.partitions")
    finally:
        await connection.close()
