"""Runs benches, and says on what machine."""

import os
import platform
from collections.abc import Sequence
from typing import Any

from bench.measuring import Bench, Effort, Report
from bench.summary import summary


async def document(benches: Sequence[Bench], effort: Effort, say: Report) -> dict[str, Any]:
    """Run benches one after the other; return what they found, as one JSON document."""
    _forget_settings()
    before = os.getloadavg()[0]
    found: list[dict[str, Any]] = []
    for bench in benches:
        say(f"{bench.name}: {bench.product}")
        found.append(summary(bench, await bench.measure(effort, say)))
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    return {"scale": effort.scale, "machine": machine, "benches": found}


def _forget_settings() -> None:
    """Leave the settings of this shell aside: a bench must never fill a platform in use."""
    for name in [name for name in os.environ if name.startswith("CASEBOOK_")]:
        del os.environ[name]
