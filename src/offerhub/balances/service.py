"""Use cases of balances. An operation is one post with its event and audit entry, performed by the database whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from offerhub.balances import store
from offerhub.balances.model import (
    Balance,
    BalanceAnswer,
    BalanceOperation,
    BalanceOperationAnswer,
    BalancePartsAnswer,
    BalanceSyncAnswer,
    BalanceVerificationAnswer,
    balance_fields,
)
from offerhub.errors import (
    BalanceDiscrepancy,
    InvalidRequest,
    Refusal,
    StellarNetworkError,
    UserNotFound,
)
from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, Event, record, rows
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import UNITS_PER_CENT, UNITS_PER_ONE, format_amount
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Hold, Leg, check
from offerhub.providers.stellar.horizon import Horizon
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.lookups import Lookups
from offerhub.runtime.statements import Places, Statement, place, template
from offerhub.users.service import refusal_of_user_or_books
from offerhub.wallets.service import require as require_wallet

PLACES_EACH: Final = 8
"""How many places `balance_operation` fills for each user."""
SIDES_MAX: Final = 2
DISCREPANCY_TOLERATED_UNITS = UNITS_PER_ONE
"""The books and the chain may differ by 1.00 before `verify` refuses (contract 2.4)."""


class Manual(msgspec.Struct, frozen=True):
    """What the caller asks for: an amount in units, and the words that go with it."""

    amount: int
    reference: str | None
    description: str | None


async def read(balances: Lookups, marketplace_id: str, user_id: str) -> Balance:
    """A user's balance. Raises UserNotFound."""
    found = await store.get(balances, marketplace_id, user_id)
    if found is None:
        raise UserNotFound(userId=user_id[:64])
    return found


class Change(NamedTuple):
    """What an operation adds to a user's available and held amounts, in units."""

    available: int = 0
    held: int = 0


class _Around(NamedTuple):
    """Where a user's money before and after goes: what may be spent, is set aside, or that or on its way out."""

    available: Places
    held: Places
    reserved: Places
    total: str
    updated: str

    @classmethod
    def of(cls, number: int) -> "_Around":
        """The places of the user of this number."""
        one, two, three, four, five, six, seven, eight = (place(PLACES_EACH * number + at) for at in range(1, 9))
        return cls(Places(one, two), Places(three, four), Places(five, six), seven, eight)


_AROUND: Final = tuple(_Around.of(number) for number in range(SIDES_MAX))


class _Side(msgspec.Struct, frozen=True):
    """One user in an operation, with places for what only the database knows."""

    user_id: str
    must_be_active: bool
    change: Change
    number: int

    @property
    def around(self) -> "_Around":
        """The user's money before and after."""
        return _AROUND[self.number]

    def fields(self) -> dict[str, Any]:
        """The balance object after the operation."""
        around = self.around
        after = around.available.becomes, around.reserved.becomes
        return balance_fields(self.user_id, *after, around.total, around.updated)

    def request(self) -> dict[str, Any]:
        """As the database takes it."""
        moved = {"available": self.change.available, "held": self.change.held}
        return {"id": self.user_id, "active": self.must_be_active, **moved}


class _Plan(msgspec.Struct, frozen=True):
    """What the database is to do: the legs to post, what a hold gains or loses, and what is told of it."""

    operation: BalanceOperation
    kind: str
    subject: str
    legs: Sequence[Leg]
    sides: Sequence[_Side]
    """The last one is whom the answer tells of."""
    events: Sequence[Event]
    hold: Hold | None = None

    def statement(self, actor: Actor, asked: Manual) -> Statement:
        """The whole of it."""
        check(self.legs)
        told = self.sides[-1]
        available, reserved = told.around.available, told.around.reserved
        before = {"available": available.was, "reserved": reserved.was}
        after = {"available": available.becomes, "reserved": reserved.becomes}
        amount = format_amount(asked.amount)
        more = {"amount": amount, "reference": asked.reference}
        entry = AuditEntry(
            self.operation, "Balance", told.user_id, before, after | more, user_id=told.user_id, id=new_id("aud")
        )
        assert entry.id is not None
        events, audit = rows(actor, self.events, [entry])
        request: dict[str, Any] = {
            "marketplace": actor.marketplace_id,
            "actor": actor.for_audit(),
            "events": template(events),
            "audit": template(audit),
            **(self._by_hand(actor, asked) if self.hold is None else self._of_hold(actor, self.hold)),
        }
        answer = BalanceOperationAnswer(
            **told.fields(),
            success=True,
            operation=self.operation,
            amount=amount,
            previousBalance=BalancePartsAnswer(**before),
            newBalance=BalancePartsAnswer(**after),
            auditLogId=entry.id,
            balance=BalanceAnswer(**told.fields()),
        )
        turn = told.user_id if len(self.sides) == 1 else None
        use_case = "move_by_hand" if self.hold is None else "balance_operation"
        return Statement(use_case, turn, request, answer, refusal_of_user_or_books)

    def _by_hand(self, actor: Actor, asked: Manual) -> dict[str, Any]:
        """What `move_by_hand` posts: one user's available balance against `world:manual`."""
        [side] = self.sides
        return {
            "user": side.user_id,
            "amount": side.change.available,
            "key": new_id("req"),
            "kind": self.kind,
            "reason": asked.description,
            "by": actor.credential_id,
        }

    def _of_hold(self, actor: Actor, hold: Hold) -> dict[str, Any]:
        """What `balance_operation` posts, and what it sets aside or takes."""
        change = next(side.change.held for side in self.sides if side.user_id == hold.user_id)
        return {
            "users": [side.request() for side in self.sides],
            "post": {
                "key": new_id("req"),
                "kind": self.kind,
                "subject": self.subject,
                "reason": None,
                "actor": actor.credential_id,
                "owners": [leg.owner for leg in self.legs],
                "kinds": [leg.kind.value for leg in self.legs],
                "amounts": [leg.amount for leg in self.legs],
            },
            "hold": {"user": hold.user_id, "source": hold.source, "reference": hold.reference, "change": change},
        }


def credit(actor: Actor, user_id: str, asked: Manual) -> Statement:
    """A manual credit: `world:manual` to `available`. Refused with UserNotFound, UserNotActive, InvalidAmount."""
    side = _Side(user_id, True, Change(available=asked.amount), 0)
    legs = [Leg(actor.marketplace_id, Kind.WORLD_MANUAL, -asked.amount), Leg(user_id, Kind.AVAILABLE, asked.amount)]
    event = catalogue.balance_credited(user_id, asked.amount, "other", asked.reference, side.around.available)
    return _Plan("CREDIT_AVAILABLE", "manual_credit", user_id, legs, [side], [event]).statement(actor, asked)


def debit(actor: Actor, user_id: str, asked: Manual) -> Statement:
    """A manual debit: `available` to `world:manual`. Refused with InsufficientFunds, UserNotFound, UserNotActive."""
    side = _Side(user_id, True, Change(available=-asked.amount), 0)
    legs = [Leg(user_id, Kind.AVAILABLE, -asked.amount), Leg(actor.marketplace_id, Kind.WORLD_MANUAL, asked.amount)]
    event = catalogue.balance_debited(user_id, asked.amount, "other", asked.reference, side.around.available)
    return _Plan("DEBIT_AVAILABLE", "manual_debit", user_id, legs, [side], [event]).statement(actor, asked)


def _hold(user_id: str, asked: Manual) -> Hold:
    assert asked.reference is not None
    return Hold(user_id, "api", asked.reference)


def reserve(actor: Actor, user_id: str, asked: Manual) -> Statement:
    """Set money aside under a reference. Refused with InsufficientFunds, UserNotFound, UserNotActive."""
    held, amount = _hold(user_id, asked), asked.amount
    side = _Side(user_id, True, Change(available=-amount, held=amount), 0)
    legs = [Leg(user_id, Kind.AVAILABLE, -amount), Leg(user_id, Kind.RESERVED, amount)]
    event = catalogue.balance_reserved(user_id, amount, held.reference, side.around.available, side.around.held)
    return _Plan("RESERVE", "hold", held.reference, legs, [side], [event], held).statement(actor, asked)


def cancel_reservation(actor: Actor, user_id: str, asked: Manual) -> Statement:
    """Give reserved money back. Refused with ReserveNotFound, UserNotFound."""
    held, amount = _hold(user_id, asked), asked.amount
    side = _Side(user_id, False, Change(available=amount, held=-amount), 0)
    legs = [Leg(user_id, Kind.RESERVED, -amount), Leg(user_id, Kind.AVAILABLE, amount)]
    event = catalogue.balance_released(
        user_id, amount, held.reference, side.around.available, side.around.held, "cancel"
    )
    return _Plan("CANCEL_RESERVATION", "void", held.reference, legs, [side], [event], held).statement(actor, asked)


def deduct_reserved(actor: Actor, user_id: str, asked: Manual) -> Statement:
    """Take reserved money out of the books by hand. Refused with ReserveNotFound, UserNotFound."""
    held, amount = _hold(user_id, asked), asked.amount
    side = _Side(user_id, False, Change(held=-amount), 0)
    legs = [Leg(user_id, Kind.RESERVED, -amount), Leg(actor.marketplace_id, Kind.WORLD_MANUAL, amount)]
    event = catalogue.balance_released(
        user_id, amount, held.reference, side.around.available, side.around.held, "other"
    )
    plan = _Plan("DEDUCT_RESERVED", "manual_deduct", held.reference, legs, [side], [event], held)
    return plan.statement(actor, asked)


def release(actor: Actor, user_id: str, recipient_id: str, asked: Manual) -> Statement:
    """Pay reserved money to another user; answers the recipient's balance.

    Refused with ReserveNotFound, UserNotFound, UserNotActive; raises InvalidRequest when payer and recipient are the
    same.
    """
    if recipient_id == user_id:
        raise InvalidRequest("payer and recipient must be two different users", userId=user_id[:64])
    held, amount = _hold(user_id, asked), asked.amount
    payer = _Side(user_id, False, Change(held=-amount), 0)
    recipient = _Side(recipient_id, True, Change(available=amount), 1)
    legs = [Leg(user_id, Kind.RESERVED, -amount), Leg(recipient_id, Kind.AVAILABLE, amount)]
    events = [
        catalogue.balance_released(
            user_id, amount, held.reference, payer.around.available, payer.around.held, "other"
        ),
        catalogue.balance_credited(recipient_id, amount, "release", held.reference, recipient.around.available),
    ]
    plan = _Plan("RELEASE", "manual_release", held.reference, legs, [payer, recipient], events, held)
    return plan.statement(actor, asked)


async def record_refusal(
    tx: Tx, actor: Actor, user_id: str, operation: BalanceOperation, asked: Manual, refusal: Refusal
) -> None:
    """Record an operation that the state of the user, or of the user's money, did not allow."""
    after = {"amount": format_amount(asked.amount), "reference": asked.reference, "code": refusal.code}
    entry = AuditEntry(operation, "Balance", user_id, None, after, "FAILURE", user_id=user_id)
    await record(tx, actor, audit=[entry])


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


async def compare(
    database: Database, balances: Lookups, horizon: Horizon | None, marketplace_id: str, user_id: str
) -> Comparison:
    """Read the books, then the chain; changes nothing. Raises UserNotFound, WalletNotFound.

    Without a Horizon the money is not in the users' own wallets, and there is nothing to compare one user with.
    """

    balance = await read(balances, marketplace_id, user_id)
    wallet = await database.run(lambda tx: require_wallet(tx, marketplace_id, user_id), read_only=True)
    if horizon is None:
        return Comparison(balance, None, reachable=False)
    try:
        account = await horizon.account(wallet.public_key)
    except StellarNetworkError:
        return Comparison(balance, None, reachable=False)
    return Comparison(balance, None if account is None else account.usdc, reachable=True)
