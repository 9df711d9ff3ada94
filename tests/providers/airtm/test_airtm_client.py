"""The Airtm client: what it asks, and what each answer becomes (providers.md 2)."""

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from offerhub.errors import (
    AirtmUserInvalid,
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    Refusal,
    revive,
)
from offerhub.kernel.clock import ManualClock
from offerhub.kernel.money import Units
from offerhub.providers.airtm.client import Airtm
from offerhub.providers.airtm.model import (
    AirtmBalance,
    AirtmUser,
    Deposits,
    Done,
    Exists,
    Payin,
    Payout,
    Refund,
    Rejected,
    Unavailable,
    Unknown,
)
from offerhub.runtime.budget import RequestBudget
from offerhub.runtime.http import HttpClient
from offerhub.runtime.line import Line, LineOptions
from offerhub.runtime.urgency import Urgency, working

CHECKOUT = "https://app.example.com/payin"
SECRET = "s3cr3t-of-ours"
CENTS = Units(255_000_000)

PAYIN_ROW: dict[str, Any] = {
    "id": "0b9f6c1e-7c3b-4a55-9d57-2f1c6a1e0001",
    "code": "topup_1",
    "status": "CREATED",
    "amount": 25.5,
    "netAmount": 25.1,
    "airtmFee": 0.4,
    "description": "Top-up",
    "items": [],
    "confirmationUri": "https://m.example/ok",
    "cancelUri": "https://m.example/no",
}
PAYIN = Payin(
    id=PAYIN_ROW["id"],
    code="topup_1",
    status="CREATED",
    raw_status="CREATED",
    amount=CENTS,
    net_amount=Units(251_000_000),
    fee=Units(4_000_000),
    airtm_user_id=None,
    failure_reason=None,
    checkout_url=f"{CHECKOUT}/{PAYIN_ROW['id']}",
)
PAYOUT_ROW: dict[str, Any] = {
    "id": "po-1",
    "code": "wd_1",
    "status": "CREATED",
    "airtmUserId": "u-1",
    "airtmUserEmail": "ana@example.com",
    "grossAmount": 25.5,
    "amount": 25.5,
    "netAmount": 25.5,
    "airtmFee": 0,
    "enterpriseFee": 0,
}
PAYOUT = Payout(
    id="po-1",
    code="wd_1",
    status="CREATED",
    raw_status="CREATED",
    amount=CENTS,
    net_amount=CENTS,
    fee=Units(0),
    airtm_user_id="u-1",
    reason_code=None,
    reason=None,
)


def error(code: Any, message: str = "said by Airtm") -> dict[str, Any]:
    return {"code": code, "message": message}


@pytest.fixture
def airtm(script: Any, http: HttpClient) -> Airtm:
    return Airtm(http, script.url + "/v2/", CHECKOUT + "/", "the-key", SECRET, timeout_seconds=2)


def create_payin(airtm: Airtm) -> Awaitable[Any]:
    return airtm.create_payin(
        code="topup_1",
        amount=CENTS,
        description="Top-up",
        confirmation_uri="https://m.example/ok",
        cancel_uri="https://m.example/no",
    )


def create_payout(airtm: Airtm) -> Awaitable[Any]:
    return airtm.create_payout(code="wd_1", email="ana@example.com", amount=CENTS, notes="Withdrawal wd_1")


EFFECTS: list[tuple[Callable[[Airtm], Awaitable[Any]], str, str]] = [
    (create_payin, "/v2/payins", "POST"),
    (create_payout, "/v2/payouts", "POST"),
    (lambda airtm: airtm.commit_payout("po-1"), "/v2/payouts/po-1/commit", "POST"),
    (lambda airtm: airtm.cancel_payin("pi-1"), "/v2/payins/pi-1", "DELETE"),
    (lambda airtm: airtm.cancel_payout("po-1"), "/v2/payouts/po-1", "DELETE"),
]
every_effect = pytest.mark.parametrize(("call", "path", "method"), EFFECTS)

READS: list[tuple[Callable[[Airtm], Awaitable[Any]], str]] = [
    (lambda airtm: airtm.find_user("ana@example.com"), "/v2/users/ana@example.com"),
    (lambda airtm: airtm.payin("pi-1"), "/v2/payins/pi-1"),
    (lambda airtm: airtm.payin_by_code("topup_1"), "/v2/payins/by-code/topup_1"),
    (lambda airtm: airtm.payout("po-1"), "/v2/payouts/po-1"),
    (lambda airtm: airtm.payout_by_code("wd_1"), "/v2/payouts/by-code/wd_1"),
    (lambda airtm: airtm.balance(), "/v2/me/balance"),
    (lambda airtm: airtm.deposits(), "/v2/deposits"),
]
every_read = pytest.mark.parametrize(("call", "path"), READS)


# -- what is asked -----------------------------------------------------------------------------------------------


async def test_a_payin_is_one_item_of_the_whole_amount(airtm: Airtm, script: Any) -> None:
    script.answers["/v2/payins"] = (200, PAYIN_ROW)
    assert await create_payin(airtm) == Done(PAYIN)
    (asked,) = script.asked
    assert asked.method == "POST"
    assert asked.headers["authorization"] == "Basic " + b64encode(f"the-key:{SECRET}".encode()).decode()
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == (
        b'{"code":"topup_1","amount":25.50,"description":"Top-up",'
        b'"items":[{"description":"Top-up","amount":25.50,"quantity":1}],'
        b'"confirmationUri":"https://m.example/ok","cancelUri":"https://m.example/no"}'
    )


async def test_a_payout_is_prepared_and_never_committed_at_once(airtm: Airtm, script: Any) -> None:
    script.answers["/v2/payouts"] = (200, PAYOUT_ROW)
    assert await create_payout(airtm) == Done(PAYOUT)
    assert script.asked[0].body == (
        b'{"code":"wd_1","airtmUserEmail":"ana@example.com","amount":25.50,"notes":"Withdrawal wd_1","commit":false}'
    )


async def test_airtm_may_be_told_to_pay_identified_users_only(script: Any, http: HttpClient) -> None:
    script.answers["/v2/payouts"] = (200, PAYOUT_ROW)
    strict = Airtm(http, script.url + "/v2", CHECKOUT, "k", "s", require_id_verified=True)
    assert await create_payout(strict) == Done(PAYOUT)
    assert script.asked[0].body.endswith(b'"commit":false,"requireIdVerified":true}')


@pytest.mark.parametrize("answer", [(204, b""), (201, b""), (200, PAYOUT_ROW)])
@pytest.mark.parametrize(("call", "path", "method"), EFFECTS[2:])
async def test_committing_and_cancelling_may_bring_nothing(
    airtm: Airtm, script: Any, call: Any, path: str, method: str, answer: Any
) -> None:
    script.answers[path] = answer
    assert await call(airtm) == Done(None)
    (asked,) = script.asked
    assert (asked.method, asked.body) == (method, b"")


async def test_what_stands_in_a_path_is_escaped(airtm: Airtm, script: Any) -> None:
    assert await airtm.find_user("a+b/../c?d#e@example.com") is None
    assert await airtm.payin("a/b%2F") is None
    assert [asked.raw_path for asked in script.asked] == [
        "/v2/users/a%2Bb%2F..%2Fc%3Fd%23e@example.com",
        "/v2/payins/a%2Fb%252F",
    ]


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_a_name_that_would_change_the_call_is_not_asked_for(airtm: Airtm, script: Any, name: str) -> None:
    script.answers["/v2/payouts/"] = script.answers["/v2/"] = (200, PAYOUT_ROW)
    assert await airtm.payout(name) is None
    with pytest.raises(AssertionError):
        await airtm.cancel_payout(name)
    assert script.asked == []


# -- reading -----------------------------------------------------------------------------------------------------


async def test_what_is_read(airtm: Airtm, script: Any) -> None:
    script.answers |= {
        "/v2/users/ana@example.com": (200, {"id": "u-1", "status": "active", "isVerified": True, "country": "MEX"}),
        "/v2/users/bob@example.com": (200, {"id": "u-2", "status": "inactive", "isVerified": False}),
        f"/v2/payins/{PAYIN.id}": (200, PAYIN_ROW),
        "/v2/payins/by-code/topup_1": (200, PAYIN_ROW),
        "/v2/payouts/po-1": (200, PAYOUT_ROW),
        "/v2/payouts/by-code/wd_1": (200, PAYOUT_ROW),
        "/v2/me/balance": (200, b'{"available": 1000.1, "pending": 0.01}'),
    }
    assert await airtm.find_user("ana@example.com") == AirtmUser("u-1", True, "active", True, "MEX")
    assert await airtm.find_user("bob@example.com") == AirtmUser("u-2", False, "inactive", False, None)
    assert await airtm.payin(PAYIN.id) == await airtm.payin_by_code("topup_1") == PAYIN
    assert await airtm.payout("po-1") == await airtm.payout_by_code("wd_1") == PAYOUT
    assert await airtm.balance() == AirtmBalance(Units(10_001_000_000), Units(100_000))


@pytest.mark.parametrize(
    "answer", [(404, error("415902")), (400, error("415902")), (404, {}), (404, error("999999"))]
)
@pytest.mark.parametrize(("call", "path"), READS[:5])
async def test_what_airtm_does_not_know(airtm: Airtm, script: Any, call: Any, path: str, answer: Any) -> None:
    script.answers[path] = answer
    assert await call(airtm) is None
    assert len(script.asked) == 1


async def test_codes_of_their_own_for_not_found(airtm: Airtm, script: Any) -> None:
    script.answers |= {"/v2/payins/x": (400, error("415031")), "/v2/payouts/x": (400, error("415005"))}
    assert await airtm.payin("x") is None
    assert await airtm.payout("x") is None


READ_FAILURES: list[tuple[tuple[int, Any], type[Refusal]]] = [
    ((404, b"<html>not here</html>"), ProviderError),
    ((404, b""), ProviderError),
    ((404, error("415006")), ProviderError),
    ((404, error("415998")), ProviderUnavailable),
    ((400, error("415054")), ProviderError),
    ((400, error("415060")), AirtmUserInvalid),
    ((400, error("415003")), ProviderUnavailable),
    ((500, error("415999")), ProviderUnavailable),
    ((500, b"<html>"), ProviderUnavailable),
    ((504, b""), ProviderTimeout),
    ((408, b""), ProviderTimeout),
    ((429, b""), ProviderRateLimited),
    ((401, b""), ProviderError),
    ((403, {}), ProviderError),
    ((301, b""), ProviderError),
    ((200, b""), ProviderError),
    ((200, b'{"id": "po-1", "amo'), ProviderError),
    ((200, b"<html>"), ProviderError),
    ((200, []), ProviderError),
    ((200, {}), ProviderError),
    ((200, error("415054")), ProviderError),
]


@every_read
@pytest.mark.parametrize(("answer", "expected"), READ_FAILURES)
async def test_each_failure_to_read_has_its_error(
    airtm: Airtm, script: Any, call: Any, path: str, answer: Any, expected: type[Refusal]
) -> None:
    script.answers[path] = answer
    with pytest.raises(Refusal) as caught:
        await call(airtm)
    assert type(caught.value) is expected
    assert caught.value.details["provider"] == "AIRTM"
    assert caught.value.details["originalStatus"] == answer[0]


@every_read
async def test_a_read_without_an_answer(
    airtm: Airtm, script: Any, http: HttpClient, hang_up: object, stall: object, call: Any, path: str
) -> None:
    script.answers[path] = (200, hang_up)
    with pytest.raises(ProviderTimeout):
        await call(airtm)
    script.answers[path] = (200, stall)
    with pytest.raises(ProviderTimeout):
        await call(Airtm(http, script.url + "/v2", CHECKOUT, "k", "s", timeout_seconds=0.1))
    with pytest.raises(ProviderUnavailable):
        await call(Airtm(http, "http://127.0.0.1:9", CHECKOUT, "k", "s"))


@pytest.mark.parametrize("change", [{"id": "other"}, {"code": "other"}])
async def test_an_answer_about_something_else_is_not_believed(airtm: Airtm, script: Any, change: Any) -> None:
    (field,) = change
    row = PAYOUT_ROW | change
    script.answers |= {
        "/v2/payouts/po-1": (200, row),
        "/v2/payouts/by-code/wd_1": (200, row),
        "/v2/payouts": (200, row),
    }
    with pytest.raises(ProviderError, match="unknown form"):
        await (airtm.payout("po-1") if field == "id" else airtm.payout_by_code("wd_1"))
    if field == "code":
        assert isinstance(await create_payout(airtm), Unknown)


@pytest.mark.parametrize("status", [200, 404, 429])
async def test_airtm_is_reached_whatever_it_says(airtm: Airtm, script: Any, status: int) -> None:
    script.answers["/v2/me"] = (status, b"")
    await airtm.reach()


@pytest.mark.parametrize("answer", [(401, b""), (403, b""), (400, error("415024"))])
async def test_airtm_will_not_have_us(airtm: Airtm, script: Any, answer: Any) -> None:
    script.answers["/v2/me"] = answer
    with pytest.raises(ProviderError, match="credentials"):
        await airtm.reach()


async def test_airtm_is_not_reached(airtm: Airtm, script: Any, http: HttpClient, hang_up: object) -> None:
    script.answers["/v2/me"] = (503, b"")
    with pytest.raises(ProviderUnavailable):
        await airtm.reach()
    script.answers["/v2/me"] = (200, hang_up)
    with pytest.raises(ProviderTimeout):
        await airtm.reach()
    with pytest.raises(ProviderUnavailable):
        await Airtm(http, "http://127.0.0.1:9", CHECKOUT, "k", "s").reach()


async def test_an_unknown_status_is_kept_apart_and_told(airtm: Airtm, script: Any) -> None:
    script.answers |= {
        "/v2/payouts/po-1": (200, PAYOUT_ROW | {"status": "Teleported"}),
        f"/v2/payins/{PAYIN.id}": (200, PAYIN_ROW | {"status": "Teleported"}),
        "/v2/users/ana@example.com": (200, {"id": "u-1", "status": "Frozen", "isVerified": True}),
    }
    with capture_logs() as logs:
        payout, payin = await airtm.payout("po-1"), await airtm.payin(PAYIN.id)
        assert await airtm.find_user("ana@example.com") == AirtmUser("u-1", False, "Frozen", True, None)
    assert payout is not None
    assert payin is not None
    assert (payout.status, payout.raw_status) == (payin.status, payin.raw_status) == ("UNRECOGNISED", "Teleported")
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("airtm.status_unrecognised", "error")] * 3


DEPOSIT_ROW: dict[str, Any] = {
    "id": "d-2",
    "type": "refunded",
    "currency": "USD",
    "amount": 25.5,
    "availableBalance": 100,
    "refundedPayoutId": "po-1",
    "createdAt": "2026-01-01T00:00:00.000Z",
}


async def test_deposits_come_in_pages(airtm: Airtm, script: Any) -> None:
    rows = [{"id": "d-3", "type": "Funding"}, DEPOSIT_ROW, {"id": "d-1", "type": "Gift"}]
    script.answers["/v2/deposits"] = (200, {"items": rows, "startCursor": "a", "endCursor": "z"})
    with capture_logs() as logs:
        page = await airtm.deposits()
    assert page == Deposits(("d-3", "d-2", "d-1"), (Refund("d-2", "po-1", CENTS),), "z")
    unknown = {"event": "airtm.deposit_type_unrecognised", "deposit": "d-1", "type": "Gift", "log_level": "error"}
    assert logs == [unknown]
    script.answers["/v2/deposits"] = (200, {"items": []})
    assert await airtm.deposits(after="z=+", per_page=10) == Deposits((), (), None)
    await airtm.deposits(before="a", per_page=1000)
    assert [asked.raw_path for asked in script.asked] == [
        "/v2/deposits?perPage=100",
        "/v2/deposits?perPage=10&after=z%3D%2B",
        "/v2/deposits?perPage=1000&before=a",
    ]


@pytest.mark.parametrize(
    "change", [{"amount": 0}, {"amount": -1}, {"amount": "25.5"}, {"currency": "EUR"}, {"id": ""}, {"type": None}]
)
async def test_a_refund_is_understood_in_full_or_not_at_all(
    airtm: Airtm, script: Any, change: dict[str, Any]
) -> None:
    script.answers["/v2/deposits"] = (200, {"items": [DEPOSIT_ROW | change]})
    with pytest.raises(ProviderError, match="unknown form"):
        await airtm.deposits()


# -- what became of a call with effect -----------------------------------------------------------------------------


@every_effect
@pytest.mark.parametrize("status", [400, 409, 422, 500])
@pytest.mark.parametrize("code", ["415029", "415056", "415027", "415032", 415056])
async def test_done_before(
    airtm: Airtm, script: Any, call: Any, path: str, method: str, status: int, code: Any
) -> None:
    script.answers[path] = (status, error(code))
    assert await call(airtm) == Exists()


RECIPIENTS = [
    ("415008", "USER_INACTIVE"),
    ("415009", "USER_INACTIVE"),
    ("415010", "USER_INACTIVE"),
    ("415034", "USER_BALANCE_TOO_LOW"),
    ("415053", "USER_COUNTRY_CANNOT_PAY_IN"),
    ("415059", "USER_NOT_FOUND"),
    ("415060", "USER_IN_RESTRICTED_TERRITORY"),
    ("415061", "USER_IN_RESTRICTED_TERRITORY"),
    ("415062", "USER_PAYMENT_METHOD_UNSUITABLE"),
    ("415064", "USER_PAYMENT_METHOD_UNSUITABLE"),
    ("415065", "USER_REFUSED_BY_COMPLIANCE"),
    ("415103", "USER_NAME_MISSING"),
    ("415912", "USER_SIGN_UP_PENDING"),
]


@pytest.mark.parametrize(("code", "reason"), RECIPIENTS)
async def test_a_recipient_who_cannot_be_paid(airtm: Airtm, script: Any, code: str, reason: str) -> None:
    script.answers["/v2/payouts"] = (422, error(code, "bob@example.com may not"))
    outcome = await create_payout(airtm)
    assert isinstance(outcome, Rejected)
    assert isinstance(outcome.refusal, AirtmUserInvalid)
    assert outcome.reason_code == code
    assert outcome.refusal.details == {
        "failureReason": reason,
        "provider": "AIRTM",
        "method": "POST",
        "path": "/payouts",
        "originalStatus": 422,
        "reasonCode": code,
        "providerMessage": "*** may not",
    }


@every_effect
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("415016", "own Airtm balance"),
        ("415030", "no longer"),
        ("415055", "no longer"),
        ("415054", "not valid"),
        ("415057", "too large"),
        ("415014", "own Airtm balance"),
        ("415015", "most that Airtm pays out"),
        ("415036", "no way to pay"),
        ("415046", "no way to pay"),
        ("415048", "no way to pay"),
        ("415051", "no way to pay"),
        ("415902", "no such item"),
    ],
)
async def test_a_documented_code_is_certain_whatever_the_status(
    airtm: Airtm, script: Any, call: Any, path: str, method: str, status: int, code: str, words: str
) -> None:
    script.answers[path] = (status, error(code))
    outcome = await call(airtm)
    assert isinstance(outcome, Rejected)
    assert type(outcome.refusal) is ProviderError
    assert words in outcome.refusal.message
    assert outcome.reason_code == outcome.refusal.details["reasonCode"] == code


@every_effect
@pytest.mark.parametrize("answer", [(401, b""), (403, b"<html>"), (400, error("415006")), (403, error("415024"))])
async def test_credentials_refused_are_told_to_the_operator(
    airtm: Airtm, script: Any, call: Any, path: str, method: str, answer: Any
) -> None:
    script.answers[path] = answer
    with capture_logs() as logs:
        outcome = await call(airtm)
    assert isinstance(outcome, Rejected)
    assert type(outcome.refusal) is ProviderError
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("airtm.credentials_refused", "error")]


async def test_an_empty_account_is_told_to_the_operator(airtm: Airtm, script: Any) -> None:
    script.answers["/v2/payouts"] = (400, error("415016"))
    with capture_logs() as logs:
        await create_payout(airtm)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("airtm.balance_too_low", "error")]


@every_effect
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((429, b""), ProviderRateLimited),
        ((429, error("999999")), ProviderRateLimited),
        ((503, error("415003")), ProviderUnavailable),
    ],
)
async def test_not_now(
    airtm: Airtm, script: Any, call: Any, path: str, method: str, answer: Any, expected: type[Refusal]
) -> None:
    script.answers[path] = answer
    outcome = await call(airtm)
    assert isinstance(outcome, Unavailable)
    assert type(outcome.refusal) is expected


@every_effect
@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (502, b"<html>Bad gateway</html>"),
        (504, {"message": "late"}),
        (500, error("999999")),
        (400, error("415998")),
        (200, error("415999")),
        (200, b"<html>Welcome</html>"),
        (200, b'{"id": "po-1", "amo'),
        (200, []),
        (400, b'{"code": "4150'),
        (404, b"<html>"),
        (408, {}),
        (409, {"message": "conflict"}),
        (302, b""),
    ],
)
async def test_what_is_not_certain_is_unknown(
    airtm: Airtm, script: Any, call: Any, path: str, method: str, answer: Any
) -> None:
    script.answers[path] = answer
    assert isinstance(await call(airtm), Unknown)
    assert len(script.asked) == 1


@pytest.mark.parametrize("call", [create_payin, create_payout])
@pytest.mark.parametrize(
    "change",
    [
        {"amount": None},
        {"amount": -25.5},
        {"netAmount": 25.51},
        {"netAmount": 25.001_000_05},
        {"airtmFee": "0.4"},
        {"status": None},
        {"id": ""},
        {"id": "../me"},
    ],
)
async def test_a_created_thing_that_cannot_be_read_is_unknown(
    airtm: Airtm, script: Any, call: Any, change: dict[str, Any]
) -> None:
    script.answers |= {"/v2/payins": (200, PAYIN_ROW | change), "/v2/payouts": (200, PAYOUT_ROW | change)}
    assert isinstance(await call(airtm), Unknown)


async def test_an_empty_success_is_no_created_thing(airtm: Airtm, script: Any) -> None:
    script.answers["/v2/payins"] = script.answers["/v2/payouts"] = (200, b"")
    assert isinstance(await create_payin(airtm), Unknown)
    assert isinstance(await create_payout(airtm), Unknown)


@every_effect
@pytest.mark.parametrize("answer", [(400, error("999999")), (404, {"message": "Not Found"}), (422, {})])
async def test_words_we_do_not_know_settle_nothing_where_money_moves(
    airtm: Airtm, script: Any, call: Any, path: str, method: str, answer: Any
) -> None:
    script.answers[path] = answer
    outcome = await call(airtm)
    if path.endswith("/commit"):
        assert isinstance(outcome, Unknown)
    else:
        assert isinstance(outcome, Rejected)
        assert type(outcome.refusal) is ProviderError
        assert outcome.reason_code == answer[1].get("code")


@every_effect
async def test_a_lost_answer_is_unknown_and_a_post_is_sent_once(
    airtm: Airtm, script: Any, http: HttpClient, hang_up: object, stall: object, call: Any, path: str, method: str
) -> None:
    script.answers[path] = (200, hang_up)
    assert isinstance(await call(airtm), Unknown)
    assert len(script.asked) == (1 if method == "POST" else 2)
    script.answers[path] = (200, stall)
    impatient = Airtm(http, script.url + "/v2", CHECKOUT, "k", "s", timeout_seconds=0.1)
    outcome = await call(impatient)
    assert isinstance(outcome, Unknown)
    assert "po-1" not in outcome.reason
    assert "pi-1" not in outcome.reason


@every_effect
async def test_a_refused_connection(http: HttpClient, call: Any, path: str, method: str) -> None:
    outcome = await call(Airtm(http, "http://127.0.0.1:9", CHECKOUT, "k", "s"))
    # aiohttp may have repeated a DELETE, whose first sending is then not certain to have had no effect.
    assert isinstance(outcome, Unavailable if method == "POST" else Unknown)


# -- what is told ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [(401, error("415024", f"no such secret: {SECRET}")), (500, b""), (400, {})])
async def test_neither_credentials_nor_names_are_told(airtm: Airtm, script: Any, answer: Any) -> None:
    script.answers["/v2/users/ana@example.com"] = answer
    with capture_logs() as logs, pytest.raises(Refusal) as caught:
        await airtm.find_user("ana@example.com")
    details = caught.value.details
    assert (details["method"], details["path"]) == ("GET", "/users/{email}")
    told = json.dumps([caught.value.message, details, logs])
    authorization = script.asked[0].headers["authorization"].removeprefix("Basic ")
    for hidden in (SECRET, "the-key", authorization, "ana"):
        assert hidden not in told
    # It survives being stored by a saga.
    again = revive(caught.value.code, caught.value.message, json.loads(json.dumps(details)))
    assert (type(again), again.details) == (type(caught.value), details)


async def test_every_request_counts_against_the_budget(script: Any, http: HttpClient) -> None:
    clock = ManualClock()
    budget = RequestBudget(clock, requests_max=2, window_seconds=1)
    line = Line("airtm", http, clock, LineOptions(queue_seconds=99), budget)
    airtm = Airtm(line, script.url + "/v2", CHECKOUT, "k", "s")
    script.answers["/v2/payouts"] = (500, b"")
    with working(Urgency.CRITICAL):
        await create_payout(airtm)
        await airtm.payin("x")
        assert clock.monotonic() == 0
        await airtm.cancel_payin("x")
        assert clock.monotonic() >= 1
