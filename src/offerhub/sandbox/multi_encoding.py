"""How the multi-release contract's struct looks as an ScVal; `sandbox.encoding` has the rest, which is the same.

    change_milestone_status, approve_milestone, fund_escrow, get_escrow     as in a single-release escrow
    release_milestone_funds(release_signer: Address, milestone_index: u32) -> Void
    dispute_milestone(milestone_index: u32, signer: Address) -> MultiEscrow
    resolve_milestone_dispute(dispute_resolver: Address, milestone_index: u32,
                              distributions: Map<Address, i128>) -> MultiEscrow
    withdraw_remaining_funds(dispute_resolver: Address, distributions: Map<Address, i128>) -> MultiEscrow

    MultiEscrow = {description: String, engagement_id: String, milestones: Vec<Part>, platform_fee: u32,
                   receiver_memo: i128, roles: Roles without receiver, title: String, trustline: {address}}
    Part        = {amount: i128, description: String, evidence: String,
                   flags: {approved, disputed, released, resolved: bool}, receiver: Address, status: String}

It is deployed by a factory of its own (`GET /_sim/info` names it).
"""

from dataclasses import dataclass
from typing import Final

from stellar_sdk import scval, xdr

from offerhub.sandbox.encoding import ROLE_NAMES, EncodingError, address_from, fields_of, struct, text_from

MULTI_ROLE_NAMES: Final = tuple(name for name in ROLE_NAMES if name != "receiver")


@dataclass(frozen=True, slots=True)
class MultiRoles:
    """Who may do what; all addresses. Whom a milestone pays is the milestone's."""

    approver: str
    service_provider: str
    platform_address: str
    release_signer: str
    dispute_resolver: str


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the work, which pays `amount` units by itself."""

    description: str
    amount: int
    receiver: str
    status: str = "pending"
    evidence: str = ""
    approved: bool = False
    disputed: bool = False
    released: bool = False
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class MultiEscrow:
    """The stored struct of a multi-release escrow. `platform_fee` in basis points."""

    engagement_id: str
    title: str
    description: str
    roles: MultiRoles
    platform_fee: int
    milestones: tuple[Part, ...]
    token: str
    receiver_memo: int = 0

    @property
    def amount(self) -> int:
        """What all milestones pay together, in units; the contract itself has no such number."""
        return sum(part.amount for part in self.milestones)

    @property
    def disputed(self) -> bool:
        """True while any milestone is in dispute."""
        return any(part.disputed for part in self.milestones)

    @property
    def released(self) -> bool:
        """True when every milestone has been released."""
        return all(part.released for part in self.milestones)

    @property
    def resolved(self) -> bool:
        """True when every milestone has ended, and not every one by a release."""
        return not self.released and all(part.released or part.resolved for part in self.milestones)

    def holders(self) -> frozenset[str]:
        """Everyone who holds a role, and whom the milestones pay."""
        return frozenset(
            [*(getattr(self.roles, name) for name in MULTI_ROLE_NAMES), *(part.receiver for part in self.milestones)]
        )


def multi_to_scval(escrow: MultiEscrow) -> xdr.SCVal:
    """The struct as the contract stores and expects it."""
    return struct(
        {
            "description": scval.to_string(escrow.description),
            "engagement_id": scval.to_string(escrow.engagement_id),
            "milestones": scval.to_vec([_part_to_scval(part) for part in escrow.milestones]),
            "platform_fee": scval.to_uint32(escrow.platform_fee),
            "receiver_memo": scval.to_int128(escrow.receiver_memo),
            "roles": struct({name: scval.to_address(getattr(escrow.roles, name)) for name in MULTI_ROLE_NAMES}),
            "title": scval.to_string(escrow.title),
            "trustline": struct({"address": scval.to_address(escrow.token)}),
        }
    )


def _part_to_scval(part: Part) -> xdr.SCVal:
    flags = {name: getattr(part, name) for name in ("approved", "disputed", "released", "resolved")}
    return struct(
        {
            "amount": scval.to_int128(part.amount),
            "description": scval.to_string(part.description),
            "evidence": scval.to_string(part.evidence),
            "flags": struct({name: scval.to_bool(flag) for name, flag in flags.items()}),
            "receiver": scval.to_address(part.receiver),
            "status": scval.to_string(part.status),
        }
    )


def multi_from_scval(value: xdr.SCVal) -> MultiEscrow:
    """Read the struct. Raises EncodingError for any other form."""
    try:
        fields = fields_of(value)
        return MultiEscrow(
            engagement_id=text_from(fields["engagement_id"]),
            title=text_from(fields["title"]),
            description=text_from(fields["description"]),
            roles=MultiRoles(**{name: address_from(role) for name, role in fields_of(fields["roles"]).items()}),
            platform_fee=scval.from_uint32(fields["platform_fee"]),
            milestones=tuple(_part_from_scval(item) for item in scval.from_vec(fields["milestones"])),
            token=address_from(fields_of(fields["trustline"])["address"]),
            receiver_memo=scval.from_int128(fields["receiver_memo"]),
        )
    except EncodingError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise EncodingError(f"not a multi-release escrow: {error}") from error


def _part_from_scval(value: xdr.SCVal) -> Part:
    fields = fields_of(value)
    flags = {name: scval.from_bool(flag) for name, flag in fields_of(fields["flags"]).items()}
    return Part(
        description=text_from(fields["description"]),
        amount=scval.from_int128(fields["amount"]),
        receiver=address_from(fields["receiver"]),
        status=text_from(fields["status"]),
        evidence=text_from(fields["evidence"]),
        **flags,
    )
