"""What the bench measures on servers of its own: streams, the start, and the growth of the books."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import streams
from load_http import generate
from offerhub.cli.development import sandbox_process
from offerhub.runtime.embedded import embedded_services
from offerhub.runtime.migrations import migrate
from samples import Measured
from stage import data_folder, service, stage, variables

SUBSCRIBERS: Final = 500
EVENTS: Final = 400
IDLE_SECONDS: Final = 2.0
GROWTH_SECONDS: Final = 4
GROWING: Final = {
    "growth_post": "credit_spread",
    "growth_balance": "balance_read",
    "growth_list": "users_list",
}
"""By flow, what one client sends to small and to large books."""


def of_streams(events: int = EVENTS) -> dict[str, float]:
    """Deliveries in a second, and kilobytes of an idle subscriber. Raises RuntimeError when one missed an event."""
    found = asyncio.run(streams.run(SUBSCRIBERS, events))
    if found["in_order_and_complete"] != SUBSCRIBERS:
        raise RuntimeError(f"only {found['in_order_and_complete']} streams got every event in order")
    return {"sse_deliveries": found["deliveries_per_second"], "sse_memory": found["idle_stream_bytes"] / 1000}


def of_start(rounds: int) -> list[dict[str, float]]:
    """For each round the seconds to the first healthy answer, and the megabytes of a process that idles.

    Migrations are applied and bytecode is compiled beforehand, by a start that is not measured.
    """
    found = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(data_folder())
        urls = stack.enter_context(embedded_services(folder, durable=True))
        sandbox = stack.enter_context(sandbox_process(ledger_seconds=0, log_file=folder / "sandbox.log"))
        environ = variables(urls.database_url, urls.redis_url, sandbox, folder)
        asyncio.run(migrate(urls.database_url))
        for number in range(rounds + 1):
            begun = time.perf_counter()
            with service(folder, environ, jobs=True) as (pid, _):
                seconds = time.perf_counter() - begun
                time.sleep(IDLE_SECONDS)
                if number:
                    megabytes = streams.resident_bytes(pid) / 1e6
                    found.append({"cold_start": seconds, "idle_memory": megabytes})
    return found


def of_growth(sizes: tuple[int, int], told: Callable[[str], None]) -> dict[str, tuple[float, dict[str, Any]]]:
    """For each of GROWING how much longer its median takes one client with the larger books, and both medians."""
    medians: dict[str, list[float]] = {name: [] for name in GROWING}
    for postings in sizes:
        told(f"books of {postings:,} postings …")
        for name, measured in asyncio.run(_at(postings)).items():
            medians[name].append(measured.p50_ms)
    return {
        name: (large / small, {"postings": list(sizes), "p50_ms": [small, large]})
        for name, (small, large) in medians.items()
    }


async def _at(postings: int) -> dict[str, Measured]:
    async with stage(jobs=False, postings=postings) as on:
        task = {"host": on.host, "port": on.port, "connections": 1, "warm_up_seconds": 1.0, "seconds": GROWTH_SECONDS}
        task |= {"credential": on.credential, "users": on.users}
        return {
            name: await asyncio.to_thread(generate, Path(__file__).parent / "load_http.py", {**task, "flow": script})
            for name, script in GROWING.items()
        }
