"""Letting Hypothesis play: a few fixed games always, many new ones in `make test-long`."""

import asyncio
import os
import random
from collections.abc import Callable
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
GAMES: Final = 24 if long_runs() else 1
STEPS: Final = 60 if long_runs() else 12
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
    "WITHDRAWAL_COMPLETED",
    "WITHDRAWAL_FAILED",
}
"""What the usual ways come upon, at the least."""


def go_the_usual_ways(state: Trade) -> None:
    """A game without chance, of all the ways that there are to an end, with a fault on each."""

    def play_on(*moves: Callable[[], None]) -> None:
        for move in moves:
            move()
            state.everything_agrees()

    def ends(shape: str, end: str, decision: str = "SPLIT", fault: str = "send") -> None:
        play_on(
            lambda: state.trade(buyer=0, seller=1, amount="10.00", shape=shape, steps=0),
            lambda: state.fault(where=fault, which=1),
            lambda: state.go_on(which=0, end=end, decision=decision, steps=7),
        )

    play_on(
        lambda: state.begin("parts"),
        lambda: state.go_on(which=0, end="release", decision="SPLIT", steps=7),
        lambda: state.withdraw(who=1, amount="9.99", to="trusting"),
        lambda: state.withdraw(who=0, amount="1.00", to="untrusting"),
        lambda: state.withdraw(who=2, amount="150.00", to="trusting"),
    )
    ends("multi", "part")
    ends("multi three", "dispute", fault="build")
    ends("plain", "refund")
    play_on(
        lambda: state.trade(buyer=1, seller=1, amount="10.00", shape="plain", steps=1),
        lambda: state.any_move(which=4, move="release"),
        lambda: state.time(days=1.5),
        lambda: state.by_hand(who=0, amount="1.00", move="reserve", reference="job"),
        lambda: state.settle(who=0, amount="1.00", reference="job", move="release", payee=2, of_a_hold=True),
        lambda: state.again(which=5, other=False),
        lambda: state.again(which=5, other=True),
        lambda: state.stranger(which=3, reading=False),
    )
    if state.rail == "airtm":
        play_on(
            lambda: state.top_up(who=0, amount="25.00"),
            lambda: state.airtm_is_paid(which=0, actions=["process", "confirm"], fee="0.25", tell=True),
            lambda: state.top_up(who=2, amount="25.00"),
            lambda: state.pay_out(who=0, amount="10.00", commit=False),
            lambda: state.airtm_pays_out(which=0, actions=["wait", "complete", "refund"], tell=True),
            lambda: state.webhook(which=1, times=2),
        )
    state.teardown()


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
        await asyncio.to_thread(lambda: go_the_usual_ways(machine()))
        await asyncio.to_thread(run_state_machine_as_test, machine, settings=chosen)
    finally:
        await world.mend()
        tally("model steps", stage.steps)
        print(f"{rail}: {stage.steps} steps, answers {dict(stage.told.most_common())}, ends {dict(stage.ended)}")
    await _holds_as_a_whole(stage)
    assert REACHED - {*stage.told, *stage.ended} == set(), "games that never get there have tested nothing"


async def _holds_as_a_whole(stage: Stage) -> None:
    """The proof, and the sums: what is promised is there, though users have paid each other in the books only."""
    await stage.live.assert_books_hold()
    compared = await compare(stage.live.product.database, lambda path: stage.world.control("GET", path))
    assert compared.promised == compared.found, compared.differences
    lines = [line for line in compared.lines if not line.place.startswith("wallet of")]
    assert [str(line) for line in lines if line.books != line.outside] == []
