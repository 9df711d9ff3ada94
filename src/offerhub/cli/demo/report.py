"""The end of the demo: what everybody has, in the books and on the chain, and whether the two agree to the unit."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from offerhub.cli.database import connected
from offerhub.cli.demo.script import DEPOSIT, Cast, Script, short
from offerhub.cli.prove import show_proof
from offerhub.kernel.money import format_amount, format_chain_amount, parse_amount, parse_chain_amount
from offerhub.ledger.chart import Kind
from offerhub.operations.proof import Proof, prove

SHOULD: Final = {
    "buyer": "189.88",
    "seller": "67.17",
    "outside": "42.50",
    "fees": "0.45",
    "contracts": "0.00",
}
"""What each must have in the end, worked out by hand. Trustless Work keeps 0.3 % of each escrow: 0.24 + 0.15 + 0.06.
Buyer: 300.00 - 80.00 - 50.00 - 20.00 + 19.94 + 19.94. Seller: 79.76 + 29.91 - 42.50."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What somebody has. `books` is the API's balance object, for those who have one; `chain` is in units."""

    name: str
    should: str
    chain: int
    books: Mapping[str, Any] | None = None

    @property
    def agrees(self) -> bool:
        """True when books and chain both say what must be; the API shows the chain's amount floored to cents."""
        in_books = self.books is None or (
            self.books["total"] == format_amount(self.chain) and self.books["available"] == self.should
        )
        return in_books and self.chain == parse_amount(self.should)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One amount in units, derived from the books and, by another way, from the chain."""

    name: str
    books: int
    chain: int

    @property
    def agrees(self) -> bool:
        """To the unit."""
        return self.books == self.chain


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is compared in the end."""

    holdings: Sequence[Holding]
    comparisons: Sequence[Comparison]
    proof: Proof

    def disagreements(self) -> list[str]:
        """The names of whatever is not as it must be; none when all is well."""
        found = [one.name for one in self.holdings if not one.agrees]
        found += [pair.name for pair in self.comparisons if not pair.agrees]
        return found if self.proof.holds else [*found, "the proof of the books"]

    def show(self, console: Console) -> None:
        """Print the tables and the proof."""
        who = Table("", "must have", "available", "reserved", "on the chain", "", title="Who has what, in USDC")
        for one in self.holdings:
            books = one.books or {"available": "", "reserved": ""}
            row = (one.name, one.should, books["available"], books["reserved"], format_chain_amount(one.chain))
            who.add_row(*row, _mark(one.agrees))
        both = Table("", "in the books", "on the chain", "", title="The books against the chain, to the last unit")
        for pair in self.comparisons:
            both.add_row(
                pair.name, format_chain_amount(pair.books), format_chain_amount(pair.chain), _mark(pair.agrees)
            )
        for table in (who, both):
            for column in table.columns[1:-1]:
                column.justify = "right"
            console.print()
            console.print(table)
        console.print()
        show_proof(self.proof, console)


def _mark(agrees: bool) -> str:
    return "[green]✓[/green]" if agrees else "[red]✗[/red]"


def gather(script: Script, database_url: str, fee_account: str) -> Report:
    """Ask the API, the chain and the books. Raises DemoFailed, ConnectionCut, and what the database raises."""
    cast = script.cast
    balances = {user: script.api.get(f"/users/{user}/balance") for user in (cast.buyer, cast.seller)}
    wallets = {user: script.api.get(f"/users/{user}/wallet")["balance"]["usdc"] for user in balances}
    proof = asyncio.run(_prove(database_url))
    return compare(cast, balances, wallets, script.chain_state(), fee_account, proof)


async def _prove(database_url: str) -> Proof:
    async with connected(database_url, "offerhub demo") as database:
        return await prove(database)


def compare(
    cast: Cast,
    balances: Mapping[str, Mapping[str, Any]],
    wallets: Mapping[str, str],
    chain: Mapping[str, Any],
    fee_account: str,
    proof: Proof,
) -> Report:
    """Lay the API's `balances` and `wallets` (by user), the sandbox's state and the proof's totals side by side."""
    usdc = {one["address"]: parse_chain_amount(one["usdc"] or "0") for one in chain["accounts"]}
    buyer, seller = (parse_chain_amount(wallets[user]) for user in (cast.buyer, cast.seller))
    contracts = sum(parse_chain_amount(one["usdc"]) for one in chain["contracts"])
    outside, fees = usdc[cast.outside], usdc[fee_account]
    addresses = cast.addresses
    holdings = [
        Holding(f"buyer {short(addresses[cast.buyer])}", SHOULD["buyer"], buyer, balances[cast.buyer]),
        Holding(f"seller {short(addresses[cast.seller])}", SHOULD["seller"], seller, balances[cast.seller]),
        Holding(f"outside {short(cast.outside)}", SHOULD["outside"], outside),
        Holding("Trustless Work's fee", SHOULD["fees"], fees),
        Holding(f"{len(chain['contracts'])} escrow contracts", SHOULD["contracts"], contracts),
        Holding("all together", DEPOSIT, buyer + seller + outside + fees + contracts),
    ]
    booked = {kind: proof.totals.get(kind, 0) for kind in Kind}
    owed = sum(booked[kind] for kind in (Kind.AVAILABLE, Kind.RESERVED, Kind.WITHDRAWING, Kind.ESCROW))
    world, booked_fees = booked[Kind.WORLD_STELLAR], booked[Kind.FEES_TRUSTLESS_WORK] + booked[Kind.FEES_PLATFORM]
    # Read from the ledger itself here, while the holdings above are what the API reads from Horizon.
    held = sum(usdc[address] for address in addresses.values()) + contracts
    comparisons = [
        Comparison("deposits less withdrawals", -world, parse_chain_amount(chain["usdc_issued"]) - outside),
        Comparison("fees paid", booked_fees, fees),
        Comparison("owed to users", owed, held),
        Comparison("-world:stellar - fees:*", -world - booked_fees, held),
    ]
    return Report(holdings, comparisons, proof)
