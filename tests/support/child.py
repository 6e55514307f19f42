"""A toy service in a process of its own, which tests kill: ``python -m tests.support.child``.

Reads the settings and the projection's version from standard input, or where another service is
found; says when it runs.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from casebook.kit.decider import Fact
from casebook.kit.read_models.projections import Row
from casebook.kit.rebuild_worker import load
from casebook.kit.runtime import Runtime
from casebook.kit.settings import Settings
from tests.support.service import Bench
from tests.support.tokens import TestClock
from tests.support.toy import Tally, intake


class SlowTally(Tally):
    """A projection whose every fact takes a millisecond, to be interrupted in the middle."""

    def fold(self, row: Row | None, fact: Fact) -> Row:
        """Count one more, slowly."""
        time.sleep(0.001)
        return super().fold(row, fact)


@asynccontextmanager
async def child(
    bench: Bench, version: int = 1, found_at: str | None = None, **changes: Any
) -> AsyncGenerator[None]:
    """Run the service in another process; at the end of the block it is killed."""
    settings = bench.settings.model_copy(update=changes)
    given = {
        "settings": settings.model_dump(mode="json"),
        "version": version,
        "found_at": found_at,
        "now": bench.clock.now().isoformat(),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.child",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(given).encode() + b"\n")
        await process.stdin.drain()
        assert await process.stdout.readline() == b"running\n"
        yield
    finally:
        process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def main() -> None:
    """Run until killed, or until whoever started this has gone."""
    given = json.loads(sys.stdin.readline())
    clock = TestClock(datetime.fromisoformat(given["now"]))
    found_at = given["found_at"]
    service = load(found_at) if found_at else intake(SlowTally(given["version"]))
    runtime = Runtime(service, Settings(**given["settings"]), clock=clock)
    await runtime.start()
    sys.stdout.write("running\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runtime.stop()


if __name__ == "__main__":
    asyncio.run(main())
