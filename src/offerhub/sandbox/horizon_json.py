"""Horizon's JSON: accounts, transactions, operations, ledgers (providers.md 6.5)."""

import base64
from datetime import UTC, datetime
from typing import Any, Final

from stellar_sdk import HashMemo, IdMemo, ReturnHashMemo, TextMemo

from offerhub.kernel.money import format_chain_amount
from offerhub.sandbox.history import LedgerRecord, OperationRecord, TransactionRecord
from offerhub.sandbox.records import asset_fields
from offerhub.sandbox.state import TOTAL_XLM, Account, State

PROTOCOL: Final = 27


def moment(seconds: int) -> str:
    """Unix seconds as Horizon prints them."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def account(entry: Account, state: State) -> dict[str, Any]:
    """An account with its trustlines."""
    balances: list[dict[str, Any]] = [
        {
            "balance": format_chain_amount(line.balance),
            "limit": format_chain_amount(line.limit),
            "buying_liabilities": "0.0000000",
            "selling_liabilities": "0.0000000",
            "last_modified_ledger": state.modified[owner, asset],
            "is_authorized": line.authorized,
            "is_authorized_to_maintain_liabilities": line.authorized,
            **_sponsor(line.sponsor),
            **asset_fields(asset),
        }
        for (owner, asset), line in state.trustlines.items()
        if owner == entry.id
    ]
    balances.append(
        {
            "balance": format_chain_amount(entry.balance),
            "buying_liabilities": "0.0000000",
            "selling_liabilities": "0.0000000",
            "asset_type": "native",
        }
    )
    signers = {**entry.signers, entry.id: entry.master_weight}
    return {
        "id": entry.id,
        "account_id": entry.id,
        "sequence": str(entry.sequence),
        "subentry_count": entry.subentries,
        "home_domain": entry.home_domain,
        "last_modified_ledger": state.modified[entry.id],
        "thresholds": {
            "low_threshold": entry.low,
            "med_threshold": entry.medium,
            "high_threshold": entry.high,
        },
        "flags": {
            "auth_required": False,
            "auth_revocable": False,
            "auth_immutable": False,
            "auth_clawback_enabled": False,
        },
        "balances": balances,
        "signers": [{"weight": weight, "key": key, "type": "ed25519_public_key"} for key, weight in signers.items()],
        "data": dict(entry.data),
        "num_sponsoring": entry.sponsoring,
        "num_sponsored": entry.sponsored,
        **_sponsor(entry.sponsor),
        "paging_token": entry.id,
    }


def _sponsor(address: str | None) -> dict[str, str]:
    """Who keeps an entry's reserve; Horizon leaves the field out where that is its owner."""
    return {} if address is None else {"sponsor": address}


def transaction(record: TransactionRecord, base: str) -> dict[str, Any]:
    """A transaction, with links under `base`."""
    envelope = record.envelope
    body: dict[str, Any] = {
        "_links": {
            "self": {"href": f"{base}/transactions/{envelope.hash}"},
            "operations": {"href": f"{base}/transactions/{envelope.hash}/operations"},
        },
        "id": envelope.hash,
        "paging_token": str(record.id),
        "successful": record.success,
        "hash": envelope.hash,
        "ledger": record.ledger,
        "created_at": moment(record.closed_at),
        "source_account": envelope.source,
        "source_account_sequence": str(envelope.transaction.sequence),
        "fee_account": envelope.fee_source,
        "fee_charged": str(record.fee_charged),
        "max_fee": str(envelope.max_fee),
        "operation_count": len(envelope.operations),
        "envelope_xdr": envelope.xdr,
        "result_xdr": record.result_xdr,
        "result_meta_xdr": record.meta_xdr,
        "signatures": [_base64(item.signature) for item in envelope.outer_signatures or envelope.signatures],
        **_memo(record),
        **_preconditions(record),
    }
    if envelope.inner_hash is not None:
        body["fee_bump_transaction"] = {"hash": envelope.hash, "signatures": body["signatures"]}
        body["inner_transaction"] = {
            "hash": envelope.inner_hash,
            "signatures": [_base64(item.signature) for item in envelope.signatures],
            "max_fee": str(envelope.transaction.fee),
        }
    return body


def operation(record: OperationRecord, base: str, *, join: bool) -> dict[str, Any]:
    """An operation, with its transaction when joined."""
    transaction_hash = record.transaction.envelope.hash
    body: dict[str, Any] = {
        "_links": {
            "self": {"href": f"{base}/operations/{record.id}"},
            "transaction": {"href": f"{base}/transactions/{transaction_hash}"},
        },
        "id": str(record.id),
        "paging_token": str(record.id),
        "transaction_successful": record.success,
        "source_account": record.source,
        "created_at": moment(record.transaction.closed_at),
        "transaction_hash": transaction_hash,
        **record.body,
    }
    if join:
        body["transaction"] = transaction(record.transaction, base)
    return body


def ledger(record: LedgerRecord) -> dict[str, Any]:
    """A ledger."""
    return {
        "id": record.hash,
        "paging_token": str(record.id),
        "hash": record.hash,
        "prev_hash": record.previous_hash,
        "sequence": record.sequence,
        "successful_transaction_count": record.successful,
        "failed_transaction_count": record.failed,
        "operation_count": record.operations,
        "closed_at": moment(record.closed_at),
        "total_coins": format_chain_amount(TOTAL_XLM),
        "base_fee_in_stroops": 100,
        "base_reserve_in_stroops": 5_000_000,
        "protocol_version": PROTOCOL,
    }


def _memo(record: TransactionRecord) -> dict[str, str]:
    memo = record.envelope.transaction.memo
    match memo:
        case TextMemo():
            text = memo.memo_text.decode("utf-8", "replace")
            return {"memo_type": "text", "memo": text, "memo_bytes": _base64(memo.memo_text)}
        case IdMemo():
            return {"memo_type": "id", "memo": str(memo.memo_id)}
        case HashMemo():
            return {"memo_type": "hash", "memo": _base64(memo.memo_hash)}
        case ReturnHashMemo():
            return {"memo_type": "return", "memo": _base64(memo.memo_return)}
    return {"memo_type": "none"}


def _preconditions(record: TransactionRecord) -> dict[str, Any]:
    preconditions = record.envelope.transaction.preconditions
    bounds = preconditions.time_bounds if preconditions else None
    if bounds is None:
        return {}
    timebounds = {"min_time": str(bounds.min_time)}
    fields: dict[str, Any] = {"valid_after": moment(bounds.min_time)}
    if bounds.max_time:
        timebounds["max_time"] = str(bounds.max_time)
        # Beyond the year 9999 there is nothing to print.
        if bounds.max_time < 253_402_300_800:
            fields["valid_before"] = moment(bounds.max_time)
    return {"preconditions": {"timebounds": timebounds}, **fields}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
