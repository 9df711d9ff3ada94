"""Setting wallets up: the platform keeps their reserves and pays their fees, many at once, whatever happens."""

import asyncio
from collections.abc import Sequence

import aiohttp
import pytest
from stellar_sdk import Account, Asset, TransactionBuilder

from faults.processes.world import Process, World, perform, process
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import format_chain_amount
from offerhub.providers.stellar import records
from offerhub.providers.stellar.reactions import Reaction, reaction
from offerhub.runtime.database import Row
from offerhub.users.service import Users
from offerhub.wallets.model import Wallet
from offerhub.wallets.service import require
from support.outside import eventually
from support.toll_gate import Gate

RESERVE = records.BASE_RESERVE
FEE = 200
"""Stroops that a payment and its fee bump cost on a quiet network."""


@pytest.fixture(autouse=True)
async def _gate_opens(gate: Gate, gated_world: World) -> None:
    gate.open()


async def new_wallet(world: World, alive: Process) -> Wallet:
    """A new user's wallet, which nobody drives yet."""
    users = Users(alive.product.wallets)
    run = alive.product.database.run
    user_id = (await perform(world.database, users.create(world.actor, new_id("req"))))["id"]
    return await run(lambda tx: require(tx, world.actor.marketplace_id, user_id))


async def drive(world: World, alive: Process, wallets: Sequence[Wallet]) -> list["asyncio.Task[None]"]:
    """Let a process work on the set-up of these wallets."""
    rows = await world.database.run(
        lambda tx: tx.rows(
            "SELECT id FROM sagas WHERE subject_id = ANY($1::text[]) AND status = 'RUNNING'",
            [wallet.id for wallet in wallets],
        )
    )
    return [asyncio.create_task(alive.product.engine.wait(row["id"], 60)) for row in rows]


async def envelopes(world: World, wallets: Sequence[Wallet]) -> list[Row]:
    """Every envelope of these wallets' set-up."""
    return await world.database.run(
        lambda tx: tx.rows(
            """
            SELECT e.*, g.subject_id FROM envelopes e JOIN sagas g ON g.id = e.saga_id
            WHERE g.subject_id = ANY($1::text[]) ORDER BY e.created_at
            """,
            [wallet.id for wallet in wallets],
        ),
        read_only=True,
    )


async def status(world: World, wallet: Wallet) -> str:
    return str(await world.database.run(lambda tx: tx.value("SELECT status FROM wallets WHERE id = $1", wallet.id)))


async def platform_of(alive: Process) -> str:
    address = await alive.product.platform.fee_account()
    assert address is not None
    return address


async def account_of(alive: Process, address: str) -> records.Account:
    found = await alive.product.horizon.account(address)
    assert found is not None
    return found


async def submit(world: World, xdr: str) -> None:
    """Submit to the sandbox itself, past the gate."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(world.sandbox_url + "/horizon/transactions", data={"tx": xdr}) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def befriend(world: World, address: str) -> None:
    """Somebody gives an address XLM, and so makes its account."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(world.sandbox_url + "/horizon/friendbot", params={"addr": address}) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def xlm_payment(world: World, alive: Process, payer: str, target: str, units: int) -> str:
    """A signed payment of XLM, with the sequence number of the seller's wallet, which nothing else uses here."""
    source = world.seller_address
    account = await account_of(alive, source)
    builder = TransactionBuilder(Account(source, account.sequence), world.settings.stellar.passphrase, 100)
    builder.append_payment_op(target, Asset.native(), format_chain_amount(units), source=payer).set_timeout(600)
    return (await alive.product.keyring.sign(list({source, payer}), builder.build().to_xdr())).xdr


async def drain(world: World, alive: Process, leave: int) -> int:
    """Move the platform's XLM to the seller, but for so much above its reserves; returns how much."""
    platform = await platform_of(alive)
    taken = (await account_of(alive, platform)).xlm_spendable - leave - FEE
    payment = await xlm_payment(world, alive, platform, world.seller_address, taken)
    await submit(world, (await alive.product.keyring.bump(platform, payment, 100)).xdr)
    return taken


async def refill(world: World, alive: Process, taken: int) -> None:
    """Give the platform its XLM back, but for the seller's fee."""
    await submit(world, await xlm_payment(world, alive, world.seller_address, await platform_of(alive), taken - FEE))


async def begin_again(world: World, alive: Process, wallet: Wallet) -> None:
    """What the worker does now and then about a set-up that was refused, a while later."""
    await world.database.script(
        f"""
        SET session_replication_role = replica;
        UPDATE wallets SET updated_at = now() - interval '1 minute' WHERE id = '{wallet.id}';
        SET session_replication_role = origin
        """
    )
    assert await alive.product.database.run(alive.product.wallets.begin_again) == 1


# -- what a wallet is ----------------------------------------------------------------------------------------------


async def test_a_wallet_holds_no_xlm_and_needs_none(gated_world: World) -> None:
    world = gated_world
    async with process(world.settings) as alive:
        platform = await platform_of(alive)
        wallet = await new_wallet(world, alive)
        before = await account_of(alive, platform)
        await world.settle(alive)
        assert await status(world, wallet) == "READY"
        made, after = await account_of(alive, wallet.public_key), await account_of(alive, platform)
        assert (made.xlm, made.xlm_spendable, made.usdc, made.usdc_room > 0) == (0, 0, 0, True)
        assert (after.xlm_reserved - before.xlm_reserved) == 3 * RESERVE
        buyer = await world.database.run(lambda tx: require(tx, world.actor.marketplace_id, world.buyer))
        run = alive.product.database.run
        _, saga = await run(lambda tx: alive.withdrawals.begin(tx, world.actor, world.payout_to(10_000_000)))
        await alive.product.engine.wait(saga, 30)
        order_id = await world.funded_order(alive, 20_000_000)
        saga = await run(lambda tx: alive.resolution.begin_release(tx, world.actor, order_id, None))
        await alive.product.engine.wait(saga, 30)
        assert await world.order_status(order_id) == "CLOSED"
        assert (await account_of(alive, buyer.public_key)).xlm == 0, "it has signed, and the platform has paid"
        paid = await world.database.run(lambda tx: tx.value("SELECT count(*) FROM fee_bumps"))
        assert paid > 0
        assert (await account_of(alive, platform)).xlm < after.xlm


async def test_an_account_that_somebody_has_made_already_gets_its_trustline(gated_world: World) -> None:
    """As wallets of an earlier version, or an address to which a stranger was quicker: it keeps its own XLM."""
    world = gated_world
    async with process(world.settings) as alive:
        wallet = await new_wallet(world, alive)
        await befriend(world, wallet.public_key)
        before = await account_of(alive, wallet.public_key)
        await world.settle(alive)
        assert await status(world, wallet) == "READY"
        found = await account_of(alive, wallet.public_key)
        assert (found.usdc, found.xlm) == (0, before.xlm), "the platform has paid, although the wallet could"
        assert found.xlm_reserved == 2 * RESERVE


async def test_many_are_set_up_at_once_each_through_its_own_channel(gated_world: World, gate: Gate) -> None:
    world = gated_world
    channels = world.settings.stellar.channel_accounts
    async with process(world.settings) as alive:
        found = set(await alive.product.platform.channels())
        assert len(found) == channels
        for address in found:
            channel = await account_of(alive, address)
            assert (channel.xlm, channel.xlm_reserved, channel.usdc) == (0, 0, None)
        wallets = [await new_wallet(world, alive) for _ in range(channels + 3)]
        gate.closed = True
        tasks = await drive(world, alive, wallets)
        under_way = await eventually(lambda: envelopes(world, wallets), lambda rows: len(rows) == channels + 1)
        await asyncio.sleep(0.3)
        assert len(await envelopes(world, wallets)) == len(under_way), "no lane is left for the others"
        assert {row["source_account"] for row in under_way} == found | {await platform_of(alive)}
        gate.closed = False
        await asyncio.gather(*tasks)
        await world.settle(alive)
    assert [await status(world, wallet) for wallet in wallets] == ["READY"] * len(wallets)
    used = [(row["source_account"], row["sequence"]) for row in await envelopes(world, wallets)]
    assert len(used) == len(set(used)) == len(wallets)
    await world.assert_conserved()


# -- the platform's XLM ------------------------------------------------------------------------------------------


async def test_f10_too_little_xlm_is_told_and_waited_for(gated_world: World) -> None:
    world = gated_world
    async with process(world.settings) as alive:
        assert await alive.product.platform.shortage() is None
        taken = await drain(world, alive, RESERVE)
        assert await alive.product.platform.shortage() == "The platform's account has 0.5000000 XLM left"
        wallet = await new_wallet(world, alive)
        tasks = await drive(world, alive, [wallet])

        async def last_error() -> str:
            sql = "SELECT s.last_error FROM saga_steps s JOIN sagas g ON g.id = s.saga_id WHERE g.subject_id = $1"
            return str(await world.database.run(lambda tx: tx.value(sql, wallet.id)))

        await eventually(last_error, lambda text: "too little XLM" in text)
        assert await envelopes(world, [wallet]) == [], "nothing is sent that must fail"
        await refill(world, alive, taken)
        await asyncio.gather(*tasks)
        await world.settle(alive)
        assert await status(world, wallet) == "READY"


async def test_f10_without_xlm_for_the_fee_a_payment_waits_for_the_refill(gated_world: World) -> None:
    """tx_insufficient_balance, from the network itself."""
    world = gated_world
    async with process(world.settings) as alive:
        before = await world.on_chain(world.outside)
        taken = await drain(world, alive, 50)
        assert reaction("tx_insufficient_balance") is Reaction.ADD_XLM
        begun, saga = await alive.product.database.run(
            lambda tx: alive.withdrawals.begin(tx, world.actor, world.payout_to(10_000_000))
        )
        task = asyncio.create_task(alive.product.engine.wait(saga, 60))

        async def code() -> str:
            sql = "SELECT last_code FROM envelopes WHERE saga_id = $1"
            return str(await world.database.run(lambda tx: tx.value(sql, saga)))

        await eventually(code, lambda found: found == "tx_insufficient_balance")
        sql = "SELECT status FROM withdrawals WHERE id = $1"
        assert await world.database.run(lambda tx: tx.value(sql, begun.id)) == "WITHDRAWAL_PENDING"
        await refill(world, alive, taken)
        await task
        assert await world.database.run(lambda tx: tx.value(sql, begun.id)) == "WITHDRAWAL_COMPLETED"
        assert await world.on_chain(world.outside) - before == 10_000_000


@pytest.mark.parametrize("code", ["op_already_exists", "op_low_reserve"])
async def test_f13_a_set_up_that_failed_in_a_ledger_is_begun_again(gated_world: World, gate: Gate, code: str) -> None:
    world = gated_world
    async with process(world.settings) as alive:
        taken = None
        wallet = await new_wallet(world, alive)
        gate.closed = True
        tasks = await drive(world, alive, [wallet])
        await eventually(lambda: envelopes(world, [wallet]), lambda rows: bool(rows) and rows[0]["submissions"] > 0)
        if code == "op_already_exists":
            await befriend(world, wallet.public_key)
        else:
            taken = await drain(world, alive, 2 * RESERVE)
        gate.open()
        await asyncio.gather(*tasks)
        [failed] = await envelopes(world, [wallet])
        assert failed["status"] == "FAILED"
        assert code in failed["result"]["details"]["operationCodes"]
        assert await status(world, wallet) == "PENDING"
        if taken is not None:
            await refill(world, alive, taken)
        await begin_again(world, alive, wallet)
        await world.settle(alive)
        assert await status(world, wallet) == "READY"
    await world.assert_conserved()
