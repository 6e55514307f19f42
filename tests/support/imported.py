"""What an import has left behind: the order of the log, the KPIs, and what must not be there."""

import csv
import gzip
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import httpx

from casebook.events.kafka import record_to_kafka
from tests.support import oracle
from tests.support.audit_log import Request, as_of
from tests.support.command import CommandLine, Running
from tests.support.conformance import assert_message

SERVICES = ("intake", "dispatch", "monitoring", "quality", "risk")
ORIGINS = {"observed": ("observed",), "all": ("live", "observed")}
"""Origins that a table can be asked for, and those that its per-origin rows then have."""

_RECORDS = """
SELECT key, partition, (record::json->>'sourcesequence')::int AS sequence,
    record::json->>'originid' AS origin_id
FROM log.records WHERE record::json->>'originsource' = $1 ORDER BY partition, "offset"
"""
_SOME_OF_EACH_TYPE = """
SELECT record, hash FROM (
    SELECT record, hash, row_number() OVER (PARTITION BY type ORDER BY hash) AS place
    FROM log.records
) r WHERE place <= 20
"""
_LEFT = "SELECT count(*) FROM {}.{}"


async def check_order(platform: Running, requests: Iterable[Request], source: str) -> int:
    """Check that the log tells every request as its source did; return how many events it has."""
    records = await platform.fetch(_RECORDS, source)
    return check_records([Told(**record) for record in records], requests, source)


@dataclass(frozen=True, slots=True)
class Told:
    """What a record of the log says of where it comes from, and where it stands."""

    key: str
    partition: int
    sequence: int
    origin_id: str


def check_records(records: Iterable[Told], requests: Iterable[Request], source: str) -> int:
    """Check that records, in order, tell every request as its source did; return their number.

    The places in the source's history count up without a gap. Independently of them, the rows
    of the file come one after the other, and each has left something.
    """
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    partitions: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for record in records:
        number, row, _ = record.origin_id.removeprefix(f"{source}:").split(":")
        found[number].append((record.sequence, int(row)))
        partitions[number].add((record.key, record.partition))
    expected = {request.number: len(request.rows) for request in requests}
    assert found.keys() == expected.keys()
    for number, places in found.items():
        assert len(partitions[number]) == 1, number
        assert [sequence for sequence, _ in places] == list(range(1, len(places) + 1)), number
        rows = [row for _, row in places]
        assert rows == sorted(rows), number
        assert set(rows) == set(range(1, expected[number] + 1)), number
    return sum(map(len, found.values()))


async def check_quiet(platform: Running) -> None:
    """Check that history led to nothing, and that nothing is left to do.

    All that Casebook has said itself is which source it knows: no assignment, survey,
    nonconformity or risk, and no timer waits. What stands in the log is as published.
    """
    for row in await platform.fetch(_SOME_OF_EACH_TYPE):
        key, headers, value = record_to_kafka(row["record"], row["hash"])
        assert_message(headers, value, key)
    for service in SERVICES:
        own = await platform.fetch(
            f"SELECT DISTINCT type FROM {service}.events "
            "WHERE record::json->>'originsource' IS NULL OR record::json->>'origin' <> 'observed'"
        )
        expected = {"casebook.source.registered.v1"} if service == "intake" else set()
        assert {row["type"] for row in own} == expected, service
        for table in ("timers", "inbox", "outbox", "parked", "quarantine"):
            (row,) = await platform.fetch(_LEFT.format(service, table))
            assert row["count"] == 0, (service, table)


def check_kpis(
    platform: Running,
    requests: Sequence[Request],
    *,
    origins: Sequence[str] = tuple(ORIGINS),
    moment: datetime | None = None,
) -> None:
    """Check that the KPI table is the one that the second opinion gives, in every breakdown."""
    with platform.client() as client:
        check_kpis_of(client, requests, origins=origins, moment=moment)


def check_kpis_of(
    client: httpx.Client,
    requests: Sequence[Request],
    *,
    origins: Sequence[str],
    moment: datetime | None = None,
) -> None:
    """Check that whoever may see the KPI table gets the one that the second opinion gives.

    With ``moment``, the table as of then, which is that of what had happened by then.
    """
    when = {"as_of": moment.isoformat()} if moment else {}
    requests = as_of(requests, moment) if moment else requests
    for by in (None, *get_args(oracle.By)):
        for origin in origins:
            query = {"origin": origin} | ({"by": by} if by else {}) | when
            answer = client.get("/monitoring/v1/kpis", params=query)
            assert answer.status_code == 200, answer.text
            expected = oracle.kpi_table(requests, by=by, origins=ORIGINS[origin])
            differences = oracle.differences(expected, answer.json())
            assert not differences, (by, origin, differences[:10])
            assert _order(answer.json()) == _order(expected)


def _order(table: oracle.Json) -> list[tuple[str, oracle.Json]]:
    return [(row["id"], row["dims"]) for row in table["kpis"]]


def kpis(command: CommandLine, by: str | None = None, origin: str = "all") -> Any:
    """Return the KPI table that the command prints."""
    return command.json("kpi", "--origin", origin, *(("--by", by) if by else ()))


class AuditFile:
    """An audit log whose lines tests pick and change; no value of it holds a comma."""

    def __init__(self, path: Path) -> None:
        with gzip.open(path, "rb") as file:
            self.header, *lines = file.read().splitlines()
        (self.columns,) = csv.reader(io.StringIO(self.header.decode()))
        self.requests: dict[str, list[bytes]] = defaultdict(list)
        for line in lines:
            self.requests[line.partition(b",")[0].decode()].append(line)

    def write(self, path: Path, lines: Iterable[bytes]) -> Path:
        """Write some lines, in this order, below the header."""
        path.write_bytes(b"\n".join([self.header, *lines, b""]))
        return path

    def lines(self, first: int, last: int) -> list[bytes]:
        """Return all lines of the requests from place ``first`` to before ``last``."""
        chosen = list(self.requests.values())[first:last]
        return [line for lines in chosen for line in lines]

    def with_value(self, line: bytes, column: str, value: bytes) -> bytes:
        """Return a line with another value in one column."""
        cells = line.split(b",")
        cells[self.columns.index(column)] = value
        return b",".join(cells)
