"""The control face under `/_sim`: what a test or a demo may do to the world behind the wires (providers.md 8.2)."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from stellar_sdk import Keypair, StrKey

from offerhub.kernel.money import AmountError, format_chain_amount, parse_chain_amount
from offerhub.sandbox.chain import Chain
from offerhub.sandbox.faults import FaultRequest, Faults
from offerhub.sandbox.history import TransactionRecord
from offerhub.sandbox.house import House, HouseRefused
from offerhub.sandbox.state import NATIVE

T = TypeVar("T")
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Memo = Annotated[str, msgspec.Meta(min_length=1, max_length=28)]


class MintBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`amount` is chain text, such as `25.5`."""

    address: str
    amount: str
    memo: Memo | None = None


class PayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payment of USDC from a wallet whose secret is given."""

    secret: str
    destination: str
    amount: str
    memo: Memo | None = None


class ClockBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ledger_seconds` 0 stops the clock; `advance_seconds` puts the network's time forward."""

    ledger_seconds: Seconds | None = None
    advance_seconds: Annotated[int, msgspec.Meta(ge=0, le=31_536_000)] = 0


class Refusal(Exception):
    """What was asked of the sandbox cannot be done; the text says why."""


Endpoint = Callable[[Request], Awaitable[Response]]


class ControlFace:
    """The sandbox's own controls."""

    def __init__(
        self, chain: Chain, house: House, faults: Faults, base_url: str, clock_set: Callable[[], None]
    ) -> None:
        self._chain = chain
        self._house = house
        self._faults = faults
        self._base_url = base_url
        self._clock_set = clock_set

    def routes(self) -> list[Route]:
        """Every route of this face, without its prefix."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/info", self._info),
            ("GET", "/state", self._state),
            ("POST", "/mint", self._mint),
            ("POST", "/account", self._account),
            ("POST", "/pay", self._pay),
            ("POST", "/close", self._close),
            ("POST", "/clock", self._clock),
            ("GET", "/faults", self._list_faults),
            ("POST", "/faults", self._add_fault),
            ("DELETE", "/faults", self._clear_faults),
        ]
        return [Route(path, _guarded(endpoint), methods=[method]) for method, path, endpoint in table]

    async def _info(self, request: Request) -> Response:
        cast, options = self._chain.cast, self._chain.options
        return JSONResponse(
            {
                "network_passphrase": options.network_passphrase,
                "horizon_url": f"{self._base_url}/horizon",
                "friendbot_url": f"{self._base_url}/horizon/friendbot",
                "trustless_work_url": f"{self._base_url}/trustless-work",
                "trustless_api_key": options.trustless_api_key,
                "trustless_work_fee_account": cast.trustless_fee.public_key,
                "factory_contract": cast.factory,
                "airtm_url": f"{self._base_url}/airtm/v2",
                "airtm_checkout_url": f"{self._base_url}/airtm-web/payin",
                "airtm_api_key": options.airtm_api_key,
                "airtm_api_secret": options.airtm_api_secret,
                "airtm_webhook_secret": cast.airtm_webhook_secret,
                "usdc": {
                    "code": cast.usdc.code,
                    "issuer": cast.usdc.issuer,
                    "contract": cast.usdc_contract,
                },
                "ledger_seconds": self._chain.ledger_seconds,
                "latest_ledger": self._chain.latest.sequence,
            }
        )

    async def _state(self, request: Request) -> Response:
        state, usdc = self._chain.state, f"{self._chain.cast.usdc.code}:{self._chain.cast.usdc.issuer}"
        accounts = [
            {
                "address": account.id,
                "xlm": format_chain_amount(account.balance),
                "usdc": format_chain_amount(state.trustlines[account.id, usdc].balance)
                if (account.id, usdc) in state.trustlines
                else None,
                "sequence": str(account.sequence),
            }
            for account in state.accounts.values()
        ]
        contracts = [
            {
                "address": contract,
                "engagement_id": escrow.engagement_id,
                "amount": format_chain_amount(escrow.amount),
                "usdc": format_chain_amount(state.balance_of(usdc, contract)),
                "approved": [milestone.approved for milestone in escrow.milestones],
                "disputed": escrow.disputed,
                "released": escrow.released,
                "resolved": escrow.resolved,
            }
            for contract, escrow in state.escrows.items()
        ]
        return JSONResponse(
            {
                "latest_ledger": self._chain.latest.sequence,
                "accounts": accounts,
                "contracts": contracts,
                "usdc_issued": format_chain_amount(state.issued.get(usdc, 0)),
                "xlm_fee_pool": format_chain_amount(state.fee_pool),
                "xlm_in_contracts": format_chain_amount(
                    sum(units for (_, asset), units in state.contract_balances.items() if asset == NATIVE)
                ),
            }
        )

    async def _mint(self, request: Request) -> Response:
        body = await _read(request, MintBody)
        record = await self._house.mint(_address(body.address), _units(body.amount), body.memo)
        return JSONResponse(_included(record))

    async def _account(self, request: Request) -> Response:
        keypair = await self._house.open_outside_wallet()
        return JSONResponse({"public_key": keypair.public_key, "secret": keypair.secret})

    async def _pay(self, request: Request) -> Response:
        body = await _read(request, PayBody)
        if not StrKey.is_valid_ed25519_secret_seed(body.secret):
            raise Refusal("secret is not a secret key")
        payer = Keypair.from_secret(body.secret)
        record = await self._house.pay(payer, _address(body.destination), _units(body.amount), body.memo)
        return JSONResponse(_included(record))

    async def _close(self, request: Request) -> Response:
        ledger = self._chain.close()
        return JSONResponse({"ledger": ledger.sequence, "closed_at": ledger.closed_at})

    async def _clock(self, request: Request) -> Response:
        body = await _read(request, ClockBody)
        self._chain.advance(body.advance_seconds)
        if body.ledger_seconds is not None:
            self._chain.ledger_seconds = body.ledger_seconds
            self._clock_set()
        return JSONResponse({"ledger_seconds": self._chain.ledger_seconds, "now": self._chain.now()})

    async def _list_faults(self, request: Request) -> Response:
        return JSONResponse({"faults": self._faults.shown()})

    async def _add_fault(self, request: Request) -> Response:
        body = await _read(request, FaultRequest)
        try:
            return JSONResponse(self._faults.add(body).shown())
        except re.error as error:
            raise Refusal(f"route is not a regular expression: {error}") from error

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        return JSONResponse({"faults": []})


def _guarded(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (Refusal, HouseRefused) as error:
            return JSONResponse({"error": str(error)}, 400)

    return answer


async def _read(request: Request, kind: type[T]) -> T:
    try:
        return msgspec.convert(json.loads(await request.body() or b"{}"), kind)
    except (ValueError, RecursionError) as error:
        raise Refusal(str(error)) from error


def _address(text: str) -> str:
    if not (StrKey.is_valid_ed25519_public_key(text) or StrKey.is_valid_med25519_public_key(text)):
        raise Refusal(f"not an address: {text[:80]}")
    return text


def _units(text: str) -> int:
    try:
        units = parse_chain_amount(text)
    except AmountError as error:
        raise Refusal(f"not an amount: {error}") from error
    if units == 0:
        raise Refusal("the amount is zero")
    return units


def _included(record: TransactionRecord) -> dict[str, Any]:
    return {"hash": record.envelope.hash, "ledger": record.ledger}
