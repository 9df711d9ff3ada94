"""`make bench`: the product beside PostgreSQL itself, in one run on one machine (issue 7).

pgbench, the service over HTTP and `ledger.post` alone take turns, round by round, on the same cluster with durable
commits. What counts are ratios within a round: figures of different runs or machines do not compare.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import reference
from load_http import SCRIPTS
from samples import Measured
from stage import Stage, stage

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results" / "latest.json"
WARM_UP_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Flow:
    """What is measured, what it is measured against, and the ratio that is wanted."""

    name: str
    against: str | None = None
    bar: float | None = None
    aim: float | None = None


FLOWS: Final = (
    Flow("pgbench_spread"),
    Flow("credit_spread", "pgbench_spread", 0.30, 0.50),
    Flow("order_reserve", "pgbench_spread", 0.25, 0.40),
    Flow("user_create", "pgbench_spread", 0.25, 0.40),
    Flow("ledger_spread", "pgbench_spread", 0.6, 0.9),
    Flow("pgbench_hot"),
    Flow("credit_hot", "pgbench_hot", 0.50, 1.0),
    Flow("ledger_hot", "pgbench_hot", 1.0, 2.0),
    Flow("pgbench_select"),
    Flow("balance_read", "pgbench_select", 0.20, 0.40),
    Flow("health"),
)
"""In the order of a round; a yardstick comes before what is measured against it."""


@dataclass(frozen=True, slots=True)
class Options:
    """How long, how often, how many at once."""

    seconds: int
    rounds: int
    concurrency: int
    jobs: bool
    flow: str | None

    def flows(self) -> tuple[Flow, ...]:
        """All flows, or the wanted one with its yardstick."""
        if self.flow is None:
            return FLOWS
        wanted = next(one for one in FLOWS if one.name == self.flow)
        return tuple(one for one in FLOWS if one.name in (wanted.name, wanted.against))


@dataclass(frozen=True, slots=True)
class Turn:
    """One flow in one round; `cpu` is CPU seconds of each process while it ran, warm-up included."""

    measured: Measured
    cpu: dict[str, float]


def _generate(module: str, task: Mapping[str, Any]) -> Measured:
    done = subprocess.run(
        [sys.executable, str(HERE / module)],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        timeout=task["seconds"] + PATIENCE_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")
    return Measured.from_json(done.stdout)


def _http_task(options: Options, flow: str, port: int, credential: str, users: list[str]) -> dict[str, Any]:
    return {
        "flow": flow,
        "host": "127.0.0.1",
        "port": port,
        "connections": options.concurrency,
        "warm_up_seconds": WARM_UP_SECONDS,
        "seconds": options.seconds,
        "credential": credential,
        "users": users,
    }


def _measure(on: Stage, options: Options, flow: str) -> Measured:
    if flow in reference.SCRIPTS:
        return reference.run(on.programs, on.database_url, flow, clients=options.concurrency, seconds=options.seconds)
    if flow in SCRIPTS:
        return _generate("load_http.py", _http_task(options, flow, on.port, on.credential, on.users))
    task = {
        "flow": flow,
        "dsn": on.database_url,
        "connections": options.concurrency,
        "warm_up_seconds": WARM_UP_SECONDS,
        "seconds": options.seconds,
        "marketplace": on.marketplace,
        "users": on.users,
    }
    return _generate("load_ledger.py", task)


def _turn(on: Stage, options: Options, flow: str) -> Turn:
    before = on.processes.used()
    measured = _measure(on, options, flow)
    after = on.processes.used()
    return Turn(measured, {name: after[name] - before[name] for name in after})


def _ceiling(options: Options) -> Measured:
    """The load generator against a server that does nothing."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "responder.py")], stdout=subprocess.PIPE, text=True
    ) as responder:
        try:
            assert responder.stdout is not None
            port = int(responder.stdout.readline())
            return _generate("load_http.py", _http_task(options, "health", port, "none", ["none"]))
        finally:
            responder.terminate()


def _middle(values: list[float]) -> float:
    return statistics.median(values)


def _summary(flow: Flow, turns: Mapping[str, list[Turn]]) -> dict[str, Any]:
    own = turns[flow.name]
    measured = [turn.measured for turn in own]
    rates = [one.per_second for one in measured]
    ratios = []
    if flow.against is not None:
        ratios = [rate / yard.measured.per_second for rate, yard in zip(rates, turns[flow.against], strict=True)]
    faults: dict[str, int] = defaultdict(int)
    for one in measured:
        for name, count in one.faults.items():
            faults[name] += count
    return {
        "flow": flow.name,
        "per_second": _middle(rates),
        "per_second_spread": [min(rates), max(rates)],
        "p50_ms": _middle([one.p50_ms for one in measured]),
        "p99_ms": _middle([one.p99_ms for one in measured]),
        "errors": sum(one.errors for one in measured),
        "faults": dict(faults),
        "ratio": _middle(ratios) if ratios else None,
        "ratio_spread": [min(ratios), max(ratios)] if ratios else None,
        "against": flow.against,
        "bar": flow.bar,
        "aim": flow.aim,
        "cpu_us_per_call": _cpu_per_call(own),
    }


def _cpu_per_call(turns: list[Turn]) -> dict[str, float]:
    """Microseconds of CPU of each process for one call."""
    calls = sum(turn.measured.calls + turn.measured.errors for turn in turns)
    if not calls:
        return {}
    per_call = {"generator": sum(turn.measured.generator_cpu for turn in turns) / calls * 1e6}
    for name in turns[0].cpu:
        # The processes' figures include the warm-up, whose calls are not counted.
        share = _middle([turn.measured.seconds / (turn.measured.seconds + _warm_up(turn)) for turn in turns])
        per_call[name] = sum(turn.cpu[name] for turn in turns) * share / calls * 1e6
    return per_call


def _warm_up(turn: Turn) -> float:
    return WARM_UP_SECONDS if turn.measured.generator_cpu else 0.0


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _table(rows: list[dict[str, Any]]) -> str:
    head = ["flow", "per second", "p50 ms", "p99 ms", "errors", "ratio", "bar", "aim", "CPU µs: service", "postgres"]
    lines = [head]
    for row in rows:
        cpu = row["cpu_us_per_call"]
        lines.append(
            [
                row["flow"],
                _figure(row["per_second"], ",.0f"),
                _figure(row["p50_ms"], ".2f"),
                _figure(row["p99_ms"], ".2f"),
                str(row["errors"]),
                _figure(row["ratio"], ".3f"),
                _figure(row["bar"], ".2f"),
                _figure(row["aim"], ".2f"),
                _figure(cpu.get("service"), ".0f"),
                _figure(cpu.get("postgresql"), ".0f"),
            ]
        )
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(row))
        for row in (list(zip(line, widths, strict=True)) for line in lines)
    )


def _machine() -> dict[str, Any]:
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next((line.split(":", 1)[1].strip() for line in cpus.splitlines() if line.startswith("model name")), "")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_average_before": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


async def _rounds(options: Options) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = defaultdict(list)
    async with stage(jobs=options.jobs) as on:
        await reference.prepare(on.database_url)
        for number in range(1, options.rounds + 1):
            for flow in options.flows():
                turn = await asyncio.to_thread(_turn, on, options, flow.name)
                turns[flow.name].append(turn)
                rate, errors = turn.measured.per_second, turn.measured.errors
                note = f"  {errors} errors {turn.measured.faults}" if errors else ""
                print(f"round {number}  {flow.name:<15} {rate:>9,.0f} /s{note}", file=sys.stderr, flush=True)
    return turns


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="length of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--jobs", action="store_true", help="the service also runs background jobs")
    parser.add_argument("--flow", choices=[flow.name for flow in FLOWS], help="only this one, and its yardstick")
    return Options(**vars(parser.parse_args()))


def main() -> None:
    """Measure, print the table, write the figures. Bars are shown, not enforced."""
    options = _options()
    machine = _machine()
    ceiling = _ceiling(options)
    turns = asyncio.run(_rounds(options))
    rows = [_summary(flow, turns) for flow in options.flows()]
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "options": asdict(options),
        "generator_ceiling": asdict(ceiling) | {"per_second": ceiling.per_second},
        "flows": rows,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"\n{_table(rows)}\n")
    fastest = max((row["per_second"] for row in rows if row["flow"] in SCRIPTS), default=0.0)
    print(
        f"The load generator reaches {ceiling.per_second:,.0f} calls/s against a server that only answers, "
        f"at {ceiling.generator_cpu / ceiling.calls * 1e6:.0f} µs of its CPU a call; "
        f"the fastest flow reached {fastest:,.0f}.\nMedians of {options.rounds} rounds; written to {RESULTS}."
    )


if __name__ == "__main__":
    main()
