"""The result table of providers.md 6.4, row by row: what a withdrawal does about each answer to its submission.

Whatever the answer, the money leaves once at most, a sequence number is used by one envelope, and nothing is given
back before the chain has proven that the payment can no longer happen.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from stellar_sdk import Account, Asset, BumpSequence, ChangeTrust, Keypair, TransactionBuilder
from stellar_sdk.operation import Operation

from faults.processes.world import World, process, simulate
from offerhub.providers.stellar.reactions import REACTIONS, Reaction, reaction
from offerhub.providers.stellar.transactions import sign
from offerhub.runtime.database import Row
from offerhub.withdrawals.service import Asked
from support.outside import eventually
from support.toll_gate import Gate

AMOUNT = 10_000_000
FAR_FUTURE = 4_000_000_000


class Payment:
    """A withdrawal that is on its way, driven by a process of its own."""

    def __init__(self, world: World, alive: Any, withdrawal_id: str, saga_id: str) -> None:
        self.world = world
        self.alive = alive
        self.id = withdrawal_id
        self.saga = saga_id

    async def rows(self, sql: str) -> list[Row]:
        return await self.world.database.run(lambda tx: tx.rows(sql, self.saga), read_only=True)

    async def envelopes(self) -> list[Row]:
        """Every envelope, oldest first."""
        return await self.rows("SELECT * FROM envelopes WHERE saga_id = $1 ORDER BY created_at")

    async def bids(self) -> list[int]:
        """The bids of every fee bump, as they were made."""
        sql = """
            SELECT b.bid FROM fee_bumps b JOIN envelopes e ON e.hash = b.inner_hash
            WHERE e.saga_id = $1 ORDER BY b.created_at
        """
        return [row["bid"] for row in await self.rows(sql)]

    async def codes(self, wanted: str) -> None:
        """Wait until the network's answer has been noted."""
        await eventually(self.envelopes, lambda found: bool(found) and found[-1]["last_code"] == wanted)

    async def sent_again(self, times: int = 2) -> None:
        """Wait until the first envelope has been sent so many times more."""
        [first, *_] = await self.envelopes()
        await eventually(self.envelopes, lambda found: found[0]["submissions"] >= first["submissions"] + times)

    async def status(self) -> str:
        """The withdrawal's state."""
        sql = "SELECT status FROM withdrawals WHERE id = $1"
        return str(await self.world.database.run(lambda tx: tx.value(sql, self.id)))

    async def ended(self, status: str) -> None:
        """Wait for the end, which must be this one."""
        await self.world.settle(self.alive)
        assert await self.status() == status
        await self.world.assert_conserved()


Pay = Callable[..., Awaitable[Payment]]


@pytest.fixture
async def pay(gated_world: World, gate: Gate) -> AsyncIterator[Pay]:
    """Begin a withdrawal; it is driven until the test ends."""
    gate.open()
    async with process(gated_world.settings) as alive:

        async def begin(outside: str | None = None) -> Payment:
            asked = gated_world.payout_to(AMOUNT)
            if outside is not None:
                asked = Asked(gated_world.buyer, AMOUNT, "USD", "crypto", outside, None, None, commit=False)
            begun, saga = await alive.product.database.run(
                lambda tx: alive.withdrawals.begin(tx, gated_world.actor, asked)
            )
            tasks.append(asyncio.create_task(alive.product.engine.wait(saga, 60)))
            return Payment(gated_world, alive, begun.id, saga)

        tasks: list[asyncio.Task[None]] = []
        yield begin
        gate.open()
        await gated_world.settle(alive)
        await asyncio.gather(*tasks)


async def advance(world: World, seconds: int) -> None:
    """Put the chain's time forward, and wait for a ledger that knows it."""
    await simulate(world.sandbox_url, "clock", {"advance_seconds": seconds})
    await asyncio.sleep(0.2)


def _unsigned(world: World, source: str, sequence: int, operation: Operation) -> str:
    passphrase = world.settings.stellar.passphrase
    builder = TransactionBuilder(Account(source, sequence - 1), passphrase, base_fee=1000)
    return builder.add_time_bounds(0, FAR_FUTURE).append_operation(operation).build().to_xdr()


async def past_the_gate(world: World, xdr: str) -> None:
    """Submit to the sandbox itself."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(world.sandbox_url + "/horizon/transactions", data={"tx": xdr}) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def outside_does(world: World, payment: Payment, secret: str, operation: Operation) -> None:
    """Let a wallet outside do something."""
    address = Keypair.from_secret(secret).public_key
    account = await payment.alive.product.horizon.account(address)
    unsigned = _unsigned(world, address, account.sequence + 1, operation)
    await past_the_gate(world, sign(unsigned, world.settings.stellar.passphrase, [secret.encode()]).xdr)


async def use_up(world: World, payment: Payment, envelope: Row) -> None:
    """Use the sequence number of an envelope of ours up with another transaction of the same wallet."""
    product = payment.alive.product
    unsigned = _unsigned(world, envelope["source_account"], envelope["sequence"], BumpSequence(0))
    signed = await product.keyring.sign([envelope["source_account"]], unsigned)
    platform = await product.platform.fee_account()
    await past_the_gate(world, (await product.keyring.bump(platform, signed.xdr, 1000)).xdr)


# -- the fee -----------------------------------------------------------------------------------------------------


async def test_f10_f15_insufficient_fee_raises_the_bid_of_the_same_envelope(
    gated_world: World, gate: Gate, pay: Pay
) -> None:
    before = await gated_world.on_chain(gated_world.outside)
    gate.toll = 900
    payment = await pay()
    await payment.ended("WITHDRAWAL_COMPLETED")
    [envelope] = await payment.envelopes()
    assert await payment.bids() == [100, 1000], "ten times as much, as a replacement must"
    assert envelope["included_as"] == gate.offered[-1].hash != envelope["hash"]
    assert {offered.inner for offered in gate.offered} == {envelope["hash"]}
    assert await gated_world.on_chain(gated_world.outside) - before == AMOUNT


async def test_f15_the_first_bid_follows_the_market(gate: Gate, pay: Pay) -> None:
    gate.shown_price = gate.toll = 4321
    await asyncio.sleep(1.1)  # the price is kept for a second
    payment = await pay()
    await payment.ended("WITHDRAWAL_COMPLETED")
    assert await payment.bids() == [4321]


async def test_f15_a_surge_while_it_waits_raises_the_bid(gate: Gate, pay: Pay) -> None:
    """It was taken, but others pay more: it waits in the queue, and only a better bid brings it into a ledger."""
    gate.toll, gate.silent = 2500, True
    payment = await pay()
    await eventually(payment.bids, lambda bids: bids == [100])
    gate.shown_price = 2500
    await payment.ended("WITHDRAWAL_COMPLETED")
    assert await payment.bids() == [100, 2500]
    assert len(await payment.envelopes()) == 1


async def test_f15_beyond_the_cap_it_waits_and_nothing_is_rebuilt(gated_world: World, gate: Gate, pay: Pay) -> None:
    cap = gated_world.settings.stellar.fee_max_stroops
    gate.toll = cap
    payment = await pay()
    await eventually(payment.bids, lambda bids: len(bids) >= 6)
    sent = len(gate.offered)
    await eventually(lambda: _value(len(gate.offered)), lambda count: count > sent)
    bids = await payment.bids()
    assert bids == [100, 1000, 10_000, 100_000, 1_000_000, cap // 2], "the last is all that the cap leaves"
    assert await payment.status() == "WITHDRAWAL_PENDING"
    gate.toll = 100
    await payment.ended("WITHDRAWAL_COMPLETED")
    assert len(await payment.envelopes()) == 1
    assert await payment.bids() == bids


async def _value(found: Any) -> Any:
    return found


# -- refused at the door, and nothing is wrong with it -----------------------------------------------------------

PASSING = [
    ("tx_bad_seq", Reaction.LOOK_AT_SEQUENCE),
    ("tx_too_early", Reaction.WAIT),
    ("tx_insufficient_balance", Reaction.ADD_XLM),
    ("tx_no_source_account", Reaction.ALARM),
    ("tx_internal_error", Reaction.WAIT),
    ("tx_never_heard_of", Reaction.ALARM),
]


@pytest.mark.parametrize(("code", "expected"), PASSING)
async def test_f10_what_may_pass_is_sent_again(
    gated_world: World, gate: Gate, pay: Pay, code: str, expected: Reaction
) -> None:
    before = await gated_world.on_chain(gated_world.outside)
    assert reaction(code) is expected
    gate.refuse_with = [code, code]
    payment = await pay()
    await payment.ended("WITHDRAWAL_COMPLETED")
    [envelope] = await payment.envelopes()
    assert [offered.inner for offered in gate.offered] == [envelope["hash"]] * 3
    assert await payment.bids() == [100], "the same bytes each time"
    assert await gated_world.on_chain(gated_world.outside) - before == AMOUNT


async def test_f10_f12_bad_seq_once_the_number_is_used_up(gated_world: World, gate: Gate, pay: Pay) -> None:
    gate.closed = True
    payment = await pay()
    await eventually(payment.envelopes, lambda found: bool(found) and found[0]["submissions"] > 0)
    [envelope] = await payment.envelopes()
    await use_up(gated_world, payment, envelope)
    gate.closed = False
    await eventually(payment.envelopes, lambda found: found[0]["superseded_at"] is not None)
    await payment.sent_again()
    assert len(await payment.envelopes()) == 1, "not before it is certain"
    before = await gated_world.on_chain(gated_world.outside)
    await advance(gated_world, 35)
    await payment.ended("WITHDRAWAL_COMPLETED")
    first, second = await payment.envelopes()
    assert (first["status"], second["status"]) == ("EXPIRED", "SUCCEEDED")
    assert second["sequence"] == first["sequence"] + 1
    assert await gated_world.on_chain(gated_world.outside) - before == AMOUNT


async def test_f10_f14_too_late_is_rebuilt_only_after_the_margin(gated_world: World, gate: Gate, pay: Pay) -> None:
    before = await gated_world.on_chain(gated_world.outside)
    gate.closed = True
    payment = await pay()
    await eventually(payment.envelopes, lambda found: bool(found) and found[0]["submissions"] > 0)
    await advance(gated_world, 125)
    gate.closed = False
    await payment.codes("tx_too_late")
    await payment.sent_again()
    assert len(await payment.envelopes()) == 1
    assert await payment.status() == "WITHDRAWAL_PENDING"
    await advance(gated_world, 30)
    await payment.ended("WITHDRAWAL_COMPLETED")
    assert [row["status"] for row in await payment.envelopes()] == ["EXPIRED", "SUCCEEDED"]
    assert await gated_world.on_chain(gated_world.outside) - before == AMOUNT


# -- bugs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(code for code, found in REACTIONS.items() if found is Reaction.GIVE_UP))
async def test_f10_a_bug_is_refused_but_not_while_it_could_still_happen(
    gated_world: World, gate: Gate, pay: Pay, code: str
) -> None:
    chain, available = await gated_world.on_chain(gated_world.outside), await gated_world.available(gated_world.buyer)
    gate.always = code
    payment = await pay()
    await payment.codes(code)
    assert await payment.status() == "WITHDRAWAL_PENDING", "the money is held: the envelope is out there"
    await advance(gated_world, 160)
    await payment.ended("WITHDRAWAL_FAILED")
    assert [row["status"] for row in await payment.envelopes()] == ["EXPIRED"]
    assert await gated_world.available(gated_world.buyer) == available
    assert await gated_world.on_chain(gated_world.outside) == chain


# -- in a ledger, and failed there -------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["op_no_trust", "op_line_full"])
async def test_f13_a_payment_that_failed_in_a_ledger_is_given_back(
    gated_world: World, gate: Gate, pay: Pay, code: str
) -> None:
    available = await gated_world.available(gated_world.buyer)
    outside = await simulate(gated_world.sandbox_url, "account")
    gate.closed = True
    payment = await pay(outside["public_key"])
    await eventually(payment.envelopes, lambda found: bool(found) and found[0]["submissions"] > 0)
    usdc = Asset(gated_world.settings.stellar.usdc_asset_code, gated_world.settings.stellar.usdc_issuer)
    limit = "0" if code == "op_no_trust" else "0.5"
    await outside_does(gated_world, payment, outside["secret"], ChangeTrust(usdc, limit))
    gate.closed = False
    await payment.ended("WITHDRAWAL_FAILED")
    [failed] = await payment.envelopes()
    assert failed["status"] == "FAILED"
    assert failed["result"]["details"]["operationCodes"] == [code]
    assert await gated_world.available(gated_world.buyer) == available


def test_f10_every_code_of_the_table_has_its_reaction() -> None:
    assert reaction("tx_insufficient_fee") is Reaction.RAISE_BID
    assert reaction("tx_too_late") is Reaction.WAIT
    assert reaction("tx_bad_auth") is reaction("tx_bad_auth_extra") is Reaction.GIVE_UP
    assert reaction("tx_failed") is Reaction.COMPENSATE
