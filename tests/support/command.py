"""The ``casebook`` command as people run it: real processes on a home of their own.

Nothing of the surroundings gets in: no ``CASEBOOK_*`` variable is handed on. What is started here
ends with the tests, however these end.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx

from tests.support.processes import tree

CASEBOOK = Path(sys.executable).with_name("casebook")
COMMAND_SECONDS_MAX = 120.0
READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
_READY = re.compile(r"Casebook is ready on (http://\S+) after")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Return the one JSON document on standard output; anything beside it is an error."""
        assert self.out.endswith("\n"), self.out[-200:]
        assert self.out.count("\n") == 1, self.out[:400]
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """Return the one line on standard error."""
        (line,) = self.err.splitlines()
        return line


class CommandLine:
    """Runs commands on one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(
        self, *arguments: str | Path, seconds_max: float = COMMAND_SECONDS_MAX, **variables: str
    ) -> Done:
        """Run a command to its end, whatever its status."""
        done = subprocess.run(
            self._words(arguments),
            env=environment(variables),
            capture_output=True,
            encoding="utf-8",
            timeout=seconds_max,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str | Path, seconds_max: float = COMMAND_SECONDS_MAX) -> Done:
        """Run a command that must succeed."""
        done = self.run(*arguments, seconds_max=seconds_max)
        assert done.status == 0, done.err
        return done

    def json(self, *arguments: str | Path, seconds_max: float = COMMAND_SECONDS_MAX) -> Any:
        """Run a command that must succeed, and return its JSON document."""
        return self.ok(*arguments, "-o", "json", seconds_max=seconds_max).document

    @contextlib.contextmanager
    def started(self, *arguments: str | Path) -> "Iterator[subprocess.Popen[str]]":
        """Start a command; it is killed at the end of the block if it still runs."""
        process = subprocess.Popen(
            self._words(arguments),
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    @contextlib.contextmanager
    def up(self, port: int = 0) -> "Iterator[Running]":
        """Run ``casebook up``; it is stopped in good order at the end of the block."""
        log = self.home.with_suffix(".log")
        started = time.monotonic()
        with log.open("w") as errors:
            process = subprocess.Popen(
                self._words(("up", "--port", str(port), "--exit-with-parent")),
                env=environment({}),
                stdin=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
            )
        with process:
            running = Running(self, process, log)
            try:
                running.wait_until_ready()
                running.ready_seconds = time.monotonic() - started
                yield running
            finally:
                running.stop()

    def _words(self, arguments: tuple[str | Path, ...]) -> list[str]:
        return [str(CASEBOOK), "--home", str(self.home), *map(str, arguments)]


@dataclass
class Running:
    """A ``casebook up``; what it says on standard error is in ``log``."""

    command: CommandLine
    process: "subprocess.Popen[str]"
    log: Path
    url: str = ""
    ready_seconds: float = 0.0

    def wait_until_ready(self) -> None:
        """Wait for the line that says so."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not (match := _READY.match(self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)
        self.url = match[1]

    @property
    def pid(self) -> int:
        """Return the id of the process that serves."""
        return self.process.pid

    def kill(self, *, with_database: bool = False) -> None:
        """End the process at once, as a crash would; PostgreSQL is left behind, or killed too."""
        others = tree(self.pid) - {self.pid} if with_database else set[int]()
        self.process.kill()
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Stop it as an operator would, and return its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)

    def token(self, role: str, *options: str) -> str:
        """Return a new token."""
        return self.command.ok("token", "--role", role, *options).out.strip()

    def client(self, role: str = "admin", *options: str) -> httpx.Client:
        """Return a plain HTTP client with a token of its own; the caller closes it."""
        headers = {"Authorization": f"Bearer {self.token(role, *options)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    @cached_property
    def database_url(self) -> str:
        """Return what the command says where the database is."""
        return self.command.ok("database-url").out.strip()

    async def fetch(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Look into the database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: ours without ``CASEBOOK_*``, and ``variables``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CASEBOOK_")}
    return {**kept, **variables}


def eventually(check: Callable[[], Value], what: str, *, seconds_max: float = 20.0) -> Value:
    """Return what ``check`` returns as soon as it is true."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come about in {seconds_max} s")
