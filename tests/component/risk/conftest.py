"""One running risk service a test."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from casebook.risk.api import router
from casebook.risk.service import SERVICE
from tests.support.running_service import Headers, RunningService, running


@pytest.fixture
async def risk(tmp_path: Path) -> AsyncGenerator[RunningService]:
    async with running(SERVICE, router, tmp_path) as service:
        yield service


@pytest.fixture
def manager(risk: RunningService) -> Headers:
    return risk.person("zhao.min", "risk-manager")


@pytest.fixture
def auditor(risk: RunningService) -> Headers:
    return risk.person("qian.yu", "auditor")


@pytest.fixture
def agent(risk: RunningService) -> Headers:
    return risk.person("li.na", "agent")
