"""CPU seconds that processes have used, read from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat behind the name: [1] parent, [11..14] utime, stime, cutime, cstime."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None


def parent_of(pid: int) -> int:
    """The process's parent."""
    fields = _stat(pid)
    assert fields is not None
    return int(fields[1])


def of_process(pid: int) -> float:
    """What one process has used."""
    fields = _stat(pid)
    return 0.0 if fields is None else (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def of_family(pid: int) -> float:
    """What a process, its children, and those that it has buried have used."""
    own = _stat(pid)
    assert own is not None
    ticks = sum(int(field) for field in own[11:15])
    for folder in Path("/proc").iterdir():
        fields = _stat(int(folder.name)) if folder.name.isdigit() else None
        if fields is not None and int(fields[1]) == pid:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that share the work of a call."""

    service: int
    postmaster: int
    valkey: int

    def used(self) -> dict[str, float]:
        """CPU seconds of each so far."""
        return {
            "service": of_family(self.service),
            "postgresql": of_family(self.postmaster),
            "valkey": of_process(self.valkey),
        }
