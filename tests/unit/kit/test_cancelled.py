"""A library that cancels work of its own must not end ours, which nobody would notice."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from casebook.kit import runtime as kit_runtime
from casebook.kit.log import kafka as kit_kafka
from casebook.kit.log.kafka import LogUnavailable, finished
from casebook.kit.runtime import Runtime


async def cancelled() -> None:
    """End as the work of a Kafka client does that has lost its broker."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task


async def test_work_that_the_client_cancelled_is_a_log_that_is_away() -> None:
    with pytest.raises(LogUnavailable):
        await finished(cancelled())


async def test_who_was_told_to_end_ends() -> None:
    task = asyncio.create_task(finished(asyncio.sleep(0.2)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_fails_after_nobody_waits_for_it_any_more_is_not_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a question to a broker that is away does, some seconds after its asker gave up."""
    monkeypatch.setattr(kit_kafka, "CLOSE_SECONDS_MAX", 0.01)
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: reported.append(about))

    async def late() -> None:
        await asyncio.sleep(0.1)
        raise OSError("the broker is away")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(finished(late()), 0.01)
    await asyncio.sleep(0.2)
    gc.collect()
    assert reported == []


async def supervised(loop: Callable[[], Awaitable[None]], patch: pytest.MonkeyPatch) -> list[str]:
    """Supervise a loop until it returns; return which loops failed in the meantime."""
    patch.setattr(kit_runtime, "RESTART_SECONDS", 0.0)
    runtime = object.__new__(Runtime)
    runtime._failed_at = {}
    async with asyncio.timeout(20):
        await runtime._supervise("reader", loop)
    return runtime.failed_tasks()


async def test_a_loop_that_was_cancelled_by_a_library_is_reported_and_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []

    async def loop() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            await cancelled()

    assert await supervised(loop, monkeypatch) == ["reader"]
    assert begun == [0, 1]


async def test_a_loop_that_is_told_to_end_is_not_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def loop() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(supervised(loop, monkeypatch))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
