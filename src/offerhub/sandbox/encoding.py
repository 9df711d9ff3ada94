"""How the single-release escrow contracts' calls look as ScVals: what is signed, decoded and compared.

Every call is `InvokeHostFunction` / invoke-contract on the escrow's own address, except `deploy`, which is on
the factory (`GET /_sim/info` names it). Arguments are positional. Amounts are i128 in units of 10^-7, addresses
are ScVal addresses (G… or C…), texts are ScVal strings, structs are maps with symbol keys in ascending order.

    deploy(signer: Address, salt: Bytes32, escrow: Escrow) -> Address          on the factory
    fund_escrow(signer: Address, expected_escrow: Escrow, amount: i128) -> Void
    change_milestone_status(milestone_index: i128, new_status: String, new_evidence: String | Void,
                            service_provider: Address) -> Escrow
    approve_milestone(milestone_index: i128, approver: Address) -> Escrow
    release_funds(release_signer: Address) -> Void
    dispute_escrow(signer: Address) -> Escrow
    resolve_dispute(dispute_resolver: Address, distributions: Map<Address, i128>) -> Escrow
    get_escrow() -> Escrow

    Escrow    = {amount: i128, description: String, engagement_id: String, flags: Flags,
                 milestones: Vec<Milestone>, platform_fee: u32 (basis points), receiver_memo: i128,
                 roles: Roles, title: String, trustline: {address: Address of the TOKEN CONTRACT}}
    Flags     = {disputed: bool, released: bool, resolved: bool}
    Milestone = {approved: bool, description: String, evidence: String, status: String}
    Roles     = {approver, dispute_resolver, platform_address, receiver, release_signer, service_provider}

`distributions` is ordered by the XDR bytes of its keys, as the host demands. The new contract's address is
sha256(HashIDPreimage{contract id, network id, from address {factory, salt}}). The function names, their order
of arguments and the struct are providers.md 5.1; the salt and the order inside `deploy` are this sandbox's own.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from stellar_sdk import Address, StrKey, scval, xdr


class EncodingError(ValueError):
    """The arguments of a contract call do not have the form that the function takes."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Who may do what (providers.md 5.2); all addresses."""

    approver: str
    service_provider: str
    platform_address: str
    release_signer: str
    dispute_resolver: str
    receiver: str

    def holders(self) -> frozenset[str]:
        """Everyone who holds a role."""
        return frozenset(getattr(self, name) for name in ROLE_NAMES)


ROLE_NAMES: Final = (
    "approver",
    "service_provider",
    "platform_address",
    "release_signer",
    "dispute_resolver",
    "receiver",
)


@dataclass(frozen=True, slots=True)
class Milestone:
    """One part of the work."""

    description: str
    status: str = "pending"
    evidence: str = ""
    approved: bool = False


@dataclass(frozen=True, slots=True)
class Escrow:
    """The stored struct of a single-release escrow. `amount` in units, `platform_fee` in basis points."""

    engagement_id: str
    title: str
    description: str
    roles: Roles
    amount: int
    platform_fee: int
    milestones: tuple[Milestone, ...]
    token: str
    disputed: bool = False
    released: bool = False
    resolved: bool = False
    receiver_memo: int = 0


def struct(fields: Mapping[str, xdr.SCVal]) -> xdr.SCVal:
    """A map with symbol keys in ascending order."""
    return scval.to_map({scval.to_symbol(name): fields[name] for name in sorted(fields)})


def escrow_to_scval(escrow: Escrow) -> xdr.SCVal:
    """The struct as the contract stores and expects it."""
    flags = {"disputed": escrow.disputed, "released": escrow.released, "resolved": escrow.resolved}
    milestones = [
        struct(
            {
                "approved": scval.to_bool(milestone.approved),
                "description": scval.to_string(milestone.description),
                "evidence": scval.to_string(milestone.evidence),
                "status": scval.to_string(milestone.status),
            }
        )
        for milestone in escrow.milestones
    ]
    return struct(
        {
            "amount": scval.to_int128(escrow.amount),
            "description": scval.to_string(escrow.description),
            "engagement_id": scval.to_string(escrow.engagement_id),
            "flags": struct({name: scval.to_bool(value) for name, value in flags.items()}),
            "milestones": scval.to_vec(milestones),
            "platform_fee": scval.to_uint32(escrow.platform_fee),
            "receiver_memo": scval.to_int128(escrow.receiver_memo),
            "roles": struct({name: scval.to_address(getattr(escrow.roles, name)) for name in ROLE_NAMES}),
            "title": scval.to_string(escrow.title),
            "trustline": struct({"address": scval.to_address(escrow.token)}),
        }
    )


def escrow_from_scval(value: xdr.SCVal) -> Escrow:
    """Read the struct. Raises EncodingError for any other form."""
    try:
        fields = fields_of(value)
        flags = {name: scval.from_bool(flag) for name, flag in fields_of(fields["flags"]).items()}
        roles = {name: address_from(role) for name, role in fields_of(fields["roles"]).items()}
        return Escrow(
            engagement_id=text_from(fields["engagement_id"]),
            title=text_from(fields["title"]),
            description=text_from(fields["description"]),
            roles=Roles(**roles),
            amount=scval.from_int128(fields["amount"]),
            platform_fee=scval.from_uint32(fields["platform_fee"]),
            milestones=tuple(_milestone(item) for item in scval.from_vec(fields["milestones"])),
            token=address_from(fields_of(fields["trustline"])["address"]),
            receiver_memo=scval.from_int128(fields["receiver_memo"]),
            **flags,
        )
    except EncodingError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise EncodingError(f"not an escrow: {error}") from error


def _milestone(value: xdr.SCVal) -> Milestone:
    fields = fields_of(value)
    return Milestone(
        description=text_from(fields["description"]),
        status=text_from(fields["status"]),
        evidence=text_from(fields["evidence"]),
        approved=scval.from_bool(fields["approved"]),
    )


def fields_of(value: xdr.SCVal) -> dict[str, xdr.SCVal]:
    """The fields of such a map."""
    return {scval.from_symbol(key): item for key, item in scval.from_map(value).items()}


def text_from(value: xdr.SCVal) -> str:
    """A string ScVal as text."""
    return scval.from_string(value).decode()


def address_from(value: xdr.SCVal) -> str:
    """An address ScVal as G… or C…."""
    return scval.from_address(value).address


def distributions_to_scval(parts: Iterable[tuple[str, int]]) -> xdr.SCVal:
    """Addresses and amounts as the ordered map that the host accepts."""
    encoded = [(scval.to_address(address), scval.to_int128(amount)) for address, amount in parts]
    return scval.to_map(dict(sorted(encoded, key=lambda pair: pair[0].to_xdr_bytes())))


def distributions_from_scval(value: xdr.SCVal) -> list[tuple[str, int]]:
    """Addresses and amounts, in the map's order. Raises EncodingError."""
    try:
        return [(address_from(key), scval.from_int128(item)) for key, item in scval.from_map(value).items()]
    except (TypeError, ValueError) as error:
        raise EncodingError(f"not distributions: {error}") from error


def invocation(contract: str, function: str, arguments: Iterable[xdr.SCVal]) -> xdr.InvokeContractArgs:
    """A call as the host function and the authorisation name it."""
    return xdr.InvokeContractArgs(
        contract_address=Address(contract).to_xdr_sc_address(),
        function_name=xdr.SCSymbol(function.encode()),
        args=list(arguments),
    )


def contract_address(factory: str, salt: bytes, network_id: bytes) -> str:
    """The address (C…) of the contract that a deployer makes with this salt."""
    preimage = xdr.HashIDPreimage(
        type=xdr.EnvelopeType.ENVELOPE_TYPE_CONTRACT_ID,
        contract_id=xdr.HashIDPreimageContractID(
            network_id=xdr.Hash(network_id),
            contract_id_preimage=xdr.ContractIDPreimage(
                type=xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ADDRESS,
                from_address=xdr.ContractIDPreimageFromAddress(
                    address=Address(factory).to_xdr_sc_address(), salt=xdr.Uint256(salt)
                ),
            ),
        ),
    )
    return StrKey.encode_contract(hashlib.sha256(preimage.to_xdr_bytes()).digest())
