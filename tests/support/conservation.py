"""The global invariant (providers.md 8.6): what the books promise is what is there, to the unit of 10^-7.

    Σ users (available, reserved, withdrawing) + Σ escrows + fees booked + the treasury's capital
  = Σ wallets + Σ contracts + fees that contracts paid + the treasury's account + what is ours at Airtm
    + what was credited by hand + what the operator says to have moved into Airtm
    - what strangers have sent into contracts and no payout has brought out yet

Both sides are read where they are true, in the database and at the sandbox, and compared line by line: each user's
wallet, each order's contract and its fees, the treasury, Airtm. A line that differs names whose money it is. The
proof (`offerhub prove`) must hold as well.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from offerhub.kernel.money import format_chain_amount as shown
from offerhub.kernel.money import parse_chain_amount
from offerhub.operations.proof import prove
from offerhub.runtime.database import Database, Row, Tx
from support.outside import PATIENCE_SECONDS

CENT: Final = 100_000
_NOTHING: Final[Mapping[str, int]] = {}


@dataclass(frozen=True)
class Line:
    """One place where money is: what the books say of it, and what is there, in units."""

    place: str
    books: int
    outside: int

    def __str__(self) -> str:
        difference = self.outside - self.books
        return f"{self.place}: books {shown(self.books)}, there {shown(self.outside)}, difference {shown(difference)}"


@dataclass(frozen=True)
class Conserved:
    """What was compared. The two sums are equal if every line is.

    `in_transit` are units that Airtm has moved and nobody has told us of yet.
    """

    lines: list[Line]
    promised: int
    found: int
    in_transit: int

    @property
    def differences(self) -> list[str]:
        """What does not agree, in words."""
        told = [str(line) for line in self.lines if line.books != line.outside]
        if self.promised != self.found:
            told.append(f"in all: promised {shown(self.promised)}, found {shown(self.found)}")
        return told


async def assert_conserved(
    database: Database,
    sandbox_url: str,
    *,
    unbooked: Mapping[str, int] = _NOTHING,
    patience: float = PATIENCE_SECONDS,
) -> Conserved:
    """The books, the chain and Airtm agree to the unit, as soon as what is under way has ended; the proof holds.

    `unbooked` is money that is known to lie at an address without being anybody's in the books, in units, such as
    what was put aside. Fails with every line that differs.
    """
    deadline = asyncio.get_running_loop().time() + patience
    async with aiohttp.ClientSession() as http:
        while True:
            compared = await compare(database, asking(http, sandbox_url), unbooked)
            if not compared.differences:
                break
            assert asyncio.get_running_loop().time() < deadline, "\n".join(
                ["money appeared or vanished", *compared.differences, *await _under_way(database)]
            )
            await asyncio.sleep(0.1)
    proof = await prove(database)
    assert proof.holds, proof.wire()["findings"]
    return compared


Ask = Callable[[str], Awaitable[Any]]
"""Reads a path of the sandbox's control face, such as `state`."""


def asking(http: aiohttp.ClientSession, sandbox_url: str) -> Ask:
    async def ask(path: str) -> Any:
        async with http.get(f"{sandbox_url}/_sim/{path}") as answer:
            assert answer.status == 200, await answer.text()
            return json.loads(await answer.text())

    return ask


async def compare(database: Database, ask: Ask, unbooked: Mapping[str, int] = _NOTHING) -> Conserved:
    """Read both sides once and lay them beside each other."""
    books = await database.snapshot(_Books.read)
    outside = await _Outside.read(ask)
    lines = [
        *_wallets(books, outside, unbooked),
        *_escrows(books, outside, unbooked),
        *_treasury(books, outside, unbooked),
    ]
    airtm, in_transit = _airtm(books, outside)
    lines.append(airtm)
    promised = sum(books.kinds.get(kind, 0) for kind in _PROMISES)
    promised += sum(unbooked.values()) + in_transit
    promised += sum(_strange(order, outside) - order["surplus"] for order in books.orders)
    found = sum(line.outside for line in lines) + in_transit - books.kinds.get("world:manual", 0)
    return Conserved(lines, promised, found, in_transit)


_PROMISES: Final = (
    "available",
    "reserved",
    "withdrawing",
    "escrow",
    "fees:platform",
    "fees:trustless_work",
    "capital:treasury",
)


@dataclass(frozen=True)
class _Books:
    """Units by kind of account, and the rows of whoever has a place of its own."""

    kinds: dict[str, int]
    users: list[Row]
    orders: list[Row]
    treasuries: list[str]
    rebalanced: int
    topups: dict[str, str]
    payouts: dict[str, str]

    @classmethod
    async def read(cls, tx: Tx) -> "_Books":
        kinds = await tx.rows(
            """
            SELECT a.kind, sum(p.amount)::bigint AS total
            FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id GROUP BY a.kind
            """
        )
        treasuries = await tx.rows("SELECT public_key FROM wallets WHERE purpose = 'treasury'")
        rebalanced = await tx.value(
            """
            SELECT coalesce(sum(-p.amount), 0)::bigint FROM ledger.transactions t
            JOIN ledger.postings p ON p.transaction_id = t.id JOIN ledger.accounts a ON a.id = p.account_id
            WHERE t.kind = 'rebalancing' AND a.kind = 'world:airtm'
            """
        )
        topups = await tx.rows("SELECT id, status FROM topups")
        payouts = await tx.rows("SELECT id, status FROM withdrawals WHERE destination_type <> 'crypto'")
        return cls(
            {row["kind"]: row["total"] for row in kinds},
            await tx.rows(_USERS),
            await tx.rows(_ORDERS),
            [row["public_key"] for row in treasuries],
            rebalanced,
            {row["id"]: row["status"] for row in topups},
            {row["id"]: row["status"] for row in payouts},
        )


_USERS: Final = """
    SELECT u.id, coalesce(w.addresses, '{}') AS addresses, coalesce(b.units, 0)::bigint AS units
    FROM users u
    LEFT JOIN (
        SELECT user_id, array_agg(public_key) AS addresses FROM wallets WHERE type = 'INVISIBLE' GROUP BY user_id
    ) w ON w.user_id = u.id
    LEFT JOIN (
        -- What came from or went to Airtm, the treasury or nowhere is not in the user's wallet; what is handed from
        -- user to user by hand moves nothing on the chain.
        SELECT a.owner, sum(p.amount) AS units FROM ledger.postings p
        JOIN ledger.accounts a ON a.id = p.account_id AND a.kind IN ('available', 'reserved', 'withdrawing')
        WHERE NOT EXISTS (
            SELECT FROM ledger.transactions t WHERE t.id = p.transaction_id AND t.kind = 'manual_release'
        ) AND NOT EXISTS (
            SELECT FROM ledger.postings o JOIN ledger.accounts oa ON oa.id = o.account_id
            WHERE o.transaction_id = p.transaction_id
                AND oa.kind IN ('world:airtm', 'world:treasury', 'world:manual', 'capital:treasury'))
        GROUP BY a.owner
    ) b ON b.owner = u.id
"""

_ORDERS: Final = """
    SELECT e.order_id, e.contract_id, e.roles, e.treasury, coalesce(h.units, 0)::bigint AS held,
        coalesce(f.platform, 0)::bigint AS platform, coalesce(f.protocol, 0)::bigint AS protocol,
        coalesce(f.surplus, 0)::bigint AS surplus
    FROM escrows e
    LEFT JOIN (
        SELECT a.owner, sum(p.amount) AS units FROM ledger.postings p
        JOIN ledger.accounts a ON a.id = p.account_id AND a.kind = 'escrow' GROUP BY a.owner
    ) h ON h.owner = e.order_id
    LEFT JOIN (
        SELECT t.subject, sum(p.amount) FILTER (WHERE a.kind = 'fees:platform') AS platform,
            sum(p.amount) FILTER (WHERE a.kind = 'fees:trustless_work') AS protocol,
            -sum(p.amount) FILTER (WHERE a.kind IN ('world:stellar', 'world:treasury')) AS surplus
        FROM ledger.transactions t JOIN ledger.postings p ON p.transaction_id = t.id
        JOIN ledger.accounts a ON a.id = p.account_id GROUP BY t.subject
    ) f ON f.subject = e.order_id
    WHERE e.contract_id IS NOT NULL
"""


@dataclass(frozen=True)
class _Outside:
    """Units of USDC by address, what went from whom to whom, and the payins and payouts at Airtm."""

    held: dict[str, int]
    flows: dict[str, dict[str, int]]
    payins: list[dict[str, Any]]
    payouts: list[dict[str, Any]]
    taken_back: set[str]
    """The payouts that Airtm gave back after they were completed."""

    @classmethod
    async def read(cls, ask: Ask) -> "_Outside":
        state, moved = await ask("state"), (await ask("flows"))["usdc"]
        held = {one["address"]: parse_chain_amount(one["usdc"] or "0") for one in state["accounts"]}
        held |= {one["address"]: parse_chain_amount(one["usdc"]) for one in state["contracts"]}
        flows: dict[str, dict[str, int]] = {}
        for one in moved:
            flows.setdefault(one["from"], {})[one["to"]] = parse_chain_amount(one["amount"])
        payins, payouts = (await ask("airtm/payins"))["payins"], (await ask("airtm/payouts"))["payouts"]
        deposits = (await ask("airtm/deposits"))["deposits"]
        return cls(dict(held), flows, payins, payouts, {str(one.get("refundedPayoutId")) for one in deposits})


def _wallets(books: _Books, outside: _Outside, unbooked: Mapping[str, int]) -> list[Line]:
    lines = []
    for user in books.users:
        there = sum(outside.held.get(address, 0) for address in user["addresses"])
        units = user["units"] + sum(unbooked.get(address, 0) for address in user["addresses"])
        if units or there:
            lines.append(Line(f"wallet of {user['id']} ({', '.join(user['addresses'])})", units, there))
    return lines


def _escrows(books: _Books, outside: _Outside, unbooked: Mapping[str, int]) -> list[Line]:
    lines = []
    for order in books.orders:
        contract, roles = order["contract_id"], order["roles"]
        place = f"contract of {order['order_id']} ({contract})"
        # What came from anybody but the depositor is nobody's until a payout brings it out.
        strange = _strange(order, outside) - order["surplus"] + unbooked.get(contract, 0)
        lines.append(Line(place, order["held"] + strange, outside.held.get(contract, 0)))
        out = outside.flows.get(contract, {})
        platform = roles["platform_address"]
        parties = {platform, roles["receiver"], roles["approver"], order["treasury"]}
        lines.append(Line(f"platform fee of {order['order_id']}", order["platform"], out.get(platform, 0)))
        protocol = sum(units for address, units in out.items() if address not in parties)
        lines.append(Line(f"fee of Trustless Work for {order['order_id']}", order["protocol"], protocol))
    return lines


def _strange(order: Row, outside: _Outside) -> int:
    """Units that an order's contract has received from others than who pays it in."""
    contract, depositor = order["contract_id"], order["treasury"] or order["roles"]["approver"]
    return sum(sent.get(contract, 0) for source, sent in outside.flows.items() if source != depositor)


def _treasury(books: _Books, outside: _Outside, unbooked: Mapping[str, int]) -> list[Line]:
    there = sum(outside.held.get(address, 0) for address in books.treasuries)
    units = -books.kinds.get("world:treasury", 0) + sum(unbooked.get(one, 0) for one in books.treasuries)
    return [Line(f"treasury ({', '.join(books.treasuries)})", units, there)]


def _airtm(books: _Books, outside: _Outside) -> tuple[Line, int]:
    """What is ours at Airtm, by our payins and payouts there; and what of it nobody has told us of yet.

    What the operator says to have moved there counts as there: Airtm of the sandbox takes no other deposits.
    """
    there, in_transit = books.rebalanced, 0
    for payin in outside.payins:
        if payin["status"] == "CONFIRMED" and payin["code"] in books.topups:
            units = _cents(payin["netAmount"])
            there += units
            if books.topups[payin["code"]] not in _TOPUP_ENDS:
                in_transit += units
    for payout in outside.payouts:
        gone = payout["status"] == "COMPLETED" and payout["id"] not in outside.taken_back
        if gone and payout.get("code") in books.payouts:
            units = _cents(payout["amount"])
            there -= units
            if books.payouts[payout["code"]] not in _WITHDRAWAL_ENDS:
                in_transit -= units
    return Line("Airtm", -books.kinds.get("world:airtm", 0), there - in_transit), in_transit


_TOPUP_ENDS: Final = {"TOPUP_SUCCEEDED", "TOPUP_FAILED", "TOPUP_CANCELED"}
_WITHDRAWAL_ENDS: Final = {"WITHDRAWAL_COMPLETED", "WITHDRAWAL_FAILED", "WITHDRAWAL_CANCELED"}


def _cents(amount: float) -> int:
    return round(amount * 100) * CENT


async def _under_way(database: Database) -> list[str]:
    rows = await database.run(
        lambda tx: tx.rows("SELECT kind, subject_id FROM sagas WHERE status = 'RUNNING' LIMIT 20"), read_only=True
    )
    return [f"still running: {row['kind']} for {row['subject_id']}" for row in rows]
