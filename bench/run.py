"""`make bench`: the product beside PostgreSQL itself, in one run on one machine (issue 7).

pgbench, the service over HTTP and `ledger.post` alone take turns, round by round, on the same cluster with durable
commits; then what needs servers of its own: webhooks with their work, event streams, the start, growing books. What
counts are ratios within a round: figures of different runs or machines do not compare.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg

import beside
import reference
from flows import FLOWS, Flow, Group, wanted
from load_http import SCRIPTS, generate
from report import Turn, machine, summary, table
from samples import Measured
from stage import Stage, call, stage

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
WARM_UP_SECONDS: Final = 0.5
SETTLED_SECONDS_MAX: Final = 60.0
UNSETTLED: Final = "SELECT count(*) FROM webhook_events WHERE status = 'RECEIVED'"

Turns = dict[str, list[Turn]]


@dataclass(frozen=True, slots=True)
class Options:
    """How long, how often, how many at once."""

    seconds: int
    rounds: int
    concurrency: int
    processes: int
    flow: str | None
    small: int
    large: int


def _told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _http_task(options: Options, flow: Flow, on: Stage, order: str = "", per_second: float = 0.0) -> dict[str, Any]:
    return {
        "flow": flow.script or flow.name,
        "host": on.host,
        "port": on.port,
        "connections": flow.connections or options.concurrency,
        "warm_up_seconds": WARM_UP_SECONDS,
        "seconds": options.seconds,
        "credential": on.credential,
        "users": on.users,
        "secret": on.webhook_secret,
        "order": order,
        "per_second": per_second,
    }


def _ledger_task(options: Options, flow: Flow, on: Stage) -> dict[str, Any]:
    return {
        "flow": flow.name,
        "dsn": on.database_url,
        "connections": options.concurrency,
        "warm_up_seconds": WARM_UP_SECONDS,
        "seconds": options.seconds,
        "marketplace": on.marketplace,
        "users": on.users,
    }


def _turn(on: Stage, options: Options, flow: Flow, turns: Turns, order: str) -> Turn:
    if flow.name == "webhook_settled":
        return Turn(asyncio.run(_settled(on.database_url)))
    script, before, warm_up = flow.script or flow.name, on.processes.used(), WARM_UP_SECONDS
    if script in reference.SCRIPTS:
        clients = options.concurrency
        measured = reference.run(on.programs, on.database_url, script, clients=clients, seconds=options.seconds)
        warm_up = 0.0
    elif script in SCRIPTS:
        half = turns["credit_spread"][-1].figure / 2 if flow.name == "credit_half" else 0.0
        measured = generate(HERE / "load_http.py", _http_task(options, flow, on, order, half))
    else:
        measured = generate(HERE / "load_ledger.py", _ledger_task(options, flow, on))
    after = on.processes.used()
    cpu = {name: after[name] - before[name] for name in after}
    figure = measured.p99_ms / measured.p50_ms if flow.name == "credit_half" else measured.per_second
    return Turn(figure, measured, cpu, warm_up)


async def _settled(database_url: str) -> float:
    """Seconds until every webhook that was taken in has been looked into."""
    begun = time.perf_counter()
    connection = await asyncpg.connect(database_url)
    while await connection.fetchval(UNSETTLED):
        if time.perf_counter() - begun > SETTLED_SECONDS_MAX:
            break
        await asyncio.sleep(0.02)
    await connection.close()
    return time.perf_counter() - begun


async def _rounds(options: Options, flows: Sequence[Flow], *, jobs: bool) -> Turns:
    """Rounds of flows that take turns on one cluster."""
    turns: Turns = defaultdict(list)
    if not flows:
        return turns
    async with stage(jobs=jobs, more={"WEB_CONCURRENCY": str(options.processes)}) as on:
        await reference.prepare(on.database_url)
        order = await asyncio.to_thread(_new_order, on)
        for number in range(1, options.rounds + 1):
            for flow in flows:
                turn = await asyncio.to_thread(_turn, on, options, flow, turns, order)
                turns[flow.name].append(turn)
                errors = turn.measured.errors if turn.measured else 0
                note = f"  {errors} errors {turn.measured.faults}" if turn.measured and errors else ""
                _told(f"round {number}  {flow.name:<24} {turn.figure:>10,.2f} {flow.unit}{note}")
    return turns


def _new_order(on: Stage) -> str:
    terms = {"buyer_id": on.users[0], "seller_id": on.users[1], "amount": "1.00", "title": "bench"}
    status, answer = call(on.port, "POST", "/orders", terms, on.credential)
    assert status == 201, answer
    return str(answer["data"]["id"])


def _ceiling(options: Options) -> Measured:
    """The load generator against a server that does nothing."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "responder.py")], stdout=subprocess.PIPE, text=True
    ) as responder:
        try:
            assert responder.stdout is not None
            task = {
                "flow": "health",
                "host": "127.0.0.1",
                "port": int(responder.stdout.readline()),
                "connections": options.concurrency,
                "warm_up_seconds": WARM_UP_SECONDS,
                "seconds": options.seconds,
                "credential": "none",
                "users": ["none"],
            }
            return generate(HERE / "load_http.py", task)
        finally:
            responder.terminate()


def _measured(options: Options, flows: Sequence[Flow]) -> Turns:
    """Every wanted flow, group by group."""

    def of(group: Group) -> list[Flow]:
        return [flow for flow in flows if flow.group == group]

    turns: Turns = defaultdict(list)
    turns |= asyncio.run(_rounds(options, of("calls"), jobs=False))
    turns |= asyncio.run(_rounds(options, of("webhooks"), jobs=True))
    for number in range(1, options.rounds + 1 if of("streams") else 1):
        for name, figure in beside.of_streams().items():
            turns[name].append(Turn(figure))
            _told(f"round {number}  {name:<24} {figure:>10,.2f}")
    for number, found in enumerate(beside.of_start(options.rounds) if of("start") else [], 1):
        for name, figure in found.items():
            turns[name].append(Turn(figure))
            _told(f"round {number}  {name:<24} {figure:>10,.2f}")
    if of("growth"):
        for name, (ratio, facts) in beside.of_growth((options.small, options.large), _told).items():
            turns[name].append(Turn(ratio, facts=facts))
            _told(f"         {name:<24} {ratio:>10,.2f} {facts['p50_ms']} ms")
    return turns


def _options() -> Options:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3, help="length of each measurement (3)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--concurrency", type=int, default=32, help="clients at once (32)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="of the service, WEB_CONCURRENCY (one a core)"
    )
    parser.add_argument(
        "--flow", choices=[flow.name for flow in FLOWS], help="only this one, and its yardstick (`make bench FLOW=…`)"
    )
    parser.add_argument("--small", type=int, default=100_000, help="postings of the small books of `growth_…`")
    parser.add_argument("--large", type=int, default=10_000_000, help="and of the large; they take long to fill")
    return Options(**vars(parser.parse_args()))


def main() -> None:
    """Measure, print the table, write the figures. Bars are shown, not enforced."""
    options = _options()
    described, flows = machine(), wanted(options.flow)
    ceiling = _ceiling(options)
    turns = _measured(options, flows)
    rows = [summary(flow, turns) for flow in flows if turns[flow.name]]
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": described,
        "options": asdict(options),
        "generator_ceiling": asdict(ceiling) | {"per_second": ceiling.per_second},
        "flows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / ("latest.json" if options.flow is None else f"{options.flow}.json")
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"\n{table(rows)}\n")
    busiest = max((row["generator_busy"] for row in rows), default=0.0)
    cost = ceiling.generator_cpu / ceiling.calls * 1e6
    print(
        f"{described['cores']} cores of {described['cpu']}, load {described['load_average_before']:.1f} before; "
        f"{options.processes} processes of the service.\n"
        f"The load generator is one process, bench/load_http.py: {ceiling.per_second:,.0f} calls/s and {cost:.0f}\n"
        f"µs of its CPU a call to a server that only answers; above it took {busiest:.0%} of a core at most.\n"
        f"Medians of {options.rounds} rounds; written to {file.relative_to(HERE.parent)}."
    )


if __name__ == "__main__":
    main()
