"""The words of the model: amounts, answers, users."""

from dataclasses import dataclass, field
from typing import Any, Final

UNIT: Final = 10_000_000
CENT: Final = 100_000


def wire(units: int) -> str:
    """Two decimals; what is less than a cent is not shown."""
    return f"{units // UNIT}.{units % UNIT // CENT:02d}"


def units(amount: str) -> int:
    """An amount of the wire or the chain in units."""
    whole, _, part = amount.partition(".")
    return int(whole) * UNIT + int(part.ljust(7, "0"))


def net(gross: int) -> int:
    """What arrives of a payout of a contract: Trustless Work keeps 0.3 % of each part."""
    return gross - gross * 3 // 1000


@dataclass(frozen=True)
class Said:
    """An answer: its status, the code of a refusal, and what its data or details must hold."""

    status: int
    code: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def refused(status: int, code: str, /, **facts: Any) -> Said:
    """A refusal."""
    return Said(status, code, facts)


@dataclass
class User:
    """`held` is set aside by reference; `chain` is what is in the wallet, where money comes in over the chain."""

    number: int
    id: str
    address: str
    linked: bool
    available: int = 0
    withdrawing: int = 0
    chain: int = 0
    held: dict[str, int] = field(default_factory=dict)

    @property
    def balance(self) -> dict[str, str]:
        """As the wire shows it: what is on its way out counts as reserved."""
        reserved = sum(self.held.values()) + self.withdrawing
        shown = {"available": wire(self.available), "reserved": wire(reserved)}
        return shown | {"total": wire(self.available + reserved)}

    def short(self, amount: int) -> Said:
        """The refusal to spend this."""
        facts = {"requested": wire(amount), "available": wire(self.available), "currency": "USD"}
        return refused(422, "INSUFFICIENT_FUNDS", **facts)
