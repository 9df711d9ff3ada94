"""Where the service's own time goes in one call of a flow, as py-spy sees it from outside.

    bench/where.py [--flow credit_spread] [--seconds 8] [--py-spy PATH]

The service runs in production mode and under load; py-spy (`pip install py-spy`) samples the stack that holds the
interpreter's lock. Each sample counts for the innermost part of the program that stands in it. A share times the CPU
that the service used for a call is microseconds. PostgreSQL's and Valkey's CPU are told beside it.
"""

import argparse
import asyncio
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from flows import named
from load_http import generate
from report import machine
from stage import stage

HERE: Final = Path(__file__).parent
SAMPLES_PER_SECOND: Final = 500
WARM_UP_SECONDS: Final = 3.0
CONNECTIONS: Final = 32

PARTS: Final = (
    ("JSON", ("as_format (", "template (", "as_kept (", "success (offerhub/edge/answers", "parse_json (")),
    ("Redis", ("redis/", "edge/rate_limit.py", "runtime/redis_script.py", "runtime/counted_redis.py")),
    ("SQL", ("asyncpg/", "runtime/database.py")),
    (
        "log and metrics",
        ("structlog/", "logging/__init__.py", "runtime/telemetry.py", "prometheus_client/", "runtime/metrics.py"),
    ),
    ("validation", ("edge/decoding.py", "edge/table.py", "ledger/amounts.py")),
    ("events and audit", ("events/", "runtime/redaction.py")),
    ("use case", ("balances/", "orders/", "users/", "wallets/", "webhooks/", "providers/", "kernel/", "sagas/")),
    ("batches", ("runtime/statements.py", "runtime/together.py")),
    ("edge", ("edge/", "access/", "operations/", "starlette/", "offerhub/runtime/", "offerhub/")),
    ("HTTP server", ("uvicorn/", "asyncio/", "uvloop", "")),
)
"""The first part that a frame belongs to is its; frames are looked at from the innermost."""
_PLUMBING: Final = (
    "contextlib.py",
    "dataclasses.py",
    "<string>",
    "<frozen",
    "hmac.py",
    "json/",
    "timeouts.py",
    "enum.py",
)
"""What belongs to whoever called it."""


def part_of(stack: str) -> str:
    """The part that a sampled stack counts for."""
    for frame in reversed(stack.split(";")):
        if any(word in frame for word in _PLUMBING):
            continue
        return next(name for name, words in PARTS if any(word in frame for word in words))
    return PARTS[-1][0]


async def _main(flow: str, seconds: int, py_spy: str) -> None:
    described = machine()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks.txt"
        async with stage(jobs=False) as on:
            task = {
                "flow": named(flow).script or flow,
                "host": on.host,
                "port": on.port,
                "connections": CONNECTIONS,
                "warm_up_seconds": WARM_UP_SECONDS,
                "seconds": seconds + 1,
                "credential": on.credential,
                "users": on.users,
                "secret": on.webhook_secret,
            }
            load = asyncio.create_task(asyncio.to_thread(generate, HERE / "load_http.py", task))
            await asyncio.sleep(WARM_UP_SECONDS)
            before = on.processes.used()
            command = [py_spy, "record", "--pid", str(on.processes.service), "--format", "raw", "--output", str(raw)]
            command += ["--duration", str(seconds), "--rate", str(SAMPLES_PER_SECOND), "--full-filenames", "--gil"]
            await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
            used = {name: value - before[name] for name, value in on.processes.used().items()}
            measured = await load
        found: Counter[str] = Counter()
        for line in raw.read_text(encoding="utf-8").splitlines():
            stack, _, count = line.rpartition(" ")
            found[part_of(stack)] += int(count)
    # py-spy stops the process for each sample, which costs calls but no CPU of the process.
    calls = measured.per_second * seconds
    per_call = {name: value / calls * 1e6 for name, value in used.items()}
    load_before = described["load_average_before"]
    print(f"{flow}: {measured.per_second:,.0f} calls/s while sampled, load {load_before:.1f} before")
    print(f"{'part':<20} {'share':>6} {'µs a call':>10}")
    for name, count in found.most_common():
        share = count / found.total()
        print(f"{name:<20} {share:>6.0%} {share * per_call['service']:>10.0f}")
    for name, cost in per_call.items():
        print(f"{name:<20} {'':>6} {cost:>10.0f}")


def main() -> None:
    """Sample one flow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", default="credit_spread")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--py-spy", default=os.environ.get("PY_SPY", "py-spy"))
    given = parser.parse_args()
    asyncio.run(_main(given.flow, given.seconds, given.py_spy))


if __name__ == "__main__":
    main()
