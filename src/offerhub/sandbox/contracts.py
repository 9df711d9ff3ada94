"""Contract calls: who is called, whether the call is authorised, and what it does and emits.

These contracts exist: two escrow factories, the escrows that they make (single-release here, multi-release in
`multi_contracts`), and the token contracts of USDC and XLM. The same code answers a simulation (no authorisation
needed, the caller rolls back) and an inclusion.
"""

from collections.abc import Callable, Sequence
from typing import Final

from stellar_sdk import Address, scval, xdr

from offerhub.sandbox import encoding, escrow, multi_contracts
from offerhub.sandbox.calls import Authorisation, Call, Trap, event, exactly, token_event
from offerhub.sandbox.encoding import Escrow
from offerhub.sandbox.escrow import ContractError, Tokens
from offerhub.sandbox.multi_encoding import MultiEscrow
from offerhub.sandbox.options import Cast
from offerhub.sandbox.state import Movement, State


def read_call(host_function: xdr.HostFunction) -> Call:
    """Raises Trap for a host function other than a contract call."""
    target = host_function.invoke_contract
    if target is None:
        raise Trap("only contract calls are supported")
    contract = Address.from_xdr_sc_address(target.contract_address).address
    return Call(contract, target.function_name.sc_symbol.decode(), target.args)


def source_entry(call: Call, authorisation: Authorisation) -> xdr.SorobanAuthorizationEntry:
    """The authorisation that the transaction's own source gives with its signature."""
    return xdr.SorobanAuthorizationEntry(
        credentials=xdr.SorobanCredentials(xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT),
        root_invocation=_tree(
            encoding.invocation(call.contract, call.function, call.arguments), authorisation.sub_calls
        ),
    )


def _tree(
    root: xdr.InvokeContractArgs, sub_calls: Sequence[xdr.InvokeContractArgs]
) -> xdr.SorobanAuthorizedInvocation:
    function = xdr.SorobanAuthorizedFunction(
        xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN, contract_fn=root
    )
    return xdr.SorobanAuthorizedInvocation(function, [_tree(sub_call, ()) for sub_call in sub_calls])


class Host:
    """Runs contract calls against a state."""

    def __init__(self, state: State, cast: Cast) -> None:
        self._state = state
        self._cast = cast
        self._assets: Final = {
            cast.usdc_contract: f"{cast.usdc.code}:{cast.usdc.issuer}",
            cast.native_contract: "native",
        }

    def run(self, call: Call) -> Authorisation | None:
        """Carry the call out and say whose authorisation it needs; the caller rolls back on any exception.

        Raises ContractError when the contract refuses, Trap when the host does.
        """
        try:
            if call.contract in (self._cast.factory, self._cast.multi_factory):
                return self._deploy(call)
            if call.contract == self._cast.payer_contract:
                return self._pay_many(call)
            if call.contract in self._assets:
                return self._token(call)
            if call.contract in self._state.escrows:
                return self._escrow(call)
        except (ValueError, TypeError, UnicodeDecodeError) as error:
            raise Trap(f"HostError: Error(Value, InvalidInput): {error}") from error
        raise Trap(f"HostError: Error(Storage, MissingValue): contract {call.contract} does not exist")

    def authorise(self, call: Call, needed: Authorisation, op: xdr.InvokeHostFunctionOp, source: str) -> None:
        """Raises Trap unless the operation's entries give the consent that the call needs.

        Only the operation's source can consent: signed address credentials are refused, because nothing that
        this sandbox builds uses them.
        """
        expected = source_entry(call, needed).to_xdr_bytes()
        if needed.address != source or expected not in {entry.to_xdr_bytes() for entry in op.auth}:
            raise Trap(f"HostError: Error(Auth, InvalidAction): {needed.address} has not authorised this call")

    def _deploy(self, call: Call) -> Authorisation:
        if call.function != "deploy":
            raise Trap(f"HostError: Error(WasmVm, MissingValue): no function {call.function}")
        signer, salt, terms = exactly(call, 3)
        created = encoding.contract_address(call.contract, scval.from_bytes(salt), self._cast.network_id)
        if call.contract == self._cast.multi_factory:
            token = multi_contracts.deploy(self._state, created, terms)
        else:
            new = encoding.escrow_from_scval(terms)
            token = new.token
            escrow.initialise(self._state, created, new)
        if token not in self._assets:
            raise ContractError(3, f"The token contract {token} does not exist")
        call.returned = scval.to_address(created)
        call.events.append(event(created, "tw_init", terms))
        return Authorisation(encoding.address_from(signer))

    def _pay_many(self, call: Call) -> Authorisation:
        """The same amount of USDC from one account to several, which may be the same."""
        if call.function != "pay_many":
            raise Trap(f"HostError: Error(WasmVm, MissingValue): no function {call.function}")
        payer, targets, amount = exactly(call, 3)
        source, units = encoding.address_from(payer), scval.from_int128(amount)
        asset, transfers = self._assets[self._cast.usdc_contract], []
        tokens = Tokens(self._state, asset, self._cast.trustless_fee.public_key)
        for target in scval.from_vec(targets):
            self._record(call, [tokens.pay(source, encoding.address_from(target), units)])
            transfers.append(encoding.invocation(self._cast.usdc_contract, "transfer", [payer, target, amount]))
        return Authorisation(source, tuple(transfers))

    def _token(self, call: Call) -> Authorisation | None:
        asset = self._assets[call.contract]
        tokens = Tokens(self._state, asset, self._cast.trustless_fee.public_key)
        if call.function == "balance":
            (owner,) = exactly(call, 1)
            call.returned = scval.to_int128(self._state.balance_of(asset, encoding.address_from(owner)))
            return None
        if call.function != "transfer":
            raise Trap(f"HostError: Error(WasmVm, MissingValue): no function {call.function}")
        source, target, amount = exactly(call, 3)
        payer = encoding.address_from(source)
        moved = tokens.pay(payer, encoding.address_from(target), scval.from_int128(amount))
        self._record(call, [moved])
        return Authorisation(payer)

    def _escrow(self, call: Call) -> Authorisation | None:
        stored = self._state.escrows[call.contract]
        tokens = Tokens(self._state, self._assets[stored.token], self._cast.trustless_fee.public_key)
        if isinstance(stored, MultiEscrow):
            done = multi_contracts.run(call, tokens, stored)
            self._record(call, done.movements)
            call.events += done.events
            return done.needed
        functions: dict[str, Callable[[Call, Tokens], Authorisation | None]] = {
            "fund_escrow": self._fund,
            "change_milestone_status": self._change_status,
            "approve_milestone": self._approve,
            "release_funds": self._release,
            "dispute_escrow": self._dispute,
            "resolve_dispute": self._resolve,
            "get_escrow": self._get,
        }
        function = functions.get(call.function)
        if function is None:
            raise Trap(f"HostError: Error(WasmVm, MissingValue): no function {call.function}")
        return function(call, tokens)

    def _fund(self, call: Call, tokens: Tokens) -> Authorisation:
        signer, expected, amount = exactly(call, 3)
        payer, units = encoding.address_from(signer), scval.from_int128(amount)
        wanted = encoding.escrow_from_scval(expected)
        self._record(call, escrow.fund(tokens, call.contract, payer, wanted, units))
        call.events.append(event(call.contract, "tw_fund", scval.to_vec([signer, amount])))
        transfer = encoding.invocation(wanted.token, "transfer", [signer, scval.to_address(call.contract), amount])
        return Authorisation(payer, (transfer,))

    def _change_status(self, call: Call, tokens: Tokens) -> Authorisation:
        index, status, evidence, provider = exactly(call, 4)
        is_void = evidence.type == xdr.SCValType.SCV_VOID
        address = encoding.address_from(provider)
        changed = escrow.change_status(
            tokens.state,
            call.contract,
            scval.from_int128(index),
            encoding.text_from(status),
            None if is_void else encoding.text_from(evidence),
            address,
        )
        self._changed(call, "tw_ms_change", changed)
        return Authorisation(address)

    def _approve(self, call: Call, tokens: Tokens) -> Authorisation:
        index, approver = exactly(call, 2)
        address = encoding.address_from(approver)
        changed = escrow.approve(tokens.state, call.contract, scval.from_int128(index), address)
        self._changed(call, "tw_ms_approve", changed)
        return Authorisation(address)

    def _release(self, call: Call, tokens: Tokens) -> Authorisation:
        (signer,) = exactly(call, 1)
        address = encoding.address_from(signer)
        self._record(call, escrow.release(tokens, call.contract, address))
        call.events.append(event(call.contract, "tw_release", signer))
        return Authorisation(address)

    def _dispute(self, call: Call, tokens: Tokens) -> Authorisation:
        (signer,) = exactly(call, 1)
        address = encoding.address_from(signer)
        self._changed(call, "tw_dispute", escrow.dispute(tokens.state, call.contract, address))
        return Authorisation(address)

    def _resolve(self, call: Call, tokens: Tokens) -> Authorisation:
        resolver, parts = exactly(call, 2)
        address = encoding.address_from(resolver)
        changed, movements = escrow.resolve(tokens, call.contract, address, encoding.distributions_from_scval(parts))
        self._record(call, movements)
        self._changed(call, "tw_disp_resolve", changed)
        return Authorisation(address)

    def _get(self, call: Call, tokens: Tokens) -> None:
        exactly(call, 0)
        call.returned = encoding.escrow_to_scval(escrow.stored(tokens.state, call.contract))

    def _changed(self, call: Call, topic: str, changed: Escrow) -> None:
        call.returned = encoding.escrow_to_scval(changed)
        call.events.append(event(call.contract, topic, call.returned))

    def _record(self, call: Call, movements: Sequence[Movement]) -> None:
        tokens = {asset: token for token, asset in self._assets.items()}
        for movement in movements:
            call.movements.append(movement)
            call.events.append(token_event(tokens[movement.asset], movement, None))
