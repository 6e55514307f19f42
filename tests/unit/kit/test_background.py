"""The event loop for background work, and what wakes who waits on it."""

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest

from casebook.kit.background import TURN_SECONDS, BackgroundLoop
from casebook.kit.signals import Names, Signal


@pytest.fixture
def background() -> Iterator[BackgroundLoop]:
    loop = BackgroundLoop()
    loop.start()
    yield loop
    loop.stop()


async def _thread() -> str:
    return threading.current_thread().name


async def test_work_runs_in_a_thread_of_its_own(background: BackgroundLoop) -> None:
    assert await background.run(_thread()) == "background"
    assert await _thread() != "background"


async def test_its_errors_are_raised_where_it_was_asked_for(background: BackgroundLoop) -> None:
    async def fail() -> None:
        raise OSError("no route")

    with pytest.raises(OSError, match="no route"):
        await background.run(fail())


async def test_who_is_cancelled_cancels_it(background: BackgroundLoop) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    asked = asyncio.create_task(background.run(work()))
    while not begun.is_set():  # noqa: ASYNC110 - it is set in another thread
        await asyncio.sleep(0.001)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert cancelled.wait(10)


async def test_it_ends_with_its_last_user_and_leaves_nothing_running() -> None:
    usual = sys.getswitchinterval()
    background = BackgroundLoop()
    background.start()
    background.start()
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def begin() -> None:
        background.kept = asyncio.create_task(work())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    await background.run(begin())
    background.stop()
    assert await background.run(_thread()) == "background"
    assert sys.getswitchinterval() == pytest.approx(TURN_SECONDS)
    background.stop()
    assert cancelled.is_set()
    assert sys.getswitchinterval() == usual
    with pytest.raises(RuntimeError, match="has not been started"):
        await background.run(_thread())
    background.start()
    assert await background.run(_thread()) == "background"
    background.stop()


async def test_a_signal_wakes_who_waits_on_the_other_loop(background: BackgroundLoop) -> None:
    signal = Signal()
    waiting: list[asyncio.Event] = []

    async def wait() -> str:
        event = signal.subscribe()
        waiting.append(event)
        async with asyncio.timeout(10):
            await event.wait()
        return await _thread()

    there = asyncio.create_task(background.run(wait()))
    here = asyncio.create_task(wait())
    while len(waiting) < 2:  # noqa: ASYNC110 - one of them is in another thread
        await asyncio.sleep(0.001)
    signal.set()
    assert [await there, await here] == ["background", threading.current_thread().name]


def test_a_signal_passes_by_who_waited_on_a_loop_that_has_ended() -> None:
    signal = Signal()

    async def subscribe() -> None:
        signal.subscribe()

    asyncio.run(subscribe())
    signal.set()


def test_names_are_lost_to_nobody() -> None:
    names, taken = Names(), set[str]()
    ended = threading.Event()

    def take() -> None:
        while not ended.is_set():
            taken.update(names.take())

    thread = threading.Thread(target=take)
    thread.start()
    for number in range(20_000):
        names.add([str(number)])
    ended.set()
    thread.join()
    assert taken | set(names.take()) == {str(number) for number in range(20_000)}
    assert not names
