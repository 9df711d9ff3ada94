"""The Trustless Work face: real envelopes, the contract's rules, roles and arithmetic."""

import asyncio
from typing import Any

import pytest
from escrow_driver import (
    ACTION,
    Parties,
    act,
    approve,
    deploy_body,
    deployed,
    dispute,
    fund,
    on_chain,
    release,
    resolve,
)
from sandbox_driver import PASSPHRASE, Answer, Sandbox, running
from stellar_sdk import (
    Address,
    InvokeHostFunction,
    Keypair,
    Payment,
    TextMemo,
    TransactionEnvelope,
    scval,
    xdr,
)

from offerhub.kernel.money import format_chain_amount, parse_chain_amount
from offerhub.sandbox import encoding
from offerhub.sandbox.escrow import fees_of
from offerhub.sandbox.options import SandboxOptions


@pytest.fixture
async def parties(sandbox: Sandbox) -> Parties:
    return Parties(*await asyncio.gather(*[sandbox.wallet() for _ in range(6)]))


def refusal(answer: Answer, number: int) -> None:
    assert answer.status == 400, answer
    assert answer.body["statusCode"] == 400
    assert f"Error(Contract, #{number})" in answer.body["message"]


async def test_from_deploy_to_release(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties)
    assert (await fund(sandbox, parties, contract, "100")).body["status"] == "SUCCESS"
    balance = await sandbox.read_trustless("/helper/get-multiple-escrow-balance", addresses=contract)
    assert balance.body == [{"address": contract, "balance": 100}]
    for index in (0, 1):
        body = {
            "contractId": contract,
            "milestoneIndex": str(index),
            "newStatus": "completed",
            "newEvidence": "https://example.org/logo",
            "serviceProvider": parties.provider.public_key,
        }
        changed = await act(sandbox, f"{ACTION}/change-milestone-status", body, parties.provider)
        assert changed.status == 200, changed
        refusal(await release(sandbox, parties, contract), 5)
        assert (await approve(sandbox, parties, contract, index)).status == 200
    fee_account = sandbox.info["trustless_work_fee_account"]
    fees_before = parse_chain_amount(await sandbox.usdc_of(fee_account))
    assert (await release(sandbox, parties, contract)).body["status"] == "SUCCESS"
    assert await sandbox.usdc_of(parties.receiver.public_key) == "94.7000000"
    assert await sandbox.usdc_of(parties.platform.public_key) == "5.0000000"
    fees_after = parse_chain_amount(await sandbox.usdc_of(fee_account))
    assert fees_after - fees_before == 3_000_000
    row = await on_chain(sandbox, contract)
    assert row["flags"] == {"disputed": False, "released": True, "resolved": False}
    assert (row["balance"], row["amount"], row["platformFee"]) == (0, 100, 5)
    assert [milestone["status"] for milestone in row["milestones"]] == ["completed", "completed"]
    refusal(await release(sandbox, parties, contract), 35)


async def test_the_payout_shows_in_everybodys_payments(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties, milestones=[{"description": "all"}])
    await fund(sandbox, parties, contract, "100")
    await approve(sandbox, parties, contract, 0)
    await release(sandbox, parties, contract)
    (mine,) = [
        record
        for record in await sandbox.records(f"/accounts/{parties.receiver.public_key}/payments", limit="200")
        if record["type"] == "invoke_host_function"
    ]
    changes = [(c["type"], c["from"], c["to"], c["amount"]) for c in mine["asset_balance_changes"]]
    assert changes == [
        ("transfer", contract, sandbox.info["trustless_work_fee_account"], "0.3000000"),
        ("transfer", contract, parties.platform.public_key, "5.0000000"),
        ("transfer", contract, parties.receiver.public_key, "94.7000000"),
    ]
    assert {c["asset_issuer"] for c in mine["asset_balance_changes"]} == {sandbox.usdc.issuer}
    theirs = await sandbox.records(f"/accounts/{parties.platform.public_key}/payments", limit="200")
    assert theirs[-1]["id"] == mine["id"]
    funding = await sandbox.records(
        f"/accounts/{parties.approver.public_key}/payments", order="desc", limit="1", join="transactions"
    )
    assert funding[0]["asset_balance_changes"][0]["to"] == contract
    assert funding[0]["transaction"]["memo_type"] == "none"


async def test_the_deploy_transaction_returns_the_contract(sandbox: Sandbox, parties: Parties) -> None:
    built = await sandbox.trustless("/deployer/single-release", deploy_body(sandbox, parties))
    envelope = TransactionEnvelope.from_xdr(built.body["unsignedTransaction"], PASSPHRASE)
    envelope.sign(parties.approver)
    answer = await sandbox.submit(envelope)
    meta = xdr.TransactionMeta.from_xdr(answer.body["result_meta_xdr"])
    assert meta.v4 is not None
    assert meta.v4.soroban_meta is not None
    assert meta.v4.soroban_meta.return_value is not None
    contract = scval.from_address(meta.v4.soroban_meta.return_value).address
    # Horizon knows it, the API does not until it is told.
    unknown = await sandbox.read_trustless("/helper/get-escrow-by-contract-ids", **{"contractIds[]": contract})
    assert unknown.status == 400
    told = await sandbox.trustless("/indexer/update-from-txHash", {"txHash": envelope.hash_hex()})
    assert told.status == 200
    listed = await sandbox.read_trustless(
        "/helper/get-escrows-by-signer", signer=parties.approver.public_key, engagementId="ord_1"
    )
    assert [row["contractId"] for row in listed.body] == [contract]


async def test_what_is_built_is_what_was_asked(sandbox: Sandbox, parties: Parties) -> None:
    signer = parties.approver.public_key
    built = await sandbox.trustless("/deployer/single-release", deploy_body(sandbox, parties, platformFee=2.5))
    envelope = TransactionEnvelope.from_xdr(built.body["unsignedTransaction"], PASSPHRASE)
    transaction = envelope.transaction
    assert transaction.source.account_id == signer
    assert transaction.sequence == await sandbox.sequence(signer) + 1
    assert transaction.preconditions is not None
    bounds = transaction.preconditions.time_bounds
    assert bounds is not None
    assert bounds.max_time - bounds.min_time == 180
    assert transaction.soroban_data is not None
    assert transaction.fee == transaction.soroban_data.resource_fee.int64 + 100
    (operation,) = transaction.operations
    assert isinstance(operation, InvokeHostFunction)
    call = operation.host_function.invoke_contract
    assert call is not None
    assert Address.from_xdr_sc_address(call.contract_address).address == sandbox.info["factory_contract"]
    assert call.function_name.sc_symbol == b"deploy"
    assert scval.from_address(call.args[0]).address == signer
    escrow = encoding.escrow_from_scval(call.args[2])
    assert (escrow.amount, escrow.platform_fee) == (1_000_000_000, 250)
    assert escrow.token == sandbox.info["usdc"]["contract"] == sandbox.usdc.contract_id(PASSPHRASE)
    assert encoding.escrow_to_scval(escrow) == call.args[2]


@pytest.mark.parametrize(
    ("amount", "percent", "trustless", "platform", "receiver"),
    [
        ("25.5", 5, 765_000, 12_750_000, 241_485_000),
        ("0.01", 5, 300, 5_000, 94_700),
        ("100", 0, 3_000_000, 0, 997_000_000),
        ("12.3456789", 2.5, 370_370, 3_086_419, 120_000_000),
    ],
)
async def test_release_arithmetic(
    sandbox: Sandbox,
    parties: Parties,
    amount: str,
    percent: float,
    trustless: int,
    platform: int,
    receiver: int,
) -> None:
    assert fees_of(parse_chain_amount(amount), int(percent * 100)) == (trustless, platform)
    one = [{"description": "all"}]
    contract = await deployed(sandbox, parties, amount=float(amount), platformFee=percent, milestones=one)
    await fund(sandbox, parties, contract, amount)
    await approve(sandbox, parties, contract, 0)
    assert (await release(sandbox, parties, contract)).status == 200
    assert await sandbox.usdc_of(parties.receiver.public_key) == format_chain_amount(receiver)
    assert await sandbox.usdc_of(parties.platform.public_key) == format_chain_amount(platform)


async def test_a_dispute_is_split_60_40(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties)
    await fund(sandbox, parties, contract, "100")
    refusal(await resolve(sandbox, parties, contract, [(parties.receiver, 100)]), 14)
    assert (await dispute(sandbox, contract, parties.receiver)).status == 200
    refusal(await dispute(sandbox, contract, parties.approver), 13)
    await approve(sandbox, parties, contract, 0)
    await approve(sandbox, parties, contract, 1)
    refusal(await release(sandbox, parties, contract), 16)
    buyer, seller = parties.approver, parties.receiver
    refusal(await resolve(sandbox, parties, contract, [(seller, 60), (buyer, 39.99)]), 39)
    refusal(await resolve(sandbox, parties, contract, [(seller, 60), (buyer, 40.01)]), 15)
    assert (await resolve(sandbox, parties, contract, [(seller, 60), (buyer, 40)])).status == 200
    assert await sandbox.usdc_of(seller.public_key) == "56.8200000"
    assert await sandbox.usdc_of(buyer.public_key) == "37.8800000"
    assert await sandbox.usdc_of(parties.platform.public_key) == "5.0000000"
    row = await on_chain(sandbox, contract)
    assert (row["balance"], row["flags"]["resolved"], row["flags"]["released"]) == (0, True, False)


async def test_thirds_are_owed_more_than_there_is(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties)
    await fund(sandbox, parties, contract, "100")
    await dispute(sandbox, contract, parties.receiver)
    parts = [(parties.receiver, 33.3333333), (parties.approver, 33.3333333), (parties.provider, 33.3333334)]
    # 10 is the token contract's own: the last transfer lacks 2 units.
    refusal(await resolve(sandbox, parties, contract, parts), 10)
    assert (await on_chain(sandbox, contract))["balance"] == 100


async def test_wrong_roles_are_refused(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties)
    await fund(sandbox, parties, contract, "100")
    thief = await sandbox.wallet()
    me = thief.public_key
    cases: list[tuple[str, dict[str, Any], int]] = [
        (
            "change-milestone-status",
            {"milestoneIndex": "0", "newStatus": "done", "newEvidence": "", "serviceProvider": me},
            8,
        ),
        ("approve-milestone", {"milestoneIndex": "0", "approver": me}, 11),
        ("release-funds", {"releaseSigner": me}, 4),
        ("dispute-escrow", {"signer": me}, 26),
        (
            "resolve-dispute",
            {"disputeResolver": me, "distributions": [{"address": me, "amount": 100}]},
            12,
        ),
    ]
    for action, body, number in cases:
        refusal(await act(sandbox, f"{ACTION}/{action}", {"contractId": contract, **body}, thief), number)
    refusal(await dispute(sandbox, contract, parties.resolver), 40)
    refusal(await approve(sandbox, parties, contract, 2), 10)
    assert (await approve(sandbox, parties, contract, 0)).status == 200
    refusal(await approve(sandbox, parties, contract, 0), 29)


async def test_a_release_signed_by_somebody_else_does_not_happen(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties, milestones=[{"description": "all"}])
    await fund(sandbox, parties, contract, "100")
    await approve(sandbox, parties, contract, 0)
    thief = await sandbox.wallet()
    body = {"contractId": contract, "releaseSigner": parties.release_signer.public_key}
    stolen = await act(sandbox, f"{ACTION}/release-funds", body, thief)
    assert stolen.status == 400
    assert "tx_bad_auth" in stolen.body["message"]
    # The same call from the thief's own account, with the thief's own authorisation.
    call = encoding.invocation(contract, "release_funds", [scval.to_address(parties.release_signer.public_key)])
    function = xdr.SorobanAuthorizedFunction(
        xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN, contract_fn=call
    )
    entry = xdr.SorobanAuthorizationEntry(
        xdr.SorobanCredentials(xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT),
        xdr.SorobanAuthorizedInvocation(function, []),
    )
    answer = await invoke(sandbox, thief, call, [entry])
    assert answer.body["extras"]["result_codes"]["operations"] == ["function_trapped"]
    # And the right account, which has not authorised it.
    answer = await invoke(sandbox, parties.release_signer, call, [])
    assert answer.body["extras"]["result_codes"]["operations"] == ["function_trapped"]
    assert (await on_chain(sandbox, contract))["flags"]["released"] is False
    assert (await invoke(sandbox, parties.release_signer, call, [entry])).status == 200


def resources(fee: int) -> xdr.SorobanTransactionData:
    zero = xdr.Uint32(0)
    used = xdr.SorobanResources(xdr.LedgerFootprint([], []), zero, zero, zero)
    return xdr.SorobanTransactionData(xdr.SorobanTransactionDataExt(0), used, xdr.Int64(fee))


async def invoke(
    sandbox: Sandbox,
    source: Keypair,
    call: xdr.InvokeContractArgs,
    auth: list[xdr.SorobanAuthorizationEntry],
) -> Answer:
    host_function = xdr.HostFunction(xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT, invoke_contract=call)
    envelope = await sandbox.build(source, InvokeHostFunction(host_function, auth), fee=50_100)
    envelope.transaction.soroban_data = resources(50_000)
    envelope.signatures.clear()
    envelope.sign(source)
    return await sandbox.submit(envelope)


async def test_a_bare_transfer_reaches_the_contract(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties)
    payer = await sandbox.wallet("10")
    call = encoding.invocation(
        sandbox.info["usdc"]["contract"],
        "transfer",
        [scval.to_address(payer.public_key), scval.to_address(contract), scval.to_int128(12_345)],
    )
    function = xdr.SorobanAuthorizedFunction(
        xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN, contract_fn=call
    )
    entry = xdr.SorobanAuthorizationEntry(
        xdr.SorobanCredentials(xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT),
        xdr.SorobanAuthorizedInvocation(function, []),
    )
    assert (await invoke(sandbox, payer, call, [entry])).status == 200
    assert (await on_chain(sandbox, contract))["balance"] == 0.0012345


async def test_funding_twice_deposits_twice(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties)
    await fund(sandbox, parties, contract, "100")
    await fund(sandbox, parties, contract, "100")
    assert (await on_chain(sandbox, contract))["balance"] == 200


async def test_a_change_between_build_and_funding_fails_it(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties)
    funder = await sandbox.wallet("100")
    body = {"contractId": contract, "signer": funder.public_key, "amount": 100}
    built = await sandbox.trustless(f"{ACTION}/fund-escrow", body)
    await approve(sandbox, parties, contract, 0)
    envelope = TransactionEnvelope.from_xdr(built.body["unsignedTransaction"], PASSPHRASE)
    envelope.sign(funder)
    answer = await sandbox.trustless("/helper/send-transaction", {"signedXdr": envelope.to_xdr()})
    refusal(answer, 33)
    assert await sandbox.usdc_of(funder.public_key) == "100.0000000"


async def test_funding_without_the_money_is_refused_at_build(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties)
    poor = await sandbox.wallet("99.99")
    body = {"contractId": contract, "signer": poor.public_key, "amount": 100}
    refusal(await sandbox.trustless(f"{ACTION}/fund-escrow", body), 10)


async def test_a_receiver_without_a_trustline_fails_the_whole_release(sandbox: Sandbox, parties: Parties) -> None:
    bare = Keypair.random()
    await sandbox.call("GET", "/horizon/friendbot", params={"addr": bare.public_key})
    roles = parties.roles() | {"receiver": bare.public_key}
    contract = await deployed(sandbox, parties, roles=roles, milestones=[{"description": "all"}])
    await fund(sandbox, parties, contract, "100")
    await approve(sandbox, parties, contract, 0)
    refusal(await release(sandbox, parties, contract), 13)
    assert (await on_chain(sandbox, contract))["balance"] == 100
    assert await sandbox.usdc_of(parties.platform.public_key) == "0.0000000"


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": 1},
        {"amount": "100"},
        {"amount": 0},
        {"amount": -1},
        {"amount": 0.00000001},
        {"platformFee": 100},
        {"platformFee": 1.234},
        {"milestones": []},
        {"milestones": [{"description": "x"}] * 51},
        {"milestones": [{"description": "x", "approved": True}]},
        {"title": "x" * 101},
        {"trustline": {"address": "nobody", "symbol": "USDC"}},
        {"trustline": {"address": Keypair.random().public_key, "symbol": "USDC"}},
        {"signer": Keypair.random().public_key},
    ],
)
async def test_bad_deploy_bodies(sandbox: Sandbox, parties: Parties, changes: dict[str, Any]) -> None:
    answer = await sandbox.trustless("/deployer/single-release", deploy_body(sandbox, parties, **changes))
    assert answer.status == 400
    assert answer.body["statusCode"] == 400


async def test_a_milestone_index_is_text(sandbox: Sandbox, parties: Parties) -> None:
    contract = await deployed(sandbox, parties)
    body = {"contractId": contract, "milestoneIndex": 0, "approver": parties.approver.public_key}
    answer = await sandbox.trustless(f"{ACTION}/approve-milestone", body)
    assert answer.status == 400
    assert "milestoneIndex" in answer.body["message"]


async def test_the_key_is_asked_for_everywhere(sandbox: Sandbox) -> None:
    for method, path in (("GET", "/helper/get-multiple-escrow-balance"), ("POST", "/helper/send-transaction")):
        for headers in ({}, {"x-api-key": "wrong"}):
            answer = await sandbox.call(method, f"/trustless-work{path}", headers=headers)
            assert (answer.status, answer.body) == (401, {"statusCode": 401, "message": "Unauthorized"})


async def test_unknown_escrows(sandbox: Sandbox, parties: Parties) -> None:
    nobody = encoding.contract_address(sandbox.info["factory_contract"], bytes(32), bytes(32))
    answer = await approve(sandbox, parties, nobody, 0)
    assert answer.status == 400
    balance = await sandbox.read_trustless("/helper/get-multiple-escrow-balance", addresses=nobody)
    assert balance.status == 400


@pytest.mark.parametrize("flaw", ["memo", "no resources", "no fee"])
async def test_malformed_contract_transactions(sandbox: Sandbox, parties: Parties, flaw: str) -> None:
    built = await sandbox.trustless("/deployer/single-release", deploy_body(sandbox, parties))
    envelope = TransactionEnvelope.from_xdr(built.body["unsignedTransaction"], PASSPHRASE)
    code = "tx_soroban_invalid"
    if flaw == "memo":
        envelope.transaction.memo = TextMemo("hello")
    elif flaw == "no resources":
        envelope.transaction.soroban_data = None
    else:
        envelope.transaction.fee, code = 10_000, "tx_insufficient_fee"
    envelope.sign(parties.approver)
    answer = await sandbox.submit(envelope)
    assert answer.body["extras"]["result_codes"] == {"transaction": code}


async def test_the_platforms_limit() -> None:
    options = SandboxOptions(ledger_seconds=0, trustless_rate_limited=True, seed=9)
    async with running(options) as limited:
        statuses = [(await limited.read_trustless("/helper/get-escrows-by-signer")).status for _ in range(51)]
    assert statuses == [400] * 50 + [429]


async def test_books_are_shown_whole(sandbox: Sandbox) -> None:
    state = await sandbox.sim("/state")
    held: int = sum(parse_chain_amount(a["usdc"]) for a in state["accounts"] if a["usdc"] is not None)
    held += sum(parse_chain_amount(c["usdc"]) for c in state["contracts"])
    assert held == parse_chain_amount(state["usdc_issued"])
    xlm: int = sum(parse_chain_amount(a["xlm"]) for a in state["accounts"])
    xlm += parse_chain_amount(state["xlm_fee_pool"]) + parse_chain_amount(state["xlm_in_contracts"])
    assert xlm == 10**18
    payment = Payment(sandbox.info["usdc"]["issuer"], sandbox.usdc, "1")
    burner = await sandbox.wallet("1")
    assert (await sandbox.submit(await sandbox.build(burner, payment))).status == 200
    after = await sandbox.sim("/state")
    # One minted, one burned.
    assert after["usdc_issued"] == state["usdc_issued"]
