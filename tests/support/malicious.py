"""Trustless Work as a thief would run it: everything is passed on, but what it builds may be bent on the way back.

It stands in front of the sandbox's face. A bend takes an honest envelope apart and returns another; the face counts
how often it did so, and keeps every signed transaction that it is given to send.
"""

import contextlib
import copy
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from stellar_sdk import Address, Keypair, MuxedAccount, StrKey, TransactionEnvelope, scval, xdr
from stellar_sdk import Asset as SdkAsset
from stellar_sdk.operation import Payment

from offerhub.providers.stellar.network import PUBLIC_PASSPHRASE, Asset, token_contract

THIEF: Final = Keypair.from_raw_ed25519_seed(b"t" * 32)
FOREIGN: Final = token_contract(Asset("USDC", THIEF.public_key), PUBLIC_PASSPHRASE)
"""A contract of the thief's, on another network even."""
FAR_SECONDS: Final = 3_600

Bend = Callable[[xdr.TransactionEnvelope], str]


@dataclass
class MaliciousFace:
    """A server at `url`; with `bend` set, builds whose path contains `route` are bent."""

    honest_url: str
    http: aiohttp.ClientSession
    url: str = ""
    route: str = ""
    bend: Bend | None = None
    bent: int = 0
    lies: dict[str, Any] = field(default_factory=dict)
    """What it claims of every transaction that it was given to send, over what is true."""
    honest: str = ""
    sent: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def bending(self, route: str, bend: Bend) -> Iterator[None]:
        """Bend these builds while the block runs; it must have happened exactly once."""
        self.route, self.bend, before = route, bend, self.bent
        try:
            yield
        finally:
            self.bend = None
        assert self.bent == before + 1, "the envelope was bent once"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on; bend what comes back if it is to be bent."""
        body = await request.read()
        if request.path.endswith("/send-transaction"):
            self.sent.append(json.loads(body)["signedXdr"])
        headers = {name: request.headers[name] for name in ("x-api-key", "content-type") if name in request.headers}
        async with self.http.request(
            request.method, f"{self.honest_url}{request.path_qs}", data=body or None, headers=headers
        ) as heard:
            text, status = await heard.text(), heard.status
        if self.bend is not None and request.method == "POST" and self.route in request.path and status < 300:
            self.honest = json.loads(text)["unsignedTransaction"]
            self.bent += 1
            unsigned = self.bend(xdr.TransactionEnvelope.from_xdr(self.honest))
            text = json.dumps({"status": "SUCCESS", "unsignedTransaction": unsigned})
        if self.lies and request.path.endswith("/send-transaction"):
            text, status = json.dumps(json.loads(text) | self.lies), 200
        return web.Response(status=status, text=text, content_type="application/json")


@contextlib.asynccontextmanager
async def malicious_face(honest_url: str, http: aiohttp.ClientSession) -> AsyncIterator[MaliciousFace]:
    """Serve it on a free port."""
    face = MaliciousFace(honest_url, http)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", face.answer)
    async with TestServer(app) as server:
        face.url = str(server.make_url("")).rstrip("/")
        yield face


# -- bends -----------------------------------------------------------------------------------------------------------


def _parts(envelope: xdr.TransactionEnvelope) -> tuple[xdr.Transaction, xdr.Operation, xdr.InvokeHostFunctionOp]:
    assert envelope.v1 is not None
    operation = envelope.v1.tx.operations[0]
    call = operation.body.invoke_host_function_op
    assert call is not None
    return envelope.v1.tx, operation, call


def bent(change: Callable[[xdr.Transaction, xdr.Operation, xdr.InvokeHostFunctionOp], object]) -> Bend:
    """A bend that changes parts in place."""

    def bend(envelope: xdr.TransactionEnvelope) -> str:
        change(*_parts(envelope))
        return envelope.to_xdr()

    return bend


def _invoked(call: xdr.InvokeHostFunctionOp) -> xdr.InvokeContractArgs:
    assert call.host_function.invoke_contract is not None
    return call.host_function.invoke_contract


def _source(address: str, muxed_id: int | None = None) -> xdr.MuxedAccount:
    return MuxedAccount(address, muxed_id).to_xdr_object()


def _signer(tx: xdr.Transaction) -> str:
    return MuxedAccount.from_xdr_object(tx.source_account).account_id


def _bounds(low: int, high: int) -> xdr.TimeBounds:
    return xdr.TimeBounds(xdr.TimePoint(xdr.Uint64(low)), xdr.TimePoint(xdr.Uint64(high)))


def _timed(change: Callable[[int, int], tuple[int, int]]) -> Bend:
    """Change (min_time, max_time)."""

    def change_parts(tx: xdr.Transaction, *_: object) -> None:
        old = tx.cond.time_bounds
        assert old is not None
        low, high = change(old.min_time.time_point.uint64, old.max_time.time_point.uint64)
        tx.cond = xdr.Preconditions(xdr.PreconditionType.PRECOND_TIME, time_bounds=_bounds(low, high))

    return bent(change_parts)


def _extra_signer(tx: xdr.Transaction, *_: object) -> None:
    key = xdr.SignerKey(xdr.SignerKeyType.SIGNER_KEY_TYPE_ED25519, ed25519=xdr.Uint256(THIEF.raw_public_key()))
    v2 = xdr.PreconditionsV2(tx.cond.time_bounds, None, None, xdr.Duration(xdr.Uint64(0)), xdr.Uint32(0), [key])
    tx.cond = xdr.Preconditions(xdr.PreconditionType.PRECOND_V2, v2=v2)


def _payment(tx: xdr.Transaction) -> xdr.Operation:
    return Payment(THIEF.public_key, SdkAsset.native(), "1").to_xdr_object()


def _resigned(envelope: xdr.TransactionEnvelope) -> str:
    """Signed by a stranger, and for another network."""
    opened = TransactionEnvelope.from_xdr_object(envelope, PUBLIC_PASSPHRASE)
    opened.sign(THIEF)
    return opened.to_xdr()


def _fee_bumped(envelope: xdr.TransactionEnvelope) -> str:
    assert envelope.v1 is not None
    inner = xdr.FeeBumpTransactionInnerTx(xdr.EnvelopeType.ENVELOPE_TYPE_TX, v1=envelope.v1)
    wrapper = xdr.FeeBumpTransaction(_source(THIEF.public_key), xdr.Int64(10**9), inner, xdr.FeeBumpTransactionExt(0))
    return xdr.TransactionEnvelope(
        xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP, fee_bump=xdr.FeeBumpTransactionEnvelope(wrapper, [])
    ).to_xdr()


def _called(contract: str, function: str, args: list[xdr.SCVal]) -> xdr.SorobanAuthorizedInvocation:
    invoked = xdr.InvokeContractArgs(Address(contract).to_xdr_sc_address(), xdr.SCSymbol(function.encode()), args)
    kind = xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN
    return xdr.SorobanAuthorizedInvocation(xdr.SorobanAuthorizedFunction(kind, contract_fn=invoked), [])


def _theft(tx: xdr.Transaction) -> xdr.SorobanAuthorizedInvocation:
    args = [scval.to_address(_signer(tx)), scval.to_address(THIEF.public_key), scval.to_int128(1)]
    return _called(FOREIGN, "transfer", args)


def _foreign_authorization(tx: xdr.Transaction, _: object, call: xdr.InvokeHostFunctionOp) -> None:
    credentials = xdr.SorobanCredentials(
        xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS,
        xdr.SorobanAddressCredentials(
            Address(THIEF.public_key).to_xdr_sc_address(), xdr.Int64(1), xdr.Uint32(9), scval.to_void()
        ),
    )
    call.auth.append(xdr.SorobanAuthorizationEntry(credentials, call.auth[0].root_invocation))


def _host_function(**parts: Any) -> Bend:
    def change(_tx: object, _operation: object, call: xdr.InvokeHostFunctionOp) -> None:
        call.host_function = xdr.HostFunction(**parts)

    return bent(change)


_UPLOAD: Final = {"type": xdr.HostFunctionType.HOST_FUNCTION_TYPE_UPLOAD_CONTRACT_WASM, "wasm": b"\x00asm"}
_CREATE: Final = {
    "type": xdr.HostFunctionType.HOST_FUNCTION_TYPE_CREATE_CONTRACT,
    "create_contract": xdr.CreateContractArgs(
        xdr.ContractIDPreimage(
            xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ADDRESS,
            from_address=xdr.ContractIDPreimageFromAddress(
                Address(THIEF.public_key).to_xdr_sc_address(), xdr.Uint256(b"s" * 32)
            ),
        ),
        xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM, xdr.Hash(b"c" * 32)),
    ),
}


def _set(path: str, value: Callable[[xdr.Transaction], Any]) -> Bend:
    """Set a part: `tx.fee`, `operation.source_account`, `call.auth` …"""
    owner, _, name = path.partition(".")

    def change(tx: xdr.Transaction, operation: xdr.Operation, call: xdr.InvokeHostFunctionOp) -> None:
        targets = {"tx": tx, "operation": operation, "call": call, "invoked": _invoked(call)}
        setattr(targets[owner], name, value(tx))

    return bent(change)


def _authorized(call: xdr.InvokeHostFunctionOp) -> xdr.InvokeContractArgs:
    authorized = call.auth[0].root_invocation.function.contract_fn
    assert authorized is not None
    return authorized


def _another_contract(_tx: object, _operation: object, call: xdr.InvokeHostFunctionOp) -> None:
    """The authorization goes along, as a thief would do it."""
    for one in (_invoked(call), _authorized(call)):
        one.contract_address = Address(FOREIGN).to_xdr_sc_address()


def _another_function(_tx: object, _operation: object, call: xdr.InvokeHostFunctionOp) -> None:
    for one in (_invoked(call), _authorized(call)):
        one.function_name = xdr.SCSymbol(b"transfer")


_OTHER_MEMO: Final = xdr.Memo(xdr.MemoType.MEMO_TEXT, text=b"thanks")

BENDS: Final[list[tuple[str, str, Bend]]] = [
    # what is bent, the field that the refusal names
    ("the source", "source", _set("tx.source_account", lambda tx: _source(THIEF.public_key))),
    ("a muxed source", "source", _set("tx.source_account", lambda tx: _source(_signer(tx), 7))),
    (
        "the operation's source",
        "operation.source",
        _set("operation.source_account", lambda tx: _source(THIEF.public_key)),
    ),
    ("one operation more", "operations", _set("tx.operations", lambda tx: [*tx.operations, _payment(tx)])),
    ("one operation before", "operations", _set("tx.operations", lambda tx: [_payment(tx), *tx.operations])),
    ("no operation", "operations", _set("tx.operations", lambda tx: [])),
    ("another operation", "operation.type", _set("tx.operations", lambda tx: [_payment(tx)])),
    ("an upload of code", "operation.type", _host_function(**_UPLOAD)),
    ("a contract created", "operation.type", _host_function(**_CREATE)),
    ("the contract", "contract", bent(_another_contract)),
    ("the function", "function", bent(_another_function)),
    ("no arguments", "", _set("invoked.args", lambda tx: [])),
    ("one argument more", "", bent(lambda _tx, _op, call: _invoked(call).args.append(scval.to_void()))),
    ("the fee", "fee", _set("tx.fee", lambda tx: xdr.Uint32(10_000_001))),
    ("the largest fee there is", "fee", _set("tx.fee", lambda tx: xdr.Uint32(2**32 - 1))),
    (
        "no time bounds",
        "time_bounds",
        _set("tx.cond", lambda tx: xdr.Preconditions(xdr.PreconditionType.PRECOND_NONE)),
    ),
    ("no upper time bound", "max_time", _timed(lambda low, high: (low, 0))),
    ("a time bound far away", "max_time", _timed(lambda low, high: (low, high + FAR_SECONDS))),
    ("a time bound in the past", "max_time", _timed(lambda low, high: (0, low - FAR_SECONDS))),
    ("valid later only", "min_time", _timed(lambda low, high: (high - 1, high))),
    ("an extra signer", "time_bounds", bent(_extra_signer)),
    ("a memo", "memo", _set("tx.memo", lambda tx: _OTHER_MEMO)),
    ("signed for another network", "signatures", _resigned),
    ("a fee bump around it", "envelope", _fee_bumped),
    ("no envelope", "envelope", lambda envelope: "AAAA"),
    ("a text that no database keeps", "envelope", lambda envelope: "AAAA\x00\u00e9"),
    ("bytes behind it", "envelope", lambda envelope: envelope.to_xdr() + "AAAA"),
    ("a stranger's authorization", "authorization.address", bent(_foreign_authorization)),
    (
        "an authorization of a transfer",
        "authorization",
        bent(lambda tx, _, call: call.auth[0].root_invocation.sub_invocations.append(_theft(tx))),
    ),
    (
        "an authorization of something else",
        "authorization",
        bent(lambda tx, _, call: setattr(call.auth[0], "root_invocation", _theft(tx))),
    ),
    ("the authorization twice", "authorization", bent(lambda _tx, _op, call: call.auth.append(call.auth[0]))),
]
"""Where no field is named, it depends on the call."""


# -- arguments -------------------------------------------------------------------------------------------------------


_OTHER: Final[dict[xdr.SCValType, Callable[[xdr.SCVal], xdr.SCVal]]] = {
    xdr.SCValType.SCV_STRING: lambda value: scval.to_string(scval.from_string(value) + b"!"),
    xdr.SCValType.SCV_BYTES: lambda value: scval.to_bytes(bytes(32)),
    xdr.SCValType.SCV_BOOL: lambda value: scval.to_bool(not scval.from_bool(value)),
    xdr.SCValType.SCV_U32: lambda value: scval.to_uint32(scval.from_uint32(value) + 1),
    xdr.SCValType.SCV_I128: lambda value: scval.to_int128(scval.from_int128(value) + 1),
    xdr.SCValType.SCV_VOID: lambda value: scval.to_string("!"),
}


def _other_leaf(value: xdr.SCVal) -> xdr.SCVal:
    """Another value of the same kind."""
    if value.address is None:
        return _OTHER[value.type](value)
    is_contract = Address.from_xdr_sc_address(value.address).address.startswith("C")
    return scval.to_address(FOREIGN if is_contract else THIEF.public_key)


def _named(key: xdr.SCVal) -> str:
    if key.sym is not None:
        return key.sym.sc_symbol.decode()
    assert key.address is not None
    return StrKey.encode_ed25519_public_key(key.address.account_id.account_id.ed25519.uint256)[:6]  # type: ignore[union-attr]


def alterations(value: xdr.SCVal, path: str) -> Iterator[tuple[str, xdr.SCVal]]:
    """Every way to alter one value inside, each with its place; an address that is a key of a map is one, too."""
    if value.map is not None:
        for place, entry in enumerate(value.map.sc_map):
            for where, other in alterations(entry.val, f"{path}.{_named(entry.key)}"):
                altered = copy.deepcopy(value)
                altered.map.sc_map[place].val = other  # type: ignore[union-attr]
                yield where, altered
            if entry.key.address is not None:
                altered = copy.deepcopy(value)
                altered.map.sc_map[place].key = _other_leaf(entry.key)  # type: ignore[union-attr]
                yield f"{path}.{_named(entry.key)} (its address)", altered
        without = copy.deepcopy(value)
        without.map.sc_map.pop()  # type: ignore[union-attr]
        yield f"{path} (one entry less)", without
    elif value.vec is not None:
        for place, item in enumerate(value.vec.sc_vec):
            for where, other in alterations(item, f"{path}[{place}]"):
                altered = copy.deepcopy(value)
                altered.vec.sc_vec[place] = other  # type: ignore[union-attr]
                yield where, altered
        doubled = copy.deepcopy(value)
        doubled.vec.sc_vec.append(value.vec.sc_vec[0])  # type: ignore[union-attr]
        yield f"{path} (one entry more)", doubled
    else:
        yield path, _other_leaf(value)


def argument_bends(honest_xdr: str) -> list[tuple[str, Bend]]:
    """A bend for every value in the arguments of an honest envelope: (its place, the bend).

    The authorization is altered along with the call, as a thief would do it.
    """
    invoked = _invoked(_parts(xdr.TransactionEnvelope.from_xdr(honest_xdr))[2])
    found: list[tuple[str, Bend]] = []
    for number, argument in enumerate(invoked.args):
        for place, (where, _) in enumerate(alterations(argument, f"argument {number}")):
            found.append((where, bent(_altering(number, place))))
    return found


def _altering(number: int, place: int) -> Callable[[Any, Any, xdr.InvokeHostFunctionOp], None]:
    def change(_tx: object, _operation: object, call: xdr.InvokeHostFunctionOp) -> None:
        invoked = _invoked(call)
        invoked.args[number] = list(alterations(invoked.args[number], ""))[place][1]
        _authorized(call).args = list(invoked.args)

    return change
