"""What the saga of a payout to a Stellar address does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offerhub.errors import InternalError, Refusal, StellarNetworkError, WithdrawalDestinationInvalid
from offerhub.kernel.money import Units
from offerhub.ledger.chart import Kind
from offerhub.providers.stellar.horizon import Horizon
from offerhub.runtime.database import Tx
from offerhub.sagas.chain import Chain, chain_refused
from offerhub.sagas.model import Facts, Outcome, Refused, Saga, Settled, Step, Unavailable
from offerhub.wallets.steps import CheckBacking, OwnTransactions, Terms
from offerhub.withdrawals import settlement, store
from offerhub.withdrawals.service import PAYOUT

if TYPE_CHECKING:
    from offerhub.providers.stellar.transactions import Unsigned

DESTINATION_CODES = frozenset({"op_no_destination", "op_no_trust", "op_line_full", "op_not_authorized"})
"""Results that are the destination's fault (providers.md 6.4)."""


def explain(code: str, operation_codes: Sequence[str]) -> Refusal:
    """The refusal for a payment that failed in a ledger."""
    if DESTINATION_CODES & set(operation_codes):
        return WithdrawalDestinationInvalid(resultCode=code, operationCodes=list(operation_codes))
    return chain_refused(code, operation_codes)


@dataclass(frozen=True, slots=True)
class CheckDestination:
    """The destination must exist, trust USDC, have room for the amount, and get the memo that it demands."""

    horizon: Horizon
    name: str = "check_destination"
    is_look: bool = True

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Read the destination's account."""
        values = saga.input
        try:
            account = await self.horizon.account(values["account"])
        except StellarNetworkError as error:
            return Unavailable(error)
        fault = None
        if account is None:
            fault = "The destination account does not exist on the chain."
        elif account.usdc is None or not account.is_authorized:
            fault = "The destination account does not trust USDC."
        elif account.usdc_room < values["amount"]:
            fault = "The destination account cannot take this much USDC."
        elif account.memo_required and values["memo"] is None and values["destination"] == values["account"]:
            fault = "The destination account demands a memo."
        if fault is not None:
            return Refused(WithdrawalDestinationInvalid(fault, destination=values["destination"]))
        return Settled()

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write: it was a look."""


@dataclass(frozen=True, slots=True)
class Pay:
    """The payment itself, from the user's own wallet."""

    chain: Chain
    own: OwnTransactions
    name: str = "pay"
    is_look: bool = False

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Make the payment, or find out what became of it."""
        from offerhub.providers.stellar import transactions

        values, network = saga.input, self.own.horizon.network

        def build(terms: Terms) -> "Unsigned":
            return transactions.build_payment(
                network.passphrase,
                source=terms.source,
                sequence=terms.sequence,
                destination=values["destination"],
                amount=Units(values["amount"]),
                asset=network.usdc,
                fee=terms.fee,
                max_time=terms.max_time,
                memo=values["memo"],
            )

        call = self.own.call(values["source"], build, wants_transfers=True, explain=explain)
        return await self.chain.carry(saga, position, call)

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write before the plan's end."""


class PayOut:
    """Plan `withdrawal.payout`: input `{withdrawalId, source, world, destination, account, amount, memo}`."""

    kind = PAYOUT

    def __init__(self, chain: Chain, own: OwnTransactions) -> None:
        self._chain = chain
        self._own = own

    def steps(self, saga: Saga) -> Sequence[Step]:
        """Two looks, then the payment."""
        horizon = self._own.horizon
        return (
            CheckDestination(horizon),
            CheckBacking(
                horizon, saga.input["source"], saga.input["amount"], saga.input["world"] == Kind.WORLD_TREASURY
            ),
            Pay(self._chain, self._own),
        )

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """The money has left: settle it against the world."""
        paid = sum(moved["amount"] for moved in facts[-1]["transfers"] if moved["from"] == saga.input["source"])
        if paid != saga.input["amount"]:
            raise InternalError("the payment moved another amount", hash=facts[-1]["hash"])
        withdrawal = await store.lock(tx, saga.subject_id)
        moved = facts[-1]["hash"]
        await settlement.complete(
            tx, saga.actor, withdrawal, world=Kind(saga.input["world"]), evidence=moved, transaction_hash=moved
        )

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """It certainly did not leave: give it back."""
        withdrawal = await store.lock(tx, saga.subject_id)
        await settlement.give_back(tx, saga.actor, withdrawal, "WITHDRAWAL_FAILED", refusal.message, refusal.code)
