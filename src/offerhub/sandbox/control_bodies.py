"""What the controls under `/_sim` are told, and how they refuse."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from stellar_sdk import HashMemo, IdMemo, StrKey, TextMemo
from stellar_sdk import Memo as AnyMemo

from offerhub.kernel.money import AmountError, parse_chain_amount
from offerhub.sandbox.changes import ChangeRefused
from offerhub.sandbox.clock import ClockMode
from offerhub.sandbox.credit_shapes import Shape
from offerhub.sandbox.faults import BadFault
from offerhub.sandbox.house import HouseRefused

T = TypeVar("T")
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
MemoText = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
MemoType = Literal["text", "id", "hash"]
AdvanceSeconds = Annotated[float, msgspec.Meta(ge=0, le=31_536_000)]
Endpoint = Callable[[Request], Awaitable[Response]]


class Refusal(Exception):
    """What was asked of the sandbox cannot be done; the text says why."""


class MintBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`amount` is chain text, such as `25.5`. `memo` is text of 28 bytes, a number or a hash in hexadecimal."""

    address: str
    amount: str
    memo: MemoText | None = None
    memo_type: MemoType = "text"


class CreditBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money for one or more accounts in a shape of its own (credit_shapes), the same amount for each."""

    shape: Shape
    to: Annotated[list[str], msgspec.Meta(min_length=1, max_length=50)]
    amount: str
    memo: MemoText | None = None
    memo_type: MemoType = "text"
    muxed_id: Annotated[int, msgspec.Meta(ge=0)] = 1


class PayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payment of USDC from a wallet whose secret is given, to an account or a contract."""

    secret: str
    destination: str
    amount: str
    memo: MemoText | None = None
    memo_type: MemoType = "text"


class AccountsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accounts to be there at once, without a transaction, with a USDC trustline and nothing on it."""

    addresses: Annotated[list[str], msgspec.Meta(min_length=1, max_length=10_000)]


class ClockBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How time runs. `ledger_seconds` 0 closes no ledger by itself.

    `advance_seconds` puts the clock forward at one go; what falls due on the way comes afterwards.
    """

    mode: ClockMode | None = None
    factor: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 1.0
    ledger_seconds: Seconds | None = None
    advance_seconds: AdvanceSeconds = 0


class AdvanceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time that is to pass, with everything that falls due in it."""

    seconds: AdvanceSeconds


def guarded(endpoint: Endpoint) -> Endpoint:
    """The endpoint, answering 400 and `{"error"}` for what cannot be done."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (Refusal, HouseRefused, ChangeRefused, BadFault) as error:
            return JSONResponse({"error": str(error)}, 400)

    return answer


async def read(request: Request, kind: type[T]) -> T:
    """The body as its type. Raises Refusal."""
    try:
        return msgspec.convert(json.loads(await request.body() or b"{}"), kind)
    except (ValueError, RecursionError) as error:
        raise Refusal(str(error)) from error


def address_of(text: str, *, contract: bool = False) -> str:
    """An account's address (or, if allowed, a contract's). Raises Refusal."""
    is_account = StrKey.is_valid_ed25519_public_key(text) or StrKey.is_valid_med25519_public_key(text)
    if not (is_account or (contract and StrKey.is_valid_contract(text))):
        raise Refusal(f"not an address: {text[:80]}")
    return text


def units_of(text: str) -> int:
    """An amount in units of 10^-7. Raises Refusal."""
    try:
        units = parse_chain_amount(text)
    except AmountError as error:
        raise Refusal(f"not an amount: {error}") from error
    if units == 0:
        raise Refusal("the amount is zero")
    return units


def memo_of(body: MintBody | PayBody | CreditBody) -> AnyMemo | None:
    """The memo of a transaction. Raises Refusal."""
    if body.memo is None:
        return None
    try:
        match body.memo_type:
            case "id":
                return IdMemo(int(body.memo))
            case "hash":
                return HashMemo(body.memo)
        return TextMemo(body.memo)
    except ValueError as error:
        raise Refusal(f"not a memo: {error}") from error
