"""Seeds of the simulation: some that are always the same, one that is new, and the proof that a seed reproduces.

Each runs in interpreters of its own: a simulation takes over the time and the chance of the one that it runs in.
"""

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from support.long_runs import Tally, drawn, long_runs

FIXED = (6, 1)
"""One without Airtm and with timers, one with Airtm and without."""
LONG_SEEDS = 50
FAULTS = ("calls lost", "calls replayed", "calls stalled")
TESTS = Path(__file__).parent.parent


async def _simulated(*arguments: str, hash_seed: str) -> list[dict[str, Any]]:
    """Run seeds in a new interpreter; their verdicts."""
    environ = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": hash_seed}
    environ.pop("DATABASE_URL", None)
    command = [sys.executable, "-m", "simulation", "--json", *arguments]
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    text = await process.stdout.read()
    await process.wait()
    return [json.loads(line) for line in text.decode().splitlines()]


def _held(verdicts: list[dict[str, Any]], tally: Tally) -> None:
    for verdict in verdicts:
        seed = verdict["seed"]
        assert not verdict["failure"], f"make simulate SEED={seed}\n{verdict['failure']}"
        counts = verdict["counts"]
        tally("simulated seeds")
        tally("simulated events", verdict["events"])
        tally("simulated crashes and freezes", counts.get("crashes", 0) + counts.get("freezes", 0))
        faults = sum(
            count for what, count in counts.items() if what.startswith(("calls lost", "calls re", "calls st"))
        )
        tally("simulated faults of calls", faults)


@pytest.mark.long_form
async def test_a_seed_reproduces_and_everything_comes_to_rest(tally: Tally) -> None:
    """The same seed in two interpreters with different hash seeds is the same run, event by event."""
    fixed = drawn(FIXED, 1)
    fresh = [random.SystemRandom().randrange(10**6) for _ in range(LONG_SEEDS if long_runs() else 1)]
    print("fresh seeds:", *fresh)
    asked = [part for seed in (*fixed, *fresh) for part in ("--seed", str(seed))]
    first, second = await asyncio.gather(
        _simulated(*asked, "--jobs", "2" if long_runs() else "1", hash_seed="1"),
        _simulated("--seed", str(fixed[0]), hash_seed="2"),
    )
    assert len(first) == len(fixed) + len(fresh)
    _held(first, tally)
    _held(second, tally)
    traces = {verdict["seed"]: (verdict["trace"], verdict["events"]) for verdict in first}
    assert (second[0]["trace"], second[0]["events"]) == traces[fixed[0]]
