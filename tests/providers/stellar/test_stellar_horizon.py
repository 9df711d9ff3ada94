"""The Horizon client: shapes of every read, and what a submission's answer means (providers.md 6.4, 6.5)."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from stellar_sdk import Address, scval, xdr

from offerhub.errors import StellarNetworkError
from offerhub.kernel.money import Units
from offerhub.providers.stellar.horizon import (
    Accepted,
    CursorTooOld,
    Horizon,
    Rejected,
    Unknown,
    classify_submission,
)
from offerhub.providers.stellar.network import TESTNET_PASSPHRASE, XLM, Asset, Network
from offerhub.providers.stellar.records import read_page
from offerhub.providers.stellar.results import decode_result, returned_contract
from offerhub.runtime.http import HttpClient

ISSUER = "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5"
ALICE = "GAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QZ6Q"
BOB = "GAU2ZOXBIG6MV4FSFYNJJU2NBPDTMHSSNUF74EWIS6KLZEZCSZW5O6FW"
CONTRACT = "CBIELTK6YBZJU5UP2WWQEUCYKLPU6AUNZ2BQ4WWFEIE3USCIHMXQDAMA"
USDC = Asset("USDC", ISSUER)
HASH = "ab" * 32
OPERATION = "122511124621283329"  # ledger 28524344, transaction 349, operation 1 (providers.md 6.5)


@pytest.fixture
def horizon(script: Any, http: HttpClient) -> Horizon:
    network = Network(TESTNET_PASSPHRASE, script.url + "/", ISSUER, friendbot_url=script.url + "/friendbot")
    return Horizon(http, network, timeout_seconds=2, submit_timeout_seconds=2)


def line(**changes: Any) -> dict[str, Any]:
    return {
        "asset_type": "credit_alphanum4",
        "asset_code": "USDC",
        "asset_issuer": ISSUER,
        "balance": "12.3456789",
        "limit": "100.0000000",
        "is_authorized": True,
    } | changes


def account(*lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    native = {"asset_type": "native", "balance": "1.5000000", "selling_liabilities": "0.0000000"}
    return {
        "account_id": ALICE,
        "sequence": "1234567890123",
        "balances": [*lines, native],
        "subentry_count": len(lines),
        "data": {},
    } | changes


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": OPERATION,
        "paging_token": OPERATION,
        "type": "payment",
        "transaction_successful": True,
        "transaction_hash": HASH,
        "created_at": "2026-05-01T10:00:00Z",
        "from": ALICE,
        "to": BOB,
        "amount": "25.5000000",
        "asset_type": "credit_alphanum4",
        "asset_code": "USDC",
        "asset_issuer": ISSUER,
        "transaction": {"memo_type": "text", "memo": "dep_1"},
    } | changes


def page(*records: dict[str, Any]) -> dict[str, Any]:
    return {"_embedded": {"records": list(records)}}


# -- reads -------------------------------------------------------------------------------------------------------


async def test_an_account(horizon: Horizon, script: Any) -> None:
    script.answers[f"/accounts/{ALICE}"] = (200, account(line()))
    found = await horizon.account(ALICE)
    assert found is not None
    assert (found.sequence, found.xlm, found.usdc) == (1234567890123, 15_000_000, 123_456_789)
    assert found.usdc_room == 1_000_000_000 - 123_456_789
    assert found.is_authorized
    assert not found.memo_required


@pytest.mark.parametrize(
    ("changes", "spendable"),
    [
        ({"subentry_count": 0}, 5_000_000),
        ({"subentry_count": 1}, 0),
        ({"subentry_count": 1, "num_sponsored": 3}, 15_000_000),
        ({"subentry_count": 0, "num_sponsoring": 3}, 0),
    ],
)
async def test_what_an_account_must_keep_is_not_spendable(
    horizon: Horizon, script: Any, changes: dict[str, Any], spendable: int
) -> None:
    script.answers[f"/accounts/{ALICE}"] = (200, account(**changes))
    found = await horizon.account(ALICE)
    assert found is not None
    assert found.xlm_spendable == spendable


async def test_the_price_of_inclusion(horizon: Horizon, script: Any) -> None:
    charged = {"max": "9000", "p50": "100", "p95": "450", "p99": "8000"}
    body = {"last_ledger": "77", "last_ledger_base_fee": "100", "fee_charged": charged, "max_fee": charged}
    script.answers["/fee_stats"] = (200, body)
    found = await horizon.fee_stats()
    assert (found.ledger, found.base_fee, found.charged_p95) == (77, 100, 450)
    script.answers["/fee_stats"] = (200, {"last_ledger": "77"})
    with pytest.raises(StellarNetworkError):
        await horizon.fee_stats()


async def test_no_account_is_a_value(horizon: Horizon) -> None:
    assert await horizon.account(ALICE) is None


@pytest.mark.parametrize(
    "other", [line(asset_issuer=ALICE), line(asset_code="USDT"), {"asset_type": "liquidity_pool_shares"}]
)
async def test_only_our_usdc_is_usdc(horizon: Horizon, script: Any, other: dict[str, Any]) -> None:
    script.answers[f"/accounts/{ALICE}"] = (200, account(other))
    found = await horizon.account(ALICE)
    assert found is not None
    assert found.usdc is None
    assert found.usdc_room == 0


async def test_a_frozen_trustline_and_a_required_memo(horizon: Horizon, script: Any) -> None:
    body = account(line(is_authorized=False), data={"config.memo_required": "MQ=="})
    script.answers[f"/accounts/{ALICE}"] = (200, body)
    found = await horizon.account(ALICE)
    assert found is not None
    assert (found.usdc, found.is_authorized, found.usdc_room) == (123_456_789, False, 0)
    assert found.memo_required


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (200, {"account_id": ALICE}),
        (200, account(line(balance="1e3"))),
        (200, account(line(balance=12.5))),
        (200, account(sequence="x")),
        (200, []),
        (500, {"title": "no"}),
        (503, b""),
        (429, b""),
        (302, b""),
    ],
)
async def test_nonsense_and_outages_are_one_error(horizon: Horizon, script: Any, answer: Any) -> None:
    script.answers[f"/accounts/{ALICE}"] = answer
    with pytest.raises(StellarNetworkError):
        await horizon.account(ALICE)


async def test_a_lost_answer_to_a_read(horizon: Horizon, script: Any, hang_up: object) -> None:
    script.answers["/ledgers"] = (200, hang_up)
    with pytest.raises(StellarNetworkError):
        await horizon.latest_ledger()


async def test_the_latest_ledger(horizon: Horizon, script: Any) -> None:
    script.answers["/ledgers"] = (200, page({"sequence": 77, "closed_at": "2026-05-01T10:00:05Z"}))
    ledger = await horizon.latest_ledger()
    assert (ledger.sequence, ledger.closed_at) == (77, datetime(2026, 5, 1, 10, 0, 5, tzinfo=UTC))
    script.answers["/ledgers"] = (200, page())
    with pytest.raises(StellarNetworkError):
        await horizon.latest_ledger()


# -- credits -----------------------------------------------------------------------------------------------------


async def test_payments_become_credits(horizon: Horizon, script: Any) -> None:
    script.answers["/payments"] = (200, page(record(to_muxed_id="420")))
    found = await horizon.payments_after("5", limit=10)
    assert dict(script.asked[0].query) == {
        "cursor": "5",
        "order": "asc",
        "limit": "10",
        "join": "transactions",
    }
    (credit,) = found.transfers
    assert (credit.operation_id, credit.index, credit.ledger) == (OPERATION, 0, 28524344)
    assert (credit.from_address, credit.to_address, credit.to_muxed_id) == (ALICE, BOB, 420)
    assert (credit.amount, credit.asset) == (255_000_000, USDC)
    assert (credit.memo, credit.memo_type, credit.kind) == ("dep_1", "text", "payment")
    assert (found.cursor, found.is_full) == (OPERATION, False)


async def test_the_cursor_moves_on_an_empty_page_too(horizon: Horizon, script: Any) -> None:
    script.answers["/payments"] = (200, page())
    assert (await horizon.payments_after("5")).cursor == "5"
    assert (await horizon.payments_after(None)).cursor is None
    assert "cursor" not in dict(script.asked[1].query)


async def test_a_cursor_from_before_history(horizon: Horizon, script: Any) -> None:
    script.answers["/payments"] = (410, {"type": "before_history"})
    with pytest.raises(CursorTooOld):
        await horizon.payments_after("5")


async def test_the_newest_cursor(horizon: Horizon, script: Any) -> None:
    script.answers["/payments"] = (200, page(record()))
    assert await horizon.newest_payment_cursor() == OPERATION
    assert dict(script.asked[0].query)["order"] == "desc"


def change(**changes: Any) -> dict[str, Any]:
    return {
        "type": "transfer",
        "from": CONTRACT,
        "to": BOB,
        "amount": "94.7000000",
        "asset_type": "credit_alphanum4",
        "asset_code": "USDC",
        "asset_issuer": ISSUER,
    } | changes


def test_one_contract_call_may_hold_several_credits() -> None:
    mint = change(type="mint", to=ALICE, destination_muxed_id="7")
    del mint["from"]
    changes = [change(), change(type="burn", to=None), change(amount="5.0000000"), mint]
    call = record(type="invoke_host_function", asset_balance_changes=changes)
    credited = read_page([call], None, 200).transfers
    assert [(credit.index, credit.to_address, credit.amount) for credit in credited] == [
        (0, BOB, 947_000_000),
        (1, BOB, 50_000_000),
        (0, ALICE, 947_000_000),
    ]
    assert credited[0].from_address == CONTRACT
    assert (credited[2].from_address, credited[2].to_muxed_id) == (ISSUER, 7)
    assert {credit.kind for credit in credited} == {"contract_transfer"}


@pytest.mark.parametrize("type_", ["path_payment_strict_send", "path_payment_strict_receive"])
def test_a_path_payment_credits_what_arrives(type_: str) -> None:
    paid = record(type=type_, source_amount="99.0000000", source_asset_type="native")
    (credit,) = read_page([paid], None, 200).transfers
    assert (credit.kind, credit.amount, credit.asset) == ("path_payment", 255_000_000, USDC)


def test_an_account_creation_credits_xlm() -> None:
    opened = record(type="create_account", funder=ALICE, account=BOB, starting_balance="2.0000000")
    (credit,) = read_page([opened], None, 200).transfers
    assert (credit.kind, credit.asset, credit.amount) == ("create_account", XLM, 20_000_000)


@pytest.mark.parametrize(
    "silent",
    [
        record(transaction_successful=False),
        record(type="account_merge", into=BOB, account=ALICE),
        record(type="something_new"),
        record(type="invoke_host_function"),
    ],
)
def test_what_credits_nothing(silent: dict[str, Any]) -> None:
    found = read_page([silent], None, 200)
    assert (found.transfers, found.unreadable, found.cursor) == ((), (), OPERATION)


def test_an_unreadable_record_hides_no_other() -> None:
    huge = record(paging_token="1", amount="99999999999999999.0000000")
    broken = record(paging_token="2")
    del broken["to"]
    found = read_page([huge, broken, record(paging_token="3")], None, 3)
    assert [item.paging_token for item in found.unreadable] == ["1", "2"]
    assert found.unreadable[0].record == huge
    assert len(found.transfers) == 1
    assert (found.cursor, found.is_full) == ("3", True)


def test_two_payments_of_one_transaction_are_two_credits() -> None:
    second = str(int(OPERATION) + 1)
    found = read_page([record(), record(id=second, paging_token=second)], None, 200)
    assert len({(credit.operation_id, credit.index) for credit in found.transfers}) == 2


async def test_the_transfers_of_a_transaction(horizon: Horizon, script: Any) -> None:
    assert await horizon.transfers(HASH) == []
    script.answers[f"/transactions/{HASH}/payments"] = (200, page(record(), record(type="account_merge")))
    (transfer,) = await horizon.transfers(HASH)
    assert transfer.amount == 255_000_000


async def test_a_wallet_s_history(horizon: Horizon, script: Any) -> None:
    assert await horizon.account_payments(ALICE, 5) == []
    opened = record(type="create_account", funder=BOB, account=ALICE, starting_balance="2.0000000")
    script.answers[f"/accounts/{ALICE}/payments"] = (
        200,
        page(record(), record(type="invoke_host_function"), opened, record()),
    )
    lines = await horizon.account_payments(ALICE, 2)
    assert [(item.type, item.amount, str(item.asset)) for item in lines] == [
        ("payment", "25.5000000", f"USDC:{ISSUER}"),
        ("create_account", "2.0000000", "XLM"),
    ]
    assert (lines[1].from_address, lines[1].to_address) == (BOB, ALICE)


# -- friendbot ---------------------------------------------------------------------------------------------------


async def test_friendbot(horizon: Horizon, script: Any) -> None:
    script.answers["/friendbot"] = (200, {"hash": HASH})
    await horizon.friendbot(ALICE)
    assert script.asked[0].query == [("addr", ALICE)]


async def test_friendbot_and_an_account_that_exists(horizon: Horizon, script: Any) -> None:
    script.answers["/friendbot"] = (400, {"detail": "createAccountAlreadyExist"})
    with pytest.raises(StellarNetworkError, match="refused"):
        await horizon.friendbot(ALICE)
    script.answers[f"/accounts/{ALICE}"] = (200, account())
    await horizon.friendbot(ALICE)


async def test_a_network_without_friendbot(http: HttpClient) -> None:
    with pytest.raises(StellarNetworkError, match="no friendbot"):
        await Horizon(http, Network(TESTNET_PASSPHRASE, "http://127.0.0.1:9", ISSUER)).friendbot(ALICE)


# -- submission --------------------------------------------------------------------------------------------------


async def test_an_envelope_arrives_as_it_was_sent(horizon: Horizon, script: Any) -> None:
    script.answers["/transactions"] = (200, {"hash": HASH, "ledger": 5, "successful": True})
    assert await horizon.submit("AA+/AA==") == Accepted(HASH, 5)
    assert parse_qs(script.asked[0].body.decode(), strict_parsing=True) == {"tx": ["AA+/AA=="]}
    assert b"+" not in script.asked[0].body


@pytest.mark.parametrize("answer", [(200, b"<html>"), (504, b"gateway"), (502, b"")])
async def test_an_unreadable_submission_is_unknown(horizon: Horizon, script: Any, answer: Any) -> None:
    script.answers["/transactions"] = answer
    assert isinstance(await horizon.submit("AAAA"), Unknown)


async def test_a_lost_submission_is_unknown_and_sent_once(horizon: Horizon, script: Any, hang_up: object) -> None:
    script.answers["/transactions"] = (200, hang_up)
    assert isinstance(await horizon.submit("AAAA"), Unknown)
    assert len(script.asked) == 1


async def test_an_unreachable_horizon_is_unknown(http: HttpClient) -> None:
    horizon = Horizon(http, Network(TESTNET_PASSPHRASE, "http://127.0.0.1:9", ISSUER))
    assert isinstance(await horizon.submit("AAAA"), Unknown)


def failed(**codes: Any) -> dict[str, Any]:
    kind = "https://stellar.org/horizon-errors/transaction_failed"
    return {"type": kind, "extras": {"result_codes": codes}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"hash": HASH, "ledger": 5, "successful": True}, Accepted(HASH, 5)),
        (200, {"hash": HASH, "ledger": 5}, Accepted(HASH, 5)),
        (200, {"hash": HASH, "ledger": 5, "inner_transaction": {"hash": "i"}}, Accepted(HASH, 5, "i")),
        (200, {"hash": HASH, "ledger": 5, "successful": False}, Unknown("HTTP 200 in an unknown form")),
        (200, {}, Unknown("HTTP 200 in an unknown form")),
        (200, [], Unknown("HTTP 200 in an unknown form")),
        (
            400,
            failed(transaction="tx_failed", operations=["op_underfunded"]),
            Rejected("tx_failed", ("op_underfunded",), True),
        ),
        (400, failed(transaction="tx_bad_seq"), Rejected("tx_bad_seq", (), False)),
        (400, failed(transaction="tx_too_late"), Rejected("tx_too_late", (), False)),
        (400, failed(transaction="tx_internal_error"), Unknown("transaction_failed: tx_internal_error")),
        (
            400,
            failed(
                transaction="tx_fee_bump_inner_failed",
                inner_transaction="tx_failed",
                operations=["op_no_trust"],
            ),
            Rejected("tx_failed", ("op_no_trust",), True),
        ),
        (
            400,
            failed(transaction="tx_fee_bump_inner_failed", inner_transaction="tx_bad_seq"),
            Rejected("tx_bad_seq", (), False),
        ),
        (400, failed(), Unknown("transaction_failed: None")),
        (400, {"type": "transaction_failed"}, Unknown("transaction_failed without codes")),
        (400, {"type": "transaction_malformed"}, Rejected("transaction_malformed", (), False)),
        (400, {"type": "bad_request"}, Unknown("HTTP 400 bad_request")),
        (403, {"type": "forbidden"}, Unknown("HTTP 403 forbidden")),
        (429, {}, Unknown("HTTP 429")),
        (503, {"type": "stale_history"}, Unknown("HTTP 503 stale_history")),
        (
            504,
            {"type": "https://stellar.org/horizon-errors/transaction_submission_timeout"},
            Unknown("HTTP 504 transaction_submission_timeout"),
        ),
    ],
)
def test_what_a_submission_s_answer_means(status: int, body: Any, expected: object) -> None:
    assert classify_submission(status, body) == expected


# -- results -----------------------------------------------------------------------------------------------------


def result(code: xdr.TransactionResultCode, *operations: xdr.OperationResult) -> str:
    results = list(operations) if operations else None
    if code == xdr.TransactionResultCode.txSUCCESS and results is None:
        results = []
    body = xdr.TransactionResultResult(code, results=results)
    return xdr.TransactionResult(xdr.Int64(100), body, xdr.TransactionResultExt(0)).to_xdr()


def operation(kind: xdr.OperationType, **arm: Any) -> xdr.OperationResult:
    return xdr.OperationResult(xdr.OperationResultCode.opINNER, xdr.OperationResultTr(kind, **arm))


UNDERFUNDED = operation(
    xdr.OperationType.PAYMENT,
    payment_result=xdr.PaymentResult(xdr.PaymentResultCode.PAYMENT_UNDERFUNDED),
)
EXISTS = operation(
    xdr.OperationType.CREATE_ACCOUNT,
    create_account_result=xdr.CreateAccountResult(xdr.CreateAccountResultCode.CREATE_ACCOUNT_ALREADY_EXIST),
)
TRAPPED = operation(
    xdr.OperationType.INVOKE_HOST_FUNCTION,
    invoke_host_function_result=xdr.InvokeHostFunctionResult(
        xdr.InvokeHostFunctionResultCode.INVOKE_HOST_FUNCTION_TRAPPED
    ),
)
BAD_AUTH = xdr.OperationResult(xdr.OperationResultCode.opBAD_AUTH)
NO_ACCOUNT = xdr.OperationResult(xdr.OperationResultCode.opNO_ACCOUNT)


def test_results_read_as_horizon_names_them() -> None:
    codes = xdr.TransactionResultCode
    assert decode_result(result(codes.txSUCCESS)) == ("tx_success", ())
    assert decode_result(result(codes.txBAD_SEQ)) == ("tx_bad_seq", ())
    assert decode_result(result(codes.txNO_ACCOUNT)) == ("tx_no_source_account", ())
    failures = result(codes.txFAILED, UNDERFUNDED, EXISTS, TRAPPED, BAD_AUTH, NO_ACCOUNT)
    assert decode_result(failures) == (
        "tx_failed",
        ("op_underfunded", "op_already_exists", "function_trapped", "op_bad_auth", "op_no_source_account"),
    )
    with pytest.raises(ValueError, match="not a transaction result"):
        decode_result("AAAA")


def test_the_result_of_a_fee_bump_is_the_inner_one() -> None:
    inner = xdr.InnerTransactionResult(
        xdr.Int64(100),
        xdr.InnerTransactionResultResult(xdr.TransactionResultCode.txFAILED, results=[UNDERFUNDED]),
        xdr.InnerTransactionResultExt(0),
    )
    pair = xdr.InnerTransactionResultPair(xdr.Hash(b"\1" * 32), inner)
    code = xdr.TransactionResultCode.txFEE_BUMP_INNER_FAILED
    body = xdr.TransactionResultResult(code, inner_result_pair=pair)
    outer = xdr.TransactionResult(xdr.Int64(100), body, xdr.TransactionResultExt(0)).to_xdr()
    assert decode_result(outer) == ("tx_failed", ("op_underfunded",))


def meta(value: xdr.SCVal) -> str:
    soroban = xdr.SorobanTransactionMeta(xdr.SorobanTransactionMetaExt(0), [], value, [])
    v3 = xdr.TransactionMetaV3(
        xdr.ExtensionPoint(0), xdr.LedgerEntryChanges([]), [], xdr.LedgerEntryChanges([]), soroban
    )
    return xdr.TransactionMeta(3, v3=v3).to_xdr()


def test_the_contract_that_a_call_returned() -> None:
    address = scval.to_address(CONTRACT)
    assert returned_contract(meta(address)) == CONTRACT
    assert returned_contract(meta(scval.to_vec([address, scval.to_void()]))) == CONTRACT
    assert returned_contract(meta(scval.to_address(ALICE))) is None
    assert returned_contract(meta(scval.to_void())) is None
    assert returned_contract(meta(scval.to_vec([]))) is None


async def test_a_transaction_in_a_ledger(horizon: Horizon, script: Any) -> None:
    assert await horizon.transaction(HASH) is None
    body = {
        "hash": HASH,
        "ledger": 9,
        "successful": True,
        "created_at": "2026-05-01T10:00:00Z",
        "source_account": ALICE,
        "result_xdr": result(xdr.TransactionResultCode.txSUCCESS),
        "result_meta_xdr": meta(scval.to_address(Address(CONTRACT).address)),
    }
    script.answers[f"/transactions/{HASH}"] = (200, body)
    found = await horizon.transaction(HASH)
    assert found is not None
    assert (found.hash, found.ledger, found.successful, found.code) == (HASH, 9, True, "tx_success")
    assert found.returned_contract == CONTRACT
    assert found.ledger_hash == HASH

    script.answers[f"/transactions/{HASH}"] = (200, body | {"hash": "e" * 64, "fee_bump_transaction": {}})
    bumped = await horizon.transaction(HASH)
    assert bumped is not None
    assert (bumped.hash, bumped.ledger_hash) == (HASH, "e" * 64)

    script.answers[f"/transactions/{HASH}"] = (200, body)
    del body["result_meta_xdr"]
    found = await horizon.transaction(HASH)
    assert found is not None
    assert found.returned_contract is None

    body |= {"successful": False, "result_xdr": result(xdr.TransactionResultCode.txFAILED, UNDERFUNDED)}
    found = await horizon.transaction(HASH)
    assert found is not None
    assert (found.code, found.operation_codes) == ("tx_failed", ("op_underfunded",))


async def test_a_transaction_that_contradicts_itself_is_no_evidence(horizon: Horizon, script: Any) -> None:
    body = {
        "hash": HASH,
        "ledger": 9,
        "successful": True,
        "created_at": "2026-05-01T10:00:00Z",
        "source_account": ALICE,
        "result_xdr": result(xdr.TransactionResultCode.txFAILED, UNDERFUNDED),
    }
    script.answers[f"/transactions/{HASH}"] = (200, body)
    with pytest.raises(StellarNetworkError):
        await horizon.transaction(HASH)


def test_units_stay_whole() -> None:
    (credit,) = read_page([record(amount="0.0000001")], None, 1).transfers
    assert credit.amount == Units(1)
