"""The bench's table, and the machine that it is of."""

import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows import Flow
from samples import Measured


@dataclass(frozen=True, slots=True)
class Turn:
    """One flow in one round: its figure, and where a load was sent what came of it.

    `cpu` is CPU seconds of each process while it ran, warm-up included.
    """

    figure: float
    measured: Measured | None = None
    cpu: Mapping[str, float] = field(default_factory=dict)
    warm_up_seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


def summary(flow: Flow, turns: Mapping[str, list[Turn]]) -> dict[str, Any]:
    """The medians and spreads of a flow's rounds."""
    own = turns[flow.name]
    measured = [turn.measured for turn in own if turn.measured is not None]
    figures = [turn.figure for turn in own]
    reached = figures
    if flow.against is not None:
        reached = [turn.figure / yard.figure for turn, yard in zip(own, turns[flow.against], strict=True)]
    faults: dict[str, int] = defaultdict(int)
    for one in measured:
        for name, count in one.faults.items():
            faults[name] += count
    return {
        "flow": flow.name,
        "unit": flow.unit,
        "figure": statistics.median(figures),
        "figure_spread": [min(figures), max(figures)],
        "p50_ms": statistics.median(one.p50_ms for one in measured) if measured else None,
        "p99_ms": statistics.median(one.p99_ms for one in measured) if measured else None,
        "errors": sum(one.errors for one in measured),
        "faults": dict(faults),
        "against": flow.against,
        "ratio": statistics.median(reached) if flow.against else None,
        "ratio_spread": [min(reached), max(reached)] if flow.against else None,
        "bar": flow.bar,
        "aim": flow.aim,
        "at_most": flow.at_most,
        "reached": flow.verdict(statistics.median(reached)),
        "cpu_us_per_call": _cpu_per_call(own),
        "generator_busy": max((one.generator_cpu / one.seconds for one in measured), default=0.0),
        "facts": [dict(turn.facts) for turn in own if turn.facts],
    }


def _cpu_per_call(turns: Sequence[Turn]) -> dict[str, float]:
    """Microseconds of CPU of each process for one call."""
    loads = [(turn, turn.measured) for turn in turns if turn.measured is not None and turn.cpu]
    calls = sum(one.calls + one.errors for _, one in loads)
    if not calls:
        return {}
    per_call = {"generator": sum(one.generator_cpu for _, one in loads) / calls * 1e6}
    for name in loads[0][0].cpu:
        # The processes' figures include the warm-up, whose calls are not counted.
        used = sum(turn.cpu[name] * one.seconds / (one.seconds + turn.warm_up_seconds) for turn, one in loads)
        per_call[name] = used / calls * 1e6
    return per_call


def _shown(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    if unit == "/s" or value >= 1000:
        return format(value, ",.0f")
    return format(value, ".3f" if abs(value) < 10 else ".1f")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table as text."""
    head = ["flow", "figure", "unit", "least", "most", "p50 ms", "p99 ms", "errors", "ratio", "least", "most"]
    head += ["bar", "aim", "reached", "CPU µs: service", "postgres", "generator"]
    lines = [head]
    for row in rows:
        cpu, unit = row["cpu_us_per_call"], row["unit"]
        ratios = row["ratio_spread"] or [None, None]
        sign = "≤ " if row["at_most"] else "≥ "
        lines.append(
            [
                row["flow"],
                _shown(row["figure"], unit),
                unit,
                *(_shown(one, unit) for one in row["figure_spread"]),
                _shown(row["p50_ms"]),
                _shown(row["p99_ms"]),
                str(row["errors"]),
                _shown(row["ratio"]),
                *(_shown(one) for one in ratios),
                *("-" if row[name] is None else f"{sign}{row[name]:g}" for name in ("bar", "aim")),
                row["reached"] or "-",
                *("-" if name not in cpu else f"{cpu[name]:.0f}" for name in ("service", "postgresql", "generator")),
            ]
        )
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(row))
        for row in (list(zip(line, widths, strict=True)) for line in lines)
    )


def machine() -> dict[str, Any]:
    """What this was measured on, and how busy it was before."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    memory = Path("/proc/meminfo").read_text(encoding="utf-8").split("\n", 1)[0].split()[1]
    return {
        "cpu": next((line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")), ""),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory) / 1e6, 1),
        "load_average_before": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
