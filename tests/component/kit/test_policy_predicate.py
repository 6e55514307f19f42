"""The guard and the predicate of the policy agree on every case, for every reach."""

from dataclasses import astuple
from itertools import combinations, product
from typing import get_args

import asyncpg
from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text, select

from casebook.kit.access.identity import Principal
from casebook.kit.access.policy import AccessColumns, Operation, Policy, Scope
from casebook.kit.decider import Access
from casebook.kit.postgres.database import compiled, fetch
from tests.support.postgres import fresh_database, postgres_for_tests

ROLES = ("requester", "agent", "lead", "auditor", "risk-manager", "admin", "publisher", "operator")
SCOPES: tuple[Scope, ...] = get_args(Scope)
POLICY = Policy(Operation("read", dict(zip(ROLES, SCOPES, strict=True))))
CASES = [
    Access(*values)
    for values in product(
        ("ann", "eve", "", None),
        ("acme", "other", None),
        ("mail", "net", None),
        ("ann", None),
        ("crm", "erp", None),
        (True, False),
    )
]
ROLE_SETS = [roles for size in (0, 1, 2) for roles in combinations(ROLES, size)]
PRINCIPALS = [
    Principal("ann", frozenset(roles), organisation, sources=sources, teams=teams)
    for roles in ROLE_SETS
    for organisation in ("acme", None)
    for sources in (frozenset[str](), frozenset({"crm"}))
    for teams in (frozenset[str](), frozenset({"mail"}), frozenset({"mail", "x' OR true --"}))
]
TABLE = Table(
    "places",
    MetaData(),
    Column("id", Integer, primary_key=True),
    *(Column(name, Text) for name in ("requester", "organisation", "team", "assignee", "source")),
    Column("linked", Boolean),
)
COLUMNS = AccessColumns(
    TABLE.c.requester, TABLE.c.organisation, TABLE.c.team, TABLE.c.assignee, TABLE.c.source,
    TABLE.c.linked,
)  # fmt: skip


async def test_the_predicate_keeps_what_the_guard_allows() -> None:
    async with fresh_database(postgres_for_tests()) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(
                "CREATE TABLE places (id int PRIMARY KEY, requester text, organisation text,"
                " team text, assignee text, source text, linked boolean)"
            )
            await connection.copy_records_to_table(
                "places",
                records=[(number, *astuple(case)) for number, case in enumerate(CASES)],
            )
            for principal in PRINCIPALS:
                predicate = POLICY.predicate(principal, "read", COLUMNS)
                kept = {
                    row["id"]
                    for row in await fetch(connection, select(TABLE.c.id).where(predicate))
                }
                dropped = {
                    row["id"]
                    for row in await fetch(connection, select(TABLE.c.id).where(~predicate))
                }
                expected = {
                    number
                    for number, case in enumerate(CASES)
                    if POLICY.allows(principal, "read", case)
                }
                assert kept == expected, principal
                assert dropped == set(range(len(CASES))) - kept  # the condition is never null
        finally:
            await connection.close()


def test_without_a_row_or_columns_nothing_is_kept() -> None:
    ann = Principal("ann", frozenset({"requester"}), "acme", teams=frozenset({"mail"}))
    assert compiled(POLICY.predicate(ann, "none", COLUMNS))[0] == "false"
    for role in ROLES:
        anyone = Principal("ann", frozenset({role}), "acme", teams=frozenset({"mail"}))
        predicate = POLICY.predicate(anyone, "read", AccessColumns())
        assert compiled(predicate)[0] == ("true" if role == "requester" else "false")
