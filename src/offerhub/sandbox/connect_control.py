"""The controls of the Connect face under `/_sim/airtm/connect`: what its users and Airtm decide."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from offerhub.kernel.money import format_amount, format_chain_amount
from offerhub.sandbox.connect_bodies import kyc_json, transfer_json, units_of
from offerhub.sandbox.connect_book import ConnectBook
from offerhub.sandbox.connect_grants import Grants, OAuthRefused
from offerhub.sandbox.connect_model import ConnectRefused, KycStatus, Transfer
from offerhub.sandbox.control_bodies import Endpoint, Refusal, guarded, read

Email = Annotated[str, msgspec.Meta(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=320)]


class WalletBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a user gets: USDC, such as `"25.50"`, or a result of Airtm's check."""

    email: Email
    give: str | None = None
    kyc: KycStatus | None = None


class ConsentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`url` is the whole address to which the client sends the user's browser."""

    url: str
    email: Email
    decision: Literal["allow", "deny"] = "allow"


class ClientBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the client may send browsers back to."""

    redirect_uris: Annotated[list[str], msgspec.Meta(max_length=20)]


class MoveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a transaction: `confirm` does it with the code that its user got."""

    action: Literal["confirm", "fail"]


class ConnectControls:
    """Gives money, consents, shows codes."""

    def __init__(self, grants: Grants, book: ConnectBook) -> None:
        self._grants = grants
        self._book = book

    def routes(self) -> list[Route]:
        """Every route, without its prefix."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/wallets", self._wallets),
            ("POST", "/wallets", self._set_wallet),
            ("GET", "/transactions", self._transactions),
            ("POST", "/transactions/{id}", self._move),
            ("GET", "/strays", self._strays),
            ("POST", "/consent", self._consent),
            ("GET", "/grants", self._list_grants),
            ("DELETE", "/grants/{id}", self._revoke),
            ("POST", "/client", self._client),
        ]
        return [Route(path, guarded(_refusing(endpoint)), methods=[method]) for method, path, endpoint in table]

    async def _wallets(self, request: Request) -> Response:
        return JSONResponse({"wallets": [self._wallet(email) for email in self._book.wallets()]})

    async def _set_wallet(self, request: Request) -> Response:
        body = await read(request, WalletBody)
        if body.kyc is not None:
            self._book.set_kyc(body.email, body.kyc)
        if body.give is not None:
            await self._book.give(body.email, units_of(body.give, "give"))
        return JSONResponse(self._wallet(body.email))

    def _wallet(self, email: str) -> dict[str, Any]:
        kyc = kyc_json(self._book.wallet(email))
        return {"email": email, "balance": format_amount(self._book.balance(email)), "kyc": kyc["status"]}

    async def _transactions(self, request: Request) -> Response:
        return JSONResponse({"transactions": [_shown(one) for one in self._book.transfers()]})

    async def _move(self, request: Request) -> Response:
        body = await read(request, MoveBody)
        transfer = self._book.transfer(request.path_params["id"])
        if body.action == "confirm":
            return JSONResponse(_shown(self._book.confirm(transfer, transfer.two_factor or "")))
        return JSONResponse(_shown(self._book.fail(transfer)))

    async def _strays(self, request: Request) -> Response:
        rows = [asdict(one) for one in self._book.strays()]
        shown = [
            row | {"amount": format_chain_amount(row["amount"]), "operation": str(row["operation"])} for row in rows
        ]
        return JSONResponse({"strays": shown})

    async def _consent(self, request: Request) -> Response:
        body = await read(request, ConsentBody)
        asked = self._grants.asked(dict(parse_qsl(urlsplit(body.url).query)))
        if body.decision == "deny":
            return JSONResponse({"redirect": self._grants.deny(asked)})
        return JSONResponse({"redirect": self._grants.allow(asked, body.email)})

    async def _list_grants(self, request: Request) -> Response:
        return JSONResponse({"grants": [asdict(one) for one in self._grants.grants()]})

    async def _revoke(self, request: Request) -> Response:
        for grant in self._grants.grants():
            if grant.id == request.path_params["id"]:
                return JSONResponse(asdict(self._grants.revoke(grant)))
        raise Refusal("there is no such grant")

    async def _client(self, request: Request) -> Response:
        body = await read(request, ClientBody)
        return JSONResponse(asdict(self._grants.register(body.redirect_uris)))


async def _switched_off(request: Request) -> Response:
    return JSONResponse({"error": "this sandbox runs without Connect: start it with --connect"}, 400)


def switched_off() -> list[Route]:
    """The controls of a sandbox that has no Connect."""
    return [Route("/{rest:path}", _switched_off, methods=["GET", "POST", "DELETE"])]


def _shown(transfer: Transfer) -> dict[str, Any]:
    """With what only the user would know."""
    return {**transfer_json(transfer), "email": transfer.email, "twoFactorCode": transfer.two_factor}


def _refusing(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (ConnectRefused, OAuthRefused) as error:
            raise Refusal(str(error)) from error

    return answer
