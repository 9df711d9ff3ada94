"""Transactions and ledgers as RPC tells them (providers.md 6.6)."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any, Final

from stellar_sdk import xdr

from offerhub.sandbox.chain import Chain
from offerhub.sandbox.history import LedgerRecord, TransactionRecord
from offerhub.sandbox.horizon_json import PROTOCOL
from offerhub.sandbox.rpc_problem import RpcView, bad_params, out_of_range
from offerhub.sandbox.state import TOTAL_XLM

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 200
_HASH_CHARACTERS: Final = 64


def get_transaction(chain: Chain, view: RpcView, params: Mapping[str, Any]) -> dict[str, Any]:
    """SUCCESS, FAILED or NOT_FOUND, by the hash of a transaction or of its fee bump. Raises RpcProblem."""
    asked = params.get("hash")
    if not isinstance(asked, str) or len(asked) != _HASH_CHARACTERS:
        raise bad_params("unexpected hash length")
    record = chain.history.by_hash.get(asked.lower())
    if record is None or not view.oldest <= record.ledger <= view.latest.sequence:
        return {"status": "NOT_FOUND", "txHash": asked, **view.span()}
    return {**_transaction(record), "txHash": asked, "createdAt": str(record.closed_at), **view.span()}


def get_transactions(chain: Chain, view: RpcView, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of all transactions. Raises RpcProblem."""
    after, limit = _page(params, view)
    records = chain.history.transactions
    start = bisect_right(records, after, key=lambda record: record.id)
    shown = [one for one in records[start : start + limit] if one.ledger <= view.latest.sequence]
    return {
        "transactions": [{**_transaction(one), "createdAt": one.closed_at} for one in shown],
        "latestLedger": view.latest.sequence,
        "latestLedgerCloseTimestamp": view.latest.closed_at,
        "oldestLedger": view.oldest,
        "oldestLedgerCloseTimestamp": view.oldest_closed_at,
        "cursor": str(shown[-1].id if shown else after),
    }


def get_ledgers(chain: Chain, view: RpcView, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of ledgers; their metadata has the header only. Raises RpcProblem."""
    after, limit = _page(params, view)
    records = chain.history.ledgers
    start = bisect_left(records, (after >> 32) + (after & 0xFFFFFFFF > 0), key=lambda record: record.sequence)
    shown = [one for one in records[start : start + limit] if one.sequence <= view.latest.sequence]
    ledgers = [{"hash": one.hash, "ledgerCloseTime": str(one.closed_at), **ledger_xdr(chain, one)} for one in shown]
    # A cursor is the place after a ledger, so that the next page begins with the next one.
    cursor = str((shown[-1].sequence << 32) | 1) if shown else str(after)
    span = {**view.span(), "latestLedgerCloseTime": view.latest.closed_at}
    return {"ledgers": ledgers, **span, "oldestLedgerCloseTime": view.oldest_closed_at, "cursor": cursor}


def ledger_xdr(chain: Chain, record: LedgerRecord) -> dict[str, Any]:
    """A ledger's number, header and metadata."""
    nothing = xdr.Hash(bytes(32))
    value = xdr.StellarValue(
        nothing,
        xdr.TimePoint(xdr.Uint64(record.closed_at)),
        [],
        xdr.StellarValueExt(xdr.StellarValueType.STELLAR_VALUE_BASIC),
    )
    header = xdr.LedgerHeader(
        xdr.Uint32(PROTOCOL),
        xdr.Hash(bytes.fromhex(record.previous_hash)),
        value,
        nothing,
        nothing,
        xdr.Uint32(record.sequence),
        xdr.Int64(TOTAL_XLM),
        xdr.Int64(chain.state.fee_pool),
        xdr.Uint32(0),
        xdr.Uint64(0),
        xdr.Uint32(chain.state.rules.base_fee),
        xdr.Uint32(5_000_000),
        xdr.Uint32(1_000),
        [nothing] * 4,
        xdr.LedgerHeaderExt(0),
    )
    entry = xdr.LedgerHeaderHistoryEntry(
        xdr.Hash(bytes.fromhex(record.hash)), header, xdr.LedgerHeaderHistoryEntryExt(0)
    )
    transactions = xdr.TransactionSet(header.previous_ledger_hash, [])
    meta = xdr.LedgerCloseMeta(0, v0=xdr.LedgerCloseMetaV0(entry, transactions, [], [], []))
    return {"sequence": record.sequence, "headerXdr": entry.to_xdr(), "metadataXdr": meta.to_xdr()}


def _transaction(record: TransactionRecord) -> dict[str, Any]:
    diagnostic = xdr.TransactionMeta.from_xdr(record.meta_xdr).v4
    assert diagnostic is not None
    return {
        "status": "SUCCESS" if record.success else "FAILED",
        "txHash": record.envelope.hash,
        "applicationOrder": (record.id >> 12) & 0xFFFFF,
        "feeBump": record.envelope.inner_hash is not None,
        "envelopeXdr": record.envelope.xdr,
        "resultXdr": record.result_xdr,
        "resultMetaXdr": record.meta_xdr,
        "ledger": record.ledger,
        "diagnosticEventsXdr": [event.to_xdr() for event in diagnostic.diagnostic_events],
        "events": {
            "transactionEventsXdr": [],
            "contractEventsXdr": [[event.to_xdr() for event in emitted] for emitted in record.events],
        },
    }


def _page(params: Mapping[str, Any], view: RpcView) -> tuple[int, int]:
    """The TOID after which records are wanted, and how many at most."""
    pagination = params.get("pagination") or {}
    limit = pagination.get("limit") or PAGE_DEFAULT
    if not isinstance(limit, int) or limit > PAGE_MAX:
        raise bad_params(f"limit must not exceed {PAGE_MAX}")
    cursor, ledger = pagination.get("cursor"), params.get("startLedger") or 0
    if cursor:
        if not isinstance(cursor, str) or not cursor.isdecimal():
            raise bad_params("invalid cursor")
        return int(cursor), limit
    if not isinstance(ledger, int):
        raise bad_params("startLedger must be a number")
    if not view.oldest <= ledger <= view.latest.sequence:
        raise out_of_range(view)
    return ledger << 32, limit
