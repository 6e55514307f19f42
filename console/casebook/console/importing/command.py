"""``casebook import``: an import with the tokens and the progress of a person at a terminal."""

from pathlib import Path
from typing import Any

from casebook.console.connection import connected
from casebook.console.importing.progress import report_on
from casebook.console.importing.run import run_import


async def import_history(
    home: Path,
    url: str | None,
    path: Path,
    *,
    source: str,
    utc_offset: str,
    limit: int | None,
) -> dict[str, Any]:
    """Import a file into the platform; return the summary of decisions §5.

    :raises NotCompleted: when it ended early; running it again completes it.
    """
    async with connected(home, url) as connection:
        summary = await run_import(
            path,
            url=connection.url,
            token=connection.token(roles=("admin", "publisher"), source=source),
            source=source,
            utc_offset=utc_offset,
            limit=limit,
            progress=report_on(),
        )
    return summary.as_json()
