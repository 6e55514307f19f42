"""The commands; each is thin and hands over to one module (decisions §5).

Every reading command takes ``-o json`` and then prints one JSON document on standard output and
nothing else there. Progress and messages go to standard error.
"""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

app = typer.Typer(
    name="casebook", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Event-sourced IT service management: run it, fill it, read it, prove it.",
)  # fmt: skip
Result = TypeVar("Result")
Output = Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="table or json")]
Url = Annotated[str | None, typer.Option(help="Platform to talk to; else CASEBOOK_URL, the home.")]

EXIT_FAILED, EXIT_COULD_NOT, EXIT_QUARANTINED = 1, 2, 3


class State:
    """What the options before the command say."""

    home = Path(".casebook")


@app.callback()
def options(
    home: Annotated[
        Path, typer.Option(envvar="CASEBOOK_HOME", help="Home of the embedded platform.")
    ] = Path(".casebook"),
) -> None:
    """Take the options that all commands share."""
    State.home = home.absolute()


def say(message: str) -> None:
    """Tell the person something, on standard error and in one line.

    A message may quote what was given; of that, what would break the line or steer the terminal
    is shown as an escape.
    """
    line = "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in message
    )
    typer.echo(line, err=True)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's work; an anticipated failure ends it with one line and status 1."""
    from casebook.kit.logging import configure_logging  # noqa: PLC0415 - keeps `--help` quick

    configure_logging(os.environ.get("CASEBOOK_LOG_LEVEL", "warning"))

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(130) from None
    except Exception as error:
        from casebook.console.failures import explain  # noqa: PLC0415 - slow to import

        message = explain(error)
        if message is None:
            raise
        say(f"casebook: {message}")
        raise typer.Exit(EXIT_FAILED) from None


@app.command()
def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8080,
    exit_with_parent: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run the whole platform in this process until Ctrl-C."""
    from casebook.console.up import up as work  # noqa: PLC0415

    run(work(State.home, port, exit_with_parent=exit_with_parent))


@app.command()
def init(
    publisher: Annotated[
        list[str] | None,
        typer.Option(help="Give this publisher a Kafka topic of its own; can be repeated."),
    ] = None,
) -> None:
    """Prepare the database, its roles, topics and keys; safe to run again."""
    from casebook.console.init import init as work  # noqa: PLC0415

    run(work(State.home, publisher or ()))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after printing.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8080,
) -> None:
    """Import the real sample, walk one live request to closure, print the KPIs, and serve."""
    from casebook.console.demo import demo as work  # noqa: PLC0415

    run(work(State.home, port, once=once))


@app.command("import")
def import_(  # noqa: PLR0917 - one parameter an option
    kind: Annotated[Literal["servicenow-audit"], typer.Argument(help="What the file is.")],
    file: Annotated[Path, typer.Argument(help="CSV, or CSV.gz.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N requests.")] = None,
    source: Annotated[str, typer.Option(help="Name of the source.")] = "uci498",
    utc_offset: Annotated[str, typer.Option(help="Fixed offset of the file's times.")] = "+00:00",
    url: Url = None,
    output: Output = "table",
) -> None:
    """Publish another system's history; sending it again is harmless."""
    from casebook.console.importing.command import import_history  # noqa: PLC0415

    summary = run(
        import_history(State.home, url, file, source=source, utc_offset=utc_offset, limit=limit)
    )
    show(summary, output)
    if summary["quarantined"]:
        raise typer.Exit(EXIT_QUARANTINED)


@app.command()
def kpi(
    by: Annotated[Literal["priority", "month", "team"] | None, typer.Option()] = None,
    origin: Annotated[Literal["all", "live", "observed"], typer.Option()] = "all",
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="MOMENT", help="From only what had happened by then: 2016-03-31T00:00:00Z."
        ),
    ] = None,
    url: Url = None,
    output: Output = "table",
) -> None:
    """Print the KPI table, computed from the log."""
    from casebook.console.kpi import fetch_kpis, kpi_table  # noqa: PLC0415

    table = run(fetch_kpis(State.home, url, by=by, origin=origin, as_of=as_of))
    typer.echo(json.dumps(table) if output == "json" else kpi_table(table))


@app.command()
def events(
    case: Annotated[str | None, typer.Option(help="Only one case: its key, or REQ0000001.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only one event type.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    url: Url = None,
    output: Output = "table",
) -> None:
    """Print stored events in recorded order; secret text stays ciphertext."""
    from casebook.console.events import event_lines, fetch_events  # noqa: PLC0415

    found = run(fetch_events(State.home, url, case=case, type_=type_, limit=limit))
    if output == "json":
        typer.echo(json.dumps(found))
    elif found:
        typer.echo(event_lines(found))
    else:
        say("no event matches")


@app.command()
def verify(output: Output = "table") -> None:
    """Recompute every chain and compare every table with a fold of the log."""
    from casebook.console.verify import verify as work  # noqa: PLC0415

    try:
        report = run(work(State.home))
    except Exception as error:  # noqa: BLE001 - whatever went wrong, nothing was proved
        if not isinstance(error, typer.Exit):
            say(f"casebook: cannot check: {type(error).__name__}: {error}")
        raise typer.Exit(EXIT_COULD_NOT) from None
    if output == "json":
        show(report, output)
    else:
        show({**report, "differences": len(report["differences"])}, output)
        if report["differences"]:
            show(report["differences"], output)
    if not report["ok"]:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def token(
    role: Annotated[list[str], typer.Option(help="requester, agent, lead, admin, …; repeatable")],
    subject: Annotated[str | None, typer.Option(help="Who; the role's name if not given.")] = None,
    organisation: Annotated[str | None, typer.Option()] = None,
    source: Annotated[str | None, typer.Option(help="Source that may be published for.")] = None,
    ttl: Annotated[str, typer.Option(help="How long, such as 30m, 1h, 7d.")] = "1h",
) -> None:
    """Print one token and nothing else."""
    from casebook.console.tokens import mint  # noqa: PLC0415

    try:
        sources = () if source is None else (source,)
        typer.echo(mint(State.home, role, subject, organisation, sources=sources, ttl=ttl))
    except (ValueError, LookupError) as error:
        say(f"casebook: {error}")
        raise typer.Exit(EXIT_FAILED) from None


@app.command("database-url")
def database_url() -> None:
    """Print the address of the running database of this home, with its password."""
    from casebook.kit.postgres.embedded import dsn_of  # noqa: PLC0415

    dsn = os.environ.get("CASEBOOK_DATABASE_URL") or dsn_of(State.home)
    if dsn is None:
        say("casebook: no platform runs on this home; start one with: casebook up")
        raise typer.Exit(EXIT_FAILED)
    typer.echo(dsn)


@app.command()
def lag(url: Url = None, output: Output = "table") -> None:
    """Print how far each service is behind the log."""
    from casebook.console.operations import fetch_lag  # noqa: PLC0415

    show(run(fetch_lag(State.home, url)), output)


@app.command()
def rebuild(
    service: Annotated[str, typer.Argument(help="Service that owns the projection.")],
    projection: Annotated[str, typer.Argument(help="Name of the projection.")],
    reason: Annotated[str, typer.Option(help="Why; it is logged.")],
    url: Url = None,
    output: Output = "table",
) -> None:
    """Rebuild one projection from the log and swap it in."""
    from casebook.console.operations import rebuild_projection  # noqa: PLC0415

    show(run(rebuild_projection(State.home, url, service, projection, reason)), output)


@app.command()
def parked(  # noqa: PLR0917 - one parameter an option
    action: Annotated[Literal["list", "retry", "discard"], typer.Argument()] = "list",
    service: Annotated[str | None, typer.Option(help="One service; needed to act.")] = None,
    key: Annotated[str | None, typer.Option(help="Key of the case; needed to act.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; needed to act.")] = None,
    url: Url = None,
    output: Output = "table",
) -> None:
    """List, retry or discard cases that a handler could not take."""
    from casebook.console.operations import Target  # noqa: PLC0415
    from casebook.console.operations import parked as work  # noqa: PLC0415

    show(run(work(State.home, url, action, Target(service, key, reason))), output)


@app.command()
def quarantine(  # noqa: PLR0917 - one parameter an option
    action: Annotated[Literal["list", "retry", "discard"], typer.Argument()] = "list",
    service: Annotated[str | None, typer.Option(help="One service; needed to act.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Row; needed to act.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; needed to act.")] = None,
    url: Url = None,
    output: Output = "table",
) -> None:
    """List, retry or discard what could not become a fact; sending it again releases it too."""
    from casebook.console.operations import Target  # noqa: PLC0415
    from casebook.console.operations import quarantine as work  # noqa: PLC0415

    show(run(work(State.home, url, action, Target(service, id_, reason))), output)


@app.command()
def bench(
    name: Annotated[str | None, typer.Argument(help="One of them; all, if not given.")] = None,
    pairs: Annotated[int, typer.Option(min=3, help="How often both sides are measured.")] = 3,
    scale: Annotated[float, typer.Option(min=0.001, help="So many times the usual work.")] = 1.0,
    output: Output = "table",
) -> None:
    """Measure throughput beside its limits, on servers of its own; needs a checkout."""
    from casebook.console.bench import bench as work  # noqa: PLC0415
    from casebook.console.bench import bench_table  # noqa: PLC0415

    found = run(work(name, pairs=pairs, scale=scale, say=say))
    typer.echo(json.dumps(found) if output == "json" else bench_table(found))


def show(value: Any, output: str) -> None:
    """Print a JSON value, or a table of it."""
    if output == "json":
        typer.echo(json.dumps(value, default=str))
        return
    from casebook.console.tables import as_table  # noqa: PLC0415

    typer.echo(as_table(value))


def main() -> None:
    """Run the command."""
    app(prog_name="casebook", args=sys.argv[1:])
