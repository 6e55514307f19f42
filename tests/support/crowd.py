"""Rows of strangers by the thousand, among which a list must still show one's own."""

from casebook.kit.runtime import Runtime

CROWD = 1_000
SOME_ID = "md5(n::text)::uuid"
"""An id that is different in each copy, and the same one in each table."""

_COLUMNS = """
SELECT array_agg(column_name::text) FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = $1
"""


async def multiply(runtime: Runtime, table: str, where: str, **values: str) -> None:
    """Copy one row of a table 1,000 times, with these values in SQL, which may use ``n``."""
    async with runtime.database.background() as connection:
        names = await connection.fetchval(_COLUMNS, table)
        chosen = ", ".join(values.get(name, f"{table}.{name}") for name in names)
        done = await connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) "
            f"SELECT {chosen} FROM {table}, generate_series(1, {CROWD}) AS n WHERE {where}"
        )
    assert done == f"INSERT 0 {CROWD}", done
