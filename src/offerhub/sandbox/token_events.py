"""What operations emit: the events of contract calls, and those of everything else that moves an asset (CAP-67).

A node tells the latter only when it is run with EMIT_CLASSIC_EVENTS; this one is. Fees are left out.
"""

from functools import lru_cache

from stellar_sdk import (
    Asset,
    HashMemo,
    IdMemo,
    MuxedAccount,
    ReturnHashMemo,
    TextMemo,
    scval,
    xdr,
)
from stellar_sdk.operation import Operation

from offerhub.sandbox.calls import token_event
from offerhub.sandbox.effects import Effect
from offerhub.sandbox.envelope import Envelope
from offerhub.sandbox.state import NATIVE


def events_of(effect: Effect, operation: Operation, envelope: Envelope, passphrase: str) -> list[xdr.ContractEvent]:
    """The events of one operation that succeeded, in order."""
    if effect.call is not None:
        return effect.call.events
    memo = _muxed_id(operation) or _memo(envelope)
    return [token_event(token_of(moved.asset, passphrase), moved, memo) for moved in effect.movements]


@lru_cache(maxsize=256)
def token_of(asset: str, passphrase: str) -> str:
    """The token contract (C…) of `native` or `CODE:ISSUER`."""
    code, _, issuer = asset.partition(":")
    named = Asset.native() if asset == NATIVE else Asset(code, issuer)
    return named.contract_id(passphrase)


def _muxed_id(operation: Operation) -> xdr.SCVal | None:
    destination = getattr(operation, "destination", None)
    if isinstance(destination, MuxedAccount) and destination.account_muxed_id is not None:
        return scval.to_uint64(destination.account_muxed_id)
    return None


def _memo(envelope: Envelope) -> xdr.SCVal | None:
    match envelope.transaction.memo:
        case IdMemo(memo_id=number):
            return scval.to_uint64(number)
        case TextMemo(memo_text=text):
            return scval.to_string(text)
        case HashMemo(memo_hash=digest) | ReturnHashMemo(memo_return=digest):
            return scval.to_bytes(digest)
    return None
