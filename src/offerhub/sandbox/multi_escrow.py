"""The multi-release escrow contract: each milestone is approved, paid, disputed and resolved by itself.

Its preconditions and error numbers are providers.md 5; the numbers are other ones than the single-release contract's.
Each function takes the ledger's state and raises ContractError exactly where the contract would.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from offerhub.sandbox.escrow import (
    MILESTONES_MAX,
    PLATFORM_FEE_BPS_MAX,
    ContractError,
    Parts,
    Tokens,
    pay_out,
    share_out,
)
from offerhub.sandbox.multi_encoding import MultiEscrow, Part
from offerhub.sandbox.state import Movement, State

ERRORS: Final = {
    2: "The amount cannot be zero",
    3: "The escrow has already been initialized",
    4: "The escrow was not found",
    5: "Only the release signer can release the milestone funds",
    6: "The milestone must be completed: it has to be approved",
    7: "The escrow balance is not enough to cover the milestone",
    9: "Only the service provider can change the milestone status",
    10: "The escrow has no milestones",
    11: "The milestone index is invalid",
    12: "Only the approver can approve a milestone",
    13: "Only the dispute resolver can resolve a dispute",
    14: "The milestone is already in dispute",
    15: "The milestone is not in dispute",
    16: "The escrow does not have enough funds for this resolution",
    25: "The milestone has already been resolved",
    27: "This address is not authorized to open a dispute",
    28: "The escrow has too many milestones",
    29: "A milestone cannot be released while it is in dispute",
    30: "The milestone funds have already been released",
    32: "The milestone has already been approved",
    33: "The milestone status cannot be empty",
    34: "The platform fee is too high",
    35: "All flags must be false in a new escrow",
    36: "The escrow properties do not match the stored ones",
    39: "The distributions exceed the milestone amount",
    41: "Not every milestone has been processed",
    42: "Every distribution amount must be positive",
    46: "The dispute resolver cannot open a dispute",
    47: "The distributions add up to nothing",
}
"""Numbers of the multi-release contract (providers.md 5.5); the words are ours."""


def initialise(state: State, contract: str, escrow: MultiEscrow) -> None:
    """Store a new escrow."""
    _require(contract not in state.escrows, 3)
    _require(len(escrow.milestones) > 0, 10)
    _require(len(escrow.milestones) <= MILESTONES_MAX, 28)
    _require(all(part.amount > 0 for part in escrow.milestones), 2)
    _require(escrow.platform_fee <= PLATFORM_FEE_BPS_MAX, 34)
    touched = [part.approved or part.disputed or part.released or part.resolved for part in escrow.milestones]
    _require(not any(touched), 35)
    state.put(state.escrows, contract, escrow)


def fund(tokens: Tokens, contract: str, signer: str, expected: MultiEscrow, amount: int) -> list[Movement]:
    """Deposit. There is no cap and no protection against doing it twice, as in the real contract."""
    _require(amount > 0, 2)
    _require(_stored(tokens.state, contract) == expected, 36)
    return [tokens.pay(signer, contract, amount)]


def change_status(
    state: State, contract: str, index: int, status: str, evidence: str | None, service_provider: str
) -> MultiEscrow:
    """Set a milestone's status and, unless None, its evidence; a dispute does not prevent it."""
    escrow = _stored(state, contract)
    _require(service_provider == escrow.roles.service_provider, 9)

    def changed(part: Part) -> Part:
        _require(not part.released, 30)
        _require(not part.resolved, 25)
        return replace(part, status=status, evidence=part.evidence if evidence is None else evidence)

    return _with_part(state, contract, escrow, index, changed)


def approve(state: State, contract: str, index: int, approver: str) -> MultiEscrow:
    """Approve a milestone; its status may be anything but empty, and a dispute does not prevent it."""
    escrow = _stored(state, contract)
    _require(approver == escrow.roles.approver, 12)

    def approved(part: Part) -> Part:
        _require(not part.approved, 32)
        _require(part.status != "", 33)
        return replace(part, approved=True)

    return _with_part(state, contract, escrow, index, approved)


def release(tokens: Tokens, contract: str, release_signer: str, index: int) -> list[Movement]:
    """Pay the fees and the receiver of one milestone out of its amount; everything else stays in the contract."""
    state, escrow = tokens.state, _stored(tokens.state, contract)
    _require(release_signer == escrow.roles.release_signer, 5)

    def released(part: Part) -> Part:
        _require(not part.released, 30)
        _require(not part.resolved, 25)
        _require(part.approved, 6)
        _require(not part.disputed, 29)
        _require(state.balance_of(tokens.asset, contract) >= part.amount, 7)
        return replace(part, released=True)

    part = _with_part(state, contract, escrow, index, released).milestones[index]
    return pay_out(tokens, contract, escrow, part.receiver, part.amount)


def dispute(state: State, contract: str, index: int, signer: str) -> MultiEscrow:
    """Open a dispute about a milestone: any role but the resolver, whatever else that address may be."""
    escrow = _stored(state, contract)
    _require(signer != escrow.roles.dispute_resolver, 46)
    _require(signer in escrow.holders(), 27)

    def disputed(part: Part) -> Part:
        _require(not part.disputed, 14)
        return replace(part, disputed=True)

    return _with_part(state, contract, escrow, index, disputed)


def resolve(
    tokens: Tokens, contract: str, resolver: str, index: int, parts: Parts
) -> tuple[MultiEscrow, list[Movement]]:
    """Share out a milestone, or less of it: what is left behind has to be withdrawn later."""
    state, escrow = tokens.state, _stored(tokens.state, contract)
    _require(resolver == escrow.roles.dispute_resolver, 13)
    total = _total(parts)

    def resolved(part: Part) -> Part:
        _require(not part.released, 30)
        _require(not part.resolved, 25)
        _require(part.disputed, 15)
        _require(total <= part.amount, 39)
        _require(total <= state.balance_of(tokens.asset, contract), 16)
        return replace(part, resolved=True, disputed=False)

    changed = _with_part(state, contract, escrow, index, resolved)
    return changed, share_out(tokens, contract, escrow, parts)


def withdraw(tokens: Tokens, contract: str, resolver: str, parts: Parts) -> tuple[MultiEscrow, list[Movement]]:
    """Share out what is left once every milestone has ended or is in dispute; the same fees are charged."""
    state, escrow = tokens.state, _stored(tokens.state, contract)
    _require(resolver == escrow.roles.dispute_resolver, 13)
    _require(all(part.released or part.resolved or part.disputed for part in escrow.milestones), 41)
    _require(_total(parts) <= state.balance_of(tokens.asset, contract), 16)
    return escrow, share_out(tokens, contract, escrow, parts)


def _total(parts: Parts) -> int:
    _require(all(amount >= 0 for _, amount in parts), 42)
    total = sum(amount for _, amount in parts)
    _require(total > 0, 47)
    return total


def _stored(state: State, contract: str) -> MultiEscrow:
    escrow = state.escrows.get(contract)
    if not isinstance(escrow, MultiEscrow):
        raise ContractError(4, ERRORS[4])
    return escrow


def _with_part(
    state: State, contract: str, escrow: MultiEscrow, index: int, change: Callable[[Part], Part]
) -> MultiEscrow:
    _require(0 <= index < len(escrow.milestones), 11)
    milestones = list(escrow.milestones)
    milestones[index] = change(milestones[index])
    changed = replace(escrow, milestones=tuple(milestones))
    state.put(state.escrows, contract, changed)
    return changed


def _require(holds: bool, number: int) -> None:
    if not holds:
        raise ContractError(number, ERRORS[number])
