"""Contract 3: every code that this API can answer, heard over the wire once, with its status and its details."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import structlog

from offerhub.errors import catalogue
from support.outside import World, eventually
from support.product import MASTER_KEY, Marketplace, Person, Running, running, unique
from support.wire import AMOUNT, TIME, check

pytestmark = pytest.mark.usefixtures("mended")

CONTRACT: Final[Mapping[str, int]] = {
    "UNAUTHORIZED": 401,
    "INVALID_API_KEY": 401,
    "INSUFFICIENT_SCOPE": 403,
    "VALIDATION_ERROR": 400,
    "INVALID_AMOUNT_FORMAT": 400,
    "INVALID_CURRENCY": 400,
    "INVALID_REQUEST": 400,
    "INVALID_AMOUNT": 400,
    "USER_NOT_FOUND": 404,
    "AIRTM_USER_NOT_LINKED": 422,
    "AIRTM_USER_INVALID": 422,
    "AIRTM_USER_ALREADY_LINKED": 409,
    "INSUFFICIENT_FUNDS": 422,
    "FUNDS_ALREADY_RESERVED": 409,
    "RESERVE_NOT_FOUND": 422,
    "RESERVE_MISMATCH_AMOUNT": 422,
    "BALANCE_DISCREPANCY": 409,
    "BALANCE_CONCURRENCY_CONFLICT": 409,
    "BALANCE_NOT_FOUND": 404,
    "ORDER_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "WALLET_NOT_FOUND": 404,
    "API_KEY_NOT_FOUND": 404,
    "INVALID_STATE": 409,
    "ESCROW_ALREADY_EXISTS": 409,
    "ESCROW_NOT_READY": 409,
    "DISPUTE_ALREADY_OPEN": 409,
    "DISPUTE_NOT_FOUND": 404,
    "MILESTONE_NOT_FOUND": 404,
    "ESCROW_NOT_FOUND": 404,
    "ESCROW_INVALID_STATE": 409,
    "ESCROW_FUNDING_FAILED": 422,
    "STELLAR_NETWORK_ERROR": 502,
    "PROVIDER_ERROR": 502,
    "PROVIDER_TIMEOUT": 504,
    "PROVIDER_RATE_LIMITED": 502,
    "PROVIDER_UNAVAILABLE": 503,
    "WITHDRAWAL_NOT_FOUND": 404,
    "WITHDRAWAL_NOT_COMMITTABLE": 409,
    "WITHDRAWAL_DESTINATION_INVALID": 422,
    "TOPUP_NOT_FOUND": 404,
    "IDEMPOTENCY_KEY_REUSED": 409,
    "IDEMPOTENCY_KEY_IN_PROGRESS": 409,
    "RATE_LIMITED": 429,
    "MAINTENANCE_MODE": 503,
    "INTERNAL_ERROR": 500,
}
"""The column OURS of contract 3."""
ELSEWHERE: Final[Mapping[str, tuple[int, str]]] = {
    "WEBHOOK_SIGNATURE_INVALID": (401, "tests/product/test_webhooks.py"),
    "NOT_READY": (503, "tests/operations/test_ready.py"),
    "TOO_MANY_STREAMS": (429, "tests/product/test_events.py"),
    "WEBHOOK_ENDPOINT_LIMIT": (409, "tests/product/test_webhook_endpoints.py"),
    "WEBHOOK_URL_FORBIDDEN": (400, "tests/product/test_webhook_endpoints.py"),
    "MISSING_REQUIRED_FIELD": (400, "an optional finer code: VALIDATION_ERROR names the field"),
    "ESCROW_ALREADY_FUNDED": (409, "the order's state says it first: INVALID_STATE"),
    "ESCROW_INSUFFICIENT_FUNDS": (422, "the wallet is looked at before: INSUFFICIENT_FUNDS"),
}
"""Codes of contract 3 that another code stands for here; one that is there has this status."""
UNPROVOKED: Final[Mapping[str, str]] = {
    "IDEMPOTENCY_ANSWER_UNREADABLE": "takes an answer that no key opens: tests/edge/test_edge_idempotency.py",
    "BALANCE_NOT_FOUND": "every user has a balance: who has none is not there (USER_NOT_FOUND)",
    "ESCROW_NOT_FOUND": "an order without an escrow is in a state that says so (INVALID_STATE)",
    "ESCROW_INVALID_STATE": "the last guard of a state that the locked order has already vouched for",
}
"""Codes that nothing over HTTP brings about, and why."""
FUNDING: Final = "/escrow/single-release/fund-escrow"
NOBODY: Final = "_" + "0" * 32


def provoked() -> set[str]:
    """The codes that the tests of this module are marked with; each mark is held to what was heard."""
    module = importlib.import_module(Path(__file__).stem)
    found: set[str] = set()
    for test in vars(module).values():
        for mark in getattr(test, "pytestmark", []) if callable(test) else []:
            found |= set(mark.args) if mark.name == "provokes" else set()
    return found | {case.code for case in CASES}


def test_every_code_is_provoked_or_told_why_not() -> None:
    codes = set(catalogue()) - set(ELSEWHERE)
    assert codes == provoked() | set(UNPROVOKED)
    assert not provoked() & set(UNPROVOKED)


def test_the_catalogue_has_the_contract_s_codes_with_their_status() -> None:
    found = {code: error.status for code, error in catalogue().items()}
    assert {code: found.get(code) for code in CONTRACT} == CONTRACT
    for code, (status, _) in ELSEWHERE.items():
        assert found.get(code, status) == status


# -- what a request alone brings about --------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """What the cases refer to."""

    shop: Marketplace
    buyer: Person
    seller: Person
    order_id: str

    def terms(self, **more: Any) -> dict[str, Any]:
        return {"buyer_id": self.buyer.id, "seller_id": self.seller.id, "amount": "5.00", "title": "t", **more}

    def payout(self, **more: Any) -> dict[str, Any]:
        body = {"userId": self.buyer.id, "amount": "1.00", "destinationType": "crypto"}
        return {**body, "destinationRef": self.seller.address, **more}


@dataclass(frozen=True)
class Case:
    """A request and the refusal that it must get; `details` are forms of what the contract documents.

    `audited`: a refused operation on a balance leaves an audit entry (contract 2.4); other refusals leave nothing.
    """

    code: str
    request: Callable[[Place], tuple[str, str, Any]]
    details: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    credential: str | None = None
    raw: bytes | None = None
    audited: bool = False


def on_balance(operation: str, **body: Any) -> Callable[[Place], tuple[str, str, Any]]:
    return lambda at: ("POST", f"/users/{at.buyer.id}/balance/{operation}", body)


def to(method: str, path: str, body: Any = None) -> Callable[[Place], tuple[str, str, Any]]:
    return lambda at: (method, path.format(order=at.order_id, buyer=at.buyer.id), body)


PART: Final = {"ref": "a", "title": "A", "amount": "1.00"}
CASES: Final = [
    Case("UNAUTHORIZED", to("GET", "/users"), credential=""),
    Case("INVALID_API_KEY", to("GET", "/users"), credential="ohk_test_intentionally_invalid"),
    Case(
        "INSUFFICIENT_SCOPE",
        to("GET", "/admin/marketplaces"),
        {"required_scope": ("master",), "current_scopes": [str]},
    ),
    Case("VALIDATION_ERROR", to("POST", "/users", {}), {"validationErrors": [str], "fields": list}),
    Case("INVALID_AMOUNT_FORMAT", on_balance("credit", amount="1"), {"provided": ("1",), "expectedFormat": str}),
    Case("INVALID_CURRENCY", on_balance("credit", amount="1.00", currency="EUR")),
    Case("INVALID_REQUEST", lambda at: ("POST", "/orders", at.terms(seller_id=at.buyer.id))),
    Case("INVALID_AMOUNT", lambda at: ("POST", "/orders", at.terms(milestones=[PART]))),
    Case("USER_NOT_FOUND", to("GET", f"/users/usr{NOBODY}"), {"userId": str}),
    Case("ORDER_NOT_FOUND", to("GET", f"/orders/ord{NOBODY}")),
    Case("WEBHOOK_ENDPOINT_NOT_FOUND", to("GET", f"/webhook-endpoints/whe{NOBODY}")),
    Case("MILESTONE_NOT_FOUND", to("POST", "/orders/{order}/milestones/none/complete")),
    Case("DISPUTE_NOT_FOUND", to("GET", f"/disputes/dsp{NOBODY}")),
    Case("WALLET_NOT_FOUND", to("GET", f"/users/usr{NOBODY}/wallet")),
    Case("API_KEY_NOT_FOUND", to("DELETE", f"/auth/api-keys/key{NOBODY}")),
    Case("TOPUP_NOT_FOUND", to("GET", f"/topups/topup{NOBODY}")),
    Case("WITHDRAWAL_NOT_FOUND", to("GET", f"/withdrawals/wd{NOBODY}")),
    Case("MARKETPLACE_NOT_FOUND", to("GET", "/users"), headers={"x-marketplace-id": f"mkt{NOBODY}"}),
    Case("NOT_FOUND", to("GET", "/nowhere")),
    Case("METHOD_NOT_ALLOWED", to("DELETE", "/users"), {"allow": [str]}),
    Case("PAYLOAD_TOO_LARGE", to("POST", "/users"), {"limit": int}, raw=b" " * 100_001),
    Case("UNSUPPORTED_MEDIA_TYPE", to("POST", "/users"), raw=b"x", headers={"content-type": "text/plain"}),
    Case(
        "INSUFFICIENT_FUNDS",
        on_balance("debit", amount="9999999.00"),
        {"requested": ("9999999.00",), "available": AMOUNT, "currency": ("USD",)},
        audited=True,
    ),
    Case(
        "RESERVE_NOT_FOUND",
        on_balance("deduct-reserved", amount="1.00", orderId="unknown"),
        {"requested": ("1.00",), "reserved": ("0.00",), "currency": ("USD",)},
        audited=True,
    ),
    Case("RESERVE_MISMATCH_AMOUNT", to("POST", "/orders/{order}/reserve", {"amount": "4.99"})),
    Case(
        "INVALID_STATE",
        to("POST", "/orders/{order}/escrow"),
        {"currentState": ("ORDER_CREATED",), "allowedStates": [str], "orderId": str},
    ),
    Case("WITHDRAWAL_DESTINATION_INVALID", lambda at: ("POST", "/withdrawals", at.payout(destinationRef="G"))),
    Case("PROVIDER_NOT_ENABLED", lambda at: ("POST", "/withdrawals", at.payout(destinationType="bank"))),
]


@pytest.fixture(scope="module")
async def place(shop: Marketplace, pair: tuple[Person, Person]) -> Place:
    return Place(shop, *pair, await shop.order(*pair, "5.00"))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.code) for case in CASES])
async def test_a_request_is_refused(place: Place, case: Case) -> None:
    caller = place.shop if case.credential is None else place.shop.using(case.credential)
    method, path, body = case.request(place)
    before = await place.shop.counts()
    details = await caller.refused(
        method, path, body, raw=case.raw, headers=case.headers, status=status_of(case.code), code=case.code
    )
    for name, form in case.details.items():
        check(details[name], form, name)
    assert await place.shop.counts() == before | {"audit_entries": before["audit_entries"] + case.audited}


def status_of(code: str) -> int:
    """The contract's status; for codes of our own, that of the catalogue."""
    return CONTRACT.get(code) or catalogue()[code].status


# -- orders ---------------------------------------------------------------------------------------------------


@pytest.mark.provokes("FUNDS_ALREADY_RESERVED", "ESCROW_ALREADY_EXISTS", "DISPUTE_ALREADY_OPEN", "ORDER_REF_REUSED")
async def test_what_is_there_already(place: Place) -> None:
    shop = place.shop
    order_id = await shop.order(place.buyer, place.seller, "5.00", "FUNDS_RESERVED")
    one = f"/orders/{order_id}"
    details = await shop.refused("POST", f"{one}/reserve", status=409, code="FUNDS_ALREADY_RESERVED")
    assert details["orderId"] == order_id
    await shop.done("POST", f"{one}/escrow")
    await shop.refused("POST", f"{one}/escrow", status=409, code="ESCROW_ALREADY_EXISTS")
    await shop.done("POST", f"{one}/escrow/fund")
    body = {"openedBy": "BUYER", "reason": "OTHER"}
    opened = await shop.done("POST", f"{one}/resolution/dispute", body, status=201)
    details = await shop.refused("POST", f"{one}/resolution/dispute", body, status=409, code="DISPUTE_ALREADY_OPEN")
    assert details["disputeId"] == opened["id"]
    reference = unique("ref")
    await shop.done("POST", "/orders", place.terms(client_order_ref=reference), status=201)
    other = place.terms(client_order_ref=reference, amount="6.00")
    await shop.refused("POST", "/orders", other, status=409, code="ORDER_REF_REUSED")


@pytest.mark.provokes("WEBHOOK_DELIVERY_NOT_FOUND")
async def test_a_delivery_that_never_was(place: Place) -> None:
    endpoint = await place.shop.done("POST", "/webhook-endpoints", {"kind": "PULL"}, status=201)
    path = f"/webhook-endpoints/{endpoint['id']}/deliveries/whd{NOBODY}"
    await place.shop.refused("GET", path, status=404, code="WEBHOOK_DELIVERY_NOT_FOUND")


@pytest.mark.provokes("ESCROW_FUNDING_FAILED")
async def test_the_contract_refuses_its_funding(place: Place, world: World) -> None:
    shop = place.shop
    order_id = await shop.order(place.buyer, place.seller, "5.00", "ESCROW_FUNDING")
    before = await shop.units(place.buyer.id)
    fault = await world.fault("trustless_work", FUNDING, "error_before", status=400)
    await shop.refused("POST", f"/orders/{order_id}/escrow/fund", status=422, code="ESCROW_FUNDING_FAILED")
    assert await fault.fired() == 1
    assert await shop.units(place.buyer.id) == before
    assert "ESCROW_FUNDING_FAILED" in await shop.audit(order_id)
    await world.mend()
    assert (await shop.done("POST", f"/orders/{order_id}/escrow/fund"))["status"] == "IN_PROGRESS"


@pytest.fixture(scope="module")
async def impatient(environ: dict[str, str]) -> AsyncIterator[Running]:
    """A process that waits for nothing."""
    async with running({**environ, "SAGA_INLINE_WAIT_SECONDS": "0"}, jobs=False) as found:
        yield found


@pytest.mark.provokes("ESCROW_NOT_READY")
async def test_the_funding_is_on_its_way(place: Place, impatient: Running, world: World) -> None:
    shop = place.shop.on(impatient)
    order_id = await place.shop.order(place.buyer, place.seller, "5.00", "ESCROW_FUNDING")
    await world.fault("trustless_work", FUNDING, "error_before", status=503, times=2)
    assert (await shop.done("POST", f"/orders/{order_id}/escrow/fund"))["escrow"]["status"] == "FUNDING"
    details = await shop.refused("POST", f"/orders/{order_id}/escrow/fund", status=409, code="ESCROW_NOT_READY")
    assert (details["currentState"], details["allowedStates"]) == ("FUNDING", ["CREATED"])
    await world.mend()

    async def status() -> str:
        return str((await shop.done("GET", f"/orders/{order_id}"))["status"])

    await eventually(status, lambda found: found == "IN_PROGRESS")


# -- users, wallets, withdrawals ------------------------------------------------------------------------------


@pytest.mark.provokes("WALLET_NOT_READY", "USER_NOT_ACTIVE")
async def test_users_that_cannot_move_money(place: Place, world: World) -> None:
    shop = place.shop
    await world.fault("horizon", "/friendbot", "error_before")
    made = await shop.done("POST", "/users", {"externalUserId": unique("early")}, status=201)
    early = Person(made["id"], made["wallet"]["publicKey"])
    await shop.credit(early, "5.00")
    await shop.refused("POST", "/withdrawals", place.payout(userId=early.id), status=422, code="WALLET_NOT_READY")
    suspend = "UPDATE users SET status = 'SUSPENDED' WHERE id = $1"
    await shop.live.product.database.run(lambda tx: tx.execute(suspend, early.id))
    path = f"/users/{early.id}/balance/debit"
    await shop.refused("POST", path, {"amount": "1.00"}, status=422, code="USER_NOT_ACTIVE")


@pytest.mark.provokes("BALANCE_DISCREPANCY", "WITHDRAWAL_NOT_COMMITTABLE", "STELLAR_NETWORK_ERROR")
async def test_the_chain(place: Place, world: World) -> None:
    shop = place.shop
    [person] = await shop.people("3")
    await shop.credit(person, "1.01")
    path = f"/users/{person.id}/balance/verify"
    details = await shop.refused("GET", path, status=409, code="BALANCE_DISCREPANCY")
    assert set(details) == {"userId", "localBalance", "providerBalance", "currency", "difference", "requestId"}
    target, _ = await world.outside_wallet()
    body = place.payout(userId=person.id, destinationRef=target)
    done = await shop.done("POST", "/withdrawals", body, status=201)
    path = f"/withdrawals/{done['id']}/commit"
    details = await shop.refused("POST", path, status=409, code="WITHDRAWAL_NOT_COMMITTABLE")
    assert details["currentStatus"] == "WITHDRAWAL_COMPLETED"
    fault = await world.fault("horizon", f"/accounts/{target}$", "error_before")
    await shop.refused("POST", "/withdrawals", body, status=502, code="STELLAR_NETWORK_ERROR")
    assert await fault.fired() >= 1


# -- Airtm ----------------------------------------------------------------------------------------------------


async def linked(shop: Marketplace, email: str) -> str:
    made = await shop.done("POST", "/users", {"externalUserId": unique("u")}, status=201)
    await shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": email})
    return str(made["id"])


@pytest.mark.provokes("AIRTM_USER_NOT_LINKED", "AIRTM_USER_INVALID", "AIRTM_USER_ALREADY_LINKED")
async def test_links_to_airtm(airtm_shop: Marketplace) -> None:
    email = f"{unique('ana')}@example.com"
    await linked(airtm_shop, email)
    other = (await airtm_shop.done("POST", "/users", {"externalUserId": unique("u")}, status=201))["id"]
    body, path = {"userId": other, "amount": "1.00"}, f"/users/{other}/airtm/link"
    await airtm_shop.refused("POST", "/topups", body, status=422, code="AIRTM_USER_NOT_LINKED")
    taken = {"email": email}
    await airtm_shop.refused("POST", path, taken, status=409, code="AIRTM_USER_ALREADY_LINKED")
    reasons = {"+unknown": "USER_NOT_FOUND", "+inactive": "USER_INACTIVE", "+unverified": "USER_NOT_VERIFIED"}
    for tag, reason in reasons.items():
        bad = {"email": f"{unique('ana')}{tag}@example.com"}
        details = await airtm_shop.refused("POST", path, bad, status=422, code="AIRTM_USER_INVALID")
        assert details["failureReason"] == reason


@pytest.mark.provokes("PROVIDER_UNAVAILABLE", "PROVIDER_RATE_LIMITED", "PROVIDER_TIMEOUT", "PROVIDER_ERROR")
async def test_a_provider_on_a_bad_day(airtm_shop: Marketplace, world: World) -> None:
    user_id = await linked(airtm_shop, f"{unique('ana')}@example.com")
    topup = await airtm_shop.done("POST", "/topups", {"userId": user_id, "amount": "1.00"}, status=201)
    path = f"/topups/{topup['id']}/refresh"
    bad_days: list[tuple[dict[str, Any], int, str]] = [
        ({"kind": "error_before", "status": 503}, 503, "PROVIDER_UNAVAILABLE"),
        ({"kind": "rate_limit"}, 502, "PROVIDER_RATE_LIMITED"),
        ({"kind": "error_before", "status": 408}, 504, "PROVIDER_TIMEOUT"),
        ({"kind": "error_before", "status": 418}, 502, "PROVIDER_ERROR"),
    ]
    for fault, status, code in bad_days:
        made = await world.fault("airtm", "/payins/", **fault)
        details = await airtm_shop.refused("POST", path, status=status, code=code)
        assert details["provider"] == "AIRTM"
        assert topup["airtmPayinId"] not in str(details), "ids are masked"
        assert await made.fired() >= 1
        await world.mend()


# -- the service itself ---------------------------------------------------------------------------------------


@pytest.mark.provokes("IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_KEY_IN_PROGRESS")
async def test_keys(place: Place) -> None:
    shop, key = place.shop, unique("key")
    body = {"externalUserId": unique("u")}
    await shop.done("POST", "/users", body, status=201, key=key)
    other = {"externalUserId": unique("u")}
    details = await shop.refused("POST", "/users", other, status=409, code="IDEMPOTENCY_KEY_REUSED", key=key)
    assert details["idempotency_key"] == key
    order_id, key = await shop.order(place.buyer, place.seller, "1.00"), unique("key")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    first: list[asyncio.Task[Any]] = []

    async def hold(tx: Any) -> None:
        await tx.rows("SELECT FROM orders WHERE id = $1 FOR UPDATE", order_id)
        path = f"/orders/{order_id}/cancel"
        first.append(asyncio.create_task(shop.post(path, key=key)))
        await eventually(lambda: shop.live.value(waiting), lambda count: count >= 1)
        details = await shop.refused("POST", path, status=409, code="IDEMPOTENCY_KEY_IN_PROGRESS", key=key)
        assert details["idempotency_key"] == key

    await shop.live.product.database.run(hold)
    assert (await first[0]).status == 200


@pytest.mark.provokes("RATE_LIMITED")
async def test_too_many(place: Place, environ: dict[str, str]) -> None:
    async with running({**environ, "RATE_LIMIT_MAX": "1", "RATE_LIMIT_WINDOW_SECONDS": "3600"}, jobs=False) as few:
        key = (await place.shop.with_key("read")).on(few)
        assert (await key.get("/users")).status == 200
        details = await key.refused("GET", "/users", status=429, code="RATE_LIMITED")
        forms = {"limit": (1,), "windowSeconds": (3600,), "window": ("60m",), "retryAfter": int, "retry_after": int}
        check(details, {**forms, "requestId": str})
        assert details["retryAfter"] == details["retry_after"] > 0


@pytest.mark.provokes("MAINTENANCE_MODE")
async def test_read_only(place: Place) -> None:
    master = place.shop.using(MASTER_KEY)
    await master.done("POST", "/admin/maintenance/enable", {"message": "Moving house."})

    async def status() -> int:
        return (await place.shop.post("/users", {"externalUserId": unique("u")})).status

    try:
        await eventually(status, lambda found: found == 503)
        details = await place.shop.refused("POST", "/users", {}, status=503, code="MAINTENANCE_MODE")
        check(details, {"message": ("Moving house.",), "enabledAt": TIME, "requestId": str})
    finally:
        await master.done("POST", "/admin/maintenance/disable", raw=b"")
        await eventually(status, lambda found: found == 201)


BREAKS: Final = """
CREATE FUNCTION break_on_purpose() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'internals: %', TG_TABLE_NAME USING ERRCODE = TG_ARGV[0]; END $$;
CREATE TRIGGER fault BEFORE INSERT ON users FOR EACH ROW
    WHEN (NEW.external_user_id = 'a fault of ours') EXECUTE FUNCTION break_on_purpose('XX000');
CREATE TRIGGER outage BEFORE INSERT ON users FOR EACH ROW
    WHEN (NEW.external_user_id = 'an outage') EXECUTE FUNCTION break_on_purpose('57P03');
CREATE TRIGGER conflict BEFORE INSERT ON ledger.transactions FOR EACH ROW
    WHEN (NEW.reason = 'always too late') EXECUTE FUNCTION break_on_purpose('40001');
"""
MENDS: Final = """
DROP TRIGGER fault ON users; DROP TRIGGER outage ON users; DROP TRIGGER conflict ON ledger.transactions;
DROP FUNCTION break_on_purpose();
"""


@pytest.mark.provokes("INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "BALANCE_CONCURRENCY_CONFLICT")
async def test_the_database_on_a_bad_day(place: Place, owner: Any) -> None:
    shop = place.shop
    await owner.execute(BREAKS)
    faults = (("a fault of ours", 500, "INTERNAL_ERROR"), ("an outage", 503, "SERVICE_UNAVAILABLE"))
    try:
        for name, status, code in faults:
            key = unique("key")
            with structlog.testing.capture_logs() as logs:
                heard = await shop.post("/users", {"externalUserId": name}, key=key)
            assert (heard.status, heard.code, set(heard.details)) == (status, code, {"requestId"})
            assert b"internals" not in heard.body
            assert code.lower() in [entry["event"] for entry in logs], "what is not told is logged"
            await shop.refused("GET", f"/idempotency/{key}", status=404, code="NOT_FOUND")
        path, body = f"/users/{place.buyer.id}/balance/credit", {"amount": "1.00", "description": "always too late"}
        heard = await shop.post(path, body, key=unique("key"))
        assert (heard.status, heard.code) == (409, "BALANCE_CONCURRENCY_CONFLICT")
        check(heard.details, {"userId": str, "operation": ("credit",), "suggestion": str, "requestId": str})
        assert heard.headers["retry-after"] == "1"
    finally:
        await owner.execute(MENDS)


@pytest.fixture
async def owner(environ: dict[str, str]) -> AsyncIterator[Any]:
    """A connection of the database's owner."""
    connection = await asyncpg.connect(environ["DATABASE_URL"])
    yield connection
    await connection.close()
