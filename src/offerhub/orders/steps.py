"""What an order's sagas do: deploy, fund, pay out at once or by milestone; and how states and books follow."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from offerhub.errors import InternalError, Refusal
from offerhub.escrows import service as escrows
from offerhub.escrows.model import Escrow
from offerhub.escrows.steps import Contracts, contract_steps
from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Around, Leg
from offerhub.orders import milestones, payout, service
from offerhub.orders.model import Order
from offerhub.orders.resolution import REFUND, REFUND_MILESTONE, RELEASE, RELEASE_MILESTONE
from offerhub.orders.service import DEPLOY, FUND
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.model import Facts, Plan, Saga, Step
from offerhub.wallets.steps import CheckBacking

Disputed = Callable[[Tx, Actor, str], Awaitable[object]]


class Deploy:
    """Plan `escrow.deploy`: input `{orderId, escrowId, intents: [deploy]}`."""

    kind = DEPLOY

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts

    def steps(self, saga: Saga) -> Sequence[Step]:
        """One transaction."""
        return contract_steps(self._contracts, saga.input["intents"])

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """The contract is there: the order waits for its funds."""
        order = await service.require(tx, saga.marketplace_id, saga.input["orderId"], lock=True)
        escrow = await escrows.deployed(tx, saga.input["escrowId"], facts[-1]["contract"], facts[-1]["hash"])
        await service.move(tx, order, "ESCROW_FUNDING", ["ESCROW_CREATING"])
        payload = {"orderId": order.id, "escrowId": escrow.id, "amount": format_amount(order.amount)}
        created = payload | {"currency": order.currency, "trustlessContractId": escrow.contract}
        await record(
            tx,
            saga.actor,
            events=[
                Event("order.escrow_creating", "Order", order.id, payload, order.buyer_id),
                Event("escrow.created", "Escrow", escrow.id, created, order.buyer_id),
            ],
            audit=[AuditEntry("ESCROW_CREATED", "Order", order.id, {"status": order.status}, created)],
        )

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """No contract: back to the reservation, from where it can be tried again."""
        order = await service.require(tx, saga.marketplace_id, saga.input["orderId"], lock=True)
        await escrows.discard(tx, saga.input["escrowId"])
        await service.move(tx, order, "FUNDS_RESERVED", ["ESCROW_CREATING"])
        facts = {"code": refusal.code, "message": refusal.message}
        entry = AuditEntry("ESCROW_CREATE_FAILED", "Order", order.id, {"status": order.status}, facts, "FAILURE")
        await record(tx, saga.actor, audit=[entry])


class Fund:
    """Plan `escrow.fund`: input `{orderId, escrowId, treasury, intents: [fund]}`."""

    kind = FUND

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts

    def steps(self, saga: Saga) -> Sequence[Step]:
        """Look whether the wallet can pay, then pay."""
        intent = saga.input["intents"][0]
        backing = CheckBacking(self._contracts.horizon, intent["signer"], intent["amount"], saga.input["treasury"])
        return (backing, *contract_steps(self._contracts, saga.input["intents"]))

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """The contract holds the money: the reservation is settled into the order's escrow account."""
        order = await service.require(tx, saga.marketplace_id, saga.input["orderId"], lock=True)
        escrow = await escrows.move(tx, saga.input["escrowId"], "FUNDED", ["FUNDING"])
        paid = sum(moved["amount"] for moved in facts[-1]["transfers"] if moved["to"] == escrow.contract)
        if paid != order.amount:
            raise InternalError("the funding transaction moved another amount", hash=facts[-1]["hash"])
        around = await ledger.settle(
            tx,
            saga.actor,
            f"order:{order.id}:fund",
            service.order_hold(order),
            _funding_legs(order, escrow),
            kind="fund_escrow",
        )
        funded = await service.move(tx, order, "ESCROW_FUNDED", ["ESCROW_FUNDING"])
        await service.move(tx, funded, "IN_PROGRESS", ["ESCROW_FUNDED"])
        current = (await ledger.balances(tx, saga.marketplace_id, order.buyer_id, [Kind.AVAILABLE]))[Kind.AVAILABLE]
        reserved = around[order.buyer_id, Kind.RESERVED]
        assert escrow.funded_at is not None
        payload = {
            "orderId": order.id,
            "escrowId": escrow.id,
            "trustlessContractId": escrow.contract,
            "amount": format_amount(order.amount),
            "fundedAt": to_wire(escrow.funded_at),
        }
        await record(
            tx,
            saga.actor,
            events=[
                catalogue.balance_released(
                    order.buyer_id, order.amount, order.id, Around(current, current), reserved, "escrow_funded"
                ),
                Event("order.escrow_funded", "Order", order.id, payload, order.buyer_id),
                Event("escrow.funded", "Escrow", escrow.id, payload, order.buyer_id),
                Event(
                    "order.in_progress",
                    "Order",
                    order.id,
                    {"orderId": order.id, "escrowId": escrow.id},
                    order.buyer_id,
                ),
            ],
            audit=[AuditEntry("ESCROW_FUNDED", "Order", order.id, {"status": order.status}, payload)],
        )

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """Nothing moved: the contract stays, the reservation stays, and funding can be tried again."""
        await escrows.move(tx, saga.input["escrowId"], "CREATED", ["FUNDING"])
        facts = {"code": refusal.code, "message": refusal.message}
        entry = AuditEntry("ESCROW_FUNDING_FAILED", "Order", saga.input["orderId"], None, facts, "FAILURE")
        await record(tx, saga.actor, audit=[entry])


def _funding_legs(order: Order, escrow: Escrow) -> list[Leg]:
    """Where the reserved money goes. What the treasury pays leaves it for the contract, which is on the chain too."""
    into = Leg(order.id, Kind.ESCROW, order.amount)
    if escrow.treasury is None:
        return [into]
    marketplace = order.marketplace_id
    return [
        into,
        Leg(marketplace, Kind.WORLD_TREASURY, order.amount),
        Leg(marketplace, Kind.WORLD_STELLAR, -order.amount),
    ]


class PayOut:
    """Plans `order.release` and `order.refund`: input `{orderId, escrowId, intents}`, and `shares` of milestones.

    `disputed` opens the dispute of an order in progress whose contract turned out to be disputed.
    """

    def __init__(
        self, contracts: Contracts, disputed: Disputed, kind: Literal["order.release", "order.refund"]
    ) -> None:
        self.kind = kind
        self._contracts = contracts
        self._disputed = disputed
        self._end: payout.End = "RELEASED" if kind == RELEASE else "REFUNDED"

    def steps(self, saga: Saga) -> Sequence[Step]:
        """Whatever the contract did not know yet when the saga began."""
        return payout_steps(self._contracts, saga)

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """Book what the contract paid out, unless each milestone was booked as it was paid, and close the order."""
        order = await service.require(tx, saga.marketplace_id, saga.input["orderId"], lock=True)
        if "shares" in saga.input:
            await milestones.finish(tx, saga.actor, order)
            return
        share = order.amount if self._end == "RELEASED" else 0
        await payout.close(tx, saga.actor, order, self._end, facts[-1], seller_share=share)

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """Back to work: what was not paid is still in the contract, and what that knows by now is remembered.

        Where somebody else has raised a dispute on the contract meanwhile, support decides.
        """
        if await reopen(tx, saga, "IN_PROGRESS", refusal):
            await self._disputed(tx, saga.actor, saga.input["orderId"])


class PayOutMilestone:
    """Plans `milestone.release` and `milestone.refund`: input `{orderId, escrowId, intents, shares}`.

    `disputed` opens the dispute of an order in progress whose contract turned out to be disputed.
    """

    def __init__(
        self, contracts: Contracts, disputed: Disputed, kind: Literal["milestone.release", "milestone.refund"]
    ) -> None:
        self.kind = kind
        self._contracts = contracts
        self._disputed = disputed

    def steps(self, saga: Saga) -> Sequence[Step]:
        """Whatever the contract did not know of the milestone yet when the saga began."""
        return payout_steps(self._contracts, saga)

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """The last step has booked it; if it was the last milestone, the order is closed."""
        order = await service.require(tx, saga.marketplace_id, saga.input["orderId"], lock=True)
        await milestones.finish(tx, saga.actor, order)

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """The milestone's money is still in the contract, and what that knows by now is remembered.

        Where somebody else has raised a dispute about it, support decides, once no other milestone is being paid.
        """
        order = await service.require(tx, saga.marketplace_id, saga.input["orderId"], lock=True)
        is_disputed = await milestones.give_up(tx, saga, refusal)
        [position] = saga.input["shares"]
        facts = {"milestone": int(position), "status": "UNPAID", "reason": refusal.code}
        entry = AuditEntry("MILESTONE_PAYOUT_REFUSED", "Order", order.id, {"status": "PAYING"}, facts, "FAILURE")
        await record(tx, saga.actor, audit=[entry])
        if is_disputed and await milestones.is_quiet(tx, saga.input["escrowId"]):
            await self._disputed(tx, saga.actor, order.id)


def payout_steps(contracts: Contracts, saga: Saga) -> Sequence[Step]:
    """The steps of a saga that pays an escrow out, of either type."""
    if "shares" in saga.input:
        return milestones.payout_steps(contracts, saga.input)
    return contract_steps(contracts, saga.input["intents"])


async def reopen(tx: Tx, saga: Saga, back_to: Literal["IN_PROGRESS", "DISPUTED"], refusal: Refusal) -> bool:
    """A payout was refused: the order goes back to where it was, and what was not paid stays in the contract.

    True when the contract turned out to be disputed and we had raised no dispute there.
    """
    is_disputed = await payout.reopen(tx, saga.actor, saga.input["orderId"], back_to, refusal)
    return await milestones.give_up(tx, saga, refusal) if "shares" in saga.input else is_disputed


def plans(contracts: Contracts, disputed: Disputed) -> tuple[Plan, ...]:
    """The plans of this slice; `disputed` opens the dispute of an order whose contract was found disputed."""
    return (
        Deploy(contracts),
        Fund(contracts),
        PayOut(contracts, disputed, RELEASE),
        PayOut(contracts, disputed, REFUND),
        PayOutMilestone(contracts, disputed, RELEASE_MILESTONE),
        PayOutMilestone(contracts, disputed, REFUND_MILESTONE),
    )
