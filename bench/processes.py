"""What a process and those that it started have used, as Linux tells it."""

import os
from collections import defaultdict
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PPID, _UTIME, _STIME, _CUTIME, _CSTIME = 1, 11, 12, 13, 14


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of one process, seconds."""
    fields = _stat(pid)
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_SECOND


def children_cpu_seconds(pid: int) -> float:
    """Return the CPU time of all that descends from a process, ended ones too, seconds."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    stats: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = _stat(int(entry.name))
            except OSError:  # it has ended meanwhile
                continue
            stats[int(entry.name)] = fields
            children[int(fields[_PPID])].append(int(entry.name))
    ticks = 0
    pending = list(children[pid])
    while pending:
        child = pending.pop()
        pending.extend(children[child])
        ticks += sum(int(stats[child][field]) for field in (_UTIME, _STIME, _CUTIME, _CSTIME))
    return ticks / _TICKS_PER_SECOND


def rss_max_mib(pid: int) -> float:
    """Return the most memory that a process ever had in RAM, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not tell how much memory a process had")


def _stat(pid: int) -> list[str]:
    """Return the fields after the name of the program, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
