"""Rebuilds that wait before their swap, until a test lets them go on."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from casebook.kit.rebuilding.rebuild import _Rebuild  # pyright: ignore[reportPrivateUsage]


@dataclass
class Swaps:
    """``reached`` is set when a rebuild wants to swap; setting ``go`` lets all of them."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)


def held_swaps(monkeypatch: pytest.MonkeyPatch) -> Swaps:
    """Hold the rebuilds of this test before their swap."""
    swaps, swap = Swaps(), _Rebuild._swap

    async def held(self: _Rebuild, consumer: Any) -> bool:
        swaps.reached.set()
        await swaps.go.wait()
        return await swap(self, consumer)

    monkeypatch.setattr(_Rebuild, "_swap", held)
    return swaps
