"""The product as its users meet it: over HTTP, on real servers, with the sandbox as the outside world.

`support.outside` is the outside world, `running` the product, and `Marketplace` a client that speaks for one tenant.
A test reads answers as a client does, and the books, events, sagas and the chain behind them.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import uvicorn

from asgi_client import Heard
from offerhub.app import Product, http_application, product
from offerhub.edge.protocol import Protocol
from offerhub.operations.proof import prove
from offerhub.providers.stellar.horizon import Accepted
from offerhub.runtime.database import Row
from offerhub.settings import load
from offerhub.wallets.deposits import cursor_name
from offerhub.worker import background
from support.conservation import Conserved, assert_conserved
from support.outside import World, eventually

MASTER_KEY: Final = "test-master-key-with-enough-characters"

_names = itertools.count(1)


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{next(_names)}-{secrets.token_hex(4)}"


class _Server(uvicorn.Server):
    """Uvicorn in a test: signals are pytest's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True)
class Running:
    """A product that answers at `url`."""

    product: Product
    url: str

    async def rows(self, sql: str, *args: Any) -> list[Row]:
        """Read the database behind it."""
        return await self.product.database.run(lambda tx: tx.rows(sql, *args), read_only=True)

    async def value(self, sql: str, *args: Any) -> Any:
        """Read one value of the database behind it."""
        return await self.product.database.run(lambda tx: tx.value(sql, *args), read_only=True)

    async def assert_books_hold(self) -> None:
        """Run the proof; fails with its findings."""
        proof = await prove(self.product.database)
        assert proof.holds, proof.wire()["findings"]

    async def assert_conserved(self, world: World, unbooked: Mapping[str, int] | None = None) -> Conserved:
        """The books, the chain and Airtm agree to the unit, and the proof holds (support.conservation)."""
        return await assert_conserved(self.product.database, world.url, unbooked=unbooked or {})

    async def system_is_ready(self) -> None:
        """Wait until the system's own wallets are set up on the chain."""
        waiting = "SELECT count(*) FROM wallets WHERE purpose <> 'user' AND status <> 'READY'"
        await eventually(lambda: self.value(waiting), lambda count: count == 0)

    async def deposits_caught_up(self) -> None:
        """Wait until the watcher has seen everything that is in a ledger by now."""
        source = self.product.deposits.source.name
        # RPC's cursor moves with every ledger, Horizon's with every payment.
        column = "ledger" if source == "rpc" else "position"
        if source == "rpc":
            newest = (await self.product.horizon.latest_ledger()).sequence
        else:
            newest = int(await self.product.horizon.newest_payment_cursor() or 0)

        async def seen() -> int:
            return int(await self.value(f"SELECT {column} FROM cursors WHERE name = $1", cursor_name(source)) or 0)

        await eventually(seen, lambda position: position >= newest)


def environment(database_url: str, redis_url: str, sandbox: Mapping[str, str], **extra: str) -> dict[str, str]:
    """What a product under test is started with."""
    return {
        "NODE_ENV": "test",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "OFFERHUB_MASTER_KEY": MASTER_KEY,
        "PAYMENT_PROVIDER": "crypto",
        "RATE_LIMIT_MAX": "0",
        # A little longer than the sandbox takes for a ledger: asking more often finds nothing new.
        "DEPOSIT_POLL_SECONDS": "0.15",
        # A test that breaks a provider for long shall not be felt by the next one.
        "PROVIDER_BREAKER_SECONDS": "0.3",
        **{name: value for name, value in sandbox.items() if not name.startswith("OFFERHUB_")},
        **extra,
    }


@contextlib.asynccontextmanager
async def running(
    environ: Mapping[str, str], *, jobs: bool = True, schedules: bool = False, port: int = 0
) -> AsyncIterator[Running]:
    """Serve a product with these variables on a port, 0 for a free one; what runs by the clock only when asked."""
    async with contextlib.AsyncExitStack() as stack:
        settings = load(environ)
        made = await stack.enter_async_context(product(settings))
        await made.bootstrap()
        served = await stack.enter_async_context(http_application(made))
        if jobs:
            await stack.enter_async_context(background(made, schedules=schedules))
        config = uvicorn.Config(
            served,
            loop="none",
            http=Protocol,
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        # asyncio does it only for sockets that name their protocol. Without it a body waits 40 ms for its head's ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="product under test")
        try:
            while not server.started:
                assert not serving.done(), "the server did not start"
                await asyncio.sleep(0.01)
            yield Running(made, f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            made.streams.close()
            await serving


@dataclass(frozen=True)
class Person:
    """A user of a marketplace, and the address of its wallet."""

    id: str
    address: str


async def fill_treasury(live: Running, world: World, amount: str) -> None:
    """Send USDC to the treasury's address, as whoever runs the product does, and wait until it is booked."""
    wallet = "SELECT public_key FROM wallets WHERE purpose = 'treasury' AND status = 'READY'"
    address = await eventually(lambda: live.value(wallet), lambda found: found is not None)
    transaction = await world.mint(str(address), amount)
    booked = "SELECT count(*) FROM treasury_deposits WHERE transaction_hash = $1"
    await eventually(lambda: live.value(booked, transaction), lambda count: count == 1)


Stage = str
_STAGES: Final[Sequence[tuple[Stage, str]]] = (
    ("ORDER_CREATED", ""),
    ("FUNDS_RESERVED", "reserve"),
    ("ESCROW_FUNDING", "escrow"),
    ("IN_PROGRESS", "escrow/fund"),
)


class Marketplace:
    """A client that acts for one marketplace with one credential."""

    def __init__(
        self, live: Running, world: World, http: aiohttp.ClientSession, marketplace_id: str, credential: str
    ) -> None:
        self.live = live
        self.world = world
        self.id = marketplace_id
        self.credential = credential
        self.http = http

    @classmethod
    async def found(cls, live: Running, world: World, http: aiohttp.ClientSession) -> "Marketplace":
        """A new marketplace, with a key that may do everything in it."""
        master = cls(live, world, http, "", MASTER_KEY)
        marketplace = (await master.done("POST", "/admin/marketplaces", {"name": unique("shop")}, status=201))["id"]
        master.id = marketplace
        return await master.with_key("*")

    def on(self, live: Running) -> "Marketplace":
        """The same marketplace at another process of the product."""
        return Marketplace(live, self.world, self.http, self.id, self.credential)

    def using(self, credential: str) -> "Marketplace":
        """The same marketplace with another credential."""
        return Marketplace(self.live, self.world, self.http, self.id, credential)

    async def with_key(self, *scopes: str, **more: Any) -> "Marketplace":
        """The same marketplace with a new key of these scopes."""
        body = {"name": "test", "scopes": list(scopes), **more}
        if self.credential == MASTER_KEY:
            body["marketplaceId"] = self.id
        return self.using((await self.done("POST", "/auth/api-keys", body, status=201))["key"])

    # -- the wire --------------------------------------------------------------------------------------------

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Heard:
        """One request; `body` goes as JSON, `raw` as it is, `key` is the Idempotency-Key."""
        sent = {"authorization": f"Bearer {self.credential}"} if self.credential else {}
        data = raw if raw is not None or body is None else json.dumps(body).encode()
        if data is not None:
            sent["content-type"] = "application/json"
        if key is not None:
            sent["idempotency-key"] = key
        url = f"{self.live.url}/api/v1{path}"
        async with self.http.request(method, url, data=data, headers={**sent, **(headers or {})}) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            endless = answer.content_type == "text/event-stream"
            return Heard(answer.status, found, b"" if endless else await answer.read())

    async def get(self, path: str, **more: Any) -> Heard:
        """GET."""
        return await self.send("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Heard:
        """POST."""
        return await self.send("POST", path, body, **more)

    async def done(self, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        """The data of an answer that must have this status."""
        heard = await self.send(method, path, body, **more)
        assert heard.status == status, f"{method} {path}: {heard.status} {heard.body[:2000]!r}"
        return heard.data

    async def refused(
        self, method: str, path: str, body: Any = None, *, status: int, code: str, **more: Any
    ) -> dict[str, Any]:
        """The details of an answer that must be this refusal."""
        heard = await self.send(method, path, body, **more)
        assert (heard.status, heard.json.get("error", {}).get("code")) == (status, code), heard.body[:2000]
        assert heard.details["requestId"] == heard.headers["x-request-id"]
        return heard.details

    # -- people and money ------------------------------------------------------------------------------------

    async def people(self, *deposits: str | None) -> list[Person]:
        """New users whose wallets are ready, each with its deposit if one is named."""
        return list(await asyncio.gather(*(self._person(deposit) for deposit in deposits)))

    async def _person(self, deposit: str | None) -> Person:
        made = await self.done("POST", "/users", {"externalUserId": unique("person")}, status=201)
        person = Person(made["id"], made["wallet"]["publicKey"])
        await self.ready(person)
        if deposit is not None:
            await self.deposit(person, deposit)
        return person

    async def ready(self, person: Person) -> None:
        """Wait until a wallet is set up on the chain."""
        status = "SELECT status FROM wallets WHERE public_key = $1"
        await eventually(lambda: self.live.value(status, person.address), lambda found: found == "READY")

    async def deposit(self, person: Person, amount: str) -> None:
        """Send USDC to a person's wallet and wait until it is booked."""
        transaction = await self.world.mint(person.address, amount)
        booked = "SELECT count(*) FROM deposits WHERE transaction_hash = $1"
        await eventually(lambda: self.live.value(booked, transaction), lambda count: count == 1)

    async def credit(self, person: Person, amount: str) -> None:
        """Credit a person by hand: money in the books that the chain does not have."""
        await self.done("POST", f"/users/{person.id}/balance/credit", {"amount": amount})

    async def balance(self, person: Person) -> tuple[str, str]:
        """(available, reserved) as the wire shows them."""
        found = await self.done("GET", f"/users/{person.id}/balance")
        return found["available"], found["reserved"]

    async def order(
        self, buyer: Person, seller: Person, amount: str, stage: Stage = "ORDER_CREATED", **more: Any
    ) -> str:
        """A new order that has been brought to a stage; returns its id."""
        body = {"buyer_id": buyer.id, "seller_id": seller.id, "amount": amount, "title": "A logo", **more}
        order_id = str((await self.done("POST", "/orders", body, status=201))["id"])
        for reached, move in _STAGES:
            if move == "escrow":
                await self.live.system_is_ready()
            if move:
                found = await self.done("POST", f"/orders/{order_id}/{move}")
                assert found["status"] == reached, found
            if reached == stage:
                return order_id
        raise AssertionError(f"there is no way to {stage}")

    async def disputed(self, buyer: Person, seller: Person, amount: str, **more: Any) -> tuple[str, str]:
        """An order in progress with a dispute under review: (order id, dispute id)."""
        order_id = await self.order(buyer, seller, amount, "IN_PROGRESS", **more)
        body = {"openedBy": "BUYER", "reason": "QUALITY_ISSUE"}
        opened = await self.done("POST", f"/orders/{order_id}/resolution/dispute", body, status=201)
        await self.done("POST", f"/disputes/{opened['id']}/assign", {"assignedTo": "agent-1"})
        return order_id, str(opened["id"])

    # -- what stands behind the answers ----------------------------------------------------------------------

    async def units(self, owner: str) -> dict[str, int]:
        """Kind of account to units, of a user or an order; accounts at zero are left out."""
        rows = await self.live.rows(
            "SELECT kind, balance FROM ledger.accounts WHERE marketplace_id = $1 AND owner = $2 AND balance <> 0",
            self.id,
            owner,
        )
        return {row["kind"]: row["balance"] for row in rows}

    async def fees(self) -> dict[str, int]:
        """Units that the marketplace's fee accounts have received."""
        rows = await self.live.rows(
            """
            SELECT a.kind, sum(p.amount)::bigint AS total
            FROM ledger.postings p JOIN ledger.accounts a ON a.id = p.account_id
            WHERE a.marketplace_id = $1 AND a.kind LIKE 'fees:%' GROUP BY a.kind
            """,
            self.id,
        )
        return {row["kind"].removeprefix("fees:"): row["total"] for row in rows}

    async def on_chain(self, address: str) -> int:
        """Units of USDC that an account holds on the chain."""
        account = await self.live.product.horizon.account(address)
        return 0 if account is None or account.usdc is None else int(account.usdc)

    async def assert_backed(self, *people: Person) -> None:
        """The chain holds for each exactly what the books promise."""
        await self.live.deposits_caught_up()
        for person in people:
            promised = sum((await self.units(person.id)).values())
            assert await self.on_chain(person.address) == promised

    async def events(self, aggregate_id: str) -> list[str]:
        """The types of an aggregate's events, as they happened; that its wallet became ready comes at any time."""
        sql = """
            SELECT type FROM events
            WHERE marketplace_id = $1 AND aggregate_id = $2 AND type <> 'user.stellar_linked' ORDER BY position
        """
        return [row["type"] for row in await self.live.rows(sql, self.id, aggregate_id)]

    async def audit(self, resource_id: str) -> list[str]:
        """The actions in a resource's audit trail, oldest first."""
        sql = "SELECT action FROM audit_entries WHERE marketplace_id = $1 AND resource_id = $2 ORDER BY id"
        return [row["action"] for row in await self.live.rows(sql, self.id, resource_id)]

    async def postings(self, subject: str) -> list[str]:
        """The kinds of the ledger's transactions about a subject, in order."""
        sql = "SELECT kind FROM ledger.transactions WHERE marketplace_id = $1 AND subject = $2 ORDER BY id"
        return [row["kind"] for row in await self.live.rows(sql, self.id, subject)]

    async def sagas(self, subject: str) -> list[tuple[str, str]]:
        """(kind, status) of the sagas about a subject, oldest first."""
        sql = "SELECT kind, status FROM sagas WHERE subject_id = $1 ORDER BY id"
        return [(row["kind"], row["status"]) for row in await self.live.rows(sql, subject)]

    async def counts(self) -> dict[str, int]:
        """How many rows this marketplace has in every table that a use case writes to.

        What the system does by itself, such as setting wallets up, is not counted.
        """
        tables = ["ledger.transactions", "users", "orders", "escrows", "disputes", "withdrawals", "topups", "sagas"]
        tables += ["api_keys", "wallets", "idempotent_requests"]
        counted = dict.fromkeys(tables, "true")
        by_itself = "aggregate_type <> 'Wallet' AND type <> 'user.stellar_linked'"
        counted |= {"events": by_itself, "audit_entries": "actor_type <> 'SYSTEM'"}
        parts = " UNION ALL ".join(
            f"SELECT '{table}' AS name, count(*) AS rows FROM {table} WHERE marketplace_id = $1 AND {which}"
            for table, which in counted.items()
        )
        return {row["name"]: row["rows"] for row in await self.live.rows(parts, self.id)}

    async def submit(self, xdr: str) -> str:
        """Bring a signed envelope to the chain as anybody could; returns its hash. It must succeed."""
        outcome = await self.live.product.horizon.submit(xdr)
        assert isinstance(outcome, Accepted), outcome
        return outcome.hash
