"""``casebook init``: prepares what a platform needs before its services may start."""

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from casebook.kit.access.tokens import new_key_file, public_jwks
from casebook.kit.keys import new_master_key
from casebook.kit.postgres import embedded as embedded_postgres
from casebook.kit.settings import Settings
from casebook.platform.home import Home
from casebook.platform.runner import initialise, prepare_service_roles


async def init(home: Path, publishers: Sequence[str] = ()) -> None:
    """Prepare the database that the settings name, else the embedded home.

    Creates missing key files, migrates every schema under one lock, creates or mends the
    database role of each service, and creates or checks the topics where Kafka is used; each of
    ``publishers`` gets a topic of its own.

    :raises OSError: when the database cannot be reached.
    """
    settings = Settings()
    if publishers and not settings.kafka_bootstrap:
        raise LookupError("a publisher's topic needs CASEBOOK_KAFKA_BOOTSTRAP")
    if not settings.database_url:
        await _init_home(Home(home))
        return
    _create_keys(settings)
    await initialise(settings)
    roles = settings.database_roles or home / "roles"
    await prepare_service_roles(settings, roles)
    if settings.kafka_bootstrap:
        from casebook.kit.log.topics import ensure_topics  # noqa: PLC0415 - only with Kafka

        await ensure_topics(settings.kafka_bootstrap, settings.kafka_topic, publishers)
    typer.echo(f"Ready. Each service connects with the address in {roles}/<service>.url", err=True)


def _create_keys(settings: Settings) -> None:
    """Create the key files that are missing; one that is there is never replaced."""
    for path, create in (
        (settings.signing_key, new_key_file),
        (settings.master_key_file, new_master_key),
    ):
        if path is not None and not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            create(path)
    is_file = bool(settings.jwks) and "://" not in settings.jwks
    if is_file and settings.signing_key is not None and not Path(settings.jwks).exists():
        keys = json.dumps(public_jwks(settings.signing_key))
        Path(settings.jwks).write_text(keys, encoding="utf-8")


async def _init_home(home: Home) -> None:
    """Prepare an embedded home."""
    home.prepare()
    async with embedded_postgres.running(home.path) as postgres:
        await initialise(home.settings(postgres.dsn, ""))
    typer.echo(f"{home.path} is ready.", err=True)
