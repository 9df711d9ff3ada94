"""What Horizon says, read into values of ours. Pure; field names and meanings are providers.md 6.5.

Credits come in many shapes: payments, path payments, account creations, and the token transfers of a contract
call, of which one operation may hold several. All become `Transfer`, keyed by (operation id, receiver, index): a
transaction hash alone would merge the deposits of a batch. The index counts the credits of one asset to one receiver
in one operation, which every source of the chain can count alike (decision 0045). An account merge is left out: it
moves XLM only, and Horizon does not say how much.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from offerhub.kernel.money import Units, parse_chain_amount
from offerhub.providers.stellar.network import XLM, Asset

TransferKind = Literal["payment", "path_payment", "create_account", "contract_transfer", "event"]
"""`event` is any of the others: RPC does not say which."""

_KINDS: Final[dict[str, TransferKind]] = {
    "payment": "payment",
    "path_payment_strict_send": "path_payment",
    "path_payment_strict_receive": "path_payment",
    "create_account": "create_account",
    "invoke_host_function": "contract_transfer",
}
BASE_RESERVE: Final = 5_000_000
"""0.5 XLM: what an account keeps for itself twice, and for each entry that it has or sponsors (providers.md 6.2)."""
_LEDGER_SHIFT: Final = 32
"""An operation id is (ledger << 32) | (transaction << 12) | operation (SEP-35)."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it stands. `usdc` and `usdc_limit` are None when it has no trustline to our USDC."""

    address: str
    sequence: int
    xlm: Units
    usdc: Units | None
    usdc_limit: Units | None
    is_authorized: bool
    memo_required: bool
    xlm_reserved: Units

    @property
    def xlm_spendable(self) -> int:
        """Units of XLM above what the network makes it keep: for fees, and for what it may sponsor."""
        return max(0, self.xlm - self.xlm_reserved)

    @property
    def usdc_room(self) -> int:
        """How many more units of USDC the account can take; 0 without an authorised trustline."""
        if self.usdc is None or self.usdc_limit is None or not self.is_authorized:
            return 0
        return self.usdc_limit - self.usdc


@dataclass(frozen=True, slots=True)
class FeeStats:
    """What inclusion has cost in the last ledgers, in stroops per operation."""

    ledger: int
    base_fee: int
    charged_p95: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """The last ledger that a provider has taken in."""

    sequence: int
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class LedgerSpan:
    """The ledgers that a provider has: the oldest that it still keeps, and the last."""

    oldest: int
    latest: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """One credit on the chain. `from_address` is the issuer when a token was minted.

    `index` is how many credits of this asset to this receiver come before it in the operation.
    `memo` is text, the digits of an id, or base64 of a hash, according to `memo_type` (`none` without one).
    `to_muxed_id` is set when the payer used an M… address of `to_address`.
    """

    operation_id: str
    index: int
    kind: TransferKind
    transaction_hash: str
    ledger: int
    created_at: datetime
    from_address: str
    to_address: str
    to_muxed_id: int | None
    amount: Units
    asset: Asset
    memo: str | None
    memo_type: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not be read: to be put aside and looked at, while the cursor moves on."""

    paging_token: str
    reason: str
    record: Any


@dataclass(frozen=True, slots=True)
class TransferPage:
    """The credits of one page of operations, in the order in which the page was asked for.

    `cursor` is the place to go on from: store it with the credits, even when there were none. `is_full` means
    that more may be waiting; when not, `ledger` is the last that the provider has told everything of, if it says so.
    A record that cannot be read never hides the others.
    """

    transfers: tuple[Transfer, ...]
    unreadable: tuple[Unreadable, ...]
    cursor: str | None
    is_full: bool
    ledger: int | None = None


@dataclass(frozen=True, slots=True)
class WalletPayment:
    """One line of a wallet's history (contract 2.5)."""

    id: str
    type: str
    from_address: str
    to_address: str
    amount: str
    asset: Asset
    created_at: datetime
    transaction_hash: str
    successful: bool


def moment(text: str) -> datetime:
    """Horizon's ISO 8601 time as an aware datetime. Raises ValueError."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"no time zone: {text}")
    return parsed


def read_account(body: dict[str, Any], usdc: Asset) -> Account:
    """Raises KeyError, TypeError, ValueError for a body of another shape."""
    xlm, held, limit, authorized = Units(0), None, None, False
    entries = 2 + int(body["subentry_count"]) + int(body.get("num_sponsoring", 0)) - int(body.get("num_sponsored", 0))
    reserved = entries * BASE_RESERVE
    for line in body["balances"]:
        if line["asset_type"] == "native":
            xlm = parse_chain_amount(line["balance"])
            reserved += parse_chain_amount(line.get("selling_liabilities", "0"))
        elif line.get("asset_code") == usdc.code and line.get("asset_issuer") == usdc.issuer:
            held, limit = parse_chain_amount(line["balance"]), parse_chain_amount(line["limit"])
            authorized = line.get("is_authorized", True) is True
    # SEP-29: the value is base64 of the single character "1".
    memo_required = body.get("data", {}).get("config.memo_required") == "MQ=="
    return Account(
        body["account_id"], int(body["sequence"]), xlm, held, limit, authorized, memo_required, Units(reserved)
    )


def read_fee_stats(body: dict[str, Any]) -> FeeStats:
    """Raises KeyError, TypeError, ValueError for a body of another shape."""
    charged = body["fee_charged"]
    return FeeStats(int(body["last_ledger"]), int(body["last_ledger_base_fee"]), int(charged["p95"]))


def read_page(records: list[Any], cursor: str | None, limit: int, ledger: int | None = None) -> TransferPage:
    """Flatten a page of `/payments` into credits; `ledger` is what Horizon calls its latest.

    Raises only when a paging token is missing.
    """
    transfers: list[Transfer] = []
    unreadable: list[Unreadable] = []
    for record in records:
        cursor = str(record["paging_token"])
        try:
            transfers += read_transfers(record)
        except (KeyError, TypeError, ValueError) as error:
            unreadable.append(Unreadable(cursor, f"{type(error).__name__}: {error}"[:200], record))
    is_full = len(records) >= limit
    return TransferPage(tuple(transfers), tuple(unreadable), cursor, is_full, None if is_full else ledger)


def read_transfers(record: dict[str, Any]) -> list[Transfer]:
    """The credits of one operation. Raises KeyError, TypeError, ValueError for a record of another shape."""
    kind = _KINDS.get(record["type"])
    if kind is None or record.get("transaction_successful") is not True:
        return []
    if kind == "contract_transfer":
        parts = [
            _change(change)
            for change in record.get("asset_balance_changes") or []
            if change["type"] in {"transfer", "mint"}
        ]
        counted: Counter[tuple[str, Asset]] = Counter()
        found: list[Transfer] = []
        for part in parts:
            found.append(_transfer(record, kind, counted[part.to_address, part.asset], part))
            counted[part.to_address, part.asset] += 1
        return found
    if kind == "create_account":
        opened = _Parts(record["funder"], record["account"], None, record["starting_balance"], XLM)
        return [_transfer(record, kind, 0, opened)]
    muxed_id = record.get("to_muxed_id")
    paid = _Parts(record["from"], record["to"], muxed_id, record["amount"], _asset(record))
    return [_transfer(record, kind, 0, paid)]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What differs between the shapes of a credit."""

    from_address: str
    to_address: str
    muxed_id: str | None
    amount: str
    asset: Asset


def _change(change: dict[str, Any]) -> _Parts:
    asset = _asset(change)
    sender = change.get("from") or asset.issuer
    if sender is None:
        raise ValueError("a transfer without a sender")
    return _Parts(sender, change["to"], change.get("destination_muxed_id"), change["amount"], asset)


def _transfer(record: dict[str, Any], kind: TransferKind, index: int, parts: _Parts) -> Transfer:
    joined = record.get("transaction") or {}
    operation_id = str(record["id"])
    return Transfer(
        operation_id=operation_id,
        index=index,
        kind=kind,
        transaction_hash=record["transaction_hash"],
        ledger=int(operation_id) >> _LEDGER_SHIFT,
        created_at=moment(record["created_at"]),
        from_address=parts.from_address,
        to_address=parts.to_address,
        to_muxed_id=None if parts.muxed_id is None else int(parts.muxed_id),
        amount=parse_chain_amount(parts.amount),
        asset=parts.asset,
        memo=joined.get("memo"),
        memo_type=joined.get("memo_type", "none"),
    )


def _asset(record: dict[str, Any]) -> Asset:
    if record["asset_type"] == "native":
        return XLM
    return Asset(record["asset_code"], record["asset_issuer"])


def read_wallet_payment(record: dict[str, Any]) -> WalletPayment | None:
    """One line of a wallet's history, or None for a type that the wire does not show (contract 2.5).

    Raises KeyError, TypeError, ValueError for a record of another shape.
    """
    if record["type"] == "payment":
        sender, receiver, amount, asset = record["from"], record["to"], record["amount"], _asset(record)
    elif record["type"] == "create_account":
        sender, receiver, amount, asset = record["funder"], record["account"], record["starting_balance"], XLM
    else:
        return None
    parse_chain_amount(amount)
    return WalletPayment(
        id=str(record["id"]),
        type=record["type"],
        from_address=sender,
        to_address=receiver,
        amount=amount,
        asset=asset,
        created_at=moment(record["created_at"]),
        transaction_hash=record["transaction_hash"],
        successful=record["transaction_successful"] is True,
    )
