"""The single-release escrow contract: its preconditions, error numbers and fee arithmetic (providers.md 5).

Each function takes the ledger's state and raises ContractError exactly where the contract would. Amounts are
units of 10^-7; fees are floored, as the contract's integer division does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from offerhub.sandbox.encoding import Escrow, Milestone
from offerhub.sandbox.multi_encoding import MultiEscrow
from offerhub.sandbox.rules import FeeMode
from offerhub.sandbox.state import Movement, Refused, State

AnyEscrow = Escrow | MultiEscrow
Parts = Sequence[tuple[str, int]]
"""Addresses and what each gets, in units."""

MILESTONES_MAX: Final = 50
DISTRIBUTIONS_MAX: Final = 50
PLATFORM_FEE_BPS_MAX: Final = 9_900
TRUSTLESS_BPS: Final = 30
WHOLE_BPS: Final = 10_000

ERRORS: Final = {
    1: "The amount cannot be zero",
    2: "The escrow has already been initialized",
    3: "The escrow was not found",
    4: "Only the release signer can release the escrow funds",
    5: "The escrow must be completed: every milestone has to be approved",
    6: "The escrow balance is not enough to cover its amount",
    8: "Only the service provider can change the milestone status",
    9: "The escrow has no milestones",
    10: "The milestone index is invalid",
    11: "Only the approver can approve a milestone",
    12: "Only the dispute resolver can resolve a dispute",
    13: "The escrow is already in dispute",
    14: "The escrow is not in dispute",
    15: "The escrow does not have enough funds for this resolution",
    16: "The escrow has been opened for dispute resolution",
    24: "The escrow has already been resolved",
    25: "Too many distributions were requested",
    26: "This address is not authorized to open a dispute",
    27: "The escrow has too many milestones",
    29: "The milestone has already been approved",
    30: "The milestone status cannot be empty",
    31: "The platform fee is too high",
    32: "All flags must be false in a new escrow",
    33: "The escrow properties do not match the stored ones",
    35: "The escrow funds have already been released",
    38: "Every distribution amount must be positive",
    39: "The distributions must equal the escrow balance",
    40: "The dispute resolver cannot open a dispute",
    41: "The distributions add up to nothing",
}
"""Numbers of the single-release contract (providers.md 5.5); the words are ours."""

_TOKEN_NUMBERS: Final = {
    "malformed": 8,
    "no_source": 6,
    "no_destination": 6,
    "src_no_trust": 13,
    "no_trust": 13,
    "src_not_authorized": 11,
    "not_authorized": 11,
    "underfunded": 10,
    "line_full": 10,
}
"""The Stellar asset contract's own error numbers."""


class ContractError(Exception):
    """A contract call that the contract refuses; `number` is that of the contract that refused."""

    def __init__(self, number: int, text: str | None = None) -> None:
        self.number = number
        self.text = text or ERRORS[number]
        super().__init__(f"{self.text}. HostError: Error(Contract, #{number})")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where an escrow's token lives in the state, and who gets the protocol's fee."""

    state: State
    asset: str
    fee_account: str

    def pay(self, source: str, target: str, amount: int) -> Movement:
        """Move the token; raises ContractError with the token contract's number."""
        try:
            return self.state.move(self.asset, source, target, amount)
        except Refused as refusal:
            text = f"Token transfer of {amount} units to {target} refused: {refusal.reason}"
            raise ContractError(_TOKEN_NUMBERS[refusal.reason], text) from refusal


def fees_of(amount: int, platform_bps: int) -> tuple[int, int]:
    """Trustless Work's and the platform's share of an amount, floored.

    >>> fees_of(123_456_789, 250)
    (370370, 3086419)
    """
    return amount * TRUSTLESS_BPS // WHOLE_BPS, amount * platform_bps // WHOLE_BPS


def initialise(state: State, contract: str, escrow: Escrow) -> None:
    """Store a new escrow."""
    _require(contract not in state.escrows, 2)
    _require(escrow.amount > 0, 1)
    _require(len(escrow.milestones) > 0, 9)
    _require(len(escrow.milestones) <= MILESTONES_MAX, 27)
    _require(escrow.platform_fee <= PLATFORM_FEE_BPS_MAX, 31)
    untouched = not (escrow.disputed or escrow.released or escrow.resolved)
    _require(untouched and not any(milestone.approved for milestone in escrow.milestones), 32)
    state.put(state.escrows, contract, escrow)


def fund(tokens: Tokens, contract: str, signer: str, expected: Escrow, amount: int) -> list[Movement]:
    """Deposit. There is no cap and no protection against doing it twice, as in the real contract."""
    _require(amount > 0, 1)
    _require(stored(tokens.state, contract) == expected, 33)
    return [tokens.pay(signer, contract, amount)]


def change_status(
    state: State, contract: str, index: int, status: str, evidence: str | None, service_provider: str
) -> Escrow:
    """Set a milestone's status and, unless None, its evidence."""
    escrow = stored(state, contract)
    _require(service_provider == escrow.roles.service_provider, 8)
    _require(not escrow.released, 35)
    _require(not escrow.resolved, 24)

    def changed(milestone: Milestone) -> Milestone:
        return replace(milestone, status=status, evidence=milestone.evidence if evidence is None else evidence)

    return _with_milestone(state, contract, escrow, index, changed)


def approve(state: State, contract: str, index: int, approver: str) -> Escrow:
    """Approve a milestone; its status may be anything but empty, and a dispute does not prevent it."""
    escrow = stored(state, contract)
    _require(approver == escrow.roles.approver, 11)

    def approved(milestone: Milestone) -> Milestone:
        _require(not milestone.approved, 29)
        _require(milestone.status != "", 30)
        return replace(milestone, approved=True)

    return _with_milestone(state, contract, escrow, index, approved)


def release(tokens: Tokens, contract: str, release_signer: str) -> list[Movement]:
    """Pay the fees and the receiver out of the escrow's amount; a surplus stays in the contract."""
    state, escrow = tokens.state, stored(tokens.state, contract)
    _require(release_signer == escrow.roles.release_signer, 4)
    _require(not escrow.released, 35)
    _require(not escrow.resolved, 24)
    _require(len(escrow.milestones) > 0, 9)
    _require(all(milestone.approved for milestone in escrow.milestones), 5)
    _require(not escrow.disputed, 16)
    _require(state.balance_of(tokens.asset, contract) >= escrow.amount, 6)
    state.put(state.escrows, contract, replace(escrow, released=True))
    return pay_out(tokens, contract, escrow, escrow.roles.receiver, escrow.amount)


def dispute(state: State, contract: str, signer: str) -> Escrow:
    """Open a dispute: any role but the resolver, whatever else that address may be."""
    escrow = stored(state, contract)
    _require(not escrow.disputed, 13)
    _require(signer != escrow.roles.dispute_resolver, 40)
    _require(signer in escrow.roles.holders(), 26)
    disputed = replace(escrow, disputed=True)
    state.put(state.escrows, contract, disputed)
    return disputed


def resolve(tokens: Tokens, contract: str, resolver: str, parts: Parts) -> tuple[Escrow, list[Movement]]:
    """Share out the whole balance, fees first, then each part less its share of them.

    Under the rule `floor_total` amounts finer than 0.001 can owe the parts more than remains; then the last transfer
    fails, and so does the call (providers.md 5.6).
    """
    state, escrow = tokens.state, stored(tokens.state, contract)
    _require(resolver == escrow.roles.dispute_resolver, 12)
    _require(not escrow.resolved, 24)
    _require(escrow.disputed, 14)
    _require(len(parts) <= DISTRIBUTIONS_MAX, 25)
    _require(all(amount > 0 for _, amount in parts), 38)
    total, balance = sum(amount for _, amount in parts), state.balance_of(tokens.asset, contract)
    _require(total > 0, 41)
    _require(total <= balance, 15)
    _require(total == balance, 39)
    resolved = replace(escrow, resolved=True, disputed=False)
    state.put(state.escrows, contract, resolved)
    return resolved, share_out(tokens, contract, escrow, parts)


def pay_out(tokens: Tokens, contract: str, escrow: AnyEscrow, receiver: str, amount: int) -> list[Movement]:
    """Pay the fees and a receiver out of an amount."""
    trustless, platform = fees_of(amount, escrow.platform_fee)
    # The platform's transfer happens even when its fee is 0, so its trustline is always needed.
    return [
        tokens.pay(contract, tokens.fee_account, trustless),
        tokens.pay(contract, escrow.roles.platform_address, platform),
        tokens.pay(contract, receiver, amount - trustless - platform),
    ]


def share_out(tokens: Tokens, contract: str, escrow: AnyEscrow, parts: Parts) -> list[Movement]:
    """Fees first, then each part less its share of them (providers.md 5.6)."""
    amounts = [amount for _, amount in parts]
    trustless, platform, nets = shares_of(amounts, escrow.platform_fee, tokens.state.rules.fee_mode)
    movements = [
        tokens.pay(contract, tokens.fee_account, trustless),
        tokens.pay(contract, escrow.roles.platform_address, platform),
    ]
    return movements + [tokens.pay(contract, address, net) for (address, _), net in zip(parts, nets, strict=True)]


def shares_of(amounts: Sequence[int], platform_bps: int, fee_mode: FeeMode) -> tuple[int, int, list[int]]:
    """Trustless Work's fee, the platform's, and what each part gets of a resolution.

    >>> shares_of([333_333_333, 666_666_667], 500, "floor_total")
    (3000000, 50000000, [315666667, 631333334])
    >>> shares_of([333_333_333, 666_666_667], 500, "remainder_to_last")
    (3000000, 50000000, [315666667, 631333333])
    >>> shares_of([333_333_333, 666_666_667], 500, "floor_each")
    (2999999, 49999999, [315666668, 631333334])
    """
    if fee_mode == "floor_each":
        each = [fees_of(amount, platform_bps) for amount in amounts]
        nets = [amount - sum(fees) for amount, fees in zip(amounts, each, strict=True)]
        return sum(fees[0] for fees in each), sum(fees[1] for fees in each), nets
    total = sum(amounts)
    trustless, platform = fees_of(total, platform_bps)
    nets = [amount - amount * (trustless + platform) // total for amount in amounts]
    if fee_mode == "remainder_to_last":
        nets[-1] = total - trustless - platform - sum(nets[:-1])
    return trustless, platform, nets


def stored(state: State, contract: str) -> Escrow:
    """The escrow that a contract stores; raises ContractError."""
    escrow = state.escrows.get(contract)
    if not isinstance(escrow, Escrow):
        raise ContractError(3)
    return escrow


def _with_milestone(
    state: State, contract: str, escrow: Escrow, index: int, change: Callable[[Milestone], Milestone]
) -> Escrow:
    _require(len(escrow.milestones) > 0, 9)
    _require(0 <= index < len(escrow.milestones), 10)
    milestones = list(escrow.milestones)
    milestones[index] = change(milestones[index])
    changed = replace(escrow, milestones=tuple(milestones))
    state.put(state.escrows, contract, changed)
    return changed


def _require(holds: bool, number: int) -> None:
    if not holds:
        raise ContractError(number)
