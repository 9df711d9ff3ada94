"""Unsigned envelopes for escrow calls: simulated against the current state, then built to be signed.

The transaction's source is the signer, its sequence number the account's next one, its one operation the call
with the source's authorisation. `sandbox.encoding` and `sandbox.multi_encoding` document the arguments.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

from stellar_sdk import (
    Account,
    Address,
    Asset,
    InvokeHostFunction,
    StrKey,
    TransactionBuilder,
    scval,
    xdr,
)

from offerhub.kernel.money import UNITS_PER_ONE
from offerhub.sandbox import encoding
from offerhub.sandbox.calls import Authorisation, Call, Trap
from offerhub.sandbox.chain import Chain
from offerhub.sandbox.contracts import Host, source_entry
from offerhub.sandbox.encoding import Escrow, Milestone, Roles, escrow_to_scval
from offerhub.sandbox.escrow import ContractError
from offerhub.sandbox.multi_encoding import MULTI_ROLE_NAMES, MultiEscrow, MultiRoles, Part, multi_to_scval
from offerhub.sandbox.soroban import resources
from offerhub.sandbox.trustless_bodies import (
    ApproveBody,
    BadBody,
    DeployBody,
    DisputeBody,
    DisputeMilestoneBody,
    DistributionBody,
    FundBody,
    MultiDeployBody,
    MultiRolesBody,
    PartBody,
    ReleaseBody,
    ReleaseMilestoneBody,
    ResolveBody,
    ResolveMilestoneBody,
    RolesBody,
    StatusBody,
    WithdrawBody,
    basis_points_of,
    check_address,
    units_of,
)

INCLUSION_FEE: Final = 100
HUGE_FEE: Final = 100_000_000

AnyDeployBody = DeployBody | MultiDeployBody
MultiBody = ReleaseMilestoneBody | DisputeMilestoneBody | ResolveMilestoneBody | WithdrawBody
CallBody = AnyDeployBody | FundBody | StatusBody | ApproveBody | ReleaseBody | DisputeBody | ResolveBody | MultiBody
EscrowType = Literal["single-release", "multi-release"]


class BuildRefused(Exception):
    """The call would fail, or its signer has no account; the text says why."""


class Builder:
    """Builds the envelopes of one chain's escrows."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._host = Host(chain.state, chain.cast)

    def build(self, body: CallBody, escrow_type: EscrowType, malice: str | None = None) -> str:
        """The unsigned envelope in base64, of something else if `malice` says so. Raises BadBody or BuildRefused.

        The type is that of the route: the other type's contracts are none that it finds.
        """
        signer, call = self._call(body, escrow_type)
        account = self._chain.state.accounts.get(check_address(signer, "signer"))
        if account is None:
            raise BuildRefused(f"Account not found: {signer}")
        authorisation = self._simulate(call)
        if authorisation is None or authorisation.address != signer:
            raise BuildRefused(f"{signer} cannot authorise {call.function}")
        if malice is not None:
            call, authorisation = self._twisted(call, signer, malice)
        builder = TransactionBuilder(
            Account(account.id, account.sequence),
            self._chain.options.network_passphrase,
            base_fee=HUGE_FEE if malice == "fee" else INCLUSION_FEE,
        )
        lifetime = self._chain.options.build_lifetime_seconds
        if lifetime is None:
            builder.add_time_bounds(0, 0)
        else:
            builder.add_time_bounds(self._chain.now(), self._chain.now() + lifetime)
        target = encoding.invocation(call.contract, call.function, call.arguments)
        host_function = xdr.HostFunction(
            xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT, invoke_contract=target
        )
        entry = source_entry(call, authorisation)
        builder.append_operation(InvokeHostFunction(host_function, [entry]))
        if malice == "operation":
            builder.append_payment_op(self._chain.cast.trustless_fee.public_key, Asset.native(), "1")
        is_archived = call.contract in self._chain.state.archived
        called = Address(call.contract).to_xdr_sc_address()
        builder.set_soroban_data(resources(called, archived=is_archived))
        # The SDK adds the declared resource fee to the bid for inclusion.
        return builder.build().to_xdr()

    def _twisted(self, call: Call, signer: str, malice: str) -> tuple[Call, Authorisation]:
        """Another call than the one that was asked for; its thief is the account that gets the protocol's fee."""
        cast = self._chain.cast
        match malice:
            case "contract":
                call = Call(StrKey.encode_contract(cast.digest("a stranger")), call.function, call.arguments)
            case "network":
                elsewhere = cast.usdc.contract_id(f"{cast.network_passphrase}, but another one")
                call = Call(elsewhere, call.function, call.arguments)
            case "destination":
                ends = [scval.to_address(signer), scval.to_address(cast.trustless_fee.public_key)]
                call = Call(cast.usdc_contract, "transfer", [*ends, scval.to_int128(UNITS_PER_ONE)])
        return call, Authorisation(signer)

    def _simulate(self, call: Call) -> Authorisation | None:
        """Run the call and undo it; what it leaves in `call` is thrown away."""
        trial = Call(call.contract, call.function, call.arguments)
        mark = self._chain.state.savepoint()
        try:
            return self._host.run(trial)
        except (ContractError, Trap) as error:
            raise BuildRefused(str(error)) from error
        finally:
            self._chain.state.rollback(mark)

    def _call(self, body: CallBody, escrow_type: EscrowType) -> tuple[str, Call]:
        if isinstance(body, AnyDeployBody):
            return body.signer, self._deploy(body)
        contract = check_address(body.contract_id, "contractId", contract=True)
        stored = self._chain.state.escrows.get(contract)
        if stored is None or isinstance(stored, MultiEscrow) != (escrow_type == "multi-release"):
            raise BuildRefused("Escrow not found")
        match body:
            case FundBody():
                signer, function = body.signer, "fund_escrow"
                encoded = multi_to_scval(stored) if isinstance(stored, MultiEscrow) else escrow_to_scval(stored)
                amount = scval.to_int128(units_of(body.amount, "amount"))
                arguments = [_address(body.signer, "signer"), encoded, amount]
            case StatusBody():
                signer, function = body.service_provider, "change_milestone_status"
                evidence = body.new_evidence
                arguments = [
                    scval.to_int128(int(body.milestone_index)),
                    scval.to_string(body.new_status),
                    scval.to_void() if evidence is None else scval.to_string(evidence),
                    _address(signer, "serviceProvider"),
                ]
            case ApproveBody():
                signer, function = body.approver, "approve_milestone"
                arguments = [scval.to_int128(int(body.milestone_index)), _address(signer, "approver")]
            case ReleaseBody():
                signer, function = body.release_signer, "release_funds"
                arguments = [_address(signer, "releaseSigner")]
            case DisputeBody():
                signer, function = body.signer, "dispute_escrow"
                arguments = [_address(signer, "signer")]
            case ResolveBody():
                signer, function = body.dispute_resolver, "resolve_dispute"
                arguments = [_address(signer, "disputeResolver"), _distributions(body.distributions)]
            case _:
                signer, function, arguments = _multi_call(body)
        return signer, Call(contract, function, arguments)

    def _deploy(self, body: AnyDeployBody) -> Call:
        token = self._token(body)
        common: dict[str, Any] = {
            "engagement_id": body.engagement_id,
            "title": body.title,
            "description": body.description,
            "platform_fee": basis_points_of(body.platform_fee),
            "token": token,
        }
        if isinstance(body, MultiDeployBody):
            roles = MultiRoles(**_role_addresses(body.roles, MULTI_ROLE_NAMES))
            parts = tuple(_part(item) for item in body.milestones)
            factory = self._chain.cast.multi_factory
            terms = multi_to_scval(MultiEscrow(roles=roles, milestones=parts, **common))
        else:
            milestones = tuple(Milestone(item.description) for item in body.milestones)
            addresses = _role_addresses(body.roles, encoding.ROLE_NAMES)
            factory, amount = self._chain.cast.factory, units_of(body.amount, "amount")
            terms = escrow_to_scval(Escrow(roles=Roles(**addresses), amount=amount, milestones=milestones, **common))
        account = self._chain.state.accounts.get(body.signer)
        # The same build gives the same bytes; the next one of this signer gives another contract.
        salt = self._chain.cast.digest(f"salt:{body.signer}:{account.sequence if account else 0}")
        return Call(factory, "deploy", [_address(body.signer, "signer"), scval.to_bytes(salt), terms])

    def _token(self, body: AnyDeployBody) -> str:
        usdc = self._chain.cast.usdc
        check_address(body.trustline.address, "trustline.address")
        if (body.trustline.symbol, body.trustline.address) != (usdc.code, usdc.issuer):
            raise BuildRefused("The trustline's token contract does not exist on this network")
        return self._chain.cast.usdc_contract


def _role_addresses(roles: RolesBody | MultiRolesBody, names: Sequence[str]) -> dict[str, str]:
    return {name: check_address(getattr(roles, name), f"roles.{name}") for name in names}


def _part(body: PartBody) -> Part:
    amount = units_of(body.amount, "milestones.amount")
    return Part(body.description, amount, check_address(body.receiver, "milestones.receiver"))


def _index(text: str) -> xdr.SCVal:
    return scval.to_uint32(int(text))


def _multi_call(body: MultiBody) -> tuple[str, str, list[xdr.SCVal]]:
    """Signer, function and arguments of a call that only multi-release contracts have."""
    match body:
        case ReleaseMilestoneBody():
            signer, function = body.release_signer, "release_milestone_funds"
            arguments = [_address(signer, "releaseSigner"), _index(body.milestone_index)]
        case DisputeMilestoneBody():
            signer, function = body.signer, "dispute_milestone"
            arguments = [_index(body.milestone_index), _address(signer, "signer")]
        case ResolveMilestoneBody():
            signer, function = body.dispute_resolver, "resolve_milestone_dispute"
            resolver = _address(signer, "disputeResolver")
            arguments = [resolver, _index(body.milestone_index), _distributions(body.distributions)]
        case WithdrawBody():
            signer, function = body.dispute_resolver, "withdraw_remaining_funds"
            arguments = [_address(signer, "disputeResolver"), _distributions(body.distributions)]
    return signer, function, arguments


def _address(address: str, field: str) -> xdr.SCVal:
    return scval.to_address(check_address(address, field))


def _distributions(body: Sequence[DistributionBody]) -> xdr.SCVal:
    parts = [
        (check_address(part.address, "distributions.address"), units_of(part.amount, "distributions.amount"))
        for part in body
    ]
    if len({address for address, _ in parts}) != len(parts):
        raise BadBody("distributions must name each address once")
    return encoding.distributions_to_scval(parts)
