"""Brokers and databases that somebody kills by hand during an import (F-03, F-06).

The import of the committed sample into five processes, by the command that people use. What it
must come to is computed from the file by code that shares nothing with the product.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import orjson
import pytest

from tests.chaos.checker import check
from tests.chaos.deployment import Deployment, new_deployment
from tests.chaos.history import History, Op, Person
from tests.chaos.snapshot import Snapshot, load, settle
from tests.support.audit_log import SAMPLE, read_requests
from tests.support.command import CommandLine, Done
from tests.support.figures import Tell
from tests.support.imported import Told, check_kpis_of, check_records
from tests.support.production import CONSOLE, SERVICES, execute

SOURCE = "uci498"
IMPORT = ("import", "servicenow-audit", SAMPLE, "-o", "json")
STRIKES = (
    (1_500, ("kafka",)),
    (4_500, ("postgres",)),
    (8_000, ("kafka", "postgres")),
)
"""After so many events what is killed, in this order; it comes back in the other."""
AWAY_SECONDS = 4.0
IMPORT_SECONDS_MAX = 900.0
STORED = " + ".join(f"(SELECT count(*) FROM {name}.events)" for name in SERVICES)
PUBLISHED = " UNION ALL ".join(
    f"SELECT record::json->>'originid' AS id FROM {name}.events "
    f"WHERE record::json->>'originsource' = '{SOURCE}'"
    for name in SERVICES
)
DOUBLED = f"SELECT count(*) - count(DISTINCT id) FROM ({PUBLISHED}) p"


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with new_deployment() as made:
        made.production.start_all(CONSOLE)
        yield made


def strike(deployment: Deployment, victims: Sequence[str]) -> None:
    """Kill brokers or databases with -9, and bring them back after a few seconds."""
    kafka = deployment.kafka
    assert kafka is not None
    for victim in victims:
        (kafka.kill if victim == "kafka" else deployment.postgres.crash)()
    time.sleep(AWAY_SECONDS)
    for victim in reversed(victims):
        (kafka.start if victim == "kafka" else deployment.postgres.recover)()


def stored(deployment: Deployment) -> int:
    """Return how many events the services have stored."""
    return execute(deployment.production.dsn, f"SELECT {STORED}")[0][0]


def run_import(deployment: Deployment) -> Done:
    """Run the import to its end, however it ends."""
    production = deployment.production
    return CommandLine(production.folder).run(
        *IMPORT, "--url", production.url,
        seconds_max=IMPORT_SECONDS_MAX, **production.environment,
    )  # fmt: skip


def imported_meanwhile(deployment: Deployment) -> Done:
    """Import the file, strike in the middle of it, and return how it ended."""
    with ThreadPoolExecutor(1) as pool:
        importing = pool.submit(run_import, deployment)
        for events, victims in STRIKES:
            while stored(deployment) < events:
                assert not importing.done(), importing.result()
                time.sleep(0.05)
            strike(deployment, victims)
            assert not importing.done(), "what was killed was killed during the import"
        return importing.result()


def test_an_import_that_finds_no_database_says_so_in_time(deployment: Deployment) -> None:
    """And the next test shows that the same command then does all of it."""
    deployment.postgres.crash()
    try:
        done = run_import(deployment)
    finally:
        deployment.postgres.recover()
    assert (done.status, done.out) == (1, "")
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1].startswith("casebook: "), done.err
    assert "unavailable" in done.err
    deployment.heal()


async def test_an_import_outlives_brokers_and_databases_that_are_killed(
    deployment: Deployment, tell: Tell
) -> None:
    """It goes on unaided; the KPIs are those of the file, and no event is missing or doubled."""
    production, began = deployment.production, time.monotonic()
    done = imported_meanwhile(deployment)
    tell(f"{len(STRIKES)} strikes in an import of {time.monotonic() - began:.0f} s")
    assert done.status == 0, done.err
    assert "Traceback" not in done.err
    first, requests = done.document, read_requests(SAMPLE)
    assert (first["requests"], first["quarantined"]) == (len(requests), 0)
    token = production.home.signer().mint("auditor", ["auditor"], ttl=timedelta(hours=1))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=production.url, headers=headers, timeout=60) as auditor:
        check_kpis_of(auditor, requests, origins=["observed"])

    again = run_import(deployment)
    assert again.status == 0, again.err
    await settle(deployment.place, seconds_max=120)
    snapshot = await load(deployment.place)
    total = check_records(told(snapshot), requests, SOURCE)
    assert execute(production.dsn, DOUBLED)[0][0] == 0
    assert (again.document["events"], again.document["duplicates"]) == (0, total)
    assert first["events"] + first["duplicates"] == total
    assert [str(found) for found in check(snapshot, history(snapshot))] == []
    assert production.run("verify", "-o", "json").document["differences"] == []


def told(snapshot: Snapshot) -> list[Told]:
    """Return what the topic tells of the file, in order, without what a relay repeated."""
    found: dict[str, Told] = {}
    for record in snapshot.topic:
        event = orjson.loads(record.record)
        if event.get("originsource") == SOURCE:
            place = record.key, record.partition, event["sourcesequence"], event["originid"]
            found.setdefault(event["id"], Told(*place))
    return list(found.values())


def history(snapshot: Snapshot) -> History:
    """Return what the import asked for, as far as the log knows, so that the rest is judged."""
    importer = Person(SOURCE, "publisher")
    [registered] = [
        orjson.loads(row["record"])
        for _, row in snapshot.rows("events")
        if row["stream"] == f"definition/source/{SOURCE}"
    ]
    trace = registered["traceparent"][3:35]
    register = Op(0, "command", "register", importer, 0.0, key="register", trace=trace)
    publish = Op(0, "publish", "publish", importer, 0.0, outcome="ok")
    publish.items = [(SOURCE, each.origin_id, "accepted") for each in told(snapshot)]
    return History([register, publish])
