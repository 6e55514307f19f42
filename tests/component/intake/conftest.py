"""One running intake service a test file; each test has requests of its own."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.component.intake.desk import Desk, Headers, open_desk

ORGANISATION = "青岛分公司"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    async with open_desk(tmp_path) as running:
        yield running


@pytest.fixture
def requester(desk: Desk) -> Headers:
    return desk.person("wang.fang", "requester", organisation=ORGANISATION)


@pytest.fixture
def colleague(desk: Desk) -> Headers:
    return desk.person("zhao.min", "requester", organisation=ORGANISATION)


@pytest.fixture
def stranger(desk: Desk) -> Headers:
    return desk.person("sun.li", "requester", organisation="别的公司")


@pytest.fixture
def agent(desk: Desk) -> Headers:
    return desk.person("li.na", "agent")


@pytest.fixture
def lead(desk: Desk) -> Headers:
    return desk.person("he.jun", "lead")


@pytest.fixture
def auditor(desk: Desk) -> Headers:
    return desk.person("qian.yu", "auditor")


@pytest.fixture
def admin(desk: Desk) -> Headers:
    return desk.person("admin", "admin")
