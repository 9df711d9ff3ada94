"""Use cases of the treasury: what it holds, and moving the operator's own capital.

The treasury is one account on Stellar for the whole installation. It pays escrows in and is paid by them while users
pay in and out through Airtm, so it lays out what Airtm owes. Its capital is what the operator sent to its address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from offerhub.access.service import require_operator
from offerhub.errors import InvalidState, ProviderNotEnabled, Refusal, StellarNetworkError, TreasuryShort
from offerhub.events import catalogue
from offerhub.events.journal import AuditEntry, record
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount, format_chain_amount
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Around, Entry, Leg
from offerhub.providers.airtm.client import Airtm
from offerhub.providers.stellar.horizon import Horizon
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.treasury import store
from offerhub.treasury.model import (
    Books,
    CapitalMovementAnswer,
    TreasuryAnswer,
    TreasuryAtAirtmAnswer,
    TreasuryOnChainAnswer,
    movement,
)
from offerhub.users.service import require_active
from offerhub.wallets.model import Wallet
from offerhub.wallets.service import of_system

UNKNOWN: Final = "unknown"
Direction = Literal["INTO_AIRTM", "OUT_OF_AIRTM"]

log = structlog.get_logger("offerhub.treasury")


class TreasuryLow(Exception):
    """The treasury holds less than its floor: send USDC to its address."""


@dataclass(frozen=True, slots=True)
class Treasury:
    """The treasury of an installation whose users pay through Airtm; `airtm` None says that there is none.

    `floor` is in units; what the account holds below it raises the alarm.
    """

    database: Database
    horizon: Horizon
    airtm: Airtm | None
    floor: int

    async def position(self, actor: Actor) -> TreasuryAnswer:
        """The books beside the chain and beside Airtm. Raises InsufficientScope, ProviderNotEnabled."""
        require_operator(actor)

        async def ours(tx: Tx) -> tuple[Books, Wallet]:
            return await store.books(tx), await self._wallet(tx)

        books, wallet = await self.database.run(ours, read_only=True)
        held = await self._held(wallet)
        return TreasuryAnswer(
            treasury=TreasuryOnChainAnswer(
                address=wallet.public_key,
                status=wallet.status,
                inBooks=format_chain_amount(books.treasury),
                onChain=_shown(held),
                difference=_shown(None if held is None else held - books.treasury),
            ),
            airtm=await self._at_airtm(books),
            capital=format_chain_amount(books.capital),
            advanced=format_chain_amount(books.advanced),
            floor=format_chain_amount(self.floor),
            isLow=UNKNOWN if held is None else held < self.floor,
        )

    async def check_floor(self) -> None:
        """For the health check. Raises TreasuryLow, or StellarNetworkError when the chain cannot be read."""
        wallet = await self.database.run(self._wallet, read_only=True)
        held = await self._on_chain(wallet)
        if held < self.floor:
            facts = {"held": format_amount(held), "floor": format_amount(self.floor)}
            log.error("treasury_low", address=wallet.public_key, **facts)
            raise TreasuryLow(f"holds {facts['held']} USDC, less than its floor of {facts['floor']}")

    async def holds(self) -> int:
        """Units of USDC on its account. Raises StellarNetworkError when the chain cannot be read."""
        return await self._on_chain(await self.database.run(self._wallet, read_only=True))

    async def transfer_capital(
        self, tx: Tx, actor: Actor, user_id: str, amount: int, reference: str
    ) -> CapitalMovementAnswer:
        """Move capital to a user's balance, from where it can be withdrawn.

        Raises InsufficientScope, ProviderNotEnabled, UserNotFound, UserNotActive, TreasuryShort, InvalidState for a
        reference that was used before.
        """
        await self._begin(tx, actor)
        await require_active(tx, actor.marketplace_id, user_id)
        capital = (await store.books(tx)).capital
        if capital < amount:
            raise TreasuryShort(requested=format_amount(amount), capital=format_amount(capital))
        legs = [
            Leg(actor.marketplace_id, Kind.CAPITAL_TREASURY, -amount),
            Leg(user_id, Kind.AVAILABLE, amount),
        ]
        entry = Entry(f"treasury:transfer:{reference}", "capital_transfer", user_id, legs, reference)
        around = await self._post(tx, actor, entry, reference)
        credited = catalogue.balance_credited(user_id, amount, "other", reference, around[user_id, Kind.AVAILABLE])
        facts = {"reference": reference, "userId": user_id, "amount": format_amount(amount)}
        audit = AuditEntry("TREASURY_CAPITAL_TRANSFERRED", "Treasury", "treasury", None, facts, user_id=user_id)
        await record(tx, actor, events=[credited], audit=[audit])
        moment = await store.posted_at(tx, actor.marketplace_id, entry.business_key)
        return movement("capital_transfer", reference, -amount, capital - amount, to_wire(moment))

    async def rebalance(
        self, tx: Tx, actor: Actor, direction: Direction, amount: int, reference: str
    ) -> CapitalMovementAnswer:
        """Book capital that has moved into Airtm's account or out of it.

        Raises InsufficientScope, ProviderNotEnabled, InvalidState for a reference that was used before.
        """
        await self._begin(tx, actor)
        grown = amount if direction == "INTO_AIRTM" else -amount
        legs = [
            Leg(actor.marketplace_id, Kind.WORLD_AIRTM, -grown),
            Leg(actor.marketplace_id, Kind.CAPITAL_TREASURY, grown),
        ]
        entry = Entry(f"treasury:rebalancing:{reference}", "rebalancing", "treasury", legs, reference)
        await self._post(tx, actor, entry, reference)
        facts = {"reference": reference, "direction": direction, "amount": format_amount(amount)}
        await record(tx, actor, audit=[AuditEntry("TREASURY_REBALANCED", "Treasury", "treasury", None, facts)])
        capital = (await store.books(tx)).capital
        moment = await store.posted_at(tx, actor.marketplace_id, entry.business_key)
        return movement("rebalancing", reference, grown, capital, to_wire(moment))

    async def _begin(self, tx: Tx, actor: Actor) -> None:
        require_operator(actor)
        if self.airtm is None:
            raise ProviderNotEnabled(provider="airtm")
        await store.lock_capital(tx)

    async def _post(self, tx: Tx, actor: Actor, entry: Entry, reference: str) -> Mapping[tuple[str, Kind], Around]:
        if await store.is_posted(tx, actor.marketplace_id, entry.business_key):
            raise InvalidState("This reference has been booked already.", reference=reference)
        return await ledger.post(tx, actor, entry)

    async def _wallet(self, tx: Tx) -> Wallet:
        if self.airtm is None:
            raise ProviderNotEnabled(provider="airtm")
        return await of_system(tx, "treasury")

    async def _held(self, wallet: Wallet) -> int | None:
        """Units of USDC on the treasury's account; None when the chain cannot be read."""
        try:
            return await self._on_chain(wallet)
        except StellarNetworkError:
            return None

    async def _on_chain(self, wallet: Wallet) -> int:
        account = await self.horizon.account(wallet.public_key)
        return 0 if account is None or account.usdc is None else int(account.usdc)

    async def _at_airtm(self, books: Books) -> TreasuryAtAirtmAnswer:
        assert self.airtm is not None
        available = pending = difference = None
        try:
            found = await self.airtm.balance()
        except Refusal as refusal:
            log.warning("treasury_airtm_unknown", code=refusal.code)
        else:
            available, pending = int(found.available), int(found.pending)
            difference = available + pending - books.airtm
        return TreasuryAtAirtmAnswer(
            inBooks=format_chain_amount(books.airtm),
            available=_shown(available),
            pending=_shown(pending),
            difference=_shown(difference),
        )


def _shown(units: int | None) -> str:
    return UNKNOWN if units is None else format_chain_amount(units)
