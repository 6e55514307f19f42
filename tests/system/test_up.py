"""``casebook up`` and the commands around it, as processes: started, killed, refused, stopped."""

import asyncio
import concurrent.futures
import json
import os
import random
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.audit_log import SAMPLE, read_requests
from tests.support.command import CommandLine, Running, eventually
from tests.support.figures import Tell
from tests.support.imported import check_kpis, check_order
from tests.support.processes import (
    about,
    cpu_seconds,
    listening,
    servers_of,
    tree,
)

READY_SECONDS_MAX = 8.0
STARTS_MAX = 3  # other work on the machine may slow one of them down
IDLE_SECONDS = 5.0
IDLE_SHARE_MAX = 0.05
IDLE_LOOKS_MAX = 5  # a busy machine makes the same work dearer
LOOPBACK = "0100007F"  # as the kernel writes it
KILLS = 5
REQUESTERS = 3
OBSERVED = "SELECT FROM dispatch.streams WHERE state->>'origin' = 'observed' LIMIT 1"
READING = (("kpi",), ("events",), ("lag",), ("verify",), ("parked", "list"), ("quarantine", "list"))


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Return the command on a home that is prepared and at rest."""
    command = CommandLine(tmp_path_factory.mktemp("rest") / "home")
    command.ok("init")
    assert not about(command.home)
    return command


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a platform with a home of its own."""
    with CommandLine(tmp_path_factory.mktemp("running") / "home").up() as running:
        yield running


def free_port() -> int:
    """Return a port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- starting and stopping ----------------------------------------------------------------------


@pytest.mark.performance
def test_a_warm_start_is_quick(command: CommandLine, tell: Tell) -> None:
    starts: list[float] = []
    while len(starts) < STARTS_MAX and min(starts, default=READY_SECONDS_MAX) >= READY_SECONDS_MAX:
        with command.up() as running:
            starts.append(running.ready_seconds)
    tell(f"ready in {min(starts):.1f} s")
    assert min(starts) <= READY_SECONDS_MAX


@pytest.mark.performance
def test_idling_costs_little(command: CommandLine, tell: Tell) -> None:
    shares: list[float] = []
    with command.up() as running:
        time.sleep(2)
        for _ in range(IDLE_LOOKS_MAX):
            before = cpu_seconds(tree(running.pid))
            time.sleep(IDLE_SECONDS)
            after = cpu_seconds(tree(running.pid))
            used = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
            shares.append(used / IDLE_SECONDS)
            if min(shares) <= IDLE_SHARE_MAX:
                break
    tell(f"idle at {min(shares):.1%} of a core")
    assert min(shares) <= IDLE_SHARE_MAX


def test_it_listens_on_loopback_only(platform: Running) -> None:
    assert listening(tree(platform.pid)) == {LOOPBACK}


def test_a_second_one_on_the_same_home_is_refused(platform: Running) -> None:
    done = platform.command.run("up", "--port", "0")
    assert (done.status, done.out) == (1, "")
    assert str(platform.command.home) in done.line
    assert httpx.get(f"{platform.url}/readyz").status_code == 200


def test_a_port_that_is_taken_is_named(platform: Running, command: CommandLine) -> None:
    port = platform.url.rpartition(":")[2]
    done = command.run("up", "--port", port)
    assert (done.status, done.out) == (1, "")
    assert f"port {port} is taken" in done.line
    assert not about(command.home)


def test_what_was_asked_before_sigterm_is_answered(command: CommandLine) -> None:
    with command.up() as running, running.client() as client:
        unknown = {"Casebook-Min-Version": f"request/{uuid.uuid4()}@1"}
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(client.get, "/intake/v1/requests", headers=unknown)
            time.sleep(0.5)
            assert not asked.done()
            assert running.stop() == 0
            assert asked.result().status_code == 503
            assert asked.result().json()["code"] == "not-caught-up"
        with pytest.raises(httpx.ConnectError):
            client.get("/livez")
    assert not about(command.home)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_that_is_told_to_stop_while_it_starts_leaves_nothing_behind(
    command: CommandLine, number: signal.Signals
) -> None:
    with command.started("up", "--port", "0") as process:
        eventually(lambda: servers_of(command.home), "PostgreSQL")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, ""), err
    assert "Traceback" not in err
    assert not about(command.home)


def test_after_kill_9_the_next_one_takes_over_and_leaves_no_server_behind(
    command: CommandLine,
) -> None:
    with command.up() as running:
        running.kill()
    left = servers_of(command.home)
    assert left
    with command.up() as running:
        assert not set(left) & set(servers_of(command.home))
        assert httpx.get(f"{running.url}/readyz").status_code == 200
    assert not about(command.home)


# --- commands -----------------------------------------------------------------------------------


def test_a_token_is_all_that_is_printed(platform: Running, command: CommandLine) -> None:
    for some in (platform.command, command):  # running or not
        done = some.ok("token", "--role", "auditor", "--subject", "钱玉", "--ttl", "5m")
        assert done.err == ""
        assert len(done.out.rstrip("\n").split(".")) == 3
        assert done.out.count("\n") == 1
    token = platform.token("auditor")
    answer = httpx.get(
        f"{platform.url}/monitoring/v1/kpis", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 200
    unknown = command.run("token", "--role", "emperor")
    assert (unknown.status, unknown.out) == (1, "")
    assert unknown.line.startswith("casebook: the roles are ")


async def test_the_database_can_be_reached_while_a_platform_runs(
    platform: Running, command: CommandLine
) -> None:
    assert await platform.fetch("SELECT * FROM intake.events") == []
    done = command.run("database-url")
    assert (done.status, done.out) == (1, "")
    assert "casebook up" in done.line


@pytest.mark.parametrize("words", READING)
def test_a_reading_command_prints_one_document(platform: Running, words: tuple[str, ...]) -> None:
    done = platform.command.ok(*words, "-o", "json")
    assert isinstance(done.document, dict | list)
    assert done.err == ""


def test_a_case_that_nobody_knows_is_said_with_status_1(platform: Running) -> None:
    for words in (("events", "--case", "REQ9999999"), ("events", "--case", "x", "-o", "json")):
        answer = platform.command.run(*words)
        assert (answer.status, answer.out) == (1, "")
        assert f"no request this number: {words[2]}" in answer.err
    answer = platform.command.run("events", "--type", "casebook.nothing.v1")
    assert (answer.status, answer.out) == (0, "")
    assert "no event matches" in answer.err
    answer = platform.command.run("kpi", "--as-of", "yesterday")
    assert answer.status == 1
    assert "/as_of not-a-moment (expected: an RFC 3339 timestamp with a zone" in answer.err


def test_a_command_starts_a_platform_for_its_own_duration(command: CommandLine) -> None:
    for words in (("kpi",), ("verify",)):
        assert command.json(*words)
        assert not about(command.home)


def test_a_platform_ends_with_the_command_that_started_it_even_after_kill_9(
    command: CommandLine,
) -> None:
    with command.started("import", "servicenow-audit", SAMPLE) as process:
        eventually((command.home / "address.json").exists, "a platform")
        assert len(tree(process.pid)) > 2
        process.kill()
        process.wait()
    eventually(lambda: not about(command.home), "the end of the platform")


# --- killed again and again ---------------------------------------------------------------------


class Requesters:
    """People who submit one request after the other, and insist until each is acknowledged."""

    def __init__(self, url: str, token: str) -> None:
        self.acknowledged: set[str] = set()
        self.repeated = 0
        self._enough = threading.Event()
        self._hopeless = threading.Event()
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    def work(self) -> None:
        """Submit until told to stop."""
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=10) as client:
            while not self._enough.is_set():
                self.acknowledged.add(self._submit(client, uuid.uuid4().hex))

    def stop(self) -> None:
        """Let everybody finish what they are at."""
        self._enough.set()

    def give_up(self) -> None:
        """Insist no longer: there is no platform any more."""
        self._enough.set()
        self._hopeless.set()

    def _submit(self, client: httpx.Client, key: str) -> str:
        body = {"kind": "incident", "title": "打印机坏了", "description": key}
        while not self._hopeless.is_set():
            try:
                answer = client.post(
                    "/intake/v1/requests", json=body, headers={"Idempotency-Key": key}
                )
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 201:
                return answer.json()["id"]
            assert answer is None or answer.status_code in {409, 429, 503}, answer.text
            self.repeated += 1
            time.sleep(0.05)
        raise TimeoutError(key)


async def test_nothing_acknowledged_is_lost_however_often_it_is_killed(tmp_path: Path) -> None:
    command, port = CommandLine(tmp_path / "home"), free_port()
    command.ok("init")
    seed = int.from_bytes(os.urandom(4))
    chance = random.Random(seed)  # noqa: S311 - the moments of the kills, shown when it fails
    token = command.ok(
        "token", "--role", "requester", "--subject", "li", "--organisation", "acme"
    ).out.strip()
    people = Requesters(f"http://127.0.0.1:{port}", token)
    with concurrent.futures.ThreadPoolExecutor(REQUESTERS) as pool:
        work = [pool.submit(people.work) for _ in range(REQUESTERS)]
        try:
            await killed_again_and_again(command, port, chance)
            with command.up(port) as last:
                people.stop()
                for done in work:
                    done.result(timeout=30)
                await check_nothing_lost(last, people.acknowledged, seed)
        finally:
            people.give_up()
    assert people.repeated
    assert not about(command.home)


async def killed_again_and_again(command: CommandLine, port: int, chance: random.Random) -> None:
    """Import the sample into a platform that is killed at random moments.

    Sometimes the database is killed with it, as when a machine runs out of memory.
    """
    words = ("import", "servicenow-audit", SAMPLE, "-o", "json")
    with command.up(port) as first, command.started(*words) as importing:
        while not await first.fetch(OBSERVED):
            assert importing.poll() is None, importing.communicate()
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        first.kill()
        for _ in range(KILLS - 1):
            with command.up(port) as running:
                await asyncio.sleep(chance.uniform(0.1, 1.5))
                running.kill(with_database=chance.random() < 0.5)
        with command.up(port):
            out, err = importing.communicate(timeout=120)
    assert importing.returncode == 0, err
    assert json.loads(out)["quarantined"] == 0


async def check_nothing_lost(platform: Running, acknowledged: set[str], seed: int) -> None:
    """Check that every acknowledged request is there once, and all of the import too."""
    rows = await platform.fetch(
        "SELECT case_key FROM intake.events WHERE type = 'casebook.request.submitted.v1'"
        " AND record::json->>'origin' = 'live'"
    )
    submitted = [row["case_key"] for row in rows]
    assert len(submitted) == len(set(submitted)), seed
    assert set(submitted) == acknowledged, seed
    assert len(acknowledged) > REQUESTERS, seed
    requests = read_requests(SAMPLE)
    await check_order(platform, requests, "uci498")
    check_kpis(platform, requests, origins=("observed",))
    assert platform.command.json("verify")["ok"], seed
