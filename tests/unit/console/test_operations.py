"""What operators list from the command line."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from casebook.console import operations
from casebook.console.operations import SERVICES, Target, parked, quarantine

ROWS = 5


class Lists:
    """Services that each list some rows, in pages."""

    async def get(self, path: str, parameters: Mapping[str, Any]) -> Any:
        first = int(parameters["cursor"] or 0)
        end = first + parameters["limit"]
        rows = [{"key": f"{path}#{row}"} for row in range(ROWS)]
        return {"items": rows[first:end], "next_cursor": str(end) if end < ROWS else None}


@pytest.mark.parametrize(("work", "what"), [(parked, "parked"), (quarantine, "quarantine")])
async def test_all_pages_of_all_services_are_listed(
    monkeypatch: pytest.MonkeyPatch, work: Any, what: str
) -> None:
    @asynccontextmanager
    async def administrator(home: Path, url: str | None) -> AsyncGenerator[Lists]:
        yield Lists()

    monkeypatch.setattr(operations, "administrator", administrator)
    monkeypatch.setattr(operations, "PAGE", 2)
    for service, names in ((None, SERVICES), ("risk", ("risk",))):
        assert await work(Path(), None, "list", Target(service, None, None)) == [
            {"service": name, "key": f"/{name}/v1/{what}#{row}"}
            for name in names
            for row in range(ROWS)
        ]
