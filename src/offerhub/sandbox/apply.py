"""What each operation does to the ledger, and the record that Horizon keeps of it.

An operation that the ledger does not allow raises OperationFailed with the network's own result code; the
transaction is then undone, but for its fee and its sequence number.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Final

from stellar_sdk import (
    AccountMerge,
    Asset,
    BeginSponsoringFutureReserves,
    BumpSequence,
    ChangeTrust,
    ClaimClaimableBalance,
    CreateAccount,
    CreateClaimableBalance,
    EndSponsoringFutureReserves,
    ExtendFootprintTTL,
    InvokeHostFunction,
    Keypair,
    ManageData,
    PathPaymentStrictReceive,
    PathPaymentStrictSend,
    Payment,
    RestoreFootprint,
    SetOptions,
    xdr,
)
from stellar_sdk.operation import Operation
from stellar_sdk.xdr import InvokeHostFunctionResultCode as InvokeCode
from stellar_sdk.xdr import OperationType

from offerhub.sandbox import upkeep
from offerhub.sandbox.calls import Trap
from offerhub.sandbox.claimables import claimable_id, held_by
from offerhub.sandbox.contracts import Host, read_call
from offerhub.sandbox.effects import Effect, OperationFailed, done, units
from offerhub.sandbox.envelope import Envelope
from offerhub.sandbox.escrow import ContractError
from offerhub.sandbox.options import Cast
from offerhub.sandbox.results import invoke_success
from offerhub.sandbox.state import (
    Account,
    Claimable,
    Movement,
    RefusalReason,
    Refused,
    State,
    Trustline,
    asset_name,
    issuer_of,
)

SUBENTRIES_MAX: Final = 1_000
ACCOUNT_RESERVES: Final = 2
"""Base reserves for an account's own entry."""

_CODES: Final[dict[RefusalReason, str]] = {
    "malformed": "MALFORMED",
    "no_source": "UNDERFUNDED",
    "no_destination": "NO_DESTINATION",
    "src_no_trust": "SRC_NO_TRUST",
    "no_trust": "NO_TRUST",
    "src_not_authorized": "SRC_NOT_AUTHORIZED",
    "not_authorized": "NOT_AUTHORIZED",
    "underfunded": "UNDERFUNDED",
    "line_full": "LINE_FULL",
}


@dataclass(slots=True)
class Applier:
    """Applies the operations of one envelope to a state in the ledger with this number.

    `sponsors` has, by account, who keeps the reserves of what is made for it from now on; a transaction must end
    every sponsorship that it begins.
    """

    state: State
    cast: Cast
    envelope: Envelope
    ledger: int
    host: Host = field(init=False)
    sponsors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.host = Host(self.state, self.cast)

    def apply(self, operation: Operation, source: str, index: int = 0) -> Effect:
        """Apply one operation, `index` being its place in the envelope. Raises OperationFailed."""
        if isinstance(operation, CreateClaimableBalance):
            return self._create_claimable(operation, source, index)
        if source not in self.state.accounts:
            raise OperationFailed(xdr.OperationResultCode.opNO_ACCOUNT)
        handlers: dict[type[Operation], Callable[[Any, str], Effect]] = {
            CreateAccount: self._create_account,
            Payment: self._payment,
            PathPaymentStrictSend: self._path_payment,
            PathPaymentStrictReceive: self._path_payment,
            ChangeTrust: self._change_trust,
            ManageData: self._manage_data,
            SetOptions: self._set_options,
            BumpSequence: self._bump_sequence,
            ClaimClaimableBalance: self._claim,
            AccountMerge: self._merge,
            BeginSponsoringFutureReserves: self._begin_sponsoring,
            EndSponsoringFutureReserves: self._end_sponsoring,
            InvokeHostFunction: self._invoke,
            RestoreFootprint: lambda operation, source: upkeep.restore(self.state, self.envelope),
            ExtendFootprintTTL: lambda operation, source: upkeep.extend(),
        }
        return handlers[type(operation)](operation, source)

    def _create_account(self, operation: CreateAccount, source: str) -> Effect:
        codes = xdr.CreateAccountResultCode
        amount, state = units(operation.starting_balance), self.state
        if operation.destination in state.accounts:
            raise OperationFailed(codes.CREATE_ACCOUNT_ALREADY_EXIST)
        created = Account(operation.destination, 0, self.ledger << 32)
        sponsor = self.sponsors.get(created.id)
        if sponsor is not None:
            self._sponsor(sponsor, ACCOUNT_RESERVES, codes.CREATE_ACCOUNT_LOW_RESERVE)
            created = replace(created, sponsor=sponsor, sponsored=ACCOUNT_RESERVES)
        if amount < created.reserve:
            raise OperationFailed(codes.CREATE_ACCOUNT_LOW_RESERVE)
        state.put(state.accounts, created.id, created)
        try:
            moved = state.move("native", source, created.id, amount)
        except Refused as refusal:
            raise OperationFailed(codes.CREATE_ACCOUNT_UNDERFUNDED) from refusal
        return done(OperationType.CREATE_ACCOUNT, codes.CREATE_ACCOUNT_SUCCESS, *([moved] if amount else []))

    def _payment(self, operation: Payment, source: str) -> Effect:
        target, amount = operation.destination.account_id, units(operation.amount)
        moved = self._move(operation.asset, source, target, amount, xdr.PaymentResultCode, "PAYMENT")
        return done(OperationType.PAYMENT, xdr.PaymentResultCode.PAYMENT_SUCCESS, moved)

    def _path_payment(self, operation: PathPaymentStrictSend | PathPaymentStrictReceive, source: str) -> Effect:
        """Same asset on both ends only: there is no order book to cross."""
        if isinstance(operation, PathPaymentStrictSend):
            kind = OperationType.PATH_PAYMENT_STRICT_SEND
            codes: type[IntEnum] = xdr.PathPaymentStrictSendResultCode
            amount, bound = units(operation.send_amount), units(operation.dest_min)
            misses, over = amount < bound, "UNDER_DESTMIN"
            success: type[Any] = xdr.PathPaymentStrictSendResultSuccess
        else:
            kind, codes = OperationType.PATH_PAYMENT_STRICT_RECEIVE, xdr.PathPaymentStrictReceiveResultCode
            amount, bound = units(operation.dest_amount), units(operation.send_max)
            misses, over = amount > bound, "OVER_SENDMAX"
            success = xdr.PathPaymentStrictReceiveResultSuccess
        if operation.send_asset != operation.dest_asset or operation.path:
            raise OperationFailed(codes[f"{kind.name}_TOO_FEW_OFFERS"])
        if misses:
            raise OperationFailed(codes[f"{kind.name}_{over}"])
        target = operation.destination.account_id
        moved = self._move(operation.dest_asset, source, target, amount, codes, kind.name)
        last = xdr.SimplePaymentResult(
            Keypair.from_public_key(target).xdr_account_id(),
            operation.dest_asset.to_xdr_object(),
            xdr.Int64(amount),
        )
        return done(kind, codes[f"{kind.name}_SUCCESS"], moved, success=success(offers=[], last=last))

    def _move(
        self, asset: Asset, source: str, target: str, amount: int, codes: type[IntEnum], prefix: str
    ) -> Movement:
        if amount <= 0:
            raise OperationFailed(codes[f"{prefix}_MALFORMED"])
        try:
            return self.state.move(asset_name(asset), source, target, amount)
        except Refused as refusal:
            raise OperationFailed(codes[f"{prefix}_{_CODES[refusal.reason]}"]) from refusal

    def _change_trust(self, operation: ChangeTrust, source: str) -> Effect:
        codes, state = xdr.ChangeTrustResultCode, self.state
        if not isinstance(operation.asset, Asset) or operation.asset.is_native():
            raise OperationFailed(codes.CHANGE_TRUST_MALFORMED)
        asset, limit = asset_name(operation.asset), units(operation.limit)
        if issuer_of(asset) == source:
            raise OperationFailed(codes.CHANGE_TRUST_SELF_NOT_ALLOWED)
        if issuer_of(asset) not in state.accounts:
            raise OperationFailed(codes.CHANGE_TRUST_NO_ISSUER)
        account, line = state.accounts[source], state.trustlines.get((source, asset))
        if limit < (line.balance if line else 1):
            raise OperationFailed(codes.CHANGE_TRUST_INVALID_LIMIT)
        if limit == 0:
            self._remove_line(source, asset)
        elif line is None:
            sponsor = self.sponsors.get(source)
            if sponsor is None:
                self._add_subentry(account, codes.CHANGE_TRUST_LOW_RESERVE)
            else:
                self._sponsor(sponsor, 1, codes.CHANGE_TRUST_LOW_RESERVE)
                account = state.accounts[source]
                held = replace(account, subentries=account.subentries + 1, sponsored=account.sponsored + 1)
                state.put(state.accounts, source, held)
            state.put(state.trustlines, (source, asset), Trustline(0, limit, sponsor=sponsor))
        else:
            state.put(state.trustlines, (source, asset), replace(line, limit=limit))
        return done(OperationType.CHANGE_TRUST, codes.CHANGE_TRUST_SUCCESS)

    def _remove_line(self, owner: str, asset: str) -> None:
        """Take a trustline away; whoever kept its reserve need not any more."""
        state, line = self.state, self.state.trustlines.get((owner, asset))
        state.put(state.trustlines, (owner, asset), None)
        account = state.accounts[owner]
        freed = replace(account, subentries=account.subentries - 1)
        if line is not None and line.sponsor is not None:
            freed = replace(freed, sponsored=freed.sponsored - 1)
            sponsor = state.accounts[line.sponsor]
            state.put(state.accounts, sponsor.id, replace(sponsor, sponsoring=sponsor.sponsoring - 1))
        state.put(state.accounts, owner, freed)

    def _begin_sponsoring(self, operation: BeginSponsoringFutureReserves, source: str) -> Effect:
        codes, sponsored = xdr.BeginSponsoringFutureReservesResultCode, operation.sponsored_id
        if sponsored == source:
            raise OperationFailed(codes.BEGIN_SPONSORING_FUTURE_RESERVES_MALFORMED)
        if sponsored in self.sponsors:
            raise OperationFailed(codes.BEGIN_SPONSORING_FUTURE_RESERVES_ALREADY_SPONSORED)
        if source in self.sponsors or sponsored in self.sponsors.values():
            raise OperationFailed(codes.BEGIN_SPONSORING_FUTURE_RESERVES_RECURSIVE)
        self.sponsors[sponsored] = source
        kind = OperationType.BEGIN_SPONSORING_FUTURE_RESERVES
        return done(kind, codes.BEGIN_SPONSORING_FUTURE_RESERVES_SUCCESS)

    def _end_sponsoring(self, operation: EndSponsoringFutureReserves, source: str) -> Effect:
        codes = xdr.EndSponsoringFutureReservesResultCode
        if self.sponsors.pop(source, None) is None:
            raise OperationFailed(codes.END_SPONSORING_FUTURE_RESERVES_NOT_SPONSORED)
        return done(OperationType.END_SPONSORING_FUTURE_RESERVES, codes.END_SPONSORING_FUTURE_RESERVES_SUCCESS)

    def _sponsor(self, address: str, reserves: int, low_reserve: IntEnum) -> None:
        """Let an account keep more reserves for others."""
        account = self.state.accounts[address]
        grown = replace(account, sponsoring=account.sponsoring + reserves)
        if grown.balance < grown.reserve:
            raise OperationFailed(low_reserve)
        self.state.put(self.state.accounts, address, grown)

    def _manage_data(self, operation: ManageData, source: str) -> Effect:
        codes, state = xdr.ManageDataResultCode, self.state
        account, name = state.accounts[source], operation.data_name
        data = dict(account.data)
        if operation.data_value is None:
            if name not in data:
                raise OperationFailed(codes.MANAGE_DATA_NAME_NOT_FOUND)
            del data[name]
            account = replace(account, subentries=account.subentries - 1)
        else:
            if name not in data:
                account = self._add_subentry(account, codes.MANAGE_DATA_LOW_RESERVE)
            data[name] = base64.b64encode(operation.data_value).decode()
        state.put(state.accounts, source, replace(account, data=data))
        return done(OperationType.MANAGE_DATA, codes.MANAGE_DATA_SUCCESS)

    def _set_options(self, operation: SetOptions, source: str) -> Effect:
        """Weights, thresholds, ed25519 signers and the home domain; issuer flags are refused."""
        codes, state = xdr.SetOptionsResultCode, self.state
        account = state.accounts[source]
        if operation.set_flags or operation.clear_flags or operation.inflation_dest:
            raise OperationFailed(codes.SET_OPTIONS_UNKNOWN_FLAG)
        wanted = {
            "master_weight": operation.master_weight,
            "low": operation.low_threshold,
            "medium": operation.med_threshold,
            "high": operation.high_threshold,
            "home_domain": operation.home_domain,
        }
        changes: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        if any(isinstance(value, int) and not 0 <= value <= 255 for value in changes.values()):
            raise OperationFailed(codes.SET_OPTIONS_THRESHOLD_OUT_OF_RANGE)
        if operation.signer is not None:
            key, weight = operation.signer.signer_key, operation.signer.weight
            if key.signer_key_type.name != "SIGNER_KEY_TYPE_ED25519" or key.encoded_signer_key == source:
                raise OperationFailed(codes.SET_OPTIONS_BAD_SIGNER)
            signers = dict(account.signers)
            if weight == 0:
                account = replace(account, subentries=account.subentries - (key.encoded_signer_key in signers))
                signers.pop(key.encoded_signer_key, None)
            else:
                if key.encoded_signer_key not in signers:
                    account = self._add_subentry(account, codes.SET_OPTIONS_LOW_RESERVE)
                signers[key.encoded_signer_key] = weight
            changes["signers"] = signers
        state.put(state.accounts, source, replace(account, **changes))
        return done(OperationType.SET_OPTIONS, codes.SET_OPTIONS_SUCCESS)

    def _bump_sequence(self, operation: BumpSequence, source: str) -> Effect:
        account = self.state.accounts[source]
        if operation.bump_to > account.sequence:
            self.state.put(self.state.accounts, source, replace(account, sequence=operation.bump_to))
        return done(OperationType.BUMP_SEQUENCE, xdr.BumpSequenceResultCode.BUMP_SEQUENCE_SUCCESS)

    def _invoke(self, operation: InvokeHostFunction, source: str) -> Effect:
        body = operation.to_xdr_object().body.invoke_host_function_op
        assert body is not None
        try:
            call = read_call(operation.host_function)
            upkeep.touch(self.state, self.envelope, call.contract)
            needed = self.host.run(call)
            if needed is not None:
                self.host.authorise(call, needed, body, source)
        except ContractError as error:
            complaint = (error.number, str(error))
            raise OperationFailed(InvokeCode.INVOKE_HOST_FUNCTION_TRAPPED, complaint) from error
        except Trap as trap:
            complaint = (0, str(trap))
            raise OperationFailed(InvokeCode.INVOKE_HOST_FUNCTION_TRAPPED, complaint) from trap
        effect = done(
            OperationType.INVOKE_HOST_FUNCTION,
            InvokeCode.INVOKE_HOST_FUNCTION_SUCCESS,
            success=invoke_success(call),
        )
        effect.call = call
        return effect

    def _create_claimable(self, operation: CreateClaimableBalance, source: str, index: int) -> Effect:
        """Predicates are not kept: every claimant may claim at once."""
        codes, amount, asset = xdr.CreateClaimableBalanceResultCode, units(operation.amount), operation.asset
        if amount <= 0 or not operation.claimants:
            raise OperationFailed(codes.CREATE_CLAIMABLE_BALANCE_MALFORMED)
        identity = claimable_id(self.envelope, index)
        name = asset_name(asset)
        try:
            moved = self.state.set_aside(name, source, held_by(identity), amount)
        except Refused as refusal:
            known = {"src_no_trust": "NO_TRUST", "src_not_authorized": "NOT_AUTHORIZED"}
            word = known.get(refusal.reason, "UNDERFUNDED")
            raise OperationFailed(codes[f"CREATE_CLAIMABLE_BALANCE_{word}"]) from refusal
        claimants = tuple(claimant.destination for claimant in operation.claimants)
        made = Claimable(identity, name, amount, claimants, source, self.ledger)
        self.state.put(self.state.claimables, identity, made)
        return done(
            OperationType.CREATE_CLAIMABLE_BALANCE,
            codes.CREATE_CLAIMABLE_BALANCE_SUCCESS,
            moved,
            balance_id=xdr.ClaimableBalanceID.from_xdr_bytes(bytes.fromhex(identity)),
        )

    def _claim(self, operation: ClaimClaimableBalance, source: str) -> Effect:
        codes = xdr.ClaimClaimableBalanceResultCode
        found = self.state.claimables.get(operation.balance_id)
        if found is None:
            raise OperationFailed(codes.CLAIM_CLAIMABLE_BALANCE_DOES_NOT_EXIST)
        if source not in found.claimants:
            raise OperationFailed(codes.CLAIM_CLAIMABLE_BALANCE_CANNOT_CLAIM)
        self.state.put(self.state.claimables, found.id, None)
        try:
            moved = self.state.hand_out(found.asset, held_by(found.id), source, found.amount)
        except Refused as refusal:
            word = {"no_trust": "NO_TRUST", "not_authorized": "NOT_AUTHORIZED"}.get(refusal.reason, "LINE_FULL")
            raise OperationFailed(codes[f"CLAIM_CLAIMABLE_BALANCE_{word}"]) from refusal
        return done(OperationType.CLAIM_CLAIMABLE_BALANCE, codes.CLAIM_CLAIMABLE_BALANCE_SUCCESS, moved)

    def _merge(self, operation: AccountMerge, source: str) -> Effect:
        codes, state = xdr.AccountMergeResultCode, self.state
        account, target = state.accounts[source], state.accounts.get(operation.destination.account_id)
        if target is None:
            raise OperationFailed(codes.ACCOUNT_MERGE_NO_ACCOUNT)
        if target.id == source:
            raise OperationFailed(codes.ACCOUNT_MERGE_MALFORMED)
        if account.subentries:
            raise OperationFailed(codes.ACCOUNT_MERGE_HAS_SUB_ENTRIES)
        if account.sponsoring:
            raise OperationFailed(codes.ACCOUNT_MERGE_IS_SPONSOR)
        if account.sponsored:
            # The sponsor's count would have to follow; only accounts that nobody sponsors are merged here.
            raise OperationFailed(xdr.OperationResultCode.opNOT_SUPPORTED)
        state.put(state.accounts, target.id, replace(target, balance=target.balance + account.balance))
        state.put(state.accounts, source, None)
        return done(
            OperationType.ACCOUNT_MERGE,
            codes.ACCOUNT_MERGE_SUCCESS,
            Movement("transfer", "native", source, target.id, account.balance),
            source_account_balance=xdr.Int64(account.balance),
        )

    def _add_subentry(self, account: Account, low_reserve: IntEnum) -> Account:
        if account.id in self.sponsors:
            # Only accounts and trustlines can be sponsored here.
            raise OperationFailed(xdr.OperationResultCode.opNOT_SUPPORTED)
        grown = replace(account, subentries=account.subentries + 1)
        if grown.balance < grown.reserve or grown.subentries > SUBENTRIES_MAX:
            raise OperationFailed(low_reserve)
        self.state.put(self.state.accounts, account.id, grown)
        return grown
