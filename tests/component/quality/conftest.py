"""One running quality service a test."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from casebook.quality.api import router
from casebook.quality.service import SERVICE
from tests.support.running_service import Headers, RunningService, running


@pytest.fixture
async def quality(tmp_path: Path) -> AsyncGenerator[RunningService]:
    async with running(SERVICE, router, tmp_path) as service:
        yield service


@pytest.fixture
def requester(quality: RunningService) -> Headers:
    return quality.person("wang.fang", "requester", organisation="青岛分公司")


@pytest.fixture
def auditor(quality: RunningService) -> Headers:
    return quality.person("qian.yu", "auditor")


@pytest.fixture
def lead(quality: RunningService) -> Headers:
    return quality.person("he.jun", "lead")
