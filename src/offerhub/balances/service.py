"""Use cases of balances: each is one post in the caller's transaction, with its event and audit entry."""

from collections.abc import Mapping
from dataclasses import dataclass

from offerhub.balances import store
from offerhub.balances.model import (
    Balance,
    BalanceOperation,
    BalanceOperationAnswer,
    BalanceSyncAnswer,
    BalanceVerificationAnswer,
    operation_wire,
)
from offerhub.errors import BalanceDiscrepancy, InvalidRequest, Refusal, StellarNetworkError, UserNotFound
from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import UNITS_PER_CENT, UNITS_PER_ONE, format_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Around, Entry, Hold, Leg
from offerhub.providers.stellar.horizon import Horizon
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.users.service import require_active
from offerhub.wallets.model import Wallet
from offerhub.wallets.service import require as require_wallet

DISCREPANCY_TOLERATED_UNITS = UNITS_PER_ONE
"""The books and the chain may differ by 1.00 before `verify` refuses (contract 2.4)."""


@dataclass(frozen=True, slots=True)
class Manual:
    """What the caller asks for: an amount in units, and the words that go with it."""

    amount: int
    reference: str | None
    description: str | None


Balances = Mapping[tuple[str, Kind], Around]


async def read(tx: Tx, marketplace_id: str, user_id: str) -> Balance:
    """A user's balance. Raises UserNotFound."""
    found = await store.get(tx, marketplace_id, user_id)
    if found is None:
        raise UserNotFound(userId=user_id[:64])
    return found


async def credit(tx: Tx, actor: Actor, user_id: str, asked: Manual) -> BalanceOperationAnswer:
    """A manual credit: `world:manual` to `available`. Raises UserNotFound, UserNotActive."""
    await require_active(tx, actor.marketplace_id, user_id)
    key = new_id("req")
    legs = [Leg(actor.marketplace_id, Kind.WORLD_MANUAL, -asked.amount), Leg(user_id, Kind.AVAILABLE, asked.amount)]
    around = await ledger.post(tx, actor, Entry(key, "manual_credit", user_id, legs, asked.description))
    event = catalogue.balance_credited(
        user_id, asked.amount, "other", asked.reference, around[user_id, Kind.AVAILABLE]
    )
    return await _answer(tx, actor, user_id, "CREDIT_AVAILABLE", asked, [event])


async def debit(tx: Tx, actor: Actor, user_id: str, asked: Manual) -> BalanceOperationAnswer:
    """A manual debit: `available` to `world:manual`. Raises InsufficientFunds, UserNotFound, UserNotActive."""
    await require_active(tx, actor.marketplace_id, user_id)
    key = new_id("req")
    legs = [Leg(user_id, Kind.AVAILABLE, -asked.amount), Leg(actor.marketplace_id, Kind.WORLD_MANUAL, asked.amount)]
    around = await ledger.post(tx, actor, Entry(key, "manual_debit", user_id, legs, asked.description))
    event = catalogue.balance_debited(
        user_id, asked.amount, "other", asked.reference, around[user_id, Kind.AVAILABLE]
    )
    return await _answer(tx, actor, user_id, "DEBIT_AVAILABLE", asked, [event])


def _hold(user_id: str, asked: Manual) -> Hold:
    assert asked.reference is not None
    return Hold(user_id, "api", asked.reference)


async def reserve(tx: Tx, actor: Actor, user_id: str, asked: Manual) -> BalanceOperationAnswer:
    """Set money aside under a reference. Raises InsufficientFunds, UserNotFound, UserNotActive."""
    await require_active(tx, actor.marketplace_id, user_id)
    held = _hold(user_id, asked)
    around = await ledger.hold(tx, actor, new_id("req"), held, asked.amount)
    event = catalogue.balance_reserved(
        user_id, asked.amount, held.reference, around[user_id, Kind.AVAILABLE], around[user_id, Kind.RESERVED]
    )
    return await _answer(tx, actor, user_id, "RESERVE", asked, [event])


async def cancel_reservation(tx: Tx, actor: Actor, user_id: str, asked: Manual) -> BalanceOperationAnswer:
    """Give reserved money back. Raises ReserveNotFound, UserNotFound."""
    await read(tx, actor.marketplace_id, user_id)
    held = _hold(user_id, asked)
    around = await ledger.void(tx, actor, new_id("req"), held, asked.amount)
    event = await _released(tx, actor, held, asked.amount, around, "cancel")
    return await _answer(tx, actor, user_id, "CANCEL_RESERVATION", asked, [event])


async def deduct_reserved(tx: Tx, actor: Actor, user_id: str, asked: Manual) -> BalanceOperationAnswer:
    """Take reserved money out of the books by hand. Raises ReserveNotFound, UserNotFound."""
    await read(tx, actor.marketplace_id, user_id)
    held = _hold(user_id, asked)
    legs = [Leg(actor.marketplace_id, Kind.WORLD_MANUAL, asked.amount)]
    around = await ledger.settle(tx, actor, new_id("req"), held, legs, kind="manual_deduct")
    event = await _released(tx, actor, held, asked.amount, around, "other")
    return await _answer(tx, actor, user_id, "DEDUCT_RESERVED", asked, [event])


async def release(tx: Tx, actor: Actor, user_id: str, recipient_id: str, asked: Manual) -> BalanceOperationAnswer:
    """Pay reserved money to another user; answers the recipient's balance.

    Raises ReserveNotFound, UserNotFound, UserNotActive, or InvalidRequest when payer and recipient are the same.
    """
    await read(tx, actor.marketplace_id, user_id)
    await require_active(tx, actor.marketplace_id, recipient_id)
    if recipient_id == user_id:
        raise InvalidRequest("payer and recipient must be two different users", userId=user_id)
    held = _hold(user_id, asked)
    legs = [Leg(recipient_id, Kind.AVAILABLE, asked.amount)]
    around = await ledger.settle(tx, actor, new_id("req"), held, legs, kind="manual_release")
    credited = catalogue.balance_credited(
        recipient_id, asked.amount, "release", held.reference, around[recipient_id, Kind.AVAILABLE]
    )
    events = [await _released(tx, actor, held, asked.amount, around, "other"), credited]
    return await _answer(tx, actor, recipient_id, "RELEASE", asked, events)


async def _released(
    tx: Tx, actor: Actor, held: Hold, amount: int, around: Balances, reason: catalogue.ReleaseReason
) -> Event:
    available = around.get((held.user_id, Kind.AVAILABLE))
    if available is None:
        current = await ledger.balances(tx, actor.marketplace_id, held.user_id, [Kind.AVAILABLE])
        available = Around(current[Kind.AVAILABLE], current[Kind.AVAILABLE])
    reserved = around[held.user_id, Kind.RESERVED]
    return catalogue.balance_released(held.user_id, amount, held.reference, available, reserved, reason)


async def _answer(
    tx: Tx, actor: Actor, user_id: str, operation: BalanceOperation, asked: Manual, events: list[Event]
) -> BalanceOperationAnswer:
    """Record the operation and answer with the user's balances around it."""
    after = await read(tx, actor.marketplace_id, user_id)
    before = _before(after, operation, asked.amount)
    entry = AuditEntry(
        operation,
        "Balance",
        user_id,
        before.parts(),
        after.parts() | {"amount": format_amount(asked.amount), "reference": asked.reference},
        user_id=user_id,
        id=new_id("aud"),
    )
    await record(tx, actor, events=events, audit=[entry])
    assert entry.id is not None
    return operation_wire(operation, asked.amount, before, after, entry.id)


async def record_refusal(
    tx: Tx, actor: Actor, user_id: str, operation: BalanceOperation, asked: Manual, refusal: Refusal
) -> None:
    """Record an operation that the state of the user, or of the user's money, did not allow."""
    after = {"amount": format_amount(asked.amount), "reference": asked.reference, "code": refusal.code}
    entry = AuditEntry(operation, "Balance", user_id, None, after, "FAILURE", user_id=user_id)
    await record(tx, actor, audit=[entry])


_EFFECTS = {
    "CREDIT_AVAILABLE": (1, 0),
    "DEBIT_AVAILABLE": (-1, 0),
    "RESERVE": (-1, 1),
    "CANCEL_RESERVATION": (1, -1),
    "DEDUCT_RESERVED": (0, -1),
    "RELEASE": (1, 0),
}
"""What each operation adds to (available, reserved) of the user it answers for, in amounts."""


def _before(after: Balance, operation: BalanceOperation, amount: int) -> Balance:
    """The balance before: its rows are locked by the post, so nothing else can have moved it since."""
    available, reserved = _EFFECTS[operation]
    return Balance(
        after.user_id, after.available - available * amount, after.reserved - reserved * amount, after.updated_at
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """The books beside the chain. `chain` is None while the wallet is not set up or the chain cannot be read."""

    balance: Balance
    chain: int | None
    reachable: bool

    @property
    def difference(self) -> int:
        """What the chain holds more than the books, in units; 0 when there is nothing to compare with."""
        return 0 if self.chain is None else self.chain - self.balance.available - self.balance.reserved

    @property
    def agrees(self) -> bool:
        """True when both are there and do not differ by a cent."""
        return self.chain is not None and abs(self.difference) < UNITS_PER_CENT

    def sync_wire(self) -> BalanceSyncAnswer:
        """The answer of `sync` (contract 2.4)."""
        known = format_amount(self.chain or 0) if self.reachable else "unknown"
        return BalanceSyncAnswer(
            **self.balance.fields(),
            synced=self.chain is not None,
            localBalance=format_amount(self.balance.available + self.balance.reserved),
            providerBalance=known,
            discrepancy=format_amount(self.difference) if self.reachable else "unknown",
            action="none" if self.chain is None or self.agrees else "flagged",
        )

    def verify_wire(self) -> BalanceVerificationAnswer:
        """The answer of `verify`. Raises BalanceDiscrepancy when books and chain are more than 1.00 apart."""
        if abs(self.difference) > DISCREPANCY_TOLERATED_UNITS:
            assert self.chain is not None
            raise BalanceDiscrepancy(
                userId=self.balance.user_id,
                localBalance=format_amount(self.balance.available + self.balance.reserved),
                providerBalance=format_amount(self.chain),
                currency="USD",
                difference=format_amount(self.difference),
            )
        return BalanceVerificationAnswer(**self.balance.fields(), providerVerified=self.agrees)


async def compare(database: Database, horizon: Horizon | None, marketplace_id: str, user_id: str) -> Comparison:
    """Read the books, then the chain; changes nothing. Raises UserNotFound, WalletNotFound.

    Without a Horizon the money is not in the users' own wallets, and there is nothing to compare one user with.
    """

    async def ours(tx: Tx) -> tuple[Balance, Wallet]:
        return await read(tx, marketplace_id, user_id), await require_wallet(tx, marketplace_id, user_id)

    balance, wallet = await database.run(ours, read_only=True)
    if horizon is None:
        return Comparison(balance, None, reachable=False)
    try:
        account = await horizon.account(wallet.public_key)
    except StellarNetworkError:
        return Comparison(balance, None, reachable=False)
    return Comparison(balance, None if account is None else account.usdc, reachable=True)
