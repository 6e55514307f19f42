"""One running dispatch service a test, with two teams and people in them."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.component.dispatch.board import Board, Headers, open_board


@pytest.fixture
async def board(tmp_path: Path) -> AsyncGenerator[Board]:
    async with open_board(tmp_path) as running:
        yield running


@pytest.fixture
def li_na(board: Board) -> Headers:
    return board.person("li.na", "agent")


@pytest.fixture
def wang_wei(board: Board) -> Headers:
    return board.person("wang.wei", "agent")


@pytest.fixture
def lead(board: Board) -> Headers:
    return board.person("he.jun", "lead", "agent")


@pytest.fixture
def admin(board: Board) -> Headers:
    return board.admin
