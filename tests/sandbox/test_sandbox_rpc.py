"""The RPC face, met with stellar-sdk's own client: every answer is one that it can read (providers.md 6.6)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import pytest
from escrow_driver import Parties, deployed, fund
from sandbox_driver import PASSPHRASE, Sandbox, running
from stellar_sdk import (
    Account,
    Address,
    Asset,
    Keypair,
    MuxedAccount,
    Payment,
    SorobanDataBuilder,
    SorobanServer,
    TransactionBuilder,
    scval,
    xdr,
)
from stellar_sdk.exceptions import PrepareTransactionException, SorobanRpcErrorResponse
from stellar_sdk.soroban_rpc import EventFilter, EventFilterType, GetTransactionStatus, SendTransactionStatus

from offerhub.sandbox.options import SandboxOptions

T = TypeVar("T")

TRANSFER = scval.to_symbol("transfer").to_xdr()
MINT = scval.to_symbol("mint").to_xdr()


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Sandbox]:
    """A sandbox of this module's own: its events are counted."""
    options = SandboxOptions(ledger_seconds=0.02, network_passphrase=PASSPHRASE, seed=61)
    async with running(options) as started:
        yield started


@pytest.fixture(scope="module")
def server(box: Sandbox) -> Iterator[SorobanServer]:
    with SorobanServer(box.info["rpc_url"]) as made:
        yield made


async def ask(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """The client blocks; the sandbox runs in this very loop."""
    return await asyncio.to_thread(call, *args, **kwargs)


def usdc_events(box: Sandbox, *topics: list[str]) -> list[EventFilter]:
    return [
        EventFilter(
            event_type=EventFilterType.CONTRACT, contract_ids=[box.info["usdc"]["contract"]], topics=topics or None
        )
    ]


async def rpc(box: Sandbox, method: str, params: Any = None, **more: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}} | more
    answer = await box.call("POST", "/rpc", json=body)
    assert answer.status == 200
    return answer.body


async def test_what_a_node_says_of_itself(box: Sandbox, server: SorobanServer) -> None:
    health = await ask(server.get_health)
    assert (health.status, health.oldest_ledger, health.ledger_retention_window) == ("healthy", 1, 120_960)
    network = await ask(server.get_network)
    assert network.passphrase == PASSPHRASE
    assert network.friendbot_url == box.info["friendbot_url"]
    assert (await ask(server.get_version_info)).protocol_version == network.protocol_version
    fees = await ask(server.get_fee_stats)
    assert fees.inclusion_fee.p95 == fees.soroban_inclusion_fee.max == 100
    latest = await ask(server.get_latest_ledger)
    header = xdr.LedgerHeaderHistoryEntry.from_xdr(latest.header_xdr)
    assert header.header.ledger_seq.uint32 == latest.sequence
    assert xdr.LedgerCloseMeta.from_xdr(latest.metadata_xdr).v0 is not None
    page = await ask(server.get_ledgers, latest.sequence - 2, limit=2)
    assert [one.sequence for one in page.ledgers] == [latest.sequence - 2, latest.sequence - 1]
    again = await ask(server.get_ledgers, cursor=page.cursor, limit=1)
    assert (again.ledgers[0].sequence, again.ledgers[0].hash) == (latest.sequence, latest.id)


async def test_events_are_paged_by_their_place(box: Sandbox, server: SorobanServer) -> None:
    payer, payee = await box.wallet("100"), await box.wallet()
    first = (await ask(server.get_latest_ledger)).sequence
    envelope = await box.build(
        payer,
        *(Payment(payee.public_key, box.usdc, amount) for amount in ("1", "2", "3")),
        Payment(MuxedAccount(payee.public_key, 42), box.usdc, "4"),
        Payment(payee.public_key, Asset.native(), "5"),
    )
    answer = (await box.submit(envelope)).body
    filters = usdc_events(box, [TRANSFER, "*", scval.to_address(payee.public_key).to_xdr(), "*"], [MINT, "**"])
    whole = await ask(server.get_events, start_ledger=first, filters=filters, limit=100)
    assert [scval.to_native(xdr.SCVal.from_xdr(one.value)) for one in whole.events] == [
        10_000_000,
        20_000_000,
        30_000_000,
        {"amount": 40_000_000, "to_muxed_id": 42},
    ]
    newest = whole.events[-1]
    assert (newest.transaction_hash, newest.ledger) == (answer["hash"], answer["ledger"])
    assert newest.operation_index == 3
    toid = (newest.ledger << 32) | (newest.transaction_index << 12) | 3
    assert newest.id == f"{toid:019d}-0000000000"
    topics = [scval.to_native(xdr.SCVal.from_xdr(topic)) for topic in newest.topic]
    assert topics == [
        "transfer",
        Address(payer.public_key),
        Address(payee.public_key),
        f"USDC:{box.usdc.issuer}",
    ]
    half = await ask(server.get_events, start_ledger=first, filters=filters, limit=2)
    assert half.cursor == half.events[-1].id
    rest = await ask(server.get_events, cursor=half.cursor, filters=filters, limit=100)
    assert [one.id for one in (*half.events, *rest.events)] == [one.id for one in whole.events]
    nothing = await ask(server.get_events, cursor=rest.cursor, filters=filters)
    assert nothing.events == []
    assert nothing.cursor >= rest.cursor, "an empty page moves on as well"


async def test_memos_mints_claims_and_the_rest_are_events_too(box: Sandbox, server: SorobanServer) -> None:
    wallet, stranger = await box.wallet(), await box.wallet("5")
    first = (await ask(server.get_latest_ledger)).sequence
    address = wallet.public_key
    await box.sim("/mint", {"address": address, "amount": "1", "memo": "thanks"})
    await box.sim("/mint", {"address": address, "amount": "2", "memo": "7", "memo_type": "id"})
    await box.sim("/credit", {"shape": "path", "to": [address], "amount": "3"})
    await box.sim("/credit", {"shape": "call", "to": [address, address], "amount": "4"})
    await box.sim("/credit", {"shape": "claimable", "to": [address], "amount": "5"})
    await box.submit(await box.build(stranger, Payment(box.info["usdc"]["issuer"], box.usdc, "1")))
    found = (await ask(server.get_events, start_ledger=first, filters=usdc_events(box), limit=100)).events
    shown = [
        (
            *(scval.to_native(xdr.SCVal.from_xdr(topic)) for topic in one.topic[:-1]),
            scval.to_native(xdr.SCVal.from_xdr(one.value)),
        )
        for one in found
    ]
    mine = Address(address)
    assert shown[:5] == [
        ("mint", mine, {"amount": 10_000_000, "to_muxed_id": "thanks"}),
        ("mint", mine, {"amount": 20_000_000, "to_muxed_id": 7}),
        ("mint", mine, 30_000_000),
        ("mint", mine, 40_000_000),
        ("mint", mine, 40_000_000),
    ]
    assert [one.id[-10:] for one in found[3:5]] == ["0000000000", "0000000001"], "two credits of one operation"
    assert (shown[5][0], shown[5][1].address[0], shown[5][2]) == ("mint", "B", 50_000_000)
    assert shown[6] == ("burn", Address(stranger.public_key), 10_000_000)


async def test_a_ledger_that_the_node_does_not_have(box: Sandbox, server: SorobanServer) -> None:
    latest = (await ask(server.get_latest_ledger)).sequence
    for ledger in (latest + 100_000, 2**31):
        with pytest.raises(SorobanRpcErrorResponse, match="within the ledger range: 1 - ") as refused:
            await ask(server.get_events, start_ledger=ledger)
        assert refused.value.code == -32600
    await box.sim("/faults", {"face": "rpc", "kind": "history_gone", "value": 2, "times": 2})
    with pytest.raises(SorobanRpcErrorResponse, match="ledger range") as gone:
        await ask(server.get_events, start_ledger=1)
    assert gone.value.code == -32600
    health = await ask(server.get_health)
    assert health.oldest_ledger == health.latest_ledger - 1
    assert (await ask(server.get_events, start_ledger=1, limit=1)).events
    await box.call("DELETE", "/_sim/faults")


async def test_requests_that_no_node_would_take(box: Sandbox) -> None:
    async def code(method: str, params: Any = None, **more: Any) -> int:
        return int((await rpc(box, method, params, **more))["error"]["code"])

    assert await code("getMoney") == -32601
    assert await code("getEvents", ["positional"]) == -32602
    assert await code("getEvents", {"startLedger": 1, "filters": [{}] * 6}) == -32602
    assert await code("getEvents", {"startLedger": 1, "pagination": {"limit": 10_001}}) == -32602
    assert await code("getEvents", {"pagination": {"cursor": "12"}}) == -32602
    assert await code("getEvents", {"startLedger": 0}) == -32602
    assert await code("getTransaction", {"hash": "12"}) == -32602
    assert await code("getTransactions", {"startLedger": 1, "pagination": {"limit": 201}}) == -32602
    assert await code("getLedgerEntries", {"keys": []}) == -32602
    assert await code("getLedgerEntries", {"keys": ["AAAA"]}) == -32602
    assert await code("sendTransaction", {"transaction": "AAAA"}) == -32602
    assert await code("simulateTransaction", {}) == -32602
    assert await code("getHealth", jsonrpc="1.0") == -32600
    answer = await box.call("POST", "/rpc", data="{")
    assert answer.body["error"]["code"] == -32700


async def test_a_transaction_from_sending_to_its_meta(box: Sandbox, server: SorobanServer) -> None:
    payer, payee = await box.wallet("10"), await box.wallet()
    account = await ask(server.load_account, payer.public_key)
    assert account.sequence == await box.sequence(payer.public_key)
    envelope = await box.build(payer, Payment(payee.public_key, box.usdc, "1"))
    sent = await ask(server.send_transaction, envelope)
    assert (sent.status, sent.hash) == (SendTransactionStatus.PENDING, envelope.hash_hex())
    found = await ask(server.poll_transaction, sent.hash, 30, lambda _: 0.05)
    assert found.status is GetTransactionStatus.SUCCESS
    assert found.envelope_xdr == envelope.to_xdr()
    assert xdr.TransactionResult.from_xdr(str(found.result_xdr)).result.code.name == "txSUCCESS"
    meta = xdr.TransactionMeta.from_xdr(str(found.result_meta_xdr)).v4
    assert meta is not None
    [[told]] = [[event.to_xdr() for event in one.events] for one in meta.operations]
    assert found.events is not None
    assert found.events.contract_events_xdr == [[told]]
    echo = await ask(server.send_transaction, envelope)
    assert echo.status is SendTransactionStatus.TRY_AGAIN_LATER, "it is in a ledger already"
    bad = await box.build(payer, Payment(payee.public_key, box.usdc, "1"), sequence=account.sequence)
    assert bad.hash_hex() == envelope.hash_hex()
    again = await box.build(payer, Payment(payee.public_key, box.usdc, "2"), sequence=account.sequence - 1)
    refused = await ask(server.send_transaction, again)
    assert refused.status is SendTransactionStatus.ERROR
    assert xdr.TransactionResult.from_xdr(str(refused.error_result_xdr)).result.code.name == "txBAD_SEQ"
    poor = await box.build(payer, Payment(payee.public_key, box.usdc, "1000"))
    await ask(server.send_transaction, poor)
    failed = await ask(server.poll_transaction, poor.hash_hex(), 30, lambda _: 0.05)
    assert failed.status is GetTransactionStatus.FAILED
    missing = await ask(server.get_transaction, "0" * 64)
    assert (missing.status, missing.envelope_xdr) == (GetTransactionStatus.NOT_FOUND, None)
    listed = await ask(server.get_transactions, found.ledger, limit=200)
    assert sent.hash in [one.transaction_hash for one in listed.transactions]
    rest = await ask(server.get_transactions, cursor=listed.cursor)
    assert sent.hash not in [one.transaction_hash for one in rest.transactions]


async def test_a_contract_call_is_simulated_and_prepared(box: Sandbox, server: SorobanServer) -> None:
    roles, contract = await _escrow(box)
    token, payer = box.info["usdc"]["contract"], roles.approver
    balance = await ask(server.get_sac_balance, contract, box.usdc, PASSPHRASE)
    assert balance.balance_entry is not None
    assert balance.balance_entry.amount == 100 * 10_000_000
    source = await ask(server.load_account, payer.public_key)
    builder = _builder(source)
    ends = [scval.to_address(payer.public_key), scval.to_address(contract)]
    builder.append_invoke_contract_function_op(token, "transfer", [*ends, scval.to_int128(5)])
    ready = await ask(server.prepare_transaction, builder.build())
    ready.sign(payer)
    assert (await ask(server.send_transaction, ready)).status is SendTransactionStatus.PENDING
    done = await ask(server.poll_transaction, ready.hash_hex(), 30, lambda _: 0.05)
    assert done.status is GetTransactionStatus.SUCCESS
    builder = _builder(source)
    builder.append_invoke_contract_function_op(token, "transfer", [*ends, scval.to_int128(10**15)])
    with pytest.raises(PrepareTransactionException):
        await ask(server.prepare_transaction, builder.build())
    stored = await ask(server.get_contract_data, contract, xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE))
    assert stored is not None
    instance = xdr.LedgerEntryData.from_xdr(stored.xdr).contract_data
    assert instance is not None
    assert instance.val.instance is not None


async def test_an_archived_contract_is_restored_by_a_call_or_on_its_own(box: Sandbox, server: SorobanServer) -> None:
    roles, contract = await _escrow(box)
    payer = roles.approver
    number = await box.sequence(payer.public_key)

    def reading() -> TransactionBuilder:
        return _builder(Account(payer.public_key, number)).append_invoke_contract_function_op(
            contract, "get_escrow", []
        )

    cheap = await ask(server.simulate_transaction, reading().build())
    await box.sim("/faults", {"face": "chain", "kind": "archive", "target": contract})
    dear = await ask(server.simulate_transaction, reading().build())
    assert dear.transaction_data is not None
    listed = xdr.SorobanTransactionData.from_xdr(dear.transaction_data).ext.resource_ext
    assert listed is not None
    assert [one.uint32 for one in listed.archived_soroban_entries] == [0]
    assert int(dear.min_resource_fee or 0) > int(cheap.min_resource_fee or 0)
    # Prepared before it was archived: too cheap, and it does not say what to restore.
    old = reading().set_soroban_data(str(cheap.transaction_data)).build()
    old.sign(payer)
    await ask(server.send_transaction, old)
    failed = await ask(server.poll_transaction, old.hash_hex(), 30, lambda _: 0.05)
    assert failed.status is GetTransactionStatus.FAILED
    key = xdr.LedgerKey(
        xdr.LedgerEntryType.CONTRACT_DATA,
        contract_data=xdr.LedgerKeyContractData(
            Address(contract).to_xdr_sc_address(),
            xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE),
            xdr.ContractDataDurability.PERSISTENT,
        ),
    )
    data = SorobanDataBuilder().set_read_write([key]).build()
    mend = await ask(
        server.prepare_transaction,
        _builder(Account(payer.public_key, number + 1)).append_restore_footprint_op().set_soroban_data(data).build(),
    )
    mend.sign(payer)
    await ask(server.send_transaction, mend)
    done = await ask(server.poll_transaction, mend.hash_hex(), 30, lambda _: 0.05)
    assert done.status is GetTransactionStatus.SUCCESS
    assert [one["archived"] for one in (await box.sim("/state"))["contracts"] if one["address"] == contract] == [
        False
    ]


async def test_a_node_that_is_behind(box: Sandbox, server: SorobanServer) -> None:
    payer, payee = await box.wallet("10"), await box.wallet()
    transaction = (await box.submit(await box.build(payer, Payment(payee.public_key, box.usdc, "1")))).body["hash"]
    await box.sim("/faults", {"face": "rpc", "kind": "node_behind", "value": 10_000, "times": 2})
    assert (await ask(server.get_transaction, transaction)).status is GetTransactionStatus.NOT_FOUND
    with pytest.raises(SorobanRpcErrorResponse) as unwell:
        await ask(server.get_health)
    assert unwell.value.code == -32603
    assert (await ask(server.get_transaction, transaction)).status is GetTransactionStatus.SUCCESS
    await box.call("DELETE", "/_sim/faults")


async def test_many_accounts_at_once(box: Sandbox) -> None:
    addresses = [Keypair.random().public_key for _ in range(30)]
    assert await box.sim("/accounts", {"addresses": addresses}) == {"accounts": 30}
    await box.sim("/mint", {"address": addresses[7], "amount": "1"})
    assert await box.usdc_of(addresses[7]) == "1.0000000"
    refused = await box.sim("/accounts", {"addresses": addresses[:1]}, status=400)
    assert addresses[0] in refused["error"]


async def _escrow(box: Sandbox) -> tuple[Parties, str]:
    """An escrow of 100 USDC that is funded, by an approver who has some left."""
    approver = await box.wallet("200")
    roles = Parties(approver, *await asyncio.gather(*[box.wallet() for _ in range(5)]))
    contract = await deployed(box, roles)
    assert (await fund(box, roles, contract, 100)).status == 200
    return roles, contract


def _builder(source: Account) -> TransactionBuilder:
    return TransactionBuilder(source, PASSPHRASE, base_fee=100).set_timeout(60)
