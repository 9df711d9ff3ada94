"""What keeps contracts' entries alive: an archived one is restored by a call that pays for it, or on its own."""

from stellar_sdk import xdr
from stellar_sdk.xdr import OperationType

from offerhub.sandbox.effects import Effect, OperationFailed, done
from offerhub.sandbox.envelope import Envelope
from offerhub.sandbox.soroban import RESTORE_FEE, contracts_of, restores
from offerhub.sandbox.state import State


def touch(state: State, envelope: Envelope, contract: str) -> None:
    """An archived entry is restored by its first touch, if the call says so and pays. Raises OperationFailed."""
    if contract not in state.archived:
        return
    if contract not in restores(envelope.transaction.soroban_data):
        raise OperationFailed(xdr.InvokeHostFunctionResultCode.INVOKE_HOST_FUNCTION_ENTRY_ARCHIVED)
    state.put(state.archived, contract, None)


def restore(state: State, envelope: Envelope) -> Effect:
    """RestoreFootprint: everything in the footprint that was archived. Raises OperationFailed."""
    codes, data = xdr.RestoreFootprintResultCode, envelope.transaction.soroban_data
    if data is None or data.resource_fee.int64 < RESTORE_FEE:
        raise OperationFailed(codes.RESTORE_FOOTPRINT_INSUFFICIENT_REFUNDABLE_FEE)
    for contract in contracts_of(data.resources.footprint.read_write):
        state.put(state.archived, contract, None)
    return done(OperationType.RESTORE_FOOTPRINT, codes.RESTORE_FOOTPRINT_SUCCESS)


def extend() -> Effect:
    """ExtendFootprintTTL: nothing expires here by itself, so it is paid for and changes nothing."""
    code = xdr.ExtendFootprintTTLResultCode.EXTEND_FOOTPRINT_TTL_SUCCESS
    return done(OperationType.EXTEND_FOOTPRINT_TTL, code)
