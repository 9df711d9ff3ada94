"""Use cases of withdrawals."""

from typing import Any, Final, NamedTuple

from offerhub.errors import (
    InvalidState,
    PayoutNotReady,
    ProviderNotEnabled,
    WithdrawalDestinationInvalid,
    WithdrawalNotCommittable,
    WithdrawalNotFound,
)
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
from offerhub.users.linking import require_linked
from offerhub.users.service import require_active
from offerhub.wallets.model import Wallet
from offerhub.wallets.service import require_ready, require_system
from offerhub.withdrawals import store
from offerhub.withdrawals.airtm_steps import AIRTM_SAGAS, CANCEL, COMMIT, PREPARE
from offerhub.withdrawals.model import DestinationType, Withdrawal

PAYOUT: Final = "withdrawal.payout"
MEMO_BYTES_MAX: Final = 28
"""A text memo of Stellar (providers.md 6.3)."""


class Asked(NamedTuple):
    """What the caller asks for. `memo` is for a Stellar address, `commit` for what would wait to be committed."""

    user_id: str
    amount: int
    currency: str
    destination_type: DestinationType
    destination: str
    memo: str | None
    description: str | None
    commit: bool


async def require(tx: Tx, marketplace_id: str, withdrawal_id: str, user_id: str | None = None) -> Withdrawal:
    """The withdrawal, of this user if one is named. Raises WithdrawalNotFound."""
    found = await store.get(tx, marketplace_id, withdrawal_id)
    if found is None or (user_id is not None and found.user_id != user_id):
        raise WithdrawalNotFound(withdrawalId=withdrawal_id[:64])
    return found


async def find(tx: Tx, withdrawal_id: str) -> Withdrawal | None:
    """The withdrawal of whichever marketplace, for what a provider tells."""
    return await store.find(tx, withdrawal_id)


class Withdrawals:
    """Starting withdrawals, and committing or cancelling those that wait for it.

    `airtm` is whether this installation pays out through Airtm besides Stellar.
    """

    def __init__(self, engine: Engine, network: Network, *, airtm: bool) -> None:
        self._engine = engine
        self._network = network
        self._airtm = airtm

    async def begin(self, tx: Tx, actor: Actor, asked: Asked) -> tuple[Withdrawal, str]:
        """Take the money aside and start what pays it; returns the withdrawal and the saga's id.

        Raises UserNotFound, UserNotActive, InsufficientFunds; for a Stellar address also WithdrawalDestinationInvalid
        and WalletNotReady; for Airtm ProviderNotEnabled and AirtmUserNotLinked.
        """
        await require_active(tx, actor.marketplace_id, asked.user_id)
        if asked.destination_type == "crypto":
            return await self._begin_crypto(tx, actor, asked)
        if not self._airtm:
            raise ProviderNotEnabled(destinationType=asked.destination_type)
        created = await self._insert(tx, actor, asked, "WITHDRAWAL_CREATED")
        held = await self._hold(tx, actor, created)
        linked = await require_linked(tx, actor.marketplace_id, asked.user_id)
        values = {
            "withdrawalId": created.id,
            "email": linked.airtm_email,
            "airtmUserId": linked.airtm_user_id,
            "amount": int(created.amount),
            "commit": asked.commit,
        }
        return created, await self._start(tx, actor, PREPARE, created, values, held)

    async def begin_commit(self, tx: Tx, actor: Actor, withdrawal_id: str, user_id: str | None) -> str:
        """Start to commit; returns the saga's id.

        Raises WithdrawalNotFound, WithdrawalNotCommittable, PayoutNotReady.
        """
        withdrawal = await self._still_created(tx, actor, withdrawal_id, user_id)
        if withdrawal is None:
            found = await require(tx, actor.marketplace_id, withdrawal_id, user_id)
            raise WithdrawalNotCommittable(withdrawalId=found.id, currentStatus=found.status)
        return await self._engine.start(tx, actor, COMMIT, withdrawal.id, {"withdrawalId": withdrawal.id})

    async def begin_cancel(self, tx: Tx, actor: Actor, withdrawal_id: str, user_id: str | None) -> str:
        """Start to cancel; returns the saga's id. Raises WithdrawalNotFound, InvalidState, PayoutNotReady."""
        withdrawal = await self._still_created(tx, actor, withdrawal_id, user_id)
        if withdrawal is None:
            found = await require(tx, actor.marketplace_id, withdrawal_id, user_id)
            raise InvalidState(
                "Only a withdrawal that was not committed can be cancelled.",
                withdrawalId=found.id,
                currentStatus=found.status,
                currentState=found.status,
                allowedStates=["WITHDRAWAL_CREATED"],
            )
        return await self._engine.start(tx, actor, CANCEL, withdrawal.id, {"withdrawalId": withdrawal.id})

    async def _still_created(
        self, tx: Tx, actor: Actor, withdrawal_id: str, user_id: str | None
    ) -> Withdrawal | None:
        """The withdrawal, locked, while it waits to be committed and nothing is under way; None when it does not.

        Raises PayoutNotReady while Airtm has not told of the payout.
        """
        found = await require(tx, actor.marketplace_id, withdrawal_id, user_id)
        locked = await store.lock(tx, found.id)
        if locked.status != "WITHDRAWAL_CREATED":
            return None
        if locked.airtm_payout_id is None:
            raise PayoutNotReady(withdrawalId=locked.id)
        running = [await self._engine.running(tx, kind, locked.id) for kind in AIRTM_SAGAS]
        return None if any(running) else locked

    async def _begin_crypto(self, tx: Tx, actor: Actor, asked: Asked) -> tuple[Withdrawal, str]:
        wallet, world = await self._payer(tx, actor, asked.user_id)
        account = self._checked(asked, wallet.public_key)
        created = await self._insert(tx, actor, asked, "WITHDRAWAL_PENDING")
        held = await self._hold(tx, actor, created)
        values = {
            "withdrawalId": created.id,
            "source": wallet.public_key,
            "world": world.value,
            "destination": created.destination_ref,
            "account": account,
            "amount": int(created.amount),
            "memo": created.memo,
        }
        return created, await self._start(tx, actor, PAYOUT, created, values, held)

    async def _payer(self, tx: Tx, actor: Actor, user_id: str) -> tuple[Wallet, Kind]:
        """The wallet that pays, and the account of the books that stands for it.

        Where users pay in through Airtm their own wallets are empty, and the treasury pays.
        """
        if self._airtm:
            return await require_system(tx, "treasury"), Kind.WORLD_TREASURY
        return await require_ready(tx, actor.marketplace_id, user_id), Kind.WORLD_STELLAR

    async def _insert(self, tx: Tx, actor: Actor, asked: Asked, status: str) -> Withdrawal:
        return await store.insert(
            tx,
            actor.marketplace_id,
            asked.user_id,
            asked.amount,
            asked.currency,
            status=status,
            destination_type=asked.destination_type,
            destination=asked.destination,
            memo=asked.memo,
            description=asked.description,
        )

    async def _hold(self, tx: Tx, actor: Actor, created: Withdrawal) -> Event:
        """Take the money aside; returns the event of it. Raises InsufficientFunds."""
        user_id = created.user_id
        legs = [
            Leg(user_id, Kind.AVAILABLE, -created.amount),
            Leg(user_id, Kind.WITHDRAWING, created.amount),
        ]
        around = await ledger.post(
            tx, actor, Entry(f"withdrawal:{created.id}:create", "withdrawal", created.id, legs)
        )
        available = around[user_id, Kind.AVAILABLE]
        return catalogue.balance_debited(user_id, created.amount, "withdrawal", created.id, available)

    async def _start(
        self, tx: Tx, actor: Actor, kind: str, created: Withdrawal, values: dict[str, Any], held: Event
    ) -> str:
        payload = {
            "withdrawalId": created.id,
            "userId": created.user_id,
            "amount": format_amount(created.amount),
            "currency": created.currency,
            "destinationType": created.destination_type,
            "destinationRef": created.destination_ref,
        }
        return await self._engine.start(
            tx,
            actor,
            kind,
            created.id,
            values,
            events=[held, Event("withdrawal.created", "Withdrawal", created.id, payload, created.user_id)],
            audit=[
                AuditEntry("WITHDRAWAL_CREATED", "Withdrawal", created.id, after=payload, user_id=created.user_id)
            ],
        )

    def _checked(self, asked: Asked, own_address: str) -> str:
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
