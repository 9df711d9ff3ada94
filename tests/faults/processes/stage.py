"""A marketplace with money on both rails, whose flows are begun by processes that die, and what became of each."""

import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from faults.processes.desk import Desk, desk
from faults.processes.flows import Flow, Rail, Thing
from faults.processes.runner import Task
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database, Tx
from offerhub.wallets import deposit_store
from offerhub.wallets.deposits import cursor_name
from support.conservation import assert_conserved
from support.outside import World
from support.product import MASTER_KEY, Person, environment
from support.toll_gate import toll_gate

RICH: Final = "1000000.00"
TOLL: Final = 900
STAGES: Final = ("reserve", "escrow", "escrow/fund")
REACHED: Final = ("ORDER_CREATED", "FUNDS_RESERVED", "ESCROW_FUNDING", "IN_PROGRESS")
WEBHOOK_SECRET: Final = "a secret of Trustless Work for tests"

CHECKED: Final = """
    INSERT INTO wallet_checks (wallet_id, checked_at) SELECT id, clock_timestamp() FROM wallets
    ON CONFLICT (wallet_id) DO UPDATE SET checked_at = excluded.checked_at
"""
UNCHECKED: Final = "DELETE FROM wallet_checks WHERE wallet_id = (SELECT id FROM wallets WHERE user_id = $1)"

PICTURES: Final = {
    "postings": """
        SELECT t.kind, a.kind AS account, p.amount FROM ledger.transactions t
        JOIN ledger.postings p ON p.transaction_id = t.id JOIN ledger.accounts a ON a.id = p.account_id
        WHERE t.subject = ANY($1) OR split_part(t.business_key, ':', 2) = ANY($1)
            OR (t.kind = 'treasury_deposit' AND split_part(t.business_key, ':', 3) = ANY($1))
        ORDER BY t.id, a.kind, p.amount
    """,
    "events": "SELECT type FROM events WHERE aggregate_id = ANY($1) ORDER BY aggregate_type, position",
    "audit": "SELECT action FROM audit_entries WHERE resource_id = ANY($1) ORDER BY action",
    "sagas": "SELECT kind, status FROM sagas WHERE subject_id = ANY($1) ORDER BY id",
    "envelopes": """
        SELECT g.kind, e.position, e.status FROM envelopes e JOIN sagas g ON g.id = e.saga_id
        WHERE g.subject_id = ANY($1) ORDER BY g.id, e.position
    """,
    "bid": """
        SELECT max(b.bid) FROM fee_bumps b JOIN envelopes e ON e.hash = b.inner_hash JOIN sagas g ON g.id = e.saga_id
        WHERE g.subject_id = ANY($1)
    """,
    "states": """
        SELECT 'order' AS what, status FROM orders WHERE id = ANY($1)
        UNION ALL SELECT 'escrow', status FROM escrows WHERE order_id = ANY($1)
        UNION ALL SELECT 'milestone', m.status FROM escrow_milestones m JOIN escrows e ON e.id = m.escrow_id
            WHERE e.order_id = ANY($1)
        UNION ALL SELECT 'dispute', status FROM disputes WHERE order_id = ANY($1)
        UNION ALL SELECT 'top-up', status FROM topups WHERE id = ANY($1)
        UNION ALL SELECT 'withdrawal', status FROM withdrawals WHERE id = ANY($1)
        UNION ALL SELECT 'wallet', status FROM wallets WHERE id = ANY($1)
        UNION ALL SELECT 'deposit', 'booked' FROM deposits WHERE operation_id = ANY($1)
        UNION ALL SELECT 'webhook', status FROM webhook_events WHERE subject = ANY($1)
        ORDER BY 1, 2
    """,
    "contracts": "SELECT contract_id FROM escrows WHERE order_id = ANY($1)",
}
"""All that a flow leaves in the database, by the ids of what it is about, without what differs by chance."""

Picture = dict[str, Any]


@dataclass(frozen=True)
class Couple:
    """A rich buyer, who has an account at Airtm, and a seller: for one flow at a time."""

    buyer: Person
    seller: Person
    email: str


@dataclass
class Stage:
    """What stays when processes die."""

    world: World
    database: Database
    environs: Mapping[Rail, Mapping[str, str]]
    credential: str
    couples: Sequence[Couple]
    treasury: str
    desks: dict[Rail, Desk] = field(default_factory=dict)
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    def unique(self, prefix: str) -> str:
        """A name that nothing else has."""
        return f"{prefix}-{next(self._names)}-{secrets.token_hex(4)}"

    # -- what flows begin with ---------------------------------------------------------------------------------

    async def thing(self, flow: Flow, couple: Couple) -> Thing:
        """Something new of this couple that the flow can be about."""
        common = {"buyer": couple.buyer.id, "email": couple.email, "key": self.unique("key")}
        return {**common, **await flow.prepare(self, couple)}

    async def order(self, couple: Couple, rail: Rail, amount: str, stage: str, **more: Any) -> str:
        """A new order that has been brought to a stage."""
        body = {
            "buyer_id": couple.buyer.id,
            "seller_id": couple.seller.id,
            "amount": amount,
            "title": "A logo",
            **more,
        }
        at = self.desks[rail]
        order_id = str((await at.post("/orders", body))["id"])
        for move in STAGES[: REACHED.index(stage)]:
            await at.post(f"/orders/{order_id}/{move}")
        return order_id

    async def begin_release(self, order_id: str) -> None:
        """Accept a release and do nothing about it."""
        product, marketplace = self.desks["crypto"].product, await self._marketplace()
        resolution = product.policies.resolution
        actor = system(marketplace, "test")
        await self.database.run(lambda tx: resolution.begin_release(tx, actor, order_id, None))

    async def skip_deposits(self, couple: Couple) -> None:
        """Put the watcher behind everything that is on the chain; the seller's wallet is the next that is checked."""
        product = self.desks["crypto"].product
        newest = await product.horizon.newest_payment_cursor()
        assert newest is not None
        assert product.deposits.source.name == "horizon"
        await self.database.run(lambda tx: deposit_store.set_cursor(tx, cursor_name("horizon"), newest))
        await self.database.run(lambda tx: tx.execute(CHECKED))
        await self.database.run(lambda tx: tx.execute(UNCHECKED, couple.seller.id))

    async def look_next(self, table: str, row_id: str) -> None:
        """It was looked at long ago, and everything else just now."""
        sql = f"UPDATE {table} SET checked_at = CASE WHEN id = $1 THEN '-infinity' ELSE clock_timestamp() END"
        await self.database.run(lambda tx: tx.execute(sql, row_id))

    async def now(self, couple: Couple) -> str:
        """A mark that leads to whatever the buyer begins from now on."""
        now = await self.database.run(lambda tx: tx.value("SELECT clock_timestamp()::text"), read_only=True)
        return f"{couple.buyer.id}/{now}"

    async def ids(self, sql: str, mark: str) -> list[str]:
        """The ids that a mark leads to."""
        rows = await self.database.run(lambda tx: tx.rows(sql, mark), read_only=True)
        return sorted(row[0] for row in rows)

    async def _marketplace(self) -> str:
        sql = "SELECT marketplace_id FROM users WHERE id = $1"
        return str(await self.database.run(lambda tx: tx.value(sql, self.couples[0].buyer.id), read_only=True))

    # -- processes, and what became of what they did ---------------------------------------------------------------

    def task(self, flow: Flow, thing: Thing, **more: Any) -> Task:
        """What a process is to do about a thing."""
        return Task(flow.name, thing, self.environs[flow.rail], self.credential, **more)

    async def picture(self, flow: Flow, thing: Thing) -> Picture:
        """All that the flow has left, here and at the providers."""
        subjects = await self.ids(flow.subject, thing["mark"])
        assert len(subjects) == flow.subjects, f"{flow.name}: {subjects}"
        found = await self.database.snapshot(lambda tx: _pictures(tx, subjects))
        found["contracts"] = [await self._contract(address) for (address,) in found["contracts"] if address]
        found["kinds"] = list(dict.fromkeys(kind for kind, *_ in found["postings"]))
        if flow.rail == "airtm":
            payins = [one for subject in subjects for one in await self.world.airtm_payins(subject)]
            payouts = [one for subject in subjects for one in await self.world.airtm_payouts(subject)]
            found["at Airtm"] = [one["status"] for one in (*payins, *payouts)]
        if flow.name.startswith("withdrawal"):
            found["arrived"] = await self._arrived(thing["mark"])
        if flow.name == "wallet":
            found["account"] = await self._account(subjects[-1])
        return found

    async def _contract(self, address: str) -> list[str]:
        """What the chain says that a contract holds, and all that has ever left it."""
        state = await self.world.control("GET", f"state?address={address}")
        flows = await self.world.control("GET", f"flows?address={address}")
        [held] = [one["usdc"] for one in state["contracts"]]
        return [held, *sorted(one["amount"] for one in flows["usdc"] if one["from"] == address)]

    async def _arrived(self, address: str) -> str:
        [found] = (await self.world.control("GET", f"state?address={address}"))["accounts"]
        return str(found["usdc"])

    async def _account(self, user_id: str) -> tuple[int, int, int | None]:
        """What the chain says of a user's wallet: its XLM, how much of that is reserved, and its USDC."""
        sql = "SELECT public_key FROM wallets WHERE user_id = $1 OR id = $1"
        address = str(await self.database.run(lambda tx: tx.value(sql, user_id), read_only=True))
        account = await self.desks["crypto"].product.horizon.account(address)
        assert account is not None
        return account.xlm, account.xlm_reserved, account.usdc

    async def assert_conserved(self) -> None:
        """What is on the chain is booked; the books, the chain and Airtm agree to the unit, and the proof holds."""
        await self.desks["crypto"].book_deposits()
        await assert_conserved(self.database, self.world.url)


async def _pictures(tx: Tx, subjects: Sequence[str]) -> Picture:
    return {name: [tuple(row) for row in await tx.rows(sql, subjects)] for name, sql in PICTURES.items()}


@contextlib.asynccontextmanager
async def stage(
    database_url: str, redis_url: str, sandbox: Mapping[str, str], *, couples: int
) -> AsyncIterator[Stage]:
    """Open one, on a database of its own."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        gate = await stack.enter_async_context(
            toll_gate(sandbox["STELLAR_HORIZON_URL"], sandbox["STELLAR_NETWORK_PASSPHRASE"])
        )
        gate.toll = TOLL
        common = environment(
            database_url,
            redis_url,
            sandbox,
            TRUSTLESS_WEBHOOK_SECRET=WEBHOOK_SECRET,
            STELLAR_CHANNEL_ACCOUNTS=str(couples),
        )
        environs: dict[Rail, Mapping[str, str]] = {
            "crypto": common,
            "airtm": {**common, "PAYMENT_PROVIDER": "airtm"},
            "surge": {**common, "STELLAR_HORIZON_URL": gate.url},
        }
        world = World(sandbox, http)
        desks: dict[Rail, Desk] = {
            rail: await stack.enter_async_context(desk(environs[rail], MASTER_KEY)) for rail in ("airtm", "crypto")
        }
        credential = await _found(desks["airtm"])
        desks = {rail: one.using(credential) for rail, one in desks.items()}
        database = await Database.connect(database_url, pool_size=2)
        stack.push_async_callback(database.close)
        found = Stage(world, database, environs, credential, [], "", desks)
        await _people(found, couples)
        yield found


async def _found(at: Desk) -> str:
    """Begin: the system's wallets, a marketplace, and a key that may do everything in it."""
    await at.product.bootstrap()
    await at.product.deposits.begin()
    marketplace = await at.post("/admin/marketplaces", {"name": "A stage"})
    asked = {"name": "all", "scopes": ["*"], "marketplaceId": marketplace["id"]}
    return str((await at.post("/auth/api-keys", asked))["key"])


async def _people(on: Stage, couples: int) -> None:
    """Couples with money, and a treasury with money."""
    at = on.desks["airtm"]
    bodies = [{"externalUserId": on.unique("person")} for _ in range(2 * couples)]
    made = [await at.post("/users", body) for body in bodies]
    await at.settle("SELECT subject_id FROM sagas WHERE $1 = 'all'", "all")
    people = [Person(one["id"], one["wallet"]["publicKey"]) for one in made]
    emails = [f"{on.unique('payer')}@example.com" for _ in range(couples)]
    for buyer, email in zip(people[::2], emails, strict=True):
        await at.post(f"/users/{buyer.id}/airtm/link", {"email": email})
    on.couples = [Couple(*of) for of in zip(people[::2], people[1::2], emails, strict=True)]
    [on.treasury] = await on.ids("SELECT public_key FROM wallets WHERE purpose = $1", "treasury")
    for address in (on.treasury, *(couple.buyer.address for couple in on.couples)):
        await on.world.mint(address, RICH)
    await at.book_deposits()
