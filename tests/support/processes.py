"""What the kernel says about processes: who belongs to whom, what they cost, where they listen."""

import os
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> set[int]:
    """Return a process with all its descendants."""
    children: dict[int, list[int]] = {}
    for other in _all():
        if (parent := _stat(other)) is not None:
            children.setdefault(int(parent[1]), []).append(other)
    found, ahead = {pid}, [pid]
    while ahead:
        ahead = [child for parent in ahead for child in children.get(parent, [])]
        found.update(ahead)
    return found


def cpu_seconds(pids: Iterable[int]) -> dict[int, float]:
    """Return the processor time that each of these processes has used; those that ended are out."""
    stats = {pid: _stat(pid) for pid in pids}
    return {pid: (int(s[11]) + int(s[12])) / TICKS for pid, s in stats.items() if s is not None}


def peak_megabytes(pid: int) -> float:
    """Return the most memory that a process has held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def servers_of(home: Path) -> list[int]:
    """Return the PostgreSQL processes of a home: those whose working folder is its data."""
    data = home / "postgres" / "data"
    return [pid for pid in _all() if _working_folder(pid) == data.resolve()]


def about(home: Path) -> list[str]:
    """Return the commands of all processes that work on a home."""
    commands = {pid: _command(pid) for pid in _all()}
    named = {pid for pid, command in commands.items() if str(home) in command and _stat(pid)}
    return [commands[pid] for pid in named.union(servers_of(home)) - {os.getpid()}]


def listening(pids: Iterable[int]) -> set[str]:
    """Return the TCP addresses, as the kernel writes them, on which these processes listen."""
    sockets = {link for pid in pids for link in _descriptors(pid) if link.startswith("socket:[")}
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].rpartition(":")[0])
    return found


def _all() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _stat(pid: int) -> list[str] | None:
    """Return the fields after the name: state, parent, …; nothing for who has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def _working_folder(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def _descriptors(pid: int) -> list[str]:
    links: list[str] = []
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            links.append(str(descriptor.readlink()))
    except OSError:
        pass
    return links
