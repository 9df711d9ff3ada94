"""Letting Hypothesis play: a few fixed games always, many new ones in `make test-long`."""

import asyncio
import os
import random
from typing import Final

import aiohttp
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from market_client import Stage
from market_machine import Trade
from market_oracle import Rail
from stellar_sdk import Keypair

from support.conservation import compare
from support.long_runs import Tally, long_runs
from support.outside import World
from support.product import Running

SEED: Final = "OFFERHUB_MODEL_SEED"
GAMES: Final = 24 if long_runs() else 2
STEPS: Final = 60 if long_runs() else 20
ALWAYS: Final = 20
"""The number of the games that are always played."""

REACHED: Final = {
    "INSUFFICIENT_FUNDS",
    "INVALID_STATE",
    "IN_PROGRESS",
    "RELEASED",
    "REFUNDED",
    "CANCELED",
    "RESOLVED",
}
"""What many games always come upon."""


async def play(live: Running, world: World, http: aiohttp.ClientSession, rail: Rail, tally: Tally) -> None:
    """Play on this product. What fails is shrunk to the few steps that it takes, and printed with its seed."""
    loop = asyncio.get_running_loop()
    trusting, _ = await world.outside_wallet()
    untrusting = Keypair.random().public_key
    await live.product.horizon.friendbot(untrusting)
    stage = Stage(loop, live, world, http, trusting, untrusting)
    drawn = random.SystemRandom().randrange(10**9) if long_runs() else ALWAYS
    number = int(os.environ.get(SEED, drawn))
    longer = "OFFERHUB_LONG_RUNS=1 " if long_runs() else ""
    print(f"the same games again: {SEED}={number} {longer}.venv/bin/pytest -n 0 tests/model")
    machine = type(f"Trade_{rail}", (Trade,), {"stage": stage, "rail": rail})
    chosen = settings(
        max_examples=GAMES,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(machine)
    try:
        await asyncio.to_thread(run_state_machine_as_test, machine, settings=chosen)
    finally:
        await world.mend()
        tally("model steps", stage.steps)
        print(f"{rail}: {stage.steps} steps, answers {dict(stage.told.most_common())}, ends {dict(stage.ended)}")
    await _holds_as_a_whole(stage)
    if long_runs():
        seen = {*stage.told, *stage.ended}
        assert REACHED - seen == set(), "games that never get there have tested nothing"


async def _holds_as_a_whole(stage: Stage) -> None:
    """The proof, and the sums: what is promised is there, though users have paid each other in the books only."""
    await stage.live.assert_books_hold()
    compared = await compare(stage.live.product.database, lambda path: stage.world.control("GET", path))
    assert compared.promised == compared.found, compared.differences
    lines = [line for line in compared.lines if not line.place.startswith("wallet of")]
    assert [str(line) for line in lines if line.books != line.outside] == []
