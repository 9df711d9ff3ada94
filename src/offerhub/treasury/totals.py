"""The treasury's books beside its account on the chain and beside Airtm, as findings.

What is under way explains a difference up to its amount: a movement may have happened outside and not be booked yet.
With nothing under way the amounts agree to the unit.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.errors import Refusal, StellarNetworkError
from offerhub.findings.looks import Compared, look
from offerhub.kernel.money import format_chain_amount
from offerhub.providers.airtm.client import Airtm
from offerhub.runtime.database import Database, Tx
from offerhub.treasury import store
from offerhub.treasury.model import Books, UnderWay
from offerhub.wallets.model import Wallet
from offerhub.wallets.service import of_system
from offerhub.wallets.totals import Holdings, Totals

TREASURY: Final = "TREASURY_DIFFERS"
AIRTM: Final = "AIRTM_DIFFERS"
SUBJECT_TYPE: Final = "Treasury"

log = structlog.get_logger("offerhub.treasury")


@dataclass(frozen=True, slots=True)
class _Read:
    """The books, and what may have moved without being booked."""

    books: Books
    under_way: UnderWay
    wallet: Wallet
    aside: int


async def compare_treasury(database: Database, holdings: Holdings, airtm: Airtm) -> Totals:
    """Look at the treasury's account on the chain, and at the operator's account at Airtm."""
    checked = differences = failed = 0
    for one in (_on_chain(database, holdings), _at_airtm(database, airtm)):
        compared = await one
        if compared is None:
            failed += 1
            continue
        checked += 1
        differences += await database.run(partial(look, compared=compared))
    return Totals(checked, differences, failed)


async def _on_chain(database: Database, holdings: Holdings) -> Compared | None:
    before = await database.snapshot(_read)
    address = before.wallet.public_key
    try:
        held = await holdings.held([address])
        lag = await holdings.caught_up()
    except StellarNetworkError as error:
        log.warning("totals_delayed", error=str(error))
        return None
    if lag is None:
        return None
    after = await database.snapshot(_read)
    most = max(before.under_way.on_chain, after.under_way.on_chain)
    is_same = (before.books.treasury, before.aside) == (after.books.treasury, after.aside)
    return Compared(
        DEFAULT_MARKETPLACE_ID,
        TREASURY,
        SUBJECT_TYPE,
        before.wallet.id,
        books=after.books.treasury + after.aside,
        outside=held,
        explained=(-most, most) if is_same else None,
        evidence={
            "address": address,
            "underWay": format_chain_amount(most),
            "putAside": format_chain_amount(after.aside),
            "bookedUpToLedger": lag.ledger,
            "openGaps": lag.gaps,
        },
    )


async def _at_airtm(database: Database, airtm: Airtm) -> Compared | None:
    before = await database.snapshot(_read)
    try:
        found = await airtm.balance()
    except Refusal as refusal:
        log.warning("treasury_airtm_unknown", code=refusal.code)
        return None
    after = await database.snapshot(_read)
    coming = max(before.under_way.topups, after.under_way.topups)
    going = max(before.under_way.payouts, after.under_way.payouts)
    return Compared(
        DEFAULT_MARKETPLACE_ID,
        AIRTM,
        SUBJECT_TYPE,
        "airtm",
        books=after.books.airtm,
        outside=int(found.available) + int(found.pending),
        explained=(-going, coming) if before.books.airtm == after.books.airtm else None,
        evidence={
            "available": format_chain_amount(int(found.available)),
            "pending": format_chain_amount(int(found.pending)),
            "topUpsUnderWay": format_chain_amount(coming),
            "payoutsUnderWay": format_chain_amount(going),
        },
    )


async def _read(tx: Tx) -> _Read:
    wallet = await of_system(tx, "treasury")
    aside = await store.put_aside(tx, wallet.public_key)
    return _Read(await store.books(tx), await store.under_way(tx), wallet, aside)
