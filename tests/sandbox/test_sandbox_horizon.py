"""The Horizon face: envelopes are verified as a network would, and history reads as Horizon's does."""

import asyncio
import base64
import hashlib
from decimal import Decimal

import pytest
from sandbox_driver import PASSPHRASE, Answer, Sandbox
from stellar_sdk import (
    Account,
    BumpSequence,
    ChangeTrust,
    CreateAccount,
    Keypair,
    ManageData,
    MuxedAccount,
    PathPaymentStrictSend,
    Payment,
    SetOptions,
    Signer,
    TransactionBuilder,
    TransactionEnvelope,
    xdr,
)
from stellar_sdk.exceptions import BadSignatureError

from offerhub.sandbox.envelope import Malformed, decode


def codes(answer: Answer) -> dict[str, object]:
    assert answer.status == 400, answer
    assert answer.headers["content-type"].startswith("application/problem+json")
    result: dict[str, object] = answer.body["extras"]["result_codes"]
    return result


async def pay(sandbox: Sandbox, source: Keypair, target: str, amount: str, **options: object) -> Answer:
    payment = Payment(target, sandbox.usdc, amount)
    return await sandbox.submit(await sandbox.build(source, payment, **options))  # type: ignore[arg-type]


async def test_the_root_names_the_network(sandbox: Sandbox) -> None:
    answer = await sandbox.call("GET", "/horizon/")
    assert answer.body["network_passphrase"] == PASSPHRASE
    assert answer.body["history_latest_ledger"] == int(answer.headers["latest-ledger"])


async def test_friendbot_funds_once(sandbox: Sandbox) -> None:
    address = Keypair.random().public_key
    missing = await sandbox.call("GET", f"/horizon/accounts/{address}")
    assert (missing.status, missing.body["title"]) == (404, "Resource Missing")
    funded = await sandbox.call("GET", "/horizon/friendbot", params={"addr": address})
    assert funded.body["successful"] is True
    account = await sandbox.get(f"/accounts/{address}")
    assert account["balances"] == [
        {
            "balance": "10000.0000000",
            "buying_liabilities": "0.0000000",
            "selling_liabilities": "0.0000000",
            "asset_type": "native",
        }
    ]
    assert int(account["sequence"]) == funded.body["ledger"] << 32
    again = await sandbox.call("GET", "/horizon/friendbot", params={"addr": address})
    assert again.status == 400


async def test_many_are_funded_in_few_ledgers(sandbox: Sandbox) -> None:
    addresses = [Keypair.random().public_key for _ in range(40)]
    asked = [sandbox.call("GET", "/horizon/friendbot", params={"addr": address}) for address in addresses]
    answers = await asyncio.gather(*asked)
    assert [answer.status for answer in answers] == [200] * 40


async def test_a_trustline_then_usdc(sandbox: Sandbox) -> None:
    keypair = Keypair.random()
    await sandbox.call("GET", "/horizon/friendbot", params={"addr": keypair.public_key})
    refused = await sandbox.sim("/mint", {"address": keypair.public_key, "amount": "5"}, status=400)
    assert refused == {"error": "op_no_trust"}
    trusted = await sandbox.submit(await sandbox.build(keypair, ChangeTrust(sandbox.usdc)))
    assert trusted.body["successful"] is True
    minted = await sandbox.sim("/mint", {"address": keypair.public_key, "amount": "25.5", "memo": "dep_0001"})
    assert await sandbox.usdc_of(keypair.public_key) == "25.5000000"
    records = await sandbox.records(f"/accounts/{keypair.public_key}/payments", join="transactions")
    assert [record["type"] for record in records] == ["create_account", "payment"]
    payment = records[1]
    assert payment["from"] == sandbox.info["usdc"]["issuer"]
    assert (payment["to"], payment["amount"]) == (keypair.public_key, "25.5000000")
    assert (payment["asset_code"], payment["asset_type"]) == ("USDC", "credit_alphanum4")
    assert payment["transaction"]["memo"] == "dep_0001"
    assert payment["transaction"]["memo_type"] == "text"
    assert payment["transaction_hash"] == minted["hash"]
    assert int(payment["id"]) >> 32 == minted["ledger"]


async def test_a_payment_moves_money_and_costs_its_fee(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("100"), await sandbox.wallet()
    answer = await pay(sandbox, payer, payee.public_key, "40.1234567", memo="hello")
    assert answer.body["successful"] is True
    assert answer.body["fee_charged"] == "100"
    assert await sandbox.usdc_of(payer.public_key) == "59.8765433"
    assert await sandbox.usdc_of(payee.public_key) == "40.1234567"
    result = xdr.TransactionResult.from_xdr(answer.body["result_xdr"])
    assert result.result.code == xdr.TransactionResultCode.txSUCCESS
    operations = await sandbox.records(f"/transactions/{answer.body['hash']}/operations")
    assert await sandbox.get(f"/operations/{operations[0]['id']}") == operations[0]


async def test_the_same_bytes_are_answered_with_the_first_result(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    envelope = await sandbox.build(payer, Payment(payee.public_key, sandbox.usdc, "1"))
    first, second = await asyncio.gather(sandbox.submit(envelope), sandbox.submit(envelope))
    third = await sandbox.submit(envelope)
    assert first.body == second.body == third.body
    assert await sandbox.usdc_of(payee.public_key) == "1.0000000"


async def test_a_wrong_signature_is_refused_and_costs_nothing(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    before = await sandbox.get(f"/accounts/{payer.public_key}")
    envelope = await sandbox.build(payer, Payment(payee.public_key, sandbox.usdc, "1"))
    envelope.signatures.clear()
    assert codes(await sandbox.submit(envelope)) == {"transaction": "tx_bad_auth"}
    envelope.sign(Keypair.random())
    assert codes(await sandbox.submit(envelope)) == {"transaction": "tx_bad_auth"}
    elsewhere = await sandbox.build(
        payer,
        Payment(payee.public_key, sandbox.usdc, "1"),
        passphrase="Public Global Stellar Network ; September 2015",
    )
    assert codes(await sandbox.submit(elsewhere)) == {"transaction": "tx_bad_auth"}
    after = await sandbox.get(f"/accounts/{payer.public_key}")
    assert (after["balances"], after["sequence"]) == (before["balances"], before["sequence"])


async def test_an_unused_signature_is_refused(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    envelope = await sandbox.build(payer, Payment(payee.public_key, sandbox.usdc, "1"))
    envelope.sign(payee)
    assert codes(await sandbox.submit(envelope)) == {"transaction": "tx_bad_auth_extra"}


async def test_another_accounts_operation_needs_its_signature(sandbox: Sandbox) -> None:
    payer, victim = await sandbox.wallet(), await sandbox.wallet("10")
    theft = Payment(payer.public_key, sandbox.usdc, "10", source=victim.public_key)
    envelope = await sandbox.build(payer, theft)
    assert codes(await sandbox.submit(envelope)) == {
        "transaction": "tx_failed",
        "operations": ["op_bad_auth"],
    }
    envelope.sign(victim)
    assert (await sandbox.submit(envelope)).body["successful"] is True


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"sequence": 5}, "tx_bad_seq"),
        ({"max_time": 1_700_000_000}, "tx_too_late"),
        ({"fee": 99}, "tx_insufficient_fee"),
    ],
)
async def test_invalid_at_the_door(sandbox: Sandbox, options: dict[str, int], code: str) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    answer = await pay(sandbox, payer, payee.public_key, "1", **options)
    assert codes(answer) == {"transaction": code}
    missing = await sandbox.call("GET", f"/horizon/transactions/{'0' * 64}")
    assert missing.status == 404


async def test_too_early(sandbox: Sandbox) -> None:
    payer = await sandbox.wallet()
    sequence = await sandbox.sequence(payer.public_key)
    builder = TransactionBuilder(Account(payer.public_key, sequence), PASSPHRASE)
    builder.add_time_bounds(3_999_999_999, 4_000_000_000).append_operation(BumpSequence(0))
    envelope = builder.build()
    envelope.sign(payer)
    assert codes(await sandbox.submit(envelope)) == {"transaction": "tx_too_early"}


async def test_unknown_source(sandbox: Sandbox) -> None:
    stranger = Keypair.random()
    answer = await sandbox.submit(await sandbox.build(stranger, BumpSequence(0), sequence=1))
    assert codes(answer) == {"transaction": "tx_no_source_account"}


async def test_malformed_envelopes(sandbox: Sandbox) -> None:
    for text in ("AAAA", "not base64!", "A" * 300):
        answer = await sandbox.submit(text)
        assert (answer.status, answer.body["title"]) == (400, "Transaction Malformed")


async def test_failures_inside_cost_fee_and_sequence(sandbox: Sandbox) -> None:
    payer, stranger = await sandbox.wallet("10"), Keypair.random()
    await sandbox.call("GET", "/horizon/friendbot", params={"addr": stranger.public_key})
    before = await sandbox.sequence(payer.public_key)
    wallet = await sandbox.wallet()
    cases = [
        (stranger.public_key, "1", "op_no_trust"),
        (Keypair.random().public_key, "1", "op_no_destination"),
        (wallet.public_key, "10.0000001", "op_underfunded"),
    ]
    for target, amount, code in cases:
        answer = await pay(sandbox, payer, target, amount)
        assert codes(answer) == {"transaction": "tx_failed", "operations": [code]}
    assert await sandbox.sequence(payer.public_key) == before + 3
    assert await sandbox.usdc_of(payer.public_key) == "10.0000000"
    shown = await sandbox.records(f"/accounts/{payer.public_key}/payments", limit="200")
    everything = await sandbox.records(f"/accounts/{payer.public_key}/payments", limit="200", include_failed="true")
    assert len(everything) == len(shown) + 3
    hidden = [record for record in everything if not record["transaction_successful"]]
    failed = await sandbox.get(f"/transactions/{hidden[0]['transaction_hash']}")
    assert (failed["successful"], failed["fee_charged"]) == (False, "100")


async def test_a_failed_operation_undoes_the_others(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    payments = [Payment(payee.public_key, sandbox.usdc, amount) for amount in ("4", "7")]
    answer = await sandbox.submit(await sandbox.build(payer, *payments))
    assert codes(answer) == {"transaction": "tx_failed", "operations": ["op_success", "op_underfunded"]}
    assert await sandbox.usdc_of(payee.public_key) == "0.0000000"


async def test_create_account_refusals(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet(), await sandbox.wallet()
    cases = [
        (CreateAccount(payee.public_key, "5"), "op_already_exists"),
        (CreateAccount(Keypair.random().public_key, "0.5"), "op_low_reserve"),
        (CreateAccount(Keypair.random().public_key, "9999"), "op_underfunded"),
    ]
    for operation, code in cases:
        answer = await sandbox.submit(await sandbox.build(payer, operation))
        assert codes(answer)["operations"] == [code]


async def test_a_trustline_limit_is_kept(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    await sandbox.submit(await sandbox.build(payee, ChangeTrust(sandbox.usdc, "3")))
    answer = await pay(sandbox, payer, payee.public_key, "3.0000001")
    assert codes(answer)["operations"] == ["op_line_full"]
    await pay(sandbox, payer, payee.public_key, "3")
    answer = await sandbox.submit(await sandbox.build(payee, ChangeTrust(sandbox.usdc, "0")))
    assert codes(answer)["operations"] == ["op_invalid_limit"]


async def test_a_path_payment_of_one_asset_pays(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    operation = PathPaymentStrictSend(payee.public_key, sandbox.usdc, "2", sandbox.usdc, "2", [])
    answer = await sandbox.submit(await sandbox.build(payer, operation))
    assert answer.body["successful"] is True
    record = (await sandbox.records(f"/accounts/{payee.public_key}/payments"))[-1]
    assert (record["type"], record["amount"]) == ("path_payment_strict_send", "2.0000000")


async def test_a_muxed_destination_is_told(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    muxed = MuxedAccount(payee.public_key, 420)
    await pay(sandbox, payer, muxed.account_muxed or "", "1")
    record = (await sandbox.records(f"/accounts/{payee.public_key}/payments"))[-1]
    assert (record["to"], record["to_muxed_id"]) == (payee.public_key, "420")
    assert record["to_muxed"] == muxed.account_muxed


async def test_data_entries_thresholds_and_signers(sandbox: Sandbox) -> None:
    owner, second = await sandbox.wallet(), Keypair.random()
    setup = await sandbox.build(
        owner,
        ManageData("config.memo_required", "1"),
        SetOptions(med_threshold=2, high_threshold=2, signer=Signer.ed25519_public_key(second.public_key, 1)),
    )
    assert (await sandbox.submit(setup)).body["successful"] is True
    account = await sandbox.get(f"/accounts/{owner.public_key}")
    assert account["data"] == {"config.memo_required": "MQ=="}
    assert account["subentry_count"] == 3
    one = await sandbox.build(owner, ManageData("a", "b"))
    assert codes(await sandbox.submit(one))["operations"] == ["op_bad_auth"]
    one.sign(second)
    assert (await sandbox.submit(one)).body["successful"] is True


async def test_a_fee_bump_is_known_by_both_hashes(sandbox: Sandbox) -> None:
    payer, payee, sponsor = await sandbox.wallet("10"), await sandbox.wallet(), await sandbox.wallet()
    inner = await sandbox.build(payer, Payment(payee.public_key, sandbox.usdc, "1"))
    bump = TransactionBuilder.build_fee_bump_transaction(sponsor, 300, inner, PASSPHRASE)
    bump.sign(sponsor)
    before = await sandbox.get(f"/accounts/{payer.public_key}")
    answer = await sandbox.submit(bump.to_xdr())
    assert (answer.body["fee_account"], answer.body["fee_charged"]) == (sponsor.public_key, "200")
    assert answer.body["inner_transaction"]["hash"] == inner.hash_hex()
    by_inner = await sandbox.get(f"/transactions/{inner.hash_hex()}")
    assert by_inner["hash"] == bump.hash_hex()
    after = await sandbox.get(f"/accounts/{payer.public_key}")
    assert after["balances"][-1] == before["balances"][-1]
    result = xdr.TransactionResult.from_xdr(answer.body["result_xdr"])
    assert result.result.code == xdr.TransactionResultCode.txFEE_BUMP_INNER_SUCCESS


async def test_pages_go_both_ways_and_now_shows_nothing(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    for amount in ("1", "2", "3"):
        await pay(sandbox, payer, payee.public_key, amount)
    path = f"/accounts/{payee.public_key}/payments"
    everything = await sandbox.records(path)
    assert [Decimal(record["amount"]) for record in everything[-3:]] == [1, 2, 3]
    newest = await sandbox.records(path, order="desc", limit="2")
    assert newest == everything[:-3:-1]
    rest = await sandbox.records(path, cursor=everything[-2]["paging_token"])
    assert rest == everything[-1:]
    assert await sandbox.records(path, cursor="now") == []
    network = await sandbox.records("/payments", order="desc", limit="1")
    assert network[0]["id"] >= everything[-1]["id"]
    bad = await sandbox.call("GET", "/horizon" + path, params={"limit": "201"})
    assert (bad.status, bad.body["extras"]["invalid_field"]) == (400, "limit")


async def test_ledgers_and_fees(sandbox: Sandbox) -> None:
    (newest,) = await sandbox.records("/ledgers", order="desc", limit="1")
    assert newest["closed_at"].endswith("Z")
    assert (await sandbox.get(f"/ledgers/{newest['sequence']}"))["hash"] == newest["hash"]
    assert (await sandbox.get("/fee_stats"))["max_fee"]["p99"] == "100"


async def test_a_stream_says_hello_tells_and_says_byebye(sandbox: Sandbox) -> None:
    payer, payee = await sandbox.wallet("10"), await sandbox.wallet()
    url = f"{sandbox.base}/horizon/accounts/{payee.public_key}/payments"
    headers = {"accept": "text/event-stream"}
    async with sandbox.http.get(url, params={"cursor": "now", "limit": "1"}, headers=headers) as stream:
        hello = await stream.content.readuntil(b"\n\n")
        assert hello == b'retry: 1000\nevent: open\ndata: "hello"\n\n'
        await pay(sandbox, payer, payee.public_key, "1")
        record = await stream.content.readuntil(b"\n\n")
        assert record.startswith(b"id: ")
        assert b'"amount": "1.0000000"' in record
        assert (await stream.read()) == b'retry: 10\nevent: close\ndata: "byebye"\n\n'


async def test_one_transaction_of_a_source_per_ledger_and_timeouts_are_504(manual: Sandbox) -> None:
    payer, payee = await manual.wallet("10"), await manual.wallet()
    envelope = await manual.build(payer, Payment(payee.public_key, manual.usdc, "1"))
    timeout = await manual.submit(envelope)
    assert timeout.status == 504
    assert timeout.body["type"].endswith("transaction_submission_timeout")
    assert timeout.body["extras"]["hash"] == envelope.hash_hex()
    other = await manual.build(payer, Payment(payee.public_key, manual.usdc, "2"))
    assert (await manual.submit(other)).status == 504
    await manual.sim("/close", {})
    assert (await manual.submit(envelope)).body["successful"] is True
    assert codes(await manual.submit(other)) == {"transaction": "tx_bad_seq"}
    assert await manual.usdc_of(payee.public_key) == "1.0000000"


async def test_time_bounds_are_measured_at_the_close(manual: Sandbox) -> None:
    payer = await manual.wallet()
    now = (await manual.sim("/clock", {}))["now"]
    envelope = await manual.build(payer, BumpSequence(0), max_time=now + 60)
    assert (await manual.submit(envelope)).status == 504
    await manual.sim("/clock", {"advance_seconds": 61})
    await manual.sim("/close", {})
    missing = await manual.call("GET", f"/horizon/transactions/{envelope.hash_hex()}")
    assert missing.status == 404
    assert codes(await manual.submit(envelope)) == {"transaction": "tx_too_late"}


SIGNING_VECTOR = (
    "AAAAAgAAAAADoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuAAAA+gAAAAASZYC0wAAAAEAAAAAaOd4AAAAAABo53h4AAAAAQAA"
    "AAhkZXBfMDAwMQAAAAEAAAAAAAAAAQAAAAAprLrhQbzK8LIuGpTTTQvHNh5SbQv+EsiXlLyTIpZt1wAAAAFVU0RDAAAAAEI+fQXy7K+/"
    "7BkrIVo/G+lq7bjY5wJUq+NBPgIH3layAAAAAA8y/cAAAAAAAAAAARJVMbgAAABAMlA/iqwPVHaCB5KK9r7UK3nnJscmGykOEcrnRc4e"
    "90EXh7V8y/9tZGVV0EWy+oVbkKWi/8+819z2ME8pSz3FCQ=="
)


def test_the_published_vector_decodes_to_its_hash_and_signer() -> None:
    envelope = decode(SIGNING_VECTOR, PASSPHRASE)
    assert envelope.hash == "1e07fe836b30078c04d58e2f88523fdef7b18655d7126c2571ff3ffb97d7b4da"
    signer = Keypair.from_raw_ed25519_seed(bytes(range(32)))
    assert envelope.source == signer.public_key
    signer.verify(envelope.digest, envelope.signatures[0].signature)
    other = decode(SIGNING_VECTOR, "Standalone Network ; February 2017")
    with pytest.raises(BadSignatureError):
        signer.verify(other.digest, other.signatures[0].signature)
    # The same by hand: sha256(network id, type 2, the transaction without its signatures).
    raw = base64.b64decode(SIGNING_VECTOR)
    unsigned = raw[4 : len(raw) - 76]
    network = hashlib.sha256(PASSPHRASE.encode()).digest()
    assert hashlib.sha256(network + b"\0\0\0\2" + unsigned).hexdigest() == envelope.hash


def test_the_published_fee_bump_has_its_hash() -> None:
    payer = Keypair.from_raw_ed25519_seed(bytes(range(32, 64)))
    inner = TransactionEnvelope.from_xdr(SIGNING_VECTOR, PASSPHRASE)
    bump = TransactionBuilder.build_fee_bump_transaction(payer, 20_000, inner, PASSPHRASE)
    envelope = decode(bump.to_xdr(), PASSPHRASE)
    assert envelope.hash == "ad9e2b4f2bbbcc0b75b4f9901d3a35b07e496a1bba819868ff40e41dad2e6792"
    assert envelope.inner_hash == "1e07fe836b30078c04d58e2f88523fdef7b18655d7126c2571ff3ffb97d7b4da"


def test_text_that_is_no_envelope() -> None:
    with pytest.raises(Malformed):
        decode("AAAAAgAAAAA=", PASSPHRASE)
