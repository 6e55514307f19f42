"""The tables of one service that follow from the log: cases, projections, and smaller ones.

All facts of a row are of one case, so they stand in one partition of the log.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from casebook.kit.bookkeeping.cases import Case, LogForked, slot
from casebook.kit.bookkeeping.checkpoints import LIVE
from casebook.kit.log.event_log import PARTITIONS
from casebook.kit.read_models.projections import Projection, sql_type
from casebook.kit.read_models.standard import STANDARD_TYPES, membership, source_of
from casebook.kit.service import Service
from casebook.kit.verification.log import Entry
from casebook.kit.verification.report import Report
from casebook.kit.verification.snapshot import Snapshot, Values, canonical, differences

_CASE_COLUMNS = (
    "versions", "source_sequence", "organisation", "requester", "team", "assignee", "origin",
)  # fmt: skip
_SOURCE_COLUMNS = ("types", "organisation", "mode", "publisher")
_VIEWED = """
SELECT t.relname FROM pg_rewrite r JOIN pg_depend d ON d.objid = r.oid
JOIN pg_class t ON t.oid = d.refobjid AND t.relkind = 'r' WHERE r.ev_class = to_regclass($1)
"""


@dataclass(slots=True)
class Folds:
    """The folds of one partition, shared by services whose readers stand at the same place."""

    entries: Sequence[Entry]
    end: int
    by_place: dict[tuple[Any, ...], "CaseFold"] = field(default_factory=dict[Any, "CaseFold"])

    def cases(self, until: int, left_out: Mapping[int, str]) -> "CaseFold":
        """Return the cases after the log up to an offset, without what was left out."""
        place = until, *sorted(left_out.items())
        if place not in self.by_place:
            self.by_place[place] = CaseFold.of(
                (entry for entry in self.entries if entry.offset < until), left_out
            )
        return self.by_place[place]


@dataclass(slots=True)
class CaseFold:
    """What the reader of a service knows after a part of the log."""

    rows: dict[str, Values] = field(default_factory=dict[str, Values])
    admitted: list[Entry] = field(default_factory=list[Entry])
    standard: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    forks: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    @classmethod
    def of(cls, entries: Iterable[Entry], left_out: Mapping[int, str]) -> "CaseFold":
        """Fold as the reader does: what is parked waits, what was discarded only counts."""
        found = cls()
        cases: dict[str, Case] = {}
        for entry in entries:
            status = left_out.get(entry.offset)
            if status == "parked":
                continue
            case = cases.get(entry.key)
            if case is None:
                case = cases[entry.key] = Case(entry.key)
            try:
                if status is not None:
                    case.count(entry.attributes)
                elif case.admit(entry.attributes):
                    found.admitted.append(entry)
                    if entry.attributes["type"] in STANDARD_TYPES:
                        found.standard.append(entry.attributes)
            except LogForked as error:
                found.forks.append((entry.offset, str(error)))
        for key, case in cases.items():
            if case.versions:
                values = tuple(getattr(case, column) for column in _CASE_COLUMNS[1:])
                found.rows[key] = (canonical(case.versions), *values)
        return found


class _Checked:
    """A table whose rows are compared part by part; what remains in the end is too much."""

    def __init__(self, name: str, table: str, columns: Sequence[str], key_type: str) -> None:
        quoted = ", ".join(f'"{column}"' for column in columns)
        self.name = name
        self.columns = columns[1:]
        self._key = f'"{columns[0]}"'
        self._table = table
        self._select = f"SELECT {quoted} FROM {table} WHERE {self._key} = ANY($1::{key_type}[])"
        self._known: set[Any] = set()
        self._found = 0

    async def stored(self, snapshot: Snapshot, keys: Iterable[Any]) -> dict[Any, Values]:
        """Return the rows of these keys."""
        wanted = list(keys)
        rows = await snapshot.fetch(self._select, wanted) if wanted else []
        self._known.update(wanted)
        self._found += len(rows)
        return {row[0]: tuple(row)[1:] for row in rows}

    async def remaining(self, snapshot: Snapshot) -> list[Any]:
        """Return the keys of the rows that nobody asked for."""
        if await snapshot.fetchval(f"SELECT count(*) FROM {self._table}") == self._found:
            return []
        rows = await snapshot.fetch(f"SELECT {self._key} FROM {self._table}")
        return [row[0] for row in rows if row[0] not in self._known]


@dataclass(slots=True)
class _Model:
    """A projection and its active table."""

    projection: Projection
    table: _Checked
    json: tuple[bool, ...]
    handles: frozenset[type[Any]]

    def values(self, row: Mapping[str, Any]) -> Values:
        """Return the columns of a folded row as they are stored."""
        columns = zip(self.table.columns, self.json, strict=True)
        return tuple(canonical(row[name]) if json else row[name] for name, json in columns)


class Tables:
    """Checks what one service keeps of the log."""

    def __init__(self, snapshot: Snapshot, service: Service, report: Report) -> None:
        self._snapshot = snapshot
        self._service = service
        self._report = report
        self._schema = f'"{service.name}"'
        self._checkpoints: dict[int, int] = {}
        self._left_out: dict[int, dict[int, str]] = {}
        self._models: list[_Model] = []
        self._cases = _Checked("cases", f"{self._schema}.cases", ("key", *_CASE_COLUMNS), "text")
        self._members: dict[str, Values] = {}
        self._sources: dict[str, Values] = {}

    async def start(self) -> None:
        """Read how far the service came, what it left out, and which tables are active."""
        await self._read_checkpoints()
        rows = await self._snapshot.fetch(
            f'SELECT partition, "offset", status FROM {self._schema}.parked '
            "WHERE subscription = $1",
            LIVE,
        )
        for row in rows:
            self._left_out.setdefault(row[0], {})[row[1]] = row[2]
        registered = {
            row[0]: (row[1], row[2])
            for row in await self._snapshot.fetch(
                f"SELECT name, version, generation FROM {self._schema}.projections"
            )
        }
        for projection in self._service.projections:
            self._report.projections += 1
            await self._open(projection, registered.pop(projection.name, None))
        for name in registered:
            self._add("projections", name, "name", "there is no such projection")

    async def check(self, number: int, folds: Folds) -> None:
        """Compare what follows from a partition."""
        cases = await self._cases.stored(self._snapshot, {entry.key for entry in folds.entries})
        until = self._until(number, folds, cases)
        fold = folds.cases(until, self._left_out.get(number, {}))
        for offset, reason in fold.forks:
            self._report.add("log", "records", f"{number}/{offset}", "record", reason)
        for difference in differences(_CASE_COLUMNS, cases, fold.rows):
            self._add("cases", *difference)
        for attributes in fold.standard:
            self._standard(attributes)
        for model in self._models:
            await self._model(model, fold.admitted)

    async def finish(self, inline: Mapping[str, Mapping[Any, Mapping[str, Any]]]) -> None:
        """Compare the small tables, and find the rows that follow from nothing."""
        for table in (self._cases, *(model.table for model in self._models)):
            for key in await table.remaining(self._snapshot):
                self._add(table.name, key, "", "the row does not follow from the log")
        await self._whole("members", ("agent", "team"), self._members)
        await self._whole("sources", ("source", *_SOURCE_COLUMNS), self._sources)
        for table in self._service.inline:
            rows = inline[table.name]
            names = table.columns[1:]
            wanted = {
                key: tuple(
                    canonical(row[name]) if name in table.json else row[name] for name in names
                )
                for key, row in rows.items()
            }
            await self._whole(table.name, table.columns, wanted)

    def _add(self, table: str, key: object, column: str, reason: str) -> None:
        self._report.add(self._service.name, table, key, column, reason)

    async def _read_checkpoints(self) -> None:
        """Read the live checkpoints: one for each partition; others are those of rebuilds."""
        rebuilds = {
            f"rebuild:{row[0]}"
            for row in await self._snapshot.fetch(f"SELECT name FROM {self._schema}.rebuilds")
        }
        for row in await self._snapshot.fetch(f"SELECT * FROM {self._schema}.checkpoints"):
            place = f"{row['subscription']}/{row['partition']}"
            known = range(PARTITIONS)
            if row["subscription"] == LIVE and row["partition"] in known:
                self._checkpoints[row["partition"]] = row["next_offset"]
            elif row["subscription"] not in rebuilds or row["partition"] not in known:
                self._add("checkpoints", place, "subscription", "there is no such subscription")
        for number in set(range(PARTITIONS)) - self._checkpoints.keys():
            self._add("checkpoints", f"{LIVE}/{number}", "partition", "is missing")

    async def _open(self, projection: Projection, active: tuple[int, int] | None) -> None:
        """Find the active table of a projection, which its view shows too."""
        if active is None or active[0] != projection.version:
            self._add("projections", projection.name, "version", "waits for a rebuild")
            return
        table = projection.physical(*active)
        viewed = await self._snapshot.fetchval(_VIEWED, f"{self._schema}.{projection.name}")
        if viewed != table:
            self._add("projections", projection.name, "generation", f"the view shows {viewed}")
            return
        columns = list(projection.table.columns)
        checked = _Checked(
            projection.name,
            f'{self._schema}."{table}"',
            [column.name for column in columns],
            sql_type(columns[0]),
        )
        json = tuple(sql_type(column) == "jsonb" for column in columns[1:])
        self._models.append(_Model(projection, checked, json, frozenset(projection.handles)))

    def _until(self, number: int, folds: Folds, cases: Mapping[str, Values]) -> int:
        """Return up to where the log was applied: the checkpoint, if it is right."""
        checkpoint = self._checkpoints.get(number, folds.end)
        place = f"{LIVE}/{number}"
        if not 0 <= checkpoint <= folds.end:
            self._add("checkpoints", place, "next_offset", "is beyond the log")
            return folds.end
        ahead = [entry for entry in folds.entries if entry.offset >= checkpoint]
        applied = [entry.offset for entry in ahead if _is_applied(entry, cases.get(entry.key))]
        if not applied:
            return checkpoint
        self._add("checkpoints", place, "next_offset", "records after it were applied already")
        return max(applied) + 1

    def _standard(self, attributes: Mapping[str, Any]) -> None:
        """Fold a fact into the tables that every service has."""
        member = membership(attributes)
        if member is not None:
            self._members[member[0]] = member[1:]
        source = source_of(attributes)
        if source is not None:
            values = tuple(getattr(source, column) for column in _SOURCE_COLUMNS[1:])
            self._sources[source.source] = (canonical(list(source.types)), *values)

    async def _model(self, model: _Model, entries: Sequence[Entry]) -> None:
        """Fold a projection over the facts of a partition, and compare its rows."""
        projection = model.projection
        rows: dict[Any, Any] = {}
        for entry in entries:
            fact = entry.fact
            if fact is None or type(fact.event) not in model.handles:
                continue
            try:
                key = projection.key(fact)
                if key is not None:
                    rows[key] = projection.fold(rows.get(key), fact)
            except Exception as error:  # noqa: BLE001 - whatever a hand put there is a difference
                self._add(projection.name, entry.key, "", f"cannot be folded: {error!r}")
        wanted = {key: model.values(row) for key, row in rows.items() if row is not None}
        stored = await model.table.stored(self._snapshot, rows)
        for difference in differences(model.table.columns, stored, wanted):
            self._add(projection.name, *difference)

    async def _whole(
        self, table: str, columns: Sequence[str], wanted: Mapping[Any, Values]
    ) -> None:
        """Compare a small table at once."""
        quoted = ", ".join(columns)
        rows = await self._snapshot.fetch(f"SELECT {quoted} FROM {self._schema}.{table}")
        stored = {row[0]: tuple(row)[1:] for row in rows}
        for difference in differences(columns[1:], stored, wanted):
            self._add(table, *difference)


def _is_applied(entry: Entry, case: Values | None) -> bool:
    """Say whether a case row counts a record as applied."""
    if case is None:
        return False
    try:
        versions = orjson.loads(case[0])
        applied = versions[slot(entry.attributes["subject"], entry.key)]
        return bool(
            applied == [entry.attributes["streamversion"], entry.attributes["recordedtime"]]
        )
    except (KeyError, TypeError, ValueError):
        return False
