"""Every flow that sends a POST to a provider: what is prepared in peace, what is asked for, and its one effect.

A flow may be run while any of its POSTs goes wrong. `after` waits for its end and holds it to exactly one effect.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from support.outside import Fault, World, eventually
from support.payers import link
from support.product import Marketplace, Person, unique

UNIT: Final = 10_000_000
SEND: Final = ("trustless_work", "/helper/send-transaction$")
SUBMIT: Final = ("horizon", "/transactions$")
_BUILD: Final = "/escrow/single-release/"


def build(action: str) -> tuple[str, str]:
    """The route that builds a contract's call."""
    return ("trustless_work", f"{_BUILD}{action}$")


@dataclass(frozen=True)
class Stage:
    """A marketplace with a rich buyer and a seller, on either rail."""

    shop: Marketplace
    world: World
    buyer: Person
    seller: Person
    email: str = ""
    """The buyer's account at Airtm, on its rail."""

    async def order(self, stage: str) -> str:
        return await self.shop.order(self.buyer, self.seller, "10.00", stage)

    async def post(self, path: str, body: Any = None) -> Any:
        """One request with a key; whatever it answers, the state at the end counts. Its data, None for a refusal."""
        heard = await self.shop.post(path, body, key=unique("flow"))
        assert heard.status < 600, heard.body
        return heard.data if heard.status in {200, 201, 202} else None

    async def becomes(self, path: str, wanted: str) -> dict[str, Any]:
        """Wait until what is at a path has a status."""

        async def read() -> dict[str, Any]:
            found: dict[str, Any] = await self.shop.done("GET", path)
            return found

        return await eventually(read, lambda found: found["status"] == wanted)

    async def contract(self, order_id: str) -> dict[str, Any]:
        """The one contract of an order."""
        contracts = (await self.world.control("GET", "state"))["contracts"]
        [found] = [one for one in contracts if one["engagement_id"] == order_id]
        return dict(found)

    async def paid_out_once(self, order_id: str, final: str) -> None:
        order = await self.becomes(f"/orders/{order_id}", "CLOSED")
        assert order["finalStatus"] == final
        contract = await self.contract(order_id)
        assert contract["usdc"] == "0.0000000"
        assert (await self.shop.postings(order_id))[2:] == [final.lower()]


@dataclass(frozen=True)
class Flow:
    """`posts` are its routes at the providers, (face, route), each called at least once."""

    name: str
    posts: tuple[tuple[str, str], ...]
    before: Callable[[Stage], Awaitable[str]]
    during: Callable[[Stage, str], Awaitable[Any]]
    after: Callable[[Stage, str, Any], Awaitable[None]]

    async def run(self, stage: Stage, kind: str, **more: Any) -> list[Fault]:
        """Run it while the first call of each of its POSTs goes wrong; every fault has fired when this returns."""
        about = await self.before(stage)
        faults = [
            await stage.world.fault(face, route, kind, method="POST", **{"times": 1, **more})
            for face, route in self.posts
        ]
        told = await self.during(stage, about)
        await self.after(stage, about, told)
        fired = [await fault.fired() for fault in faults]
        assert all(fired), dict(zip(self.posts, fired, strict=True))
        await stage.world.mend()
        return faults


# -- orders ------------------------------------------------------------------------------------------------------


def _on_order(name: str, stage: str, path: str, body: Any, final: str, *posts: tuple[str, str]) -> Flow:
    async def during(scene: Stage, order_id: str) -> Any:
        return await scene.post(f"/orders/{order_id}/{path}", body)

    async def after(scene: Stage, order_id: str, _: Any) -> None:
        await scene.paid_out_once(order_id, final)

    return Flow(name, posts, lambda scene: scene.order(stage), during, after)


async def _deployed(stage: Stage, order_id: str, _: Any) -> None:
    order = await stage.becomes(f"/orders/{order_id}", "ESCROW_FUNDING")
    assert (await stage.contract(order_id))["address"] == order["escrow"]["contractId"]


async def _funded(stage: Stage, order_id: str, _: Any) -> None:
    await stage.becomes(f"/orders/{order_id}", "IN_PROGRESS")
    assert (await stage.contract(order_id))["usdc"] == "10.0000000"
    assert await stage.shop.postings(order_id) == ["hold", "fund_escrow"]


DEPLOY: Final = Flow(
    "deploy",
    (("trustless_work", "/deployer/single-release$"), SEND),
    lambda stage: stage.order("FUNDS_RESERVED"),
    lambda stage, order_id: stage.post(f"/orders/{order_id}/escrow"),
    _deployed,
)
FUND: Final = Flow(
    "fund",
    (build("fund-escrow"), SEND),
    lambda stage: stage.order("ESCROW_FUNDING"),
    lambda stage, order_id: stage.post(f"/orders/{order_id}/escrow/fund"),
    _funded,
)
RELEASE: Final = _on_order(
    "release",
    "IN_PROGRESS",
    "resolution/release",
    None,
    "RELEASED",
    build("change-milestone-status"),
    build("approve-milestone"),
    build("release-funds"),
    SEND,
)
REFUND: Final = _on_order(
    "refund",
    "IN_PROGRESS",
    "resolution/refund",
    {"reason": "not delivered"},
    "REFUNDED",
    build("dispute-escrow"),
    build("resolve-dispute"),
    SEND,
)


async def _disputed(stage: Stage) -> str:
    _, dispute_id = await stage.shop.disputed(stage.buyer, stage.seller, "10.00")
    return dispute_id


async def _resolve(stage: Stage, dispute_id: str) -> Any:
    body = {"decision": "SPLIT", "releaseAmount": "6.00", "refundAmount": "4.00"}
    return await stage.post(f"/disputes/{dispute_id}/resolve", body)


async def _resolved(stage: Stage, dispute_id: str, _: Any) -> None:
    dispute = await stage.becomes(f"/disputes/{dispute_id}", "RESOLVED")
    await stage.paid_out_once(dispute["orderId"], "RELEASED")


SPLIT: Final = Flow(
    "split", (build("dispute-escrow"), build("resolve-dispute"), SEND), _disputed, _resolve, _resolved
)


# -- wallets and withdrawals -------------------------------------------------------------------------------------


async def _nothing(stage: Stage) -> str:
    return unique("flow")


async def _new_user(stage: Stage, name: str) -> Any:
    return await stage.shop.done("POST", "/users", {"externalUserId": name}, status=201)


async def _wallet_ready(stage: Stage, _: str, made: Any) -> None:
    address = made["wallet"]["publicKey"]
    await stage.shop.ready(Person(made["id"], address))
    accounts = (await stage.world.control("GET", "state"))["accounts"]
    [account] = [one for one in accounts if one["address"] == address]
    assert account["usdc"] == "0.0000000"


WALLET: Final = Flow("wallet set-up", (SUBMIT,), _nothing, _new_user, _wallet_ready)


async def _target(stage: Stage) -> str:
    return (await stage.world.outside_wallet())[0]


async def _withdraw(stage: Stage, target: str) -> Any:
    body = {"userId": stage.buyer.id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    return await stage.post("/withdrawals", body)


async def _withdrawn(stage: Stage, target: str, made: Any) -> None:
    done = await stage.becomes(f"/withdrawals/{made['id']}", "WITHDRAWAL_COMPLETED")
    assert await stage.shop.on_chain(target) == 5 * UNIT
    assert await stage.shop.postings(done["id"]) == ["withdrawal", "withdrawal_completed"]


WITHDRAWAL: Final = Flow("withdrawal", (SUBMIT,), _target, _withdraw, _withdrawn)


# -- Airtm -------------------------------------------------------------------------------------------------------


async def _payer(stage: Stage) -> str:
    [person] = await stage.shop.people(None)
    await link(stage.shop, person.id)
    return person.id


async def _top_up(stage: Stage, user_id: str) -> Any:
    return await stage.post("/topups", {"userId": user_id, "amount": "25.00"})


async def _topped_up(stage: Stage, user_id: str, _: Any) -> None:
    shop = stage.shop
    [row] = await shop.live.rows("SELECT id FROM topups WHERE user_id = $1", user_id)
    topup = await stage.becomes(f"/topups/{row['id']}", "TOPUP_AWAITING_USER_CONFIRMATION")
    [payin] = await stage.world.airtm_payins(topup["id"])
    assert payin["id"] == topup["airtmPayinId"]
    await stage.world.airtm_payin(payin["id"], "confirm")
    await shop.done("POST", f"/topups/{topup['id']}/refresh")
    assert await shop.units(user_id) == {"available": 25 * UNIT}
    assert await shop.postings(user_id) == ["topup"] or await shop.postings(topup["id"]) == ["topup"]


TOP_UP: Final = Flow("top-up", (("airtm", "/payins$"),), _payer, _top_up, _topped_up)


async def _pay_out(stage: Stage, _: str) -> Any:
    body = {"userId": stage.buyer.id, "amount": "4.00", "destinationType": "airtm_balance"}
    return await stage.post("/withdrawals", body | {"destinationRef": stage.email, "commit": True})


async def _paid_out(stage: Stage, _: str, made: Any) -> None:
    withdrawal_id = made["id"]

    async def committed() -> list[dict[str, Any]]:
        return await stage.world.airtm_payouts(withdrawal_id)

    [payout] = await eventually(committed, lambda found: bool(found) and found[0]["status"] == "COMMITTED")
    told = "SELECT committed FROM withdrawals WHERE id = $1"
    await eventually(lambda: stage.shop.live.value(told, withdrawal_id), lambda found: found is True)
    await stage.world.airtm_payout(payout["id"], "complete")
    await stage.shop.done("POST", f"/withdrawals/{withdrawal_id}/refresh")
    await stage.becomes(f"/withdrawals/{withdrawal_id}", "WITHDRAWAL_COMPLETED")
    assert await stage.shop.postings(withdrawal_id) == ["withdrawal", "withdrawal_completed"]


PAYOUT: Final = Flow(
    "payout", (("airtm", "/payouts$"), ("airtm", "/payouts/[^/]+/commit$")), _nothing, _pay_out, _paid_out
)

ON_CHAIN: Final = (DEPLOY, FUND, RELEASE, REFUND, SPLIT, WITHDRAWAL, WALLET)
AT_AIRTM: Final = (TOP_UP, PAYOUT)
