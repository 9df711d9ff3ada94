"""One clock for everything: real, scaled or step by step; what falls due in order; the same from the same seed."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from airtm_driver import call, made, payin_of, payout_of
from escrow_driver import Parties, deployed
from sandbox_driver import PASSPHRASE, Sandbox, running
from stellar_sdk import Payment

from offerhub.kernel.clock import ManualClock
from offerhub.sandbox.clock import WorldClock
from offerhub.sandbox.options import SandboxOptions
from support.outside import PATIENCE_SECONDS

NEW_YEAR = 1_767_225_600
DAY = 86_400


def stepped(**changes: Any) -> SandboxOptions:
    told: dict[str, Any] = {"ledger_seconds": 5, "clock": "stepped", "start_at": NEW_YEAR, "seed": 31}
    return SandboxOptions(network_passphrase=PASSPHRASE, **{**told, **changes})


@pytest.fixture
async def steps() -> AsyncIterator[Sandbox]:
    async with running(stepped()) as started:
        yield started


def test_each_mode_has_its_own_pace() -> None:
    machine = ManualClock()
    clock = WorldClock(machine, start_at=1_000)
    machine.advance(10)
    assert clock.now() == 1_010
    clock.set("scaled", 60)
    machine.advance(10)
    assert clock.now() == 1_610
    clock.set("stepped")
    machine.advance(10)
    assert clock.now() == 1_610
    clock.advance(5)
    clock.move_to(1_600)
    assert clock.now() == 1_615
    kept = clock.kept()
    machine.advance(100)
    restarted = WorldClock(machine)
    restarted.restore(kept)
    assert restarted.now() == 1_615
    clock.set("real")
    kept = clock.kept()
    machine.advance(100)
    restarted.restore(kept)
    assert restarted.now() == 1_715


async def test_a_stepped_clock_stands_still_until_it_is_put_forward(steps: Sandbox) -> None:
    before = await steps.sim("/info")
    assert (before["mode"], before["now"]) == ("stepped", NEW_YEAR)
    payer = await steps.wallet("10")
    latest = (await steps.sim("/info"))["latest_ledger"]
    envelope = await steps.build(payer, Payment(payer.public_key, steps.usdc, "1"))
    submitting = asyncio.create_task(steps.submit(envelope))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await steps.call("POST", "/horizon/transactions_async", data={"tx": envelope.to_xdr()})).status != 409:
            pass
    assert (await steps.sim("/info"))["latest_ledger"] == latest
    passed = await steps.sim("/advance", {"seconds": 12})
    assert (passed["latest_ledger"], passed["now"]) == (latest + 2, NEW_YEAR + 12)
    ledgers = await steps.records("/ledgers", order="desc", limit="2")
    assert [one["closed_at"] for one in ledgers] == ["2026-01-01T00:00:10Z", "2026-01-01T00:00:05Z"]
    assert (await submitting).body["successful"] is True


async def test_a_scaled_clock_runs_ahead_of_the_machine(sandbox: Sandbox) -> None:
    async with running(stepped(clock="scaled", clock_factor=10_000, ledger_seconds=100)) as quick:
        first = (await quick.sim("/info"))["latest_ledger"]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await quick.sim("/info"))["latest_ledger"] < first + 3:
                pass
        assert (await quick.sim("/info"))["now"] >= NEW_YEAR + 300


async def test_an_advance_does_everything_on_the_way_at_its_own_moment(steps: Sandbox) -> None:
    payin = await made(steps, "/payins", payin_of("waits-forever"))
    settles = await made(steps, "/payouts", payout_of("settles", commit=True))
    waits = await made(steps, "/payouts", payout_of("waits", "ana+waiting@example.com", commit=True))
    await steps.sim("/advance", {"seconds": 100 * DAY})
    found = (await call(steps, "GET", f"/payins/{payin['id']}")).body
    assert (found["status"], found["updatedAt"]) == ("CANCELED", "2026-01-16T00:00:00.000Z")
    found = (await call(steps, "GET", f"/payouts/{settles['id']}")).body
    assert (found["status"], found["updatedAt"]) == ("COMPLETED", "2026-01-01T00:00:02.000Z")
    events = (await call(steps, "GET", f"/payouts/{waits['id']}/events")).body
    assert [(event["status"], event["createdAt"][:10]) for event in events] == [
        ("CREATED", "2026-01-01"),
        ("COMMITTED", "2026-01-01"),
        ("PENDING_USER_ACTION", "2026-01-01"),
        ("CANCELED", "2026-04-01"),
    ]
    # Ledgers are counted as if every one had closed, but not every empty one is kept.
    latest = (await steps.sim("/info"))["latest_ledger"]
    assert latest >= 100 * DAY // 5
    assert len(await steps.records("/ledgers", limit="200", order="desc")) == 200


async def test_a_jump_comes_first_and_what_was_due_afterwards(manual: Sandbox) -> None:
    payin = await made(manual, "/payins", payin_of("late"))
    before = (await manual.sim("/clock", {}))["now"]
    jumped = await manual.sim("/clock", {"advance_seconds": 15 * DAY})
    assert jumped["now"] >= before + 15 * DAY
    found = (await call(manual, "GET", f"/payins/{payin['id']}")).body
    assert found["status"] == "CANCELED"


async def story(sandbox: Sandbox) -> str:
    """What anybody could see after some requests, as one text."""
    wallets = [await sandbox.wallet("100") for _ in range(3)]
    parties = Parties(*[wallets[index % 3] for index in range(6)])
    await sandbox.sim("/clock", {"mode": "stepped"})
    contract = await stepped_deploy(sandbox, parties)
    await made(sandbox, "/payins", payin_of("one"))
    await made(sandbox, "/payouts", payout_of("two", commit=True))
    await sandbox.sim("/faults", {"face": "airtm", "kind": "error_before", "route": "/me", "probability": 0.5})
    answers = [(await call(sandbox, "GET", "/me")).status for _ in range(20)]
    await sandbox.sim("/advance", {"seconds": 3600})
    seen = [
        contract,
        answers,
        await sandbox.sim("/state"),
        [one["hash"] for one in await sandbox.records("/ledgers", limit="200")],
        [one["hash"] for one in await sandbox.records("/transactions", limit="200")],
        (await call(sandbox, "GET", "/payins")).body,
        (await call(sandbox, "GET", "/payouts")).body,
        (await sandbox.sim("/airtm/webhooks/messages"))["messages"],
    ]
    assert 0 < answers.count(502) < 20
    return json.dumps(seen)


async def stepped_deploy(sandbox: Sandbox, parties: Parties) -> str:
    deploying = asyncio.create_task(deployed(sandbox, parties))
    latest = (await sandbox.sim("/info"))["latest_ledger"]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not deploying.done():
            # Whether the request has come that waits for this ledger, only its answer tells.
            if (await sandbox.sim("/waiting"))["transactions"]:
                await sandbox.sim("/close", {})
    assert (await sandbox.sim("/info"))["latest_ledger"] == latest + 1
    return await deploying


async def test_the_same_seed_and_the_same_requests_give_the_same_world() -> None:
    stories = []
    for seed in (31, 31, 32):
        # A closed port is a receiver, too: the attempts are on the schedule with everything else.
        async with running(stepped(seed=seed, webhook_urls=("http://127.0.0.1:1/hook",))) as one:
            stories.append(await story(one))
    assert stories[0] == stories[1]
    assert stories[0] != stories[2]


async def test_a_restart_knows_what_time_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    async with running(stepped(state_file=path)) as first:
        payin = await made(first, "/payins", payin_of("kept"))
        await first.sim("/advance", {"seconds": 14 * DAY})
    async with running(stepped(state_file=path, clock=None, start_at=None)) as second:
        info = await second.sim("/info")
        assert (info["mode"], info["now"]) == ("stepped", NEW_YEAR + 14 * DAY)
        assert (await call(second, "GET", f"/payins/{payin['id']}")).body["status"] == "CREATED"
        await second.sim("/advance", {"seconds": DAY})
        assert (await call(second, "GET", f"/payins/{payin['id']}")).body["status"] == "CANCELED"


async def test_a_clock_that_cannot_be(manual: Sandbox) -> None:
    await manual.sim("/clock", {"mode": "backwards"}, status=400)
    await manual.sim("/clock", {"mode": "scaled", "factor": 0}, status=400)
    await manual.sim("/advance", {"seconds": -1}, status=400)
