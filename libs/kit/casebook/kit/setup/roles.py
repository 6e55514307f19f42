"""A database role for each service, with rights on its own schema only (``casebook init``).

What is in ``events`` can be read and added to, never changed: not even by a service that was
taken over. Tables that a rebuild makes anew belong to the role, everything else to who ran
``init``. Roles are named after database and service, because all databases of a server share
them.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import asyncpg

from casebook.kit.ids import new_id
from casebook.kit.postgres.database import Connection
from casebook.kit.secret_files import write_secret
from casebook.kit.service import Service
from casebook.kit.starting import StartRefused

SALT_BYTES = 16
ITERATIONS = 4096
APPEND_ONLY = "events"
READ_ONLY = "schema_version"


@dataclass(frozen=True, slots=True)
class Role:
    """A service's own role, and the address that it connects with."""

    name: str
    url: str
    password: str

    @classmethod
    def of(cls, dsn: str, database: str, service: str, file: Path) -> "Role":
        """Return the role of a service; its password is the one in ``file``, or a new one."""
        name = f"{database}_{service}"
        known = urlsplit(file.read_text(encoding="utf-8").strip()) if file.exists() else None
        password = None if known is None else unquote(known.password or "")
        password = password or secrets.token_urlsafe(24)
        parts = urlsplit(dsn)
        credentials = f"{quote(name, safe='')}:{quote(password, safe='')}"
        query = [pair for pair in parse_qsl(parts.query) if pair[0] not in {"user", "password"}]
        url = parts._replace(
            netloc=f"{credentials}@{parts.netloc.rpartition('@')[2]}",
            path=f"/{quote(database, safe='')}",
            query=urlencode(query),
        )
        return cls(name, url.geturl(), password)

    def verifier(self) -> str:
        """Return what the server keeps of the password, so that no statement holds it."""
        salt = secrets.token_bytes(SALT_BYTES)
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, ITERATIONS)
        stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        server = hmac.digest(salted, b"Server Key", "sha256")
        encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
        return f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


async def prepare_roles(dsn: str, services: list[Service], folder: Path) -> None:
    """Create or mend the role of every service; write its address to ``<service>.url``.

    :raises StartRefused: when a role is missing and we may not create it.
    """
    connection = await asyncpg.connect(dsn)
    try:
        database: str = await connection.fetchval("SELECT current_database()")
        for service in services:
            file = folder / f"{service.name}.url"
            role = Role.of(dsn, database, service.name, file)
            async with connection.transaction():
                await _create(connection, role)
                await _grant(connection, service, role.name, database)
            _write(file, role.url)
    except asyncpg.InsufficientPrivilegeError as error:
        raise StartRefused(
            f"the roles of the services cannot be prepared: {error}; "
            "let a role with CREATEROLE that owns the database run casebook init"
        ) from error
    finally:
        await connection.close()


async def _create(connection: Connection, role: Role) -> None:
    """Create the role if it is missing, and set its password unless it is the one we know."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('casebook.migrations'))")
    exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role.name)
    if not exists or not await _is_admitted(role):
        verb = "ALTER" if exists else "CREATE"
        password = f"LOGIN PASSWORD '{role.verifier()}'"
        await connection.execute(f'{verb} ROLE "{role.name}" {password}')
    # Tables can be handed over only to a role that one can become.
    try:
        async with connection.transaction():
            await connection.execute(f'SET LOCAL ROLE "{role.name}"; RESET ROLE')
    except asyncpg.InsufficientPrivilegeError:
        await connection.execute(f'GRANT "{role.name}" TO CURRENT_USER')


async def _is_admitted(role: Role) -> bool:
    """Say whether a role that is there already can connect with the password that we know."""
    try:
        await (await asyncpg.connect(role.url)).close()
    except asyncpg.InvalidAuthorizationSpecificationError:
        return False
    return True


async def _grant(connection: Connection, service: Service, role: str, database: str) -> None:
    """Give a role its rights, and no others."""
    schema = f'"{service.name}"'
    tables = f"ALL TABLES IN SCHEMA {schema}"
    for statement in (
        f'GRANT CONNECT ON DATABASE "{database}" TO "{role}"',
        f'GRANT USAGE, CREATE ON SCHEMA {schema} TO "{role}"',
        f'REVOKE ALL ON {tables} FROM "{role}"',
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO "{role}"',
        f'REVOKE UPDATE, DELETE ON {schema}."{APPEND_ONLY}" FROM "{role}"',
        f'REVOKE INSERT, UPDATE, DELETE ON {schema}."{READ_ONLY}" FROM "{role}"',
        f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO "{role}"',
    ):
        await connection.execute(statement)
    for relation in await _to_hand_over(connection, service, role):
        await connection.execute(f'ALTER TABLE {schema}."{relation}" OWNER TO "{role}"')
    if await connection.fetchval("SELECT to_regclass('log.records') IS NOT NULL"):
        await connection.execute(f'GRANT USAGE ON SCHEMA log TO "{role}"')
        await connection.execute(f'GRANT SELECT, INSERT ON log.records TO "{role}"')
        await connection.execute(f'GRANT SELECT, UPDATE ON log.partitions TO "{role}"')


async def _to_hand_over(connection: Connection, service: Service, role: str) -> list[str]:
    """Return what a rebuild replaces and another role owns: views, tables, those in the making.

    What is the role's already is left alone: its services may be reading it.
    """
    rows = await connection.fetch(
        """SELECT c.relname FROM pg_class c, unnest($2::text[]) AS p(name)
        WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'v')
            AND pg_get_userbyid(c.relowner) <> $3
            AND (c.relname = p.name OR c.relname = 'rebuild_cases_' || p.name
                OR c.relname ~ ('^' || p.name || '_v[0-9]+_[0-9]+$'))""",
        f'"{service.name}"',
        [projection.name for projection in service.projections],
        role,
    )
    return [row[0] for row in rows]


def _write(file: Path, url: str) -> None:
    """Write an address, readable by its owner only; an older one is replaced."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = f"{url}\n"
    if file.exists() and file.read_text(encoding="utf-8") == content:
        return
    draft = file.with_name(f".{file.name}.{new_id().hex}")
    write_secret(draft, content.encode())
    draft.replace(file)
