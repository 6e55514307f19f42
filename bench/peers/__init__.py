"""Peers: what somebody would use instead, as released, in an environment of their own.

A peer is a script beside this file that knows nothing of Casebook. It gets its task as one JSON
object, does it on the server that the product is measured on too, and prints what it found as
another. Its time begins when it is ready: the start of a process is nobody's speed.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.measuring import BadBench, Run
from tests.support.java import fetched

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "bench.txt"


async def run_peer(script: str, **task: Any) -> dict[str, Any]:
    """Run one of the scripts of this folder to its end; return what it printed.

    :raises BadBench: when it fails.
    """
    python, path = await peer_python(), Path(__file__).with_name(f"{script}.py")
    return await ran(python, path, json.dumps(task), variables=peer_variables())


async def ran(*words: str | Path, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a program at the root of the checkout; return the JSON object that it printed last.

    :raises BadBench: when it fails.
    """
    child = await asyncio.create_subprocess_exec(
        *words, cwd=ROOT, env=variables,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await child.communicate()
    if child.returncode != 0:
        said = err.decode(errors="replace")[-3000:]
        raise BadBench(f"{' '.join(map(str, words[1:-1]))} failed:\n{said}")
    return json.loads(out.splitlines()[-1])


async def timed_peer(script: str, **task: Any) -> Run:
    """Run a script that says how many ``events`` it did in how many ``seconds``."""
    found = await run_peer(script, **task)
    notes = {name: value for name, value in found.items() if name not in {"events", "seconds"}}
    return Run(found["events"], found["seconds"], notes)


def peer_variables() -> dict[str, str]:
    """Return the environment of a peer: nothing that steers Python, nor telemetry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"DO_NOT_TRACK": "1"}


async def peer_python() -> Path:
    """Return the Python of the peers, after their locked packages were installed, once a lock.

    :raises BadBench: when they cannot be.
    """
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = await asyncio.to_thread(fetched, f"bench-{digest}", _install)
    return folder / "bin" / "python"


def _install(folder: Path) -> None:
    """Create an environment with the packages of the lock; it is moved afterwards, which it bears.

    :raises BadBench: when that fails.
    """
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    for command in (
        [sys.executable, "-m", "venv", folder],
        [folder / "bin" / "python", *install, "-r", LOCK],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BadBench(f"the peers cannot be installed: {done.stderr[-2000:]}")
