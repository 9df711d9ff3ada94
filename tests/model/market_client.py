"""Between the state machine, which is synchronous, and the product, on an event loop of another thread."""

import asyncio
import itertools
import json
import secrets
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiohttp
from market_oracle import Market
from market_orders import POLICIES
from market_words import Said, User, units

from asgi_client import Heard
from offerhub.policies.jobs import apply_policies
from offerhub.policies.service import Firing, database_clock
from support.outside import World, eventually
from support.payers import link
from support.product import Marketplace, Person, Running
from support.webhooks import airtm_headers

T = TypeVar("T")
DAY: Final = 86_400
PATIENCE_SECONDS: Final = 120


def differences(found: Any, wanted: Any, place: str = "") -> Iterator[str]:
    """Where an answer does not hold what it must; it may hold more."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for name, value in wanted.items():
            if name not in found:
                yield f"{place}.{name}: is missing"
            else:
                yield from differences(found[name], value, f"{place}.{name}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            yield from differences(one, other, f"{place}[{number}]")
    elif found != wanted:
        yield f"{place}: {found!r} instead of {wanted!r}"


@dataclass
class Sent:
    """A request with an idempotency key, and how it was answered."""

    method: str
    path: str
    body: Any
    key: str
    heard: Heard


@dataclass
class Stage:
    """The product on one rail, and the loop that it runs on."""

    loop: asyncio.AbstractEventLoop
    live: Running
    world: World
    http: aiohttp.ClientSession
    trusting: str
    untrusting: str
    steps: int = 0
    told: Counter[str] = field(default_factory=Counter)
    """How often each kind of answer was given: a refusal's code, or what became of what was asked for."""
    ended: Counter[str] = field(default_factory=Counter)
    """In which states orders, top-ups and withdrawals were at the end of their games."""

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the loop do this, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_SECONDS)


@dataclass
class Client:
    """Speaks for one marketplace, and holds every answer against what the oracle says."""

    stage: Stage
    market: Market
    shop: Marketplace
    stranger: Marketplace
    sent: list[Sent] = field(default_factory=list)
    keys: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    async def found(cls, stage: Stage, market: Market, users: int, linked: int) -> "Client":
        """A new marketplace with its policies and users, and another one that has nothing to do with it."""
        shop, stranger = await asyncio.gather(
            *(Marketplace.found(stage.live, stage.world, stage.http) for _ in range(2))
        )
        await shop.done("PUT", "/policies", POLICIES)
        people = await shop.people(*[None] * users)
        for number, person in enumerate(people):
            if number < linked:
                await link(shop, person.id)
            market.users.append(User(number, person.id, person.address, linked=number < linked))
        return cls(stage, market, shop, stranger)

    async def ask(self, method: str, path: str, body: Any, wanted: Said, *, keyed: bool = True) -> Any:
        """Send a request that must be answered like this; returns its data, or the details of its refusal."""
        key = f"step-{next(self.keys)}" if keyed else None
        heard = await self.shop.send(method, path, body, key=key)
        found = self._same(f"{method} {path} {json.dumps(body)}", heard, wanted)
        self.stage.told[wanted.code or str(found.get("finalStatus") or found.get("status") or "done")] += 1
        if key is not None and heard.status != 400:
            self.sent.append(Sent(method, path, body, key, heard))
        return found

    def _same(self, what: str, heard: Heard, wanted: Said) -> Any:
        answer = heard.json
        code = answer.get("error", {}).get("code")
        found = answer["error"].get("details", {}) if code else answer["data"]
        assert (heard.status, code) == (wanted.status, wanted.code), f"{what}: {wanted} expected, {heard.body!r}"
        wrong = list(differences(found, wanted.facts))
        assert wrong == [], f"{what}: {wrong}"
        return found

    async def again(self, sent: Sent) -> None:
        """The same request with the same key: the same answer, and nothing happens."""
        heard = await self.shop.send(sent.method, sent.path, sent.body, key=sent.key)
        assert (heard.status, heard.body) == (sent.heard.status, sent.heard.body), (sent, heard)
        assert heard.headers.get("idempotency-replay") == "true"

    async def other_with_key_of(self, sent: Sent) -> None:
        """Another request with a key that was used: it is refused, and nothing happens."""
        path = f"/users/{self.market.users[0].id}/balance/credit"
        heard = await self.shop.send("POST", path, {"amount": "987.65"}, key=sent.key)
        self._same("a key of another request", heard, Said(409, "IDEMPOTENCY_KEY_REUSED"))

    async def strange(self, method: str, path: str, body: Any, code: str) -> None:
        """What another marketplace asks about something of this one: there is no such thing."""
        heard = await self.stranger.send(method, path, body, key=f"strange-{secrets.token_hex(8)}")
        self._same(f"a stranger's {method} {path}", heard, Said(404, code))

    async def check(self) -> None:
        """Everything that there is reads as the oracle has it."""
        things = list(self.market.things())
        heard = await asyncio.gather(*(self.shop.get(path) for path, _ in things))
        for (path, facts), one in zip(things, heard, strict=True):
            self._same(f"GET {path}", one, Said(200, None, facts))

    async def settled(self) -> None:
        """Nothing of this marketplace is under way any more."""
        sql = "SELECT count(*) FROM sagas WHERE marketplace_id = $1 AND status = 'RUNNING'"
        await eventually(lambda: self.stage.live.value(sql, self.shop.id), lambda count: count == 0)

    async def days_pass(self, days: float) -> None:
        """Policies look with a clock that is so many days ahead."""
        made = self.stage.live.product.policies
        firing = Firing(made.orders, made.resolution, made.disputes, database_clock(days * DAY))
        await apply_policies(self.stage.live.product.database, firing, self.stage.live.product.topups)
        await self.settled()

    async def deposit(self, user: User, amount: str) -> None:
        """USDC arrives at a user's address, and is booked."""
        await self.shop.deposit(Person(user.id, user.address), amount)

    async def newest_withdrawal(self, user: User) -> str:
        """The id of the user's last withdrawal, be it one that was refused."""
        return str((await self.shop.done("GET", f"/withdrawals?userId={user.id}&limit=1"))[0]["id"])

    async def fault(self, face: str, route: str, kind: str, more: Mapping[str, Any]) -> None:
        """Break a wire once; whatever was to break before does not."""
        await self.stage.world.mend()
        await self.stage.world.fault(face, route, kind, method="POST", times=1, **more)

    async def webhook(self, code: str, kind: str, times: int) -> None:
        """Airtm tells of something, so many times under one id, and we have looked into it."""
        body = json.dumps({"type": kind, "data": {"code": code, "status": "SOMETHING", "amount": 1}}).encode()
        message = f"msg_{secrets.token_hex(8)}"
        headers = airtm_headers(self.stage.world.environ["AIRTM_WEBHOOK_SECRET"], body, message)
        caller = self.shop.using("")
        heard = await asyncio.gather(
            *(caller.send("POST", "/webhooks/airtm", raw=body, headers=headers) for _ in range(times))
        )
        assert {one.status for one in heard} == {200}
        sql = "SELECT status FROM webhook_events WHERE event_id = $1"
        await eventually(lambda: self.stage.live.value(sql, message), lambda found: found == "PROCESSED")

    async def ends_well(self) -> None:
        """Everything has come to its end, and is in the books, on the chain and at Airtm as the oracle has it.

        Only what is this marketplace's is looked at: what another game has broken is not held against this one.
        """
        await self.stage.world.mend()
        await self.settled()
        await self.shop.done("PUT", "/policies", {})
        await self.check()
        for user in self.market.users:
            owned = await self.shop.units(user.id)
            reserved = sum(user.held.values())
            wanted = {"available": user.available, "reserved": reserved, "withdrawing": user.withdrawing}
            assert owned == {kind: amount for kind, amount in wanted.items() if amount}, f"user {user.number}"
            if self.market.rail == "crypto":
                assert await self.shop.on_chain(user.address) == user.chain, f"the wallet of user {user.number}"
        state = await self.stage.world.control("GET", "state")
        contracts = {one["address"]: units(one["usdc"]) for one in state["contracts"]}
        for order in self.market.orders:
            held = order.unpaid if order.escrow in ("FUNDED", "DISPUTED") else 0
            assert await self.shop.units(order.id) == ({"escrow": held} if held else {}), f"order {order.number}"
            escrow = (await self.shop.done("GET", f"/orders/{order.id}"))["escrow"]
            assert escrow is None or contracts[escrow["contractId"]] == held, f"the contract of order {order.number}"
        sql = "SELECT kind, evidence FROM findings WHERE marketplace_id = $1"
        assert [dict(row) for row in await self.stage.live.rows(sql, self.shop.id)] == []
