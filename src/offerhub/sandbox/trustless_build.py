"""Unsigned envelopes for escrow calls: simulated against the current state, then built to be signed.

The transaction's source is the signer, its sequence number the account's next one, its one operation the call
with the source's authorisation. `sandbox.encoding` documents the arguments.
"""

from collections.abc import Sequence
from typing import Final

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
from offerhub.sandbox.chain import Chain
from offerhub.sandbox.contracts import Authorisation, Call, Host, Trap, source_entry
from offerhub.sandbox.encoding import Escrow, Milestone, Roles
from offerhub.sandbox.escrow import ContractError
from offerhub.sandbox.soroban import resources
from offerhub.sandbox.trustless_bodies import (
    ApproveBody,
    BadBody,
    DeployBody,
    DisputeBody,
    FundBody,
    ReleaseBody,
    ResolveBody,
    StatusBody,
    basis_points_of,
    check_address,
    units_of,
)

INCLUSION_FEE: Final = 100
HUGE_FEE: Final = 100_000_000

CallBody = DeployBody | FundBody | StatusBody | ApproveBody | ReleaseBody | DisputeBody | ResolveBody


class BuildRefused(Exception):
    """The call would fail, or its signer has no account; the text says why."""


class Builder:
    """Builds the envelopes of one chain's escrows."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._host = Host(chain.state, chain.cast)

    def build(self, body: CallBody, malice: str | None = None) -> str:
        """The unsigned envelope in base64, of something else if `malice` says so. Raises BadBody or BuildRefused."""
        signer, call = self._call(body)
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

    def _call(self, body: CallBody) -> tuple[str, Call]:
        if isinstance(body, DeployBody):
            return body.signer, self._deploy(body)
        contract = check_address(body.contract_id, "contractId", contract=True)
        match body:
            case FundBody():
                signer, function = body.signer, "fund_escrow"
                arguments = self._fund_arguments(body, contract)
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
                arguments = [_address(signer, "disputeResolver"), _distributions(body)]
        return signer, Call(contract, function, arguments)

    def _deploy(self, body: DeployBody) -> Call:
        roles = body.roles
        addresses = {name: getattr(roles, name) for name in encoding.ROLE_NAMES}
        for name, address in addresses.items():
            check_address(address, f"roles.{name}")
        token = self._token(body)
        escrow = Escrow(
            engagement_id=body.engagement_id,
            title=body.title,
            description=body.description,
            roles=Roles(**addresses),
            amount=units_of(body.amount, "amount"),
            platform_fee=basis_points_of(body.platform_fee),
            milestones=tuple(Milestone(item.description) for item in body.milestones),
            token=token,
        )
        account = self._chain.state.accounts.get(body.signer)
        # The same build gives the same bytes; the next one of this signer gives another contract.
        salt = self._chain.cast.digest(f"salt:{body.signer}:{account.sequence if account else 0}")
        arguments = [
            _address(body.signer, "signer"),
            scval.to_bytes(salt),
            encoding.escrow_to_scval(escrow),
        ]
        return Call(self._chain.cast.factory, "deploy", arguments)

    def _token(self, body: DeployBody) -> str:
        usdc = self._chain.cast.usdc
        check_address(body.trustline.address, "trustline.address")
        if (body.trustline.symbol, body.trustline.address) != (usdc.code, usdc.issuer):
            raise BuildRefused("The trustline's token contract does not exist on this network")
        return self._chain.cast.usdc_contract

    def _fund_arguments(self, body: FundBody, contract: str) -> Sequence[xdr.SCVal]:
        escrow = self._chain.state.escrows.get(contract)
        if escrow is None:
            raise BuildRefused("Escrow not found")
        amount = units_of(body.amount, "amount")
        return [
            _address(body.signer, "signer"),
            encoding.escrow_to_scval(escrow),
            scval.to_int128(amount),
        ]


def _address(address: str, field: str) -> xdr.SCVal:
    return scval.to_address(check_address(address, field))


def _distributions(body: ResolveBody) -> xdr.SCVal:
    parts = [
        (check_address(part.address, "distributions.address"), units_of(part.amount, "distributions.amount"))
        for part in body.distributions
    ]
    if len({address for address, _ in parts}) != len(parts):
        raise BadBody("distributions must name each address once")
    return encoding.distributions_to_scval(parts)
