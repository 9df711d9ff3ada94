"""Everything the ledger holds, in integers, with undo: a failed transaction leaves nothing behind but its fee.

Entries are frozen; they change only through `put`, which remembers what was there. Amounts are units of 10^-7.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from stellar_sdk import Asset, xdr

from offerhub.sandbox.encoding import Escrow
from offerhub.sandbox.multi_encoding import MultiEscrow
from offerhub.sandbox.rules import Rules

NATIVE: Final = "native"
BASE_RESERVE: Final = 5_000_000
INT64_MAX: Final = 2**63 - 1
TOTAL_XLM: Final = 100_000_000_000 * 10_000_000

RefusalReason = Literal[
    "malformed",
    "no_source",
    "no_destination",
    "src_no_trust",
    "no_trust",
    "src_not_authorized",
    "not_authorized",
    "underfunded",
    "line_full",
]


class Refused(Exception):
    """A movement of an asset that the ledger does not allow."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(reason)
        self.reason: RefusalReason = reason


class ConservationError(RuntimeError):
    """Money appeared or vanished: the sandbox is wrong and must stop."""


@dataclass(frozen=True, slots=True)
class Account:
    """A classic account. Thresholds and weights are 0 to 255; `data` values are base64.

    `sponsor` keeps the reserve of the account's own entry; `sponsored` and `sponsoring` count base reserves that
    others keep for it and that it keeps for others.
    """

    id: str
    balance: int
    sequence: int
    subentries: int = 0
    flags: int = 0
    master_weight: int = 1
    low: int = 0
    medium: int = 0
    high: int = 0
    signers: Mapping[str, int] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    home_domain: str = ""
    sponsor: str | None = None
    sponsored: int = 0
    sponsoring: int = 0

    @property
    def reserve(self) -> int:
        """The XLM that it must keep (providers.md 6.2)."""
        return (2 + self.subentries + self.sponsoring - self.sponsored) * BASE_RESERVE


@dataclass(frozen=True, slots=True)
class Trustline:
    """An account's holding of an issued asset."""

    balance: int
    limit: int
    authorized: bool = True
    sponsor: str | None = None


@dataclass(frozen=True, slots=True)
class Claimable:
    """A claimable balance: paid already, and nobody's until one of the claimants takes it."""

    id: str
    asset: str
    amount: int
    claimants: tuple[str, ...]
    sponsor: str
    ledger: int


@dataclass(frozen=True, slots=True)
class Movement:
    """A token transfer as a contract event tells it."""

    kind: Literal["transfer", "mint", "burn"]
    asset: str
    source: str
    target: str
    amount: int


def asset_name(asset: Asset | xdr.Asset) -> str:
    """`native` or `CODE:ISSUER`."""
    known = Asset.from_xdr_object(asset) if isinstance(asset, xdr.Asset) else asset
    return NATIVE if known.is_native() else f"{known.code}:{known.issuer}"


def issuer_of(asset: str) -> str | None:
    """The issuing account of an asset's name; None for XLM."""
    return None if asset == NATIVE else asset.partition(":")[2]


class State:
    """The tables of the ledger, and the undo log of the transaction being applied."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Hold nothing, as before genesis."""
        self.rules = Rules()
        self.accounts: dict[str, Account] = {}
        self.trustlines: dict[tuple[str, str], Trustline] = {}
        self.contract_balances: dict[tuple[str, str], int] = {}
        self.escrows: dict[str, Escrow | MultiEscrow] = {}
        self.claimables: dict[str, Claimable] = {}
        self.archived: dict[str, bool] = {}
        """Contracts whose entries must be restored before they can be called."""
        self.issued: dict[str, int] = {}
        """By asset: everything ever issued minus everything returned to its issuer."""
        self.fee_pool = 0
        self.ledger = 1
        """The ledger being applied, or the last one."""
        self.modified: dict[str | tuple[str, str], int] = {}
        """By key of an account or trustline: the ledger that last touched it."""
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    def put(self, table: dict[Any, Any], key: Any, value: Any | None) -> None:
        """Set an entry, or remove it with None."""
        self._undo.append((table, key, table.get(key)))
        self._write(table, key, value)
        if table is self.accounts or table is self.trustlines:
            self._undo.append((self.modified, key, self.modified.get(key)))
            self.modified[key] = self.ledger

    def savepoint(self) -> int:
        """A mark to roll back to."""
        return len(self._undo)

    def rollback(self, mark: int) -> None:
        """Undo everything since the mark."""
        while len(self._undo) > mark:
            table, key, value = self._undo.pop()
            self._write(table, key, value)

    def commit(self) -> None:
        """Forget how to undo."""
        self._undo.clear()

    def charge(self, account: Account, fee: int) -> None:
        """Take a fee. It is never undone."""
        self.accounts[account.id] = replace(account, balance=account.balance - fee)
        self.modified[account.id] = self.ledger
        self.fee_pool += fee

    def balance_of(self, asset: str, owner: str) -> int:
        """Units of an asset that an account or contract holds; 0 without a trustline."""
        if owner.startswith("C"):
            return self.contract_balances.get((owner, asset), 0)
        if asset == NATIVE:
            return self.accounts[owner].balance if owner in self.accounts else 0
        line = self.trustlines.get((owner, asset))
        return line.balance if line else 0

    def move(self, asset: str, source: str, target: str, amount: int) -> Movement:
        """Move an asset between accounts and contracts; the issuer mints and burns.

        Raises Refused, possibly half done: the caller rolls back.
        """
        if amount < 0:
            raise Refused("malformed")
        issuer = issuer_of(asset)
        # The order of the checks is the network's: the destination first, then the source.
        if not target.startswith("C") and target not in self.accounts:
            raise Refused("no_destination")
        self._take(asset, source, amount, issuer)
        self._give(asset, target, amount, issuer)
        kind: Literal["transfer", "mint", "burn"] = "transfer"
        if issuer is not None and source == issuer and target != issuer:
            kind = "mint"
            self.put(self.issued, asset, self.issued.get(asset, 0) + amount)
        elif issuer is not None and target == issuer and source != issuer:
            kind = "burn"
            self.put(self.issued, asset, self.issued.get(asset, 0) - amount)
        return Movement(kind, asset, source, target, amount)

    def set_aside(self, asset: str, source: str, holder: str, amount: int) -> Movement:
        """Take from an account what is nobody's until `hand_out`, under the address `holder`. Raises Refused."""
        self._take(asset, source, amount, issuer_of(asset))
        if source != issuer_of(asset):
            return Movement("transfer", asset, source, holder, amount)
        self.put(self.issued, asset, self.issued.get(asset, 0) + amount)
        return Movement("mint", asset, source, holder, amount)

    def hand_out(self, asset: str, holder: str, target: str, amount: int) -> Movement:
        """Give an account what was set aside. Raises Refused."""
        self._give(asset, target, amount, issuer_of(asset))
        if target != issuer_of(asset):
            return Movement("transfer", asset, holder, target, amount)
        self.put(self.issued, asset, self.issued.get(asset, 0) - amount)
        return Movement("burn", asset, holder, target, amount)

    def check_conservation(self) -> None:
        """Raises ConservationError unless XLM and every issued asset add up."""
        held: dict[str, int] = {NATIVE: self.fee_pool + sum(a.balance for a in self.accounts.values())}
        for (_, asset), line in self.trustlines.items():
            held[asset] = held.get(asset, 0) + line.balance
        for (_, asset), balance in self.contract_balances.items():
            held[asset] = held.get(asset, 0) + balance
        for claimable in self.claimables.values():
            held[claimable.asset] = held.get(claimable.asset, 0) + claimable.amount
        expected = {NATIVE: TOTAL_XLM, **self.issued}
        wrong = {a: (held.get(a, 0), expected.get(a, 0)) for a in held | expected}
        wrong = {asset: pair for asset, pair in wrong.items() if pair[0] != pair[1]}
        if wrong:
            raise ConservationError(f"held and expected differ: {wrong}")

    def _take(self, asset: str, source: str, amount: int, issuer: str | None) -> None:
        if source == issuer:
            return
        if source.startswith("C"):
            self._shift_contract(asset, source, -amount)
        elif asset == NATIVE:
            account = self.accounts.get(source)
            if account is None:
                raise Refused("no_source")
            if amount and account.balance - amount < account.reserve:
                raise Refused("underfunded")
            self.put(self.accounts, source, replace(account, balance=account.balance - amount))
        else:
            line = self.trustlines.get((source, asset))
            if line is None:
                raise Refused("src_no_trust")
            if not line.authorized:
                raise Refused("src_not_authorized")
            if line.balance < amount:
                raise Refused("underfunded")
            self.put(self.trustlines, (source, asset), replace(line, balance=line.balance - amount))

    def _give(self, asset: str, target: str, amount: int, issuer: str | None) -> None:
        if target == issuer:
            return
        if target.startswith("C"):
            self._shift_contract(asset, target, amount)
        elif asset == NATIVE:
            account = self.accounts[target]
            if account.balance + amount > INT64_MAX:
                raise Refused("line_full")
            self.put(self.accounts, target, replace(account, balance=account.balance + amount))
        else:
            line = self.trustlines.get((target, asset))
            if line is None:
                raise Refused("no_trust")
            if not line.authorized:
                raise Refused("not_authorized")
            if line.balance + amount > line.limit:
                raise Refused("line_full")
            self.put(self.trustlines, (target, asset), replace(line, balance=line.balance + amount))

    def _shift_contract(self, asset: str, contract: str, amount: int) -> None:
        balance = self.contract_balances.get((contract, asset), 0) + amount
        if balance < 0:
            raise Refused("underfunded")
        self.put(self.contract_balances, (contract, asset), balance)

    @staticmethod
    def _write(table: dict[Any, Any], key: Any, value: Any | None) -> None:
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
