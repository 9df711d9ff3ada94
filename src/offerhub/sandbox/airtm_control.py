"""The controls of the Airtm face under `/_sim/airtm`: what a test decides in the place of Airtm and its users."""

from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from offerhub.sandbox.airtm_bodies import BadBody, balance_json, cents, deposit_json, encode, payin_json, payout_json
from offerhub.sandbox.airtm_book import AirtmBook, AirtmRefused
from offerhub.sandbox.airtm_model import PayinAction, PayoutAction

Endpoint = Callable[[Request], Awaitable[Response]]


class MovePayin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`fee` is what Airtm keeps, such as `"0.25"`."""

    action: PayinAction
    fee: str | None = None


class MovePayout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a payout."""

    action: PayoutAction


class AirtmControls:
    """Moves payins and payouts."""

    def __init__(self, book: AirtmBook) -> None:
        self._book = book

    def routes(self) -> list[Route]:
        """Every route, without its prefix."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/balance", self._balance),
            ("GET", "/payins", self._payins),
            ("GET", "/payouts", self._payouts),
            ("GET", "/deposits", self._deposits),
            ("POST", "/payins/{id}", self._move_payin),
            ("POST", "/payouts/{id}", self._move_payout),
        ]
        return [Route(path, _guarded(endpoint), methods=[method]) for method, path, endpoint in table]

    async def _balance(self, request: Request) -> Response:
        return _json(encode(balance_json(*self._book.balance())))

    async def _payins(self, request: Request) -> Response:
        code = request.query_params.get("code")
        found = [payin_json(one) for one in self._book.payins() if code in (None, one.code)]
        return _json(encode({"payins": found}))

    async def _payouts(self, request: Request) -> Response:
        code = request.query_params.get("code")
        found = [payout_json(one) for one in self._book.payouts() if code in (None, one.code)]
        return _json(encode({"payouts": found}))

    async def _deposits(self, request: Request) -> Response:
        return _json(encode({"deposits": [deposit_json(one) for one in self._book.deposits()]}))

    async def _move_payin(self, request: Request) -> Response:
        body = msgspec.json.decode(await request.body(), type=MovePayin)
        payin = self._book.payin(request.path_params["id"])
        fee = 0 if body.fee in (None, "0", "0.00") else _fee(body.fee, payin.amount)
        return _json(encode(payin_json(self._book.move_payin(payin, body.action, fee))))

    async def _move_payout(self, request: Request) -> Response:
        body = msgspec.json.decode(await request.body(), type=MovePayout)
        payout = self._book.payout(request.path_params["id"])
        return _json(encode(payout_json(self._book.move_payout(payout, body.action))))


def _fee(text: str | None, amount: int) -> int:
    try:
        fee = cents(Decimal(text or ""))
    except InvalidOperation as error:
        raise BadBody("fee must be an amount, such as 0.25") from error
    if fee > amount:
        raise BadBody("fee must not be more than the amount")
    return fee


def _guarded(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (AirtmRefused, BadBody, msgspec.DecodeError) as error:
            return JSONResponse({"error": str(error)}, 400)

    return answer


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
