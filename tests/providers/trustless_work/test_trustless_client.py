"""The Trustless Work client: exact bodies, exact numbers, and the error each failure becomes (providers.md 4)."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from offerhub.errors import (
    ProviderError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from offerhub.kernel.clock import ManualClock
from offerhub.kernel.money import Units
from offerhub.providers.trustless_work.client import SendRejected, SendUnknown, Sent, TrustlessWork
from offerhub.providers.trustless_work.intents import (
    ApproveIntent,
    DeployIntent,
    DisputeIntent,
    DisputeMilestoneIntent,
    EscrowTerms,
    FundIntent,
    Intent,
    ReleaseIntent,
    ReleaseMilestoneIntent,
    ResolveIntent,
    ResolveMilestoneIntent,
    Roles,
    StatusIntent,
    WithdrawIntent,
    read_intent,
)
from offerhub.providers.trustless_work.wire import CONTRACT_ERRORS, MilestoneView, percent, read_refusal
from offerhub.runtime.budget import RequestBudget
from offerhub.runtime.http import HttpClient
from offerhub.runtime.line import Line, LineOptions
from offerhub.runtime.urgency import Urgency, working

TERMS = EscrowTerms(
    engagement_id="ord_1",
    title="Logo",
    description="A logo",
    roles=Roles("GAPPROVER", "GSELLER", "GPLATFORM", "GSIGNER", "GRESOLVER", "GRECEIVER"),
    amount=Units(8_010_000_000),
    platform_fee_bps=250,
    milestones=("Sketch", "Vector"),
    issuer="GISSUER",
)
RELEASE = ReleaseIntent("CESCROW", "GSIGNER")
MULTI = msgspec.structs.replace(TERMS, milestone_amounts=(Units(8_000_000_000), Units(10_000_000)))


@pytest.fixture
def trustless(script: Any, http: HttpClient) -> TrustlessWork:
    return TrustlessWork(http, script.url, "the-key", timeout_seconds=2)


def built(xdr: str = "AAAA") -> tuple[int, dict[str, str]]:
    return 201, {"status": "SUCCESS", "unsignedTransaction": xdr}


# -- building ----------------------------------------------------------------------------------------------------

BODIES: list[tuple[Intent, str, dict[str, Any]]] = [
    (
        DeployIntent("GSIGNER", TERMS),
        "/deployer/single-release",
        {
            "signer": "GSIGNER",
            "engagementId": "ord_1",
            "title": "Logo",
            "description": "A logo",
            "roles": {
                "approver": "GAPPROVER",
                "serviceProvider": "GSELLER",
                "platformAddress": "GPLATFORM",
                "releaseSigner": "GSIGNER",
                "disputeResolver": "GRESOLVER",
                "receiver": "GRECEIVER",
            },
            "amount": Decimal("801.00"),
            "platformFee": Decimal("2.5"),
            "milestones": [{"description": "Sketch"}, {"description": "Vector"}],
            "trustline": {"address": "GISSUER", "symbol": "USDC"},
        },
    ),
    (
        FundIntent("CESCROW", "GBUYER", Units(8_010_000_000), TERMS),
        "/escrow/single-release/fund-escrow",
        {"contractId": "CESCROW", "signer": "GBUYER", "amount": Decimal("801.00")},
    ),
    (
        StatusIntent("CESCROW", "GSELLER", 1, "completed"),
        "/escrow/single-release/change-milestone-status",
        {
            "contractId": "CESCROW",
            "milestoneIndex": "1",
            "newStatus": "completed",
            "newEvidence": "",
            "serviceProvider": "GSELLER",
        },
    ),
    (
        ApproveIntent("CESCROW", "GBUYER", 0),
        "/escrow/single-release/approve-milestone",
        {"contractId": "CESCROW", "milestoneIndex": "0", "approver": "GBUYER"},
    ),
    (
        RELEASE,
        "/escrow/single-release/release-funds",
        {"contractId": "CESCROW", "releaseSigner": "GSIGNER"},
    ),
    (
        DisputeIntent("CESCROW", "GBUYER"),
        "/escrow/single-release/dispute-escrow",
        {"contractId": "CESCROW", "signer": "GBUYER"},
    ),
    (
        ResolveIntent("CESCROW", "GRESOLVER", (("GA", Units(6_000_000_000)), ("GB", Units(100_000)))),
        "/escrow/single-release/resolve-dispute",
        {
            "contractId": "CESCROW",
            "disputeResolver": "GRESOLVER",
            "distributions": [
                {"address": "GA", "amount": Decimal("600.00")},
                {"address": "GB", "amount": Decimal("0.01")},
            ],
        },
    ),
    (
        DeployIntent("GSIGNER", MULTI),
        "/deployer/multi-release",
        {
            "signer": "GSIGNER",
            "engagementId": "ord_1",
            "title": "Logo",
            "description": "A logo",
            "roles": {
                "approver": "GAPPROVER",
                "serviceProvider": "GSELLER",
                "platformAddress": "GPLATFORM",
                "releaseSigner": "GSIGNER",
                "disputeResolver": "GRESOLVER",
            },
            "platformFee": Decimal("2.5"),
            "milestones": [
                {"description": "Sketch", "amount": Decimal("800.00"), "receiver": "GRECEIVER"},
                {"description": "Vector", "amount": Decimal("1.00"), "receiver": "GRECEIVER"},
            ],
            "trustline": {"address": "GISSUER", "symbol": "USDC"},
        },
    ),
    (
        FundIntent("CESCROW", "GBUYER", Units(8_010_000_000), MULTI),
        "/escrow/multi-release/fund-escrow",
        {"contractId": "CESCROW", "signer": "GBUYER", "amount": Decimal("801.00")},
    ),
    (
        StatusIntent("CESCROW", "GSELLER", 1, "completed", "", "multi-release"),
        "/escrow/multi-release/change-milestone-status",
        {
            "contractId": "CESCROW",
            "milestoneIndex": "1",
            "newStatus": "completed",
            "newEvidence": "",
            "serviceProvider": "GSELLER",
        },
    ),
    (
        ApproveIntent("CESCROW", "GBUYER", 0, "multi-release"),
        "/escrow/multi-release/approve-milestone",
        {"contractId": "CESCROW", "milestoneIndex": "0", "approver": "GBUYER"},
    ),
    (
        ReleaseMilestoneIntent("CESCROW", "GSIGNER", 1),
        "/escrow/multi-release/release-milestone-funds",
        {"contractId": "CESCROW", "releaseSigner": "GSIGNER", "milestoneIndex": "1"},
    ),
    (
        DisputeMilestoneIntent("CESCROW", "GBUYER", 0),
        "/escrow/multi-release/dispute-milestone",
        {"contractId": "CESCROW", "signer": "GBUYER", "milestoneIndex": "0"},
    ),
    (
        ResolveMilestoneIntent("CESCROW", "GRESOLVER", 1, (("GA", Units(9_000_000)), ("GB", Units(1_000_000)))),
        "/escrow/multi-release/resolve-milestone-dispute",
        {
            "contractId": "CESCROW",
            "disputeResolver": "GRESOLVER",
            "milestoneIndex": "1",
            "distributions": [
                {"address": "GA", "amount": Decimal("0.90")},
                {"address": "GB", "amount": Decimal("0.10")},
            ],
        },
    ),
    (
        WithdrawIntent("CESCROW", "GRESOLVER", (("GA", Units(1_000_000)),)),
        "/escrow/multi-release/withdraw-remaining-funds",
        {
            "contractId": "CESCROW",
            "disputeResolver": "GRESOLVER",
            "distributions": [{"address": "GA", "amount": Decimal("0.10")}],
        },
    ),
]


@pytest.mark.parametrize(("intent", "path", "body"), BODIES)
async def test_what_is_sent_to_build(
    trustless: TrustlessWork, script: Any, intent: Intent, path: str, body: dict[str, Any]
) -> None:
    script.answers[path] = built("unsigned")
    assert await trustless.build(intent) == "unsigned"
    (asked,) = script.asked
    assert (asked.method, asked.headers["x-api-key"]) == ("POST", "the-key")
    assert asked.headers["content-type"] == "application/json"
    assert "authorization" not in asked.headers
    assert json.loads(asked.body, parse_float=Decimal) == body


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, {"message": "nope"}), ProviderError),
        ((401, {}), ProviderError),
        ((403, b""), ProviderError),
        ((404, b"<html>"), ProviderError),
        ((429, {}), ProviderRateLimited),
        ((500, {"message": "x"}), ProviderUnavailable),
        ((502, b"<html>"), ProviderUnavailable),
        ((200, b"{"), ProviderError),
        ((200, []), ProviderError),
        ((200, {"status": "FAILED", "message": "no"}), ProviderError),
        ((200, {"status": "SUCCESS"}), ProviderError),
        ((200, {"status": "SUCCESS", "unsignedTransaction": 5}), ProviderError),
    ],
)
async def test_each_failure_to_build_has_its_error(
    trustless: TrustlessWork, script: Any, answer: Any, error: type[Exception]
) -> None:
    script.answers["/escrow/single-release/release-funds"] = answer
    with pytest.raises(error) as caught:
        await trustless.build(RELEASE)
    assert type(caught.value) is error


async def test_a_lost_answer_and_an_absent_host(
    trustless: TrustlessWork, script: Any, http: HttpClient, hang_up: object
) -> None:
    script.answers["/escrow/single-release/release-funds"] = (200, hang_up)
    with pytest.raises(ProviderTimeout):
        await trustless.build(RELEASE)
    with pytest.raises(ProviderUnavailable):
        await TrustlessWork(http, "http://127.0.0.1:9", "k").build(RELEASE)


async def test_the_api_s_words_and_the_contract_s_number_are_kept(trustless: TrustlessWork, script: Any) -> None:
    text = "HostError: Error(Contract, #29) event log"
    script.answers["/escrow/single-release/release-funds"] = (400, {"statusCode": 400, "message": text})
    with pytest.raises(ProviderError) as caught:
        await trustless.build(RELEASE)
    assert caught.value.details["message"] == text
    assert caught.value.details["contract_error"] == 29
    assert caught.value.details["contract_error_name"] == "AlreadyApproved"
    json.dumps(caught.value.details)


async def test_how_long_to_wait_is_passed_on(trustless: TrustlessWork, script: Any) -> None:
    script.headers["retry-after"] = "7"
    script.answers["/escrow/single-release/release-funds"] = (429, {})
    with pytest.raises(ProviderRateLimited) as caught:
        await trustless.build(RELEASE)
    assert caught.value.details["retry_after"] == "7"


def test_one_number_means_different_things_in_the_two_contracts() -> None:
    refused = [read_refusal({"message": "Error(Contract, #4)"}, "", of) for of in ("single-release", "multi-release")]
    assert [one.contract_error_name for one in refused] == ["OnlyReleaseSigner", "NotFound"]
    said = [
        read_refusal({"message": "Already approved: has already been approved"}, "", of) for of in CONTRACT_ERRORS
    ]
    assert [(one.contract_error, one.contract_error_name) for one in said] == [
        *((29, "AlreadyApproved"), (32, "AlreadyApproved"))
    ]


@pytest.mark.parametrize(
    ("body", "message", "contract_error"),
    [
        ({"message": ["a", "b"]}, "a; b", None),
        ({"message": "Milestone already in dispute"}, "Milestone already in dispute", 13),
        ({"message": "Escrow not found"}, "Escrow not found", 3),
        ({"message": "Error(Contract, #999)"}, "Error(Contract, #999)", 999),
        (None, "raw text", None),
        ({"error": 1}, "raw text", None),
    ],
)
def test_reasons(body: Any, message: str, contract_error: int | None) -> None:
    refused = read_refusal(body, "raw text")
    assert (refused.message, refused.contract_error) == (message, contract_error)


# -- sending -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((201, {"status": "SUCCESS", "message": "ok"}), Sent("ok", None)),
        ((200, {"status": "SUCCESS", "message": "ok", "contractId": "C1"}), Sent("ok", "C1")),
        ((200, {"status": "FAILED", "message": "tx_bad_seq"}), SendRejected("tx_bad_seq", None)),
        ((400, {"message": "Error(Contract, #6)"}), SendRejected("Error(Contract, #6)", 6)),
        ((400, b"text"), SendRejected("text", None)),
        ((401, {"message": "key"}), SendRejected("key", None)),
    ],
)
async def test_what_an_answer_to_a_submission_says(
    trustless: TrustlessWork, script: Any, answer: Any, expected: object
) -> None:
    script.answers["/helper/send-transaction"] = answer
    assert await trustless.send("AA==") == expected
    assert json.loads(script.asked[0].body) == {"signedXdr": "AA=="}


@pytest.mark.parametrize("answer", [(500, {}), (504, b""), (429, {}), (200, b"{"), (201, b"")])
async def test_anything_unclear_is_unknown(trustless: TrustlessWork, script: Any, answer: Any) -> None:
    script.answers["/helper/send-transaction"] = answer
    assert isinstance(await trustless.send("AA=="), SendUnknown)


async def test_a_lost_submission_is_unknown_and_sent_once(
    trustless: TrustlessWork, script: Any, http: HttpClient, hang_up: object
) -> None:
    script.answers["/helper/send-transaction"] = (200, hang_up)
    assert isinstance(await trustless.send("AA=="), SendUnknown)
    assert len(script.asked) == 1
    assert isinstance(await TrustlessWork(http, "http://127.0.0.1:9", "k").send("AA=="), SendUnknown)


# -- reading -----------------------------------------------------------------------------------------------------


async def test_balances_are_asked_for_in_twenties(trustless: TrustlessWork, script: Any) -> None:
    body = b'[{"address": "C1", "balance": 801.1}, {"address": "C2", "balance": 0}]'
    script.answers["/helper/get-multiple-escrow-balance"] = (200, body)
    wanted = [f"C{index}" for index in range(21)]
    assert await trustless.balances(wanted) == {"C1": 8_011_000_000, "C2": 0}
    assert [len(asked.query) for asked in script.asked] == [20, 1]
    assert script.asked[1].query == [("addresses[]", "C20")]
    assert await trustless.balances([]) == {}


@pytest.mark.parametrize("body", [b"[{}]", b"7", b'[{"address": "C", "balance": -1}]', b'[["C", 1]]'])
async def test_balances_in_another_form_are_refused(trustless: TrustlessWork, script: Any, body: bytes) -> None:
    script.answers["/helper/get-multiple-escrow-balance"] = (200, body)
    with pytest.raises(ProviderError):
        await trustless.balances(["C1"])


async def test_an_escrow_of_the_index(trustless: TrustlessWork, script: Any) -> None:
    row = {
        "contractId": "C1",
        "engagementId": "ord_1",
        "amount": 801,
        "balance": 801,
        "flags": {"disputed": True},
        "milestones": [{"status": "completed", "approved": True}, {"description": "x"}],
    }
    script.answers["/helper/get-escrow-by-contract-ids"] = (200, [row | {"contractId": "C0"}, row])
    found = await trustless.escrow("C1")
    assert found is not None
    assert (found.contract_id, found.amount, found.balance) == ("C1", 8_010_000_000, 8_010_000_000)
    assert (found.disputed, found.released, found.resolved) == (True, False, False)
    assert found.milestones == (MilestoneView("completed", True), MilestoneView("", False))
    assert script.asked[0].query == [("contractIds[]", "C1"), ("validateOnChain", "true")]
    multi = {
        "type": "multi-release",
        "contractId": "C2",
        "engagementId": "ord_2",
        "balance": 1,
        "milestones": [
            {"status": "completed", "amount": 800, "flags": {"approved": True, "released": True}},
            {"status": "pending", "amount": 1, "flags": {"approved": False, "disputed": True}},
        ],
    }
    script.answers["/helper/get-escrow-by-contract-ids"] = (200, [multi, row])
    found = await trustless.escrow("C2")
    assert found is not None
    assert (found.amount, found.balance, found.disputed, found.released) == (8_010_000_000, 10_000_000, False, False)
    assert found.milestones == (
        MilestoneView("completed", True, Units(8_000_000_000), released=True),
        MilestoneView("pending", False, Units(10_000_000), disputed=True),
    )
    assert await trustless.escrow("C9") is None
    script.answers["/helper/get-escrow-by-contract-ids"] = (400, {"message": "Escrow not found"})
    assert await trustless.escrow("C1") is None
    script.answers["/helper/get-escrow-by-contract-ids"] = (400, {"message": "bad contractIds"})
    with pytest.raises(ProviderError):
        await trustless.escrow("C1")


# -- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bps", "text"), [(0, b"0"), (500, b"5"), (250, b"2.5"), (1, b"0.01"), (30, b"0.3"), (1000, b"10")]
)
def test_basis_points_as_percent(bps: int, text: bytes) -> None:
    assert msgspec.json.encode(percent(bps)) == text


# -- intents -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda: FundIntent("C", "G", Units(1), TERMS),
        lambda: FundIntent("C", "G", Units(0), TERMS),
        lambda: ResolveIntent("C", "G", ()),
        lambda: ResolveIntent("C", "G", (("GA", Units(150_000)), ("GB", Units(150_000)))),
        lambda: ResolveIntent("C", "G", (("GA", Units(100_000)), ("GA", Units(100_000)))),
        lambda: msgspec.structs.replace(TERMS, amount=Units(123)),
        lambda: msgspec.structs.replace(TERMS, milestones=()),
        lambda: msgspec.structs.replace(TERMS, milestones=("x",) * 11),
        lambda: msgspec.structs.replace(TERMS, title=""),
        lambda: msgspec.structs.replace(MULTI, milestone_amounts=(Units(8_010_000_000),)),
        lambda: msgspec.structs.replace(MULTI, milestone_amounts=(Units(8_000_000_000), Units(10_100_000))),
        lambda: msgspec.structs.replace(MULTI, milestone_amounts=(Units(8_000_000_001), Units(9_999_999))),
        lambda: msgspec.structs.replace(MULTI, milestone_amounts=(Units(8_010_000_000), Units(0))),
        lambda: ResolveMilestoneIntent("C", "G", 0, ()),
        lambda: WithdrawIntent("C", "G", ()),
        lambda: ResolveMilestoneIntent("C", "G", 0, (("GA", Units(150_000)),)),
        lambda: msgspec.structs.replace(TERMS, title="x" * 101),
        lambda: msgspec.structs.replace(TERMS, description=""),
        lambda: msgspec.structs.replace(TERMS, description="x" * 501),
        lambda: msgspec.structs.replace(TERMS, platform_fee_bps=10_000),
        lambda: msgspec.structs.replace(TERMS, platform_fee_bps=-1),
    ],
)
def test_an_intent_that_cannot_work_is_not_made(build: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        build()


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"kind": "steal"},
        {"kind": "release", "contract_id": "C"},
        {"kind": "release", "contract_id": "C", "signer": "G", "more": 1},
        {"kind": "resolve", "contract_id": "C", "signer": "G", "distributions": [["GA", 0]]},
    ],
)
def test_what_is_not_a_stored_intent_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_intent(value)


# -- budget ------------------------------------------------------------------------------------------------------


async def test_every_request_counts(script: Any, http: HttpClient) -> None:
    clock = ManualClock()
    budget = RequestBudget(clock, requests_max=2, window_seconds=60)
    trustless = TrustlessWork(Line("tw", http, clock, LineOptions(queue_seconds=99), budget), script.url, "k")
    script.answers["/helper/send-transaction"] = (500, {})
    script.answers["/helper/get-multiple-escrow-balance"] = (200, [])
    with working(Urgency.CRITICAL):
        await trustless.send("AA==")
        await trustless.balances(["C1"])
        assert clock.monotonic() == 0
        await trustless.balances(["C1"])
        assert clock.monotonic() >= 60
