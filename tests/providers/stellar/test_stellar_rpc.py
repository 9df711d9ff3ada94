"""RPC's events read into credits; the values are what stellar-sdk encodes."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from stellar_sdk import Address, Keypair, MuxedAccount, StrKey, scval

from offerhub.errors import StellarNetworkError
from offerhub.providers.stellar import scvals
from offerhub.providers.stellar.events import read_credits
from offerhub.providers.stellar.horizon import CursorTooOld
from offerhub.providers.stellar.network import Network
from offerhub.providers.stellar.records import Transfer
from offerhub.providers.stellar.rpc import Rpc, RpcRefused, ledger_of
from offerhub.runtime.http import NoAnswer, NotSent, Response

ISSUER, ALICE, BOB, PAYER = (Keypair.from_raw_ed25519_seed(bytes([number]) * 32).public_key for number in range(4))
NETWORK = Network("Standalone Network ; February 2017", "https://horizon", ISSUER)
CONTRACT = NETWORK.usdc_contract
LEDGER = 500
BEGIN = f"{LEDGER << 32:019d}-0000000000"


def place(transaction: int, operation: int, index: int = 0, ledger: int = LEDGER) -> str:
    return f"{(ledger << 32) | (transaction << 12) | operation:019d}-{index:010d}"


def event(
    where: str, to: str, units: int, *, kind: str = "transfer", sender: str = PAYER, memo: Any = None, **more: Any
) -> dict[str, Any]:
    ends = [scval.to_address(sender)] if kind == "transfer" else []
    topics = [scval.to_symbol(kind), *ends, scval.to_address(to), scval.to_string(f"USDC:{ISSUER}")]
    data = scval.to_int128(units)
    if memo is not None:
        data = scval.to_map({scval.to_symbol("amount"): data, scval.to_symbol("to_muxed_id"): memo})
    return {
        "type": "contract",
        "ledger": LEDGER,
        "ledgerClosedAt": "2026-01-02T03:04:05Z",
        "contractId": CONTRACT,
        "id": where,
        "txHash": "ab" * 32,
        "topic": [topic.to_xdr() for topic in topics],
        "value": data.to_xdr(),
        **more,
    }


def answer(events: list[dict[str, Any]], cursor: str | None = None, latest: int = LEDGER) -> dict[str, Any]:
    last = f"{(LEDGER << 32) | 0xFFFFFFFF:019d}-4294967295"
    return {"events": events, "cursor": cursor or last, "latestLedger": latest}


def names(transfers: tuple[Transfer, ...]) -> list[tuple[str, str, int, int]]:
    return [(one.operation_id, one.to_address, one.index, one.amount) for one in transfers]


def test_a_credit_has_the_name_that_horizon_gives_it() -> None:
    """RPC counts operations from 0 and Horizon from 1; credits are counted for each receiver."""
    contract = StrKey.encode_contract(bytes(32))
    events = [
        event(place(3, 0), ALICE, 5),
        event(place(4, 1, 0), BOB, 6, sender=contract),
        event(place(4, 1, 1), contract, 100),
        event(place(4, 1, 2), ALICE, 7, kind="mint"),
        event(place(4, 1, 3), BOB, 8),
    ]
    page = read_credits(answer(events), BEGIN, 100, NETWORK)
    first, second = (LEDGER << 32) | (3 << 12) | 1, (LEDGER << 32) | (4 << 12) | 2
    assert names(page.transfers) == [
        (str(first), ALICE, 0, 5),
        (str(second), BOB, 0, 6),
        (str(second), ALICE, 0, 7),
        (str(second), BOB, 1, 8),
    ]
    assert [one.from_address for one in page.transfers] == [PAYER, contract, ISSUER, PAYER]
    assert (page.is_full, page.ledger, page.unreadable) == (False, LEDGER, ())
    assert page.transfers[0].created_at.isoformat() == "2026-01-02T03:04:05+00:00"


@pytest.mark.parametrize(
    ("memo", "read"),
    [
        (None, (None, "none", None)),
        (scval.to_uint64(2**64 - 1), (str(2**64 - 1), "id", 2**64 - 1)),
        (scval.to_string("for you"), ("for you", "text", None)),
        (scval.to_bytes(bytes(32)), ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "hash", None)),
    ],
)
def test_a_memo_comes_with_the_amount(memo: Any, read: tuple[str | None, str, int | None]) -> None:
    page = read_credits(answer([event(place(1, 0), ALICE, 5, memo=memo)]), BEGIN, 100, NETWORK)
    (one,) = page.transfers
    assert (one.memo, one.memo_type, one.to_muxed_id) == read
    assert one.amount == 5


def test_events_told_twice_out_of_order_or_before_count_once() -> None:
    first, second = event(place(1, 0, 0), ALICE, 1), event(place(1, 0, 1), ALICE, 2)
    page = read_credits(answer([second, first, second, first]), BEGIN, 100, NETWORK)
    assert [(one.index, one.amount) for one in page.transfers] == [(0, 1), (1, 2)]
    again = read_credits(answer([first, event(place(2, 0), BOB, 3)]), place(1, 0, 1), 100, NETWORK)
    assert [(one.to_address, one.amount) for one in again.transfers] == [(BOB, 3)]


def test_a_full_page_leaves_the_operation_at_its_end_to_the_next_one() -> None:
    events = [event(place(1, 0), ALICE, 1), event(place(2, 0, 0), BOB, 2), event(place(2, 0, 1), BOB, 3)]
    page = read_credits(answer(events, events[-1]["id"]), BEGIN, 3, NETWORK)
    assert names(page.transfers) == [(str(((LEDGER << 32) | (1 << 12)) + 1), ALICE, 0, 1)]
    assert (page.cursor, page.is_full, page.ledger) == (events[0]["id"], True, None)
    alone = read_credits(answer(events[1:], events[-1]["id"]), BEGIN, 2, NETWORK)
    assert (alone.transfers, alone.cursor, alone.is_full) == ((), None, True)


def test_a_scan_that_stops_short_of_the_last_ledger_is_not_the_end() -> None:
    page = read_credits(answer([], latest=LEDGER + 1), BEGIN, 100, NETWORK)
    assert (page.is_full, page.ledger) == (True, None)


@pytest.mark.parametrize(
    "change",
    [
        {"value": "AAAA"},
        {"value": "not base64"},
        {"value": scval.to_int128(-1).to_xdr()},
        {"value": scval.to_int128(2**63).to_xdr()},
        {"value": scval.to_uint32(1).to_xdr()},
        {"topic": []},
        {"ledgerClosedAt": "yesterday"},
    ],
)
def test_an_operation_that_cannot_be_read_is_put_aside_whole(change: dict[str, Any]) -> None:
    events = [
        event(place(1, 0, 0), ALICE, 1),
        event(place(1, 0, 1), ALICE, 2) | change,
        event(place(2, 0), BOB, 3),
    ]
    page = read_credits(answer(events), BEGIN, 100, NETWORK)
    assert [one.to_address for one in page.transfers] == [BOB]
    (odd,) = page.unreadable
    assert odd.paging_token == str(((LEDGER << 32) | (1 << 12)) + 1)
    assert len(odd.record["events"]) == 2


def test_what_is_no_credit_of_our_token_is_passed_over() -> None:
    stranger = Network("another network", "https://horizon", ISSUER).usdc_contract
    events = [
        event(place(1, 0), ALICE, 1, contractId=stranger),
        event(place(1, 1), ALICE, 1, inSuccessfulContractCall=False),
        event(place(1, 2), ALICE, 1, kind="burn"),
    ]
    assert read_credits(answer(events), BEGIN, 100, NETWORK).transfers == ()


@pytest.mark.parametrize("cursor", ["12", place(1, 0, ledger=LEDGER - 1)])
def test_a_cursor_never_goes_back(cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor went"):
        read_credits(answer([], cursor), BEGIN, 100, NETWORK)


@pytest.mark.parametrize(
    "address",
    [
        ALICE,
        CONTRACT,
        MuxedAccount(ALICE, 420).account_muxed,
        StrKey.encode_claimable_balance(bytes(33)),
        StrKey.encode_liquidity_pool(bytes(32)),
    ],
)
def test_addresses_of_every_kind(address: str) -> None:
    assert scvals.address(scval.to_address(Address(address)).to_xdr()) == address


class Node:
    """Answers calls one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def call(self, method: str, url: str, *, name: str, **more: Any) -> Response:
        asked: dict[str, Any] = json.loads(more["body"])
        self.asked.append(asked)
        told = self.answers.pop(0)
        if isinstance(told, Exception):
            raise told
        if isinstance(told, bytes):
            return Response(200, {}, told)
        key = "result" if isinstance(told, Mapping) else "error"
        error = told if key == "result" else {"code": told, "message": "startLedger must be within the ledger range"}
        return Response(200, {}, json.dumps({"jsonrpc": "2.0", "id": 1, key: error}).encode())


def rpc(node: Node) -> Rpc:
    return Rpc(node, NETWORK, "https://rpc")


HEALTH = {"status": "healthy", "oldestLedger": LEDGER + 1, "latestLedger": LEDGER + 9}


async def test_one_filter_for_all_wallets() -> None:
    node = Node(answer([]))
    await rpc(node).credits_after(BEGIN)
    assert node.asked[0]["params"] == {
        "filters": [{"type": "contract", "contractIds": [CONTRACT]}],
        "pagination": {"cursor": BEGIN, "limit": 200},
    }


async def test_a_cursor_that_is_too_old_and_one_that_is_too_new() -> None:
    """Both are refused in the same words; only the node's health tells them apart."""
    with pytest.raises(CursorTooOld):
        await rpc(Node(-32600, HEALTH)).credits_after(BEGIN)
    with pytest.raises(RpcRefused):
        await rpc(Node(-32600, HEALTH | {"oldestLedger": 2})).credits_after(BEGIN)
    with pytest.raises(RpcRefused):
        await rpc(Node(-32600, -32603)).credits_after(BEGIN)


async def test_an_operation_larger_than_a_page_is_asked_for_in_a_larger_one() -> None:
    many = [event(place(1, 0, index), ALICE, 1) for index in range(200)]
    node = Node(answer(many, many[-1]["id"]), answer(many))
    page = await rpc(node).credits_after(BEGIN)
    assert len(page.transfers) == 200
    assert [one["params"]["pagination"]["limit"] for one in node.asked] == [200, 10_000]


@pytest.mark.parametrize("told", [NotSent("down"), NoAnswer("lost"), b"<html>", b"[]", b'{"id": 1}'])
async def test_a_node_that_cannot_be_asked_or_answers_nonsense(told: Any) -> None:
    with pytest.raises(StellarNetworkError):
        await rpc(Node(told)).span()


async def test_a_ledger_that_the_node_does_not_have_has_no_hash() -> None:
    assert await rpc(Node(-32600)).ledger_hash(7) is None
    assert await rpc(Node({"ledgers": [{"sequence": 8, "hash": "x"}]})).ledger_hash(7) is None
    assert await rpc(Node({"ledgers": [{"sequence": 7, "hash": "x"}]})).ledger_hash(7) == "x"


def test_cursors_of_both_kinds_name_a_ledger() -> None:
    assert ledger_of(BEGIN) == ledger_of(str(LEDGER << 32)) == LEDGER
