"""The flows that move money, as data: what is prepared, what a client or a worker then does, what it must come to.

`act` is safe to repeat, as whoever does it repeats it after a crash: requests with their key, jobs and pages of
deposits as they are. It is done at a desk (`desk.py`), by the process that dies and by the one that comes after it.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from faults.processes.desk import Desk
from offerhub.sandbox import svix

if TYPE_CHECKING:
    from faults.processes.stage import Couple, Stage

UNIT: Final = 10_000_000
AMOUNT: Final = "20.00"
SMALL: Final = "5.00"

Thing = dict[str, str]
"""What a flow is about: `mark` leads to its id, `key` begins its keys; the rest is the flow's own."""
Act = Callable[[Desk, Thing], Awaitable[None]]
Prepare = Callable[["Stage", "Couple"], Awaitable[Thing]]
Rail = Literal["crypto", "airtm", "surge"]


@dataclass(frozen=True)
class Flow:
    """`subject` is the SQL that finds the ids of what the mark stands for: exactly `subjects` of them, in the end.

    `ends` are the kinds of the ledger's transactions about them, each once, in order. `alone`: its processes see to
    whatever there is, so only one of them at a time.
    """

    name: str
    rail: Rail
    prepare: Prepare
    act: Act
    subject: str
    ends: Sequence[str]
    subjects: int = 1
    alone: bool = False


# -- orders ------------------------------------------------------------------------------------------------------

ORDER: Final = "SELECT id FROM orders WHERE id = $1"
ORDER_AND_DISPUTE: Final = f"{ORDER} UNION ALL SELECT id FROM disputes WHERE order_id = $1"
ORDER_AND_MILESTONES: Final = f"{ORDER} UNION ALL SELECT id FROM milestones WHERE order_id = $1"
MILESTONES: Final = [
    {"ref": "m0", "title": "Sketch", "amount": "5.00"},
    {"ref": "m1", "title": "Logo", "amount": "15.00"},
]


def _order(rail: Rail, stage: str, **more: Any) -> Prepare:
    async def prepare(on: "Stage", couple: "Couple") -> Thing:
        return {"mark": await on.order(couple, rail, AMOUNT, stage, **more)}

    return prepare


async def _milestones(on: "Stage", couple: "Couple") -> Thing:
    order_id = await on.order(
        couple, "crypto", AMOUNT, "IN_PROGRESS", milestones=MILESTONES, escrow_type="multi-release"
    )
    for one in MILESTONES:
        await on.desks["crypto"].post(f"/orders/{order_id}/milestones/{one['ref']}/complete")
    return {"mark": order_id}


def _asking(*moves: tuple[str, Any]) -> Act:
    """Requests about the order, each under a key of its own."""

    async def act(at: Desk, thing: Thing) -> None:
        for place, (move, body) in enumerate(moves):
            await at.post(f"/orders/{thing['mark']}/{move}", body, key=f"{thing['key']}-{place}")

    return act


async def _split(at: Desk, thing: Thing) -> None:
    order_id, key = thing["mark"], thing["key"]
    body = {"openedBy": "BUYER", "reason": "QUALITY_ISSUE"}
    opened = await at.post(f"/orders/{order_id}/resolution/dispute", body, key=f"{key}-open")
    one = f"/disputes/{opened['id']}"
    await at.post(f"{one}/assign", {"assignedTo": "agent-1"}, key=f"{key}-assign")
    decision = {"decision": "SPLIT", "releaseAmount": "12.00", "refundAmount": "8.00"}
    await at.post(f"{one}/resolve", decision, key=f"{key}-resolve")


# -- in and out on the chain -------------------------------------------------------------------------------------


async def _minted(to: str, on: "Stage", couple: "Couple") -> Thing:
    address = couple.seller.address if to == "seller" else on.treasury
    return {"mark": await on.world.mint(address, "1.2345678")}


async def _book(at: Desk, thing: Thing) -> None:
    await at.book_deposits()


async def _missed(on: "Stage", couple: "Couple") -> Thing:
    """A payment that the watcher has passed without booking it, as one behind a gap in the network's history."""
    thing = await _minted("seller", on, couple)
    await on.skip_deposits(couple)
    return thing


async def _payee(on: "Stage", couple: "Couple") -> Thing:
    return {"mark": (await on.world.outside_wallet())[0]}


async def _withdraw(at: Desk, thing: Thing) -> None:
    body = {"userId": thing["buyer"], "amount": SMALL, "destinationType": "crypto", "destinationRef": thing["mark"]}
    await at.post("/withdrawals", body, key=thing["key"])


async def _nobody(on: "Stage", couple: "Couple") -> Thing:
    return {"mark": on.unique("user")}


async def _set_up(at: Desk, thing: Thing) -> None:
    await at.post("/users", {"externalUserId": thing["mark"]}, key=thing["key"])
    await at.settle(WALLET, thing["mark"])


DEPOSIT: Final = "SELECT operation_id AS id FROM deposits WHERE transaction_hash = $1"
CAPITAL: Final = "SELECT operation_id AS id FROM treasury_deposits WHERE transaction_hash = $1"
PAID_OUT: Final = "SELECT id FROM withdrawals WHERE destination_ref = $1"
WALLET: Final = """
    SELECT id FROM users WHERE external_user_id = $1
    UNION ALL SELECT w.id FROM wallets w JOIN users u ON u.id = w.user_id WHERE u.external_user_id = $1
"""


# -- in and out through Airtm ------------------------------------------------------------------------------------


async def _now(on: "Stage", couple: "Couple") -> Thing:
    return {"mark": await on.now(couple)}


async def _top_up(at: Desk, thing: Thing) -> None:
    await at.post("/topups", {"userId": thing["buyer"], "amount": SMALL}, key=thing["key"])


async def _paid_in(on: "Stage", couple: "Couple") -> Thing:
    """A top-up whose payment Airtm has confirmed, and of which nobody has told us."""
    body = {"userId": couple.buyer.id, "amount": SMALL}
    made = await on.desks["airtm"].post("/topups", body, key=on.unique("topup"))
    await on.world.airtm_payin(made["airtmPayinId"], "confirm", "0.25")
    return {"mark": made["id"]}


async def _pay_out(at: Desk, thing: Thing) -> None:
    body = {"userId": thing["buyer"], "amount": SMALL, "destinationType": "airtm_balance", "commit": True}
    await at.post("/withdrawals", body | {"destinationRef": thing["email"]}, key=thing["key"])


async def _paid(on: "Stage", couple: "Couple") -> Thing:
    """A payout that Airtm has completed, and of which nobody has told us."""
    thing = {"buyer": couple.buyer.id, "email": couple.email, "key": on.unique("payout")}
    mark = await on.now(couple)
    await _pay_out(on.desks["airtm"], thing)
    [made] = await on.ids(NEW_PAYOUT, mark)
    [payout] = await on.world.airtm_payouts(made)
    await on.world.airtm_payout(payout["id"], "complete")
    return {"mark": made, "payout": payout["id"]}


async def _given_back(on: "Stage", couple: "Couple") -> Thing:
    """A payout that has ended, and that Airtm has given back since."""
    thing = await _paid(on, couple)
    await on.desks["airtm"].post(f"/withdrawals/{thing['mark']}/refresh")
    await on.world.airtm_payout(thing["payout"], "refund")
    return thing


async def _unseen(table: str, prepare: Prepare, on: "Stage", couple: "Couple") -> Thing:
    """Something that the job about this table looks at next."""
    thing = await prepare(on, couple)
    await on.look_next(table, thing["mark"])
    return thing


async def _refresh(what: str, at: Desk, thing: Thing) -> None:
    await at.post(f"/{what}/{thing['mark']}/refresh")


async def _job(name: str, at: Desk, thing: Thing) -> None:
    await at.jobs["reconciliation", f"reconciliation:{name}"]({})


async def _deliver(at: Desk, provider: str, path: str, event: str, body: bytes, headers: Mapping[str, str]) -> None:
    """A signed webhook, and then the job that it leaves behind."""
    sent = [*headers.items(), ("content-type", "application/json")]
    heard = await at.post(f"/webhooks/{path}", raw=body, headers=sent)
    assert heard["processed"], heard
    await at.jobs["webhooks", "process"]({"provider": provider, "eventId": event})


async def _hear_of_payin(at: Desk, thing: Thing) -> None:
    assert at.product.settings.airtm is not None
    secret, message = at.product.settings.airtm.webhook_secret.reveal(), f"msg_{thing['key']}"
    body = json.dumps({"type": "payin.confirmed", "data": {"code": thing["mark"]}}).encode()
    headers = svix.headers([secret], message, int(time.time()), body)
    await _deliver(at, "AIRTM", "airtm", message, body, headers)


async def _lost_release(on: "Stage", couple: "Couple") -> Thing:
    """A release that was accepted by a process which died at once."""
    thing = {"mark": await on.order(couple, "crypto", AMOUNT, "IN_PROGRESS")}
    await on.begin_release(thing["mark"])
    return thing


async def _hear_of_contract(at: Desk, thing: Thing) -> None:
    """Whatever is under way for the order is looked after at once."""
    told = {"event_id": thing["key"], "type": "escrow.released", "data": {"order_id": thing["mark"]}}
    body, secret = json.dumps(told).encode(), at.product.settings.trustless_work.webhook_secret.reveal()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    await _deliver(at, "TRUSTLESS_WORK", "trustless-work", thing["key"], body, {"x-tw-signature": signature})
    await at.settle(ORDER, thing["mark"])


TOP_UP: Final = "SELECT id FROM topups WHERE id = $1"
_SINCE: Final = "user_id = split_part($1, '/', 1) AND created_at > split_part($1, '/', 2)::timestamptz"
NEW_TOP_UP: Final = f"SELECT id FROM topups WHERE {_SINCE}"
PAYOUT: Final = "SELECT id FROM withdrawals WHERE id = $1"
NEW_PAYOUT: Final = f"SELECT id FROM withdrawals WHERE destination_type <> 'crypto' AND {_SINCE}"
HELD: Final = ("withdrawal",)
GONE: Final = ("withdrawal", "withdrawal_completed")
FUNDED: Final = ("hold", "fund_escrow")


FLOWS: Final = {
    flow.name: flow
    for flow in (
        Flow("deposit", "crypto", partial(_minted, "seller"), _book, DEPOSIT, ("deposit",), alone=True),
        Flow("reserve", "crypto", _order("crypto", "ORDER_CREATED"), _asking(("reserve", None)), ORDER, ("hold",)),
        Flow(
            "cancel",
            "crypto",
            _order("crypto", "FUNDS_RESERVED"),
            _asking(("cancel", {"reason": "changed my mind"})),
            ORDER,
            ("hold", "void"),
        ),
        Flow("escrow", "crypto", _order("crypto", "FUNDS_RESERVED"), _asking(("escrow", None)), ORDER, ("hold",)),
        Flow("fund", "crypto", _order("crypto", "ESCROW_FUNDING"), _asking(("escrow/fund", None)), ORDER, FUNDED),
        Flow(
            "release",
            "crypto",
            _order("crypto", "IN_PROGRESS"),
            _asking(("resolution/release", None)),
            ORDER,
            (*FUNDED, "released"),
        ),
        Flow(
            "refund",
            "crypto",
            _order("crypto", "IN_PROGRESS"),
            _asking(("resolution/refund", {"reason": "not delivered"})),
            ORDER,
            (*FUNDED, "refunded"),
        ),
        Flow(
            "split",
            "crypto",
            _order("crypto", "IN_PROGRESS"),
            _split,
            ORDER_AND_DISPUTE,
            (*FUNDED, "released"),
            subjects=2,
        ),
        Flow(
            "milestone release",
            "crypto",
            _milestones,
            _asking(("milestones/m0/release", None)),
            ORDER_AND_MILESTONES,
            (*FUNDED, "milestone_released"),
            subjects=3,
        ),
        Flow(
            "multi-release release",
            "crypto",
            _milestones,
            _asking(("resolution/release", None)),
            ORDER_AND_MILESTONES,
            (*FUNDED, "milestone_released"),
            subjects=3,
        ),
        Flow("withdrawal", "crypto", _payee, _withdraw, PAID_OUT, GONE),
        Flow("withdrawal in a surge", "surge", _payee, _withdraw, PAID_OUT, GONE),
        Flow(
            "treasury deposit",
            "airtm",
            partial(_minted, "treasury"),
            _book,
            CAPITAL,
            ("treasury_deposit",),
            alone=True,
        ),
        Flow(
            "treasury fund",
            "airtm",
            _order("airtm", "ESCROW_FUNDING"),
            _asking(("escrow/fund", None)),
            ORDER,
            FUNDED,
        ),
        Flow(
            "treasury release",
            "airtm",
            _order("airtm", "IN_PROGRESS"),
            _asking(("resolution/release", None)),
            ORDER,
            (*FUNDED, "released"),
        ),
        Flow("top-up", "airtm", _now, _top_up, NEW_TOP_UP, ()),
        Flow("top-up credited", "airtm", _paid_in, partial(_refresh, "topups"), TOP_UP, ("topup",)),
        Flow("payout", "airtm", _now, _pay_out, NEW_PAYOUT, HELD),
        Flow("payout completed", "airtm", _paid, partial(_refresh, "withdrawals"), PAYOUT, GONE),
        Flow("webhook", "airtm", _paid_in, _hear_of_payin, TOP_UP, ("topup",)),
        Flow("news of a contract", "crypto", _lost_release, _hear_of_contract, ORDER, (*FUNDED, "released")),
        Flow(
            "sync-topups",
            "airtm",
            partial(_unseen, "topups", _paid_in),
            partial(_job, "sync-topups"),
            TOP_UP,
            ("topup",),
            alone=True,
        ),
        Flow(
            "sync-withdrawals",
            "airtm",
            partial(_unseen, "withdrawals", _paid),
            partial(_job, "sync-withdrawals"),
            PAYOUT,
            GONE,
            alone=True,
        ),
        Flow(
            "sync-refunds",
            "airtm",
            _given_back,
            partial(_job, "sync-refunds"),
            PAYOUT,
            (*GONE, "withdrawal_reversed"),
            alone=True,
        ),
        Flow(
            "check-missed-deposits",
            "crypto",
            _missed,
            partial(_job, "check-missed-deposits"),
            DEPOSIT,
            ("deposit",),
            alone=True,
        ),
        # The last: each of its points makes a user, and a check of all wallets has points for each of them.
        Flow("wallet", "crypto", _nobody, _set_up, WALLET, (), subjects=2),
    )
}
