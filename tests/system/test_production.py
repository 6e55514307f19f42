"""What only separate processes can show: roles, replicas, start and stop, a log that is away."""

import asyncio
import itertools
import signal
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest

from casebook.console.verify import services
from casebook.intake.service import SERVICE as INTAKE
from casebook.kit.log.event_log import PARTITIONS
from casebook.kit.log.kafka import KafkaLog
from casebook.kit.setup.migrations import NotInitialised, check
from casebook.kit.verification.verify import Place, Report, verify
from tests.support.audit_log import SAMPLE, read_requests
from tests.support.command import eventually
from tests.support.consumer_groups import members
from tests.support.imported import check_kpis_of
from tests.support.kafka import kafka_for_tests
from tests.support.ports import free_port
from tests.support.production import (
    SERVICES,
    Process,
    Production,
    execute,
    new_production,
)
from tests.support.proxy import Proxy, to_port

REQUESTS = 120
DRAIN_SECONDS_MAX = 10.0
CATCH_UP_SECONDS_MAX = 120.0
EFFECTS = [
    f"SELECT case_key FROM {service}.events WHERE type = 'casebook.{type_}.v1' "
    "AND record::json->>'origin' = 'live'"
    for service, type_ in (
        ("dispatch", "work-order.assigned-to-agent"), ("monitoring", "service-level.opened"),
    )
]  # fmt: skip
EVENTS = " UNION ALL ".join(f"SELECT type, case_key FROM {name}.events" for name in SERVICES)


@pytest.fixture(scope="module")
def replicas() -> dict[str, str]:
    """Where the second replica of each service listens."""
    return {name: f"http://127.0.0.1:{free_port()}" for name in SERVICES}


@pytest.fixture(scope="module")
def production(
    tmp_path_factory: pytest.TempPathFactory, replicas: dict[str, str]
) -> Iterator[Production]:
    """Run everything, each service twice."""
    with new_production(tmp_path_factory.mktemp("production")) as deployment:
        deployment.init()
        seconds = [deployment.start(name, url=url) for name, url in replicas.items()]
        with deployment.running():
            for process in seconds:
                process.wait_until_ready()
            yield deployment


def client(production: Production, role: str, subject: str, url: str = "") -> httpx.Client:
    """Return an HTTP client with a token; by the console unless ``url`` is given."""
    token = production.home.signer().mint(subject, [role], ttl=timedelta(hours=1))
    return httpx.Client(
        base_url=url or production.url, headers={"Authorization": f"Bearer {token}"}, timeout=30
    )


def key() -> dict[str, str]:
    """Return a fresh idempotency key."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def submit(requester: httpx.Client, title: str) -> str:
    """Submit a request, again while the services are busy; return its id."""
    body, headers = {"kind": "incident", "title": title}, key()
    send = partial(requester.post, "/intake/v1/requests", json=body, headers=headers)
    while (answer := send()).status_code == 503:
        time.sleep(float(answer.headers["retry-after"]))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


FORBIDDEN = (
    "UPDATE {own}.events SET type = type",
    "DELETE FROM {own}.events",
    "TRUNCATE {own}.events",
    "DROP TABLE {own}.events",
    "ALTER TABLE {own}.events DISABLE TRIGGER ALL",
    "UPDATE {own}.schema_version SET version = 0",
    "SELECT * FROM {other}.events",
    "SELECT * FROM {other}.data_keys",
    "CREATE TABLE public.mine (x int)",
    "CREATE TABLE {other}.mine (x int)",
)


@pytest.mark.parametrize(("own", "other"), list(itertools.pairwise((*SERVICES, "intake"))))
def test_a_service_has_rights_on_its_own_schema_and_never_changes_what_happened(
    production: Production, own: str, other: str
) -> None:
    role = production.role_url(own)
    execute(role, f"SELECT * FROM {own}.events LIMIT 1")
    for statement in FORBIDDEN:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            execute(role, statement.format(own=own, other=other))
    users = execute(
        production.dsn,
        f"SELECT DISTINCT usename::text FROM pg_stat_activity "
        f"WHERE application_name = 'casebook-{own}' AND datname = current_database()",
    )
    assert [row[0].rpartition("_")[2] for row in users] == [own]


def test_a_rebuild_needs_no_more_rights_than_the_service_has(production: Production) -> None:
    done = production.run(
        "rebuild", "intake", "timeline", "--reason", "to see it", "--url", production.url
    )
    assert done.status == 0, done.err


def test_init_again_changes_nothing(production: Production) -> None:
    before = {name: production.role_url(name) for name in SERVICES}
    production.init()
    assert {name: production.role_url(name) for name in SERVICES} == before
    for name in SERVICES:
        file = production.folder / "roles" / f"{name}.url"
        assert file.stat().st_mode & 0o777 == 0o600
    for path in (production.home.signing_key, production.home.master_key):
        assert path.stat().st_mode & 0o777 == 0o600


# --- the import ---------------------------------------------------------------------------------


def test_the_import_gives_the_kpis_of_the_second_opinion(production: Production) -> None:
    """And whoever verifies in the middle of it finds nothing: each look is at one moment."""
    arguments = ("import", "servicenow-audit", SAMPLE, "--url", production.url, "-o", "json")
    place = Place(production.dsn, production.bootstrap, production.topic)
    looks: list[Report] = []
    with ThreadPoolExecutor(1) as pool:
        importing = pool.submit(production.run, *arguments)
        while not importing.done():
            looks.append(asyncio.run(verify(place, services())))
        done = importing.result()
    assert done.status == 0, done.err
    assert [look.differences for look in looks if look.differences] == []
    assert looks
    requests = read_requests(SAMPLE)
    assert done.document["requests"] == len(requests)
    assert done.document["quarantined"] == done.document["duplicates"] == 0
    with client(production, "auditor", "auditor") as auditor:
        check_kpis_of(auditor, requests, origins=["observed"])


# --- replicas -----------------------------------------------------------------------------------


async def logged(production: Production) -> int:
    """Return how many records the topic has."""
    log = KafkaLog(production.bootstrap, production.topic)
    heads = await log.heads()
    await log.close()
    return sum(heads.values())


@pytest.fixture(scope="module")
def agents(production: Production) -> None:
    """Register agents who can take all requests."""
    with client(production, "admin", "admin") as admin:
        answer = admin.put("/dispatch/v1/teams/service-desk", json={"name": "D"}, headers=key())
        assert answer.status_code < 300, answer.text
        for name in ("wang", "zhao", "qian", "sun"):
            body = {"team": "service-desk", "capacity": 500}
            answer = admin.put(f"/dispatch/v1/agents/{name}", json=body, headers=key())
            assert answer.status_code < 300, answer.text


async def test_two_replicas_share_the_work_and_do_nothing_twice(
    production: Production, replicas: dict[str, str], agents: None
) -> None:
    doors = [production.urls["intake"], replicas["intake"]]
    people = [client(production, "requester", f"li-{n}", doors[n % 2]) for n in range(8)]
    with ThreadPoolExecutor(len(people)) as pool:
        submitted = list(
            pool.map(lambda n: submit(people[n % len(people)], f"请求 {n}"), range(REQUESTS))
        )
    for person in people:
        person.close()
    assert len(set(submitted)) == REQUESTS

    for statement in EFFECTS:
        found = partial(execute, production.dsn, statement)
        eventually(lambda: len(set(found())) >= REQUESTS, statement, seconds_max=120)  # noqa: B023
        assert Counter(row[0] for row in found()) == dict.fromkeys(submitted, 1)
    for service in SERVICES:
        shares = await members(kafka_for_tests(), f"casebook.{service}")
        assert sorted(len(share) for share in shares) == [PARTITIONS // 2] * 2, service
        assert set().union(*shares) == set(range(PARTITIONS))

    def published() -> bool:
        left = " UNION ALL ".join(f"SELECT FROM {name}.outbox" for name in SERVICES)
        return not execute(production.dsn, left)

    eventually(published, "an empty outbox", seconds_max=60)
    stored = execute(production.dsn, f"SELECT count(*) FROM ({EVENTS}) e")[0][0]
    # An event is published again only where a turn was taken, from a replica that has no time.
    assert stored <= await logged(production) < 2 * stored
    assert production.run("verify", "-o", "json").document["differences"] == []


# --- stopping -----------------------------------------------------------------------------------


def half_sent(production: Production, process: Process) -> tuple[socket.socket, bytes]:
    """Send a command without the end of its body; return the socket and the end."""
    token = production.home.signer().mint("li", ["requester"], ttl=timedelta(hours=1))
    body = b'{"kind": "incident", "title": "slow"}'
    head = (
        f"POST /intake/v1/requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Idempotency-Key: {uuid.uuid4().hex}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    port = int(process.url.rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(head.encode() + body[:9])
    return connection, body[9:]


def test_a_process_that_is_told_to_stop_is_unready_first_and_answers_what_it_took(
    production: Production,
) -> None:
    process = production.start(
        "intake", url=f"http://127.0.0.1:{free_port()}",
        variables={"CASEBOOK_DRAIN_SECONDS": "1.5"},
    )  # fmt: skip
    process.wait_until_ready()
    connection, rest = half_sent(production, process)
    told = time.monotonic()
    process.terminate()
    eventually(lambda: not process.is_ready(), "unreadiness", seconds_max=1)
    answer = httpx.get(f"{process.url}/readyz")
    assert (answer.status_code, answer.json()["failed"]) == (503, ["draining"])
    with client(production, "requester", "li", process.url) as requester:
        submit(requester, "while it drains")

    def is_deaf() -> bool:
        try:
            return not httpx.get(f"{process.url}/livez", timeout=2)
        except httpx.TransportError:
            return True

    eventually(is_deaf, "the end of listening", seconds_max=5)
    connection.sendall(rest)
    assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
    connection.close()
    assert process.wait() == 0
    assert time.monotonic() - told < DRAIN_SECONDS_MAX


def test_the_console_drains_too_and_a_second_sigterm_ends_at_once(production: Production) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    settings = {"CASEBOOK_DRAIN_SECONDS": "30"}
    process = production.start("console", url=url, variables=settings)
    process.wait_until_ready()
    process.terminate()
    eventually(lambda: not process.is_ready(), "unreadiness", seconds_max=1)
    assert httpx.get(f"{url}/intake/openapi.json").status_code == 200
    process.terminate()
    assert process.wait() == -signal.SIGTERM


# --- starting -----------------------------------------------------------------------------------


def refused(process: Process) -> tuple[int, str]:
    """Wait for a process that must refuse; return its status and the line that says why."""
    status = process.wait()
    log = process.log.read_text()
    process.log.unlink()
    assert "Traceback" not in log
    (line,) = [line for line in log.splitlines() if "casebook: " in line]
    return status, line


def test_before_init_no_service_starts(tmp_path: Path) -> None:
    with new_production(tmp_path) as production:
        production.home.prepare()
        started = {name: production.start(name) for name in SERVICES}
        for name, process in started.items():
            status, line = refused(process)
            assert status == 3
            assert f"schema {name} is at version None, this is 1: run casebook init" in line
        key = {"CASEBOOK_SIGNING_KEY": str(tmp_path / "missing.jwk")}
        status, line = refused(production.start("intake", variables=key))
        assert status == 1
        assert line.startswith("casebook: CASEBOOK_SIGNING_KEY: missing.jwk holds no private key")
        done = production.run("init", CASEBOOK_KAFKA_BOOTSTRAP="127.0.0.1:1")
        assert done.status == 1
        assert "Kafka at 127.0.0.1:1 does not answer" in done.err.splitlines()[-1]


async def test_a_service_refuses_the_role_of_another_one(production: Production) -> None:
    connection = await asyncpg.connect(production.role_url("risk"))
    try:
        with pytest.raises(NotInitialised, match="no rights on schema intake"):
            await check(connection, INTAKE)
    finally:
        await connection.close()


UNPUBLISHED = " UNION ALL ".join(f"SELECT FROM {name}.outbox" for name in SERVICES)
READ = " UNION ALL ".join(
    f"SELECT sum(next_offset)::int FROM {name}.checkpoints WHERE subscription = 'live'"
    for name in SERVICES
)


def test_without_kafka_all_start_and_take_commands_and_later_catch_up(tmp_path: Path) -> None:
    proxy = Proxy(to_port(int(kafka_for_tests().rpartition(":")[2])))
    with proxy.running(whole=False), new_production(tmp_path) as production:
        production.init()
        production.settings["CASEBOOK_KAFKA_BOOTSTRAP"] = f"127.0.0.1:{proxy.port}"
        with production.running(*SERVICES):
            for name in SERVICES:
                ready = httpx.get(f"{production.urls[name]}/readyz").json()
                assert (ready["failed"], ready["degraded"]) == ([], ["log"]), name
            submitted = command_each(production)
            stored, unread = execute(production.dsn, EVENTS), execute(production.dsn, READ)
            assert len(execute(production.dsn, UNPUBLISHED)) == len(stored) > 0
            assert [row[0] or 0 for row in unread] == [0] * len(SERVICES)
            proxy.heal()
            eventually(lambda: effects(production) == [[submitted]] * len(EFFECTS), "the effects",
                       seconds_max=CATCH_UP_SECONDS_MAX)  # fmt: skip

            def caught_up() -> bool:
                if execute(production.dsn, UNPUBLISHED):
                    return False
                records = asyncio.run(logged(production))
                return [row[0] for row in execute(production.dsn, READ)] == [records] * 5

            eventually(caught_up, "all readers at the end", seconds_max=CATCH_UP_SECONDS_MAX)
            assert asyncio.run(logged(production)) == len(execute(production.dsn, EVENTS))


def effects(production: Production) -> list[list[str]]:
    """Return the cases that the other services have done something about."""
    return [[row[0] for row in execute(production.dsn, statement)] for statement in EFFECTS]


def command_each(production: Production) -> str:
    """Let people use each service that takes commands; return the request that was submitted."""
    urls = production.urls
    with client(production, "admin", "admin", urls["dispatch"]) as admin:
        for path, body in (
            ("teams/service-desk", {"name": "D"}),
            ("agents/wang", {"team": "service-desk", "capacity": 5}),
        ):
            answer = admin.put(f"/dispatch/v1/{path}", json=body, headers=key())
            assert answer.status_code < 300, answer.text
    with client(production, "risk-manager", "sun", urls["risk"]) as manager:
        body = {"category": "supplier", "title": "R", "owner": "sun"}
        answer = manager.post("/risk/v1/risks", json=body, headers=key())
        assert answer.status_code == 201, answer.text
    with client(production, "requester", "li", urls["intake"]) as requester:
        return submit(requester, "without Kafka")
