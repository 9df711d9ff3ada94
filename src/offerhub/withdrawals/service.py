"""Use cases of withdrawals."""

from typing import Final, NamedTuple

from offerhub.errors import WithdrawalDestinationInvalid, WithdrawalNotCommittable, WithdrawalNotFound
from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, Event
from offerhub.kernel.money import format_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry, Leg
from offerhub.providers.stellar.keys import InvalidAddress, parse_destination
from offerhub.providers.stellar.network import Network
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.sagas.engine import Engine
from offerhub.users.service import require_active
from offerhub.wallets.service import require_ready
from offerhub.withdrawals import store
from offerhub.withdrawals.model import Withdrawal

PAYOUT: Final = "withdrawal.payout"
MEMO_BYTES_MAX: Final = 28
"""A text memo of Stellar (providers.md 6.3)."""


class Payout(NamedTuple):
    """What the caller asks for: units to a Stellar address."""

    user_id: str
    amount: int
    currency: str
    destination: str
    memo: str | None
    description: str | None


async def require(tx: Tx, marketplace_id: str, withdrawal_id: str, user_id: str | None = None) -> Withdrawal:
    """The withdrawal, of this user if one is named. Raises WithdrawalNotFound."""
    found = await store.get(tx, marketplace_id, withdrawal_id)
    if found is None or (user_id is not None and found.user_id != user_id):
        raise WithdrawalNotFound(withdrawalId=withdrawal_id[:64])
    return found


def refuse_commit(withdrawal: Withdrawal) -> WithdrawalNotCommittable:
    """Why a withdrawal cannot be committed: a crypto withdrawal commits itself."""
    return WithdrawalNotCommittable(withdrawalId=withdrawal.id, currentStatus=withdrawal.status)


class Withdrawals:
    """Starting withdrawals."""

    def __init__(self, engine: Engine, network: Network) -> None:
        self._engine = engine
        self._network = network

    async def begin(self, tx: Tx, actor: Actor, asked: Payout) -> tuple[Withdrawal, str]:
        """Take the money aside and start the payment; returns the withdrawal and the saga's id.

        Raises UserNotFound, UserNotActive, WithdrawalDestinationInvalid, WalletNotReady, InsufficientFunds.
        """
        await require_active(tx, actor.marketplace_id, asked.user_id)
        wallet = await require_ready(tx, actor.marketplace_id, asked.user_id)
        account = self._checked(asked, wallet.public_key)
        created = await store.insert_crypto(
            tx,
            actor.marketplace_id,
            asked.user_id,
            asked.amount,
            asked.currency,
            asked.destination,
            asked.memo,
            asked.description,
        )
        user_id = created.user_id
        legs = [
            Leg(user_id, Kind.AVAILABLE, -created.amount),
            Leg(user_id, Kind.WITHDRAWING, created.amount),
        ]
        around = await ledger.post(
            tx, actor, Entry(f"withdrawal:{created.id}:create", "withdrawal", created.id, legs)
        )
        payload = {
            "withdrawalId": created.id,
            "userId": user_id,
            "amount": format_amount(created.amount),
            "currency": created.currency,
            "destinationType": created.destination_type,
            "destinationRef": created.destination_ref,
        }
        available = around[user_id, Kind.AVAILABLE]
        values = {
            "withdrawalId": created.id,
            "source": wallet.public_key,
            "destination": created.destination_ref,
            "account": account,
            "amount": int(created.amount),
            "memo": created.memo,
        }
        saga_id = await self._engine.start(
            tx,
            actor,
            PAYOUT,
            created.id,
            values,
            events=[
                catalogue.balance_debited(user_id, created.amount, "withdrawal", created.id, available),
                Event("withdrawal.created", "Withdrawal", created.id, payload, user_id),
            ],
            audit=[AuditEntry("WITHDRAWAL_CREATED", "Withdrawal", created.id, after=payload, user_id=user_id)],
        )
        return created, saga_id

    def _checked(self, asked: Payout, own_address: str) -> str:
        """The G… account behind the destination. Raises WithdrawalDestinationInvalid."""
        facts = {"destination": asked.destination[:80]}
        try:
            destination = parse_destination(asked.destination)
        except InvalidAddress as error:
            raise WithdrawalDestinationInvalid("The destination is not a Stellar address.", **facts) from error
        if destination.account is None:
            raise WithdrawalDestinationInvalid("The destination must be an account, not a contract.", **facts)
        if destination.account in {own_address, self._network.usdc_issuer}:
            raise WithdrawalDestinationInvalid("The destination must be somebody else's account.", **facts)
        if asked.memo is not None and not 0 < len(asked.memo.encode()) <= MEMO_BYTES_MAX:
            raise WithdrawalDestinationInvalid(f"A memo has 1 to {MEMO_BYTES_MAX} bytes.", **facts)
        return destination.account
