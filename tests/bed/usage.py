"""What processes use, as the kernel counts it."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process and all its descendants hold and have used."""

    processes: int
    cpu_s: float
    pss_bytes: int
    rss_bytes: int


def of(pid: int, memory: bool = True) -> Usage:
    """Adds up a process and its descendants; those that end meanwhile count nothing."""
    found = [pid, *descendants(pid)]
    rollups = [_rollup(each) for each in found] if memory else []
    return Usage(
        processes=len(found),
        cpu_s=sum(cpu_s(each) for each in found),
        pss_bytes=sum(rollup.get("Pss", 0) for rollup in rollups),
        rss_bytes=sum(rollup.get("Rss", 0) for rollup in rollups),
    )


def cpu_s(pid: int) -> float:
    """CPU time of one process in user and kernel mode, all its threads."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S if fields else 0.0


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            parents[int(entry)] = int(fields[1])
    found, frontier = [], {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found += sorted(frontier)
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name, which may itself hold spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _rollup(pid: int) -> dict[str, int]:
    """Bytes by kind."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    pairs = (line.split(":") for line in lines if line.endswith("kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}
