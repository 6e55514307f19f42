"""The monitoring service, running, and the people who look at it."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from casebook.events.workforce import AgentRegistered
from casebook.monitoring.api import router
from casebook.monitoring.service import SERVICE
from tests.support.running_service import Headers, RunningService, running

ORGANISATION = "青岛分公司"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncGenerator[RunningService]:
    async with running(SERVICE, router, tmp_path) as started:
        yield started


@pytest.fixture
def requester(service: RunningService) -> Headers:
    return service.person("wang.fang", "requester", organisation=ORGANISATION)


@pytest.fixture
def auditor(service: RunningService) -> Headers:
    return service.person("qian.yu", "auditor")


@pytest.fixture
async def agent(service: RunningService) -> Headers:
    """An agent of the team ``mail``."""
    registered = AgentRegistered(agent="li.na", team="mail", capacity=5)
    await service.happened("agent/li.na", registered)
    return service.person("li.na", "agent")
