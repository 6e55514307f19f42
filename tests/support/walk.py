"""Pages of the documentation as programs: their blocks are run word by word, in their order.

Only what a machine decides is replaced: the addresses of database and Kafka (the first block of
the production page), the ports, and names that are shared on the Kafka of the tests. A comment
``<!-- kafka stops -->``, which no reader sees, calls the function of this name (``kafka-stops``)
that the test has put before the script.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.command import CASEBOOK, environment
from tests.support.ports import free_port
from tests.support.production import SERVICES, Production
from tests.support.watchdog import Watchdog

GUIDES = Path(__file__).parents[2] / "docs/how-to"
PORTS = ("8001", "8002", "8003", "8004", "8005", "8080")
BLOCK = re.compile(
    r"^```(bash|python)\n(.*?)^```$|^<!-- (kafka|postgres) (stops|starts) -->$",
    re.MULTILINE | re.DOTALL,
)
_MARK = "=== block "


@dataclass(frozen=True)
class Walk:
    """What came of a walk: its status, and the output of each block of commands."""

    status: int
    outputs: list[str]
    errors: str

    def output(self, what: str) -> str:
        """Return the output of the one block that has this in it."""
        (found,) = [text for text in self.outputs if what in text]
        return found


def page(name: str) -> str:
    """Return a guide."""
    return (GUIDES / name).read_text(encoding="utf-8")


def sections(text: str, *numbers: int) -> str:
    """Return the numbered sections of a page."""
    parts = re.split(r"^(?=## \d+\. )", text, flags=re.MULTILINE)
    return "".join(part for part in parts if part.startswith(tuple(f"## {n}. " for n in numbers)))


def programs(text: str) -> list[str]:
    """Return the Python programs of a page."""
    return [code for language, code, *_ in BLOCK.findall(text) if language == "python"]


def script(text: str, production: Production, before: str = "") -> str:
    """Return the page's blocks as one script; Python goes to the file that its first line names."""
    replaced = {port: str(free_port()) for port in PORTS}
    replaced["shop-monitor"] = production.publisher
    replaced['"casebook.events"'] = f'"{production.topic}"'
    given = {
        "CASEBOOK_DATABASE_URL": production.dsn,
        "CASEBOOK_KAFKA_BOOTSTRAP": production.bootstrap,
        "CASEBOOK_KAFKA_TOPIC": production.topic,
    }
    for name, port in zip((*SERVICES, "console"), PORTS, strict=True):
        given[f"CASEBOOK_{name.upper()}_URL"] = f"http://127.0.0.1:{replaced[port]}"
    lines = ["set -euo pipefail", *(f"export {name}='{value}'" for name, value in given.items())]
    lines.append(before)
    blocks = BLOCK.findall(text)
    assert "CASEBOOK_DATABASE_URL=" in blocks[0][1]
    for number, (language, code, machine, does) in enumerate(blocks[1:], start=1):
        own = with_own_names(code, replaced)
        if machine:
            lines.append(f"{machine}-{does}")
        elif language == "python":
            name = code.split()[1]
            lines.append(f"cat > {name} <<'END_OF_FILE'\n{own}END_OF_FILE")
        else:
            lines.append(f"echo '{_MARK}{number}'; echo {number}: $SECONDS s >&2\n{own}")
    return "\n".join(lines)


def with_own_names(text: str, replaced: Mapping[str, str]) -> str:
    """Return a block with what only this machine decides put in."""
    for old, new in replaced.items():
        text = re.sub(rf"(?<![\w-]){re.escape(old)}(?![\w-])", new, text)
    return text


def marked(text: str) -> str:
    """Return the page's blocks of commands as one script, with nothing replaced."""
    blocks = [code for language, code, *_ in BLOCK.findall(text) if language == "bash"]
    lines = [f"echo '{_MARK}{number}'\n{code}" for number, code in enumerate(blocks)]
    return "\n".join(["set -euo pipefail", *lines])


def walked(commands: str, folder: Path, *, seconds_max: float, **variables: str) -> Walk:
    """Run a script to its end in a folder; what it had started ends with it."""
    out, err = folder / "walk.out", folder / "walk.err"
    with out.open("wb") as outputs, err.open("wb") as errors:  # no pipes: services would hold them
        child = subprocess.Popen(
            ["bash", "-c", commands],
            cwd=folder,
            env=environment(
                {"PATH": f"{CASEBOOK.parent}{os.pathsep}{os.environ['PATH']}", **variables}
            ),
            stdin=subprocess.DEVNULL,
            stdout=outputs,
            stderr=errors,
            start_new_session=True,
        )
    watchdog = Watchdog("sh", "-c", 'kill -9 -- "-$0"', str(child.pid))
    try:
        status = child.wait(seconds_max)
    finally:
        watchdog.cancel()
        if child.poll() != 0:  # what it had started may still be there
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    blocks = out.read_text(encoding="utf-8").split(_MARK)[1:]
    return Walk(status, blocks, err.read_text(encoding="utf-8"))
