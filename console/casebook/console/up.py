"""``casebook up``: the whole platform in one process."""

import time
from pathlib import Path

import typer

from casebook.platform.home import Home
from casebook.platform.runner import exit_with_parent as leave_with_parent
from casebook.platform.runner import serve


async def up(home: Path, port: int, *, exit_with_parent: bool = False) -> None:
    """Run the platform until it is told to stop.

    :raises HomeInUse: when another process runs this home.
    :raises OSError: when the port is taken.
    """
    started = time.monotonic()

    def ready(url: str) -> None:
        typer.echo(f"Casebook is ready on {url} after {time.monotonic() - started:.1f} s", err=True)
        typer.echo(f"Administrator's token: {Home(home).admin_token}", err=True)

    if exit_with_parent:
        leave_with_parent()
    await serve(Home(home), port, on_ready=ready)
