"""The kit on a real database, with two toy services."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from casebook.kit.log.memory import MemoryLog
from tests.support.service import Bench, open_bench
from tests.support.toy import dispatch, intake


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench]:
    """Return a bench with the log in PostgreSQL."""
    async with open_bench(tmp_path, intake(), dispatch()) as prepared:
        yield prepared


@pytest.fixture
def log() -> MemoryLog:
    """Return the log that ``memory`` uses, to write into it and to break it."""
    return MemoryLog()


@pytest.fixture
async def memory(tmp_path: Path, log: MemoryLog) -> AsyncGenerator[Bench]:
    """Return a bench with the log in memory."""
    async with open_bench(tmp_path, intake(), dispatch(), log=log) as prepared:
        yield prepared
