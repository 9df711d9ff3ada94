"""One account pays many at once, through channels: what a plan gets that names them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from faults.processes.world import World, process
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import Units
from offerhub.providers.stellar.transactions import Unsigned, build_payment
from offerhub.runtime.database import Row, Tx
from offerhub.sagas.chain import Chain
from offerhub.sagas.model import Facts, Outcome, Saga, Step
from offerhub.wallets.steps import OwnTransactions, Provision, Terms
from support.outside import eventually
from support.toll_gate import Gate

AMOUNT = 10_000_000


class PayOut:
    """A plan of one step: pay USDC from an account, through a free channel."""

    kind = "test.pay_through_channel"
    name = "pay"
    is_look = False

    def __init__(self, chain: Chain, own: OwnTransactions, channels: tuple[str, ...]) -> None:
        self._chain = chain
        self._own = own
        self._channels = channels

    def steps(self, saga: Saga) -> Sequence[Step]:
        return (self,)

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        network, payer = self._own.horizon.network, saga.input["payer"]

        def build(terms: Terms) -> Unsigned:
            return build_payment(
                network.passphrase,
                source=terms.source,
                sequence=terms.sequence,
                destination=saga.input["to"],
                amount=Units(AMOUNT),
                asset=network.usdc,
                fee=terms.fee,
                max_time=terms.max_time,
                payer=payer,
            )

        call = self._own.call(payer, build, channels=self._channels, wants_transfers=True)
        return await self._chain.carry(saga, position, call)

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        return

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        assert [moved["from"] for moved in facts[0]["transfers"]] == [saga.input["payer"]]

    async def refuse(self, tx: Tx, saga: Saga, refusal: Any) -> None:
        raise AssertionError(refusal)


async def test_many_payments_of_one_account_are_under_way_at_once(gated_world: World, gate: Gate) -> None:
    world = gated_world
    gate.open()
    async with process(world.settings) as alive:
        product = alive.product
        platform, channels = await product.platform.fee_account(), await product.platform.channels()
        assert platform is not None
        await world.mint(platform, "100")
        provision = next(plan for plan in product.engine._plans.values() if isinstance(plan, Provision))
        product.engine.register([PayOut(provision._chain, provision._own, channels)])
        count = len(channels) + 3
        before = await world.on_chain(world.outside)
        sagas = [
            await product.database.run(
                lambda tx: product.engine.start(
                    tx, world.actor, PayOut.kind, new_id("wd"), {"payer": platform, "to": world.outside}
                )
            )
            for _ in range(count)
        ]

        async def envelopes() -> list[Row]:
            sql = "SELECT * FROM envelopes WHERE saga_id = ANY($1::text[])"
            return await world.database.run(lambda tx: tx.rows(sql, sagas), read_only=True)

        gate.closed = True
        tasks = [asyncio.create_task(product.engine.wait(saga, 60)) for saga in sagas]
        under_way = await eventually(envelopes, lambda rows: len(rows) == len(channels) + 1)
        assert {row["source_account"] for row in under_way} == {*channels, platform}
        gate.closed = False
        await asyncio.gather(*tasks)
        assert [row["status"] for row in await envelopes()] == ["SUCCEEDED"] * count
        assert await world.on_chain(world.outside) - before == count * AMOUNT
    await world.assert_conserved()
