"""Probes: alive, ready, and the metrics (reliability §4).

Alive depends on nothing, so that a database that is away restarts no service. Ready asks the
checks it was given, at most every two seconds and one caller at a time. A check that only
degrades the service is reported and does not make it unready.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from casebook.kit import metrics
from casebook.kit.logging import get_logger

Check = Callable[[], Awaitable[bool]]

CACHE_SECONDS = 2.0
CHECK_SECONDS_MAX = 2.0
OPTIONAL_SECONDS_MAX = 0.7
"""How long what only degrades may take; who probes has a second, and must not give us up."""
PATHS = ("/livez", "/readyz", "/metrics")


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the checks found: the names of those that failed, and of those that only degrade."""

    failed: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Say whether requests should come here."""
        return not self.failed


class Health:
    """The state of one process; ``required`` checks make it unready, ``optional`` ones do not.

    A check returns whether all is well; an exception, or no answer in time, is a no.
    """

    def __init__(
        self,
        service: str,
        required: Mapping[str, Check] | None = None,
        optional: Mapping[str, Check] | None = None,
    ) -> None:
        self._log = get_logger(service)
        self._required = dict(required or {})
        self._optional = dict(optional or {})
        self._lock = asyncio.Lock()
        self._checked: float | None = None
        self._last = Readiness()
        self._draining = False

    def drain(self) -> None:
        """Be unready from now on: the process is about to stop."""
        self._draining = True

    async def readiness(self) -> Readiness:
        """Return what the checks found, at most two seconds ago."""
        if self._draining:
            return Readiness(failed=("draining",))
        async with self._lock:
            if self._checked is None or time.monotonic() - self._checked >= CACHE_SECONDS:
                failed, degraded = await asyncio.gather(
                    self._failures(self._required, CHECK_SECONDS_MAX),
                    self._failures(self._optional, OPTIONAL_SECONDS_MAX),
                )
                self._last = Readiness(failed, degraded)
                self._checked = time.monotonic()
            return self._last

    async def _failures(self, checks: Mapping[str, Check], seconds_max: float) -> tuple[str, ...]:
        """Return the names of the checks that say no."""
        answers = await asyncio.gather(
            *(self._ask(name, ask, seconds_max) for name, ask in checks.items())
        )
        return tuple(name for name, well in zip(checks, answers, strict=True) if not well)

    async def _ask(self, name: str, ask: Check, seconds_max: float) -> bool:
        """Return the answer of one check; one that takes longer is not even waited for to end."""
        asking = asyncio.ensure_future(self._answer(name, ask))
        done, _ = await asyncio.wait({asking}, timeout=seconds_max)
        if done:
            return asking.result()
        asking.cancel()
        self._log.warning("health.check-slow", check=name)
        return False

    async def _answer(self, name: str, ask: Check) -> bool:
        """Return what one check says."""
        try:
            return await ask()
        except Exception as error:  # noqa: BLE001 - whatever a check meets, the answer is no
            self._log.warning("health.check-failed", check=name, exc_info=error)
            return False


def health_router(
    health: Health, observe: Callable[[], Awaitable[None]] | None = None
) -> APIRouter:
    """Return the routes ``/livez``, ``/readyz`` and ``/metrics``; ``observe`` fills the gauges."""
    router = APIRouter(include_in_schema=False)

    @router.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz() -> Response:
        readiness = await health.readiness()
        content = {
            "status": "ready" if readiness.ready else "unready",
            "failed": readiness.failed,
            "degraded": readiness.degraded,
        }
        return JSONResponse(content, 200 if readiness.ready else 503)

    @router.get("/metrics")
    async def exposition() -> Response:
        if observe is not None:
            await observe()
        return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)

    return router
