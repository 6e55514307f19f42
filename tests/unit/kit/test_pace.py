"""Work that is woken by every little thing rests as long as it worked, and not with a backlog."""

import asyncio
import time

import pytest

from casebook.kit.signals import REST_SECONDS_MAX, Pace

pytestmark = pytest.mark.asyncio
FULL = 10


async def rested(done: int, worked: float = 0.0) -> float | None:
    """Return how long a round was followed by a rest; ``None`` if by none at all."""
    pace = Pace(FULL)
    others: list[str] = []
    pace.begin()
    time.sleep(worked)  # noqa: ASYNC251 - this is the work
    asyncio.get_running_loop().call_soon(others.append, "went on")
    began = time.monotonic()
    await pace.rest(done)
    return time.monotonic() - began if others else None


@pytest.mark.parametrize("done", [FULL, FULL // 2, 0])
async def test_a_backlog_and_an_empty_round_are_followed_by_no_rest(done: int) -> None:
    assert await rested(done) is None


@pytest.mark.parametrize("done", [1, FULL // 2 - 1])
async def test_a_small_round_is_followed_by_a_rest_as_long_as_it_was(done: int) -> None:
    found = await rested(done, worked=0.02)
    assert found is not None
    assert found >= 0.02


async def test_a_rest_has_an_end() -> None:
    worked = 10 * REST_SECONDS_MAX
    found = await rested(1, worked)
    assert found is not None
    assert REST_SECONDS_MAX <= found < worked
