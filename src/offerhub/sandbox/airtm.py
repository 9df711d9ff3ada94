"""The Airtm face: the Enterprise API V2 for payins, payouts, users and the own account (providers.md 2.3).

Its books are the sandbox's own; nothing of it touches the chain.
"""

import base64
import hmac
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from offerhub.kernel.clock import Clock
from offerhub.sandbox.airtm_bodies import (
    ENTERPRISE_ID,
    BadBody,
    balance_json,
    deposit_json,
    encode,
    payin_json,
    payout_json,
    read_payin,
    read_payout,
    when,
)
from offerhub.sandbox.airtm_book import AirtmBook, AirtmRefused
from offerhub.sandbox.airtm_model import Payin, Payout, Person
from offerhub.sandbox.faulty_wire import fault_in
from offerhub.sandbox.options import SandboxOptions

REQUESTS_MAX: Final = 10
WINDOW_SECONDS: Final = 1.0
PAGE_DEFAULT: Final = 100
PAGE_MIN: Final = 10
PAGE_MAX: Final = 1000

Endpoint = Callable[[Request], Awaitable[Response]]


class AirtmFace:
    """Answers as Airtm does, from one book."""

    def __init__(self, book: AirtmBook, options: SandboxOptions, clock: Clock) -> None:
        self._book = book
        self._options = options
        self._clock = clock
        self._asked: deque[float] = deque()
        credentials = f"{options.airtm_api_key}:{options.airtm_api_secret}".encode()
        self._authorization = "Basic " + base64.b64encode(credentials).decode()

    def routes(self) -> list[Route]:
        """Every route of this face, without its prefix."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/me", self._me),
            ("GET", "/me/balance", self._balance),
            ("GET", "/users/{email}", self._user),
            ("POST", "/payins", self._create_payin),
            ("GET", "/payins", self._list_payins),
            ("GET", "/payins/by-code/{code}", self._payin_by_code),
            ("GET", "/payins/{id}", self._payin),
            ("DELETE", "/payins/{id}", self._cancel_payin),
            ("POST", "/payouts", self._create_payout),
            ("GET", "/payouts", self._list_payouts),
            ("GET", "/payouts/by-code/{code}", self._payout_by_code),
            ("GET", "/payouts/{id}", self._payout),
            ("DELETE", "/payouts/{id}", self._cancel_payout),
            ("POST", "/payouts/{id}/commit", self._commit_payout),
            ("GET", "/payouts/{id}/events", self._payout_events),
            ("GET", "/deposits", self._list_deposits),
            ("GET", "/deposits/{id}", self._deposit),
        ]
        return [Route(path, self._guarded(endpoint), methods=[method]) for method, path, endpoint in table]

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint behind the key, the limit and the error form."""

        async def answer(request: Request) -> Response:
            try:
                self._admit(request)
                return await endpoint(request)
            except AirtmRefused as refused:
                return _json({"code": refused.code, "message": refused.message}, refused.status)
            except BadBody as error:
                return _json({"code": "415054", "message": str(error)}, 400)

        return answer

    def _admit(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), self._authorization.encode()):
            raise AirtmRefused("415006", "Unauthorized", 401)
        if not self._options.airtm_rate_limited:
            return
        moment = self._clock.monotonic()
        while self._asked and self._asked[0] <= moment - WINDOW_SECONDS:
            self._asked.popleft()
        if len(self._asked) >= REQUESTS_MAX:
            raise AirtmRefused("429", "Too Many Requests", 429)
        self._asked.append(moment)

    def _read(self, thing: Payin | Payout) -> dict[str, Any]:
        """What can be read of it now. Raises AirtmRefused when it was announced before it can be."""
        body = self._book.body_of(thing)
        if body is None:
            raise AirtmRefused("415902", "Item not found", 404)
        return body

    def _readable(self, things: Sequence[Payin | Payout]) -> list[dict[str, Any]]:
        return [body for body in map(self._book.body_of, things) if body is not None]

    # -- the enterprise and its users ----------------------------------------------------------------------------

    async def _me(self, request: Request) -> Response:
        return _json(
            {
                "id": ENTERPRISE_ID,
                "name": "Sandbox Enterprise",
                "cancelPendingPayoutsAfterDays": self._book.wait_days,
                "status": "active",
            }
        )

    async def _balance(self, request: Request) -> Response:
        return _json(balance_json(*self._book.balance()))

    async def _user(self, request: Request) -> Response:
        person = Person(request.path_params["email"])
        if not person.is_known or "@" not in person.email:
            raise AirtmRefused("415059", "User not found", 404)
        return _json(person.wire())

    # -- payins --------------------------------------------------------------------------------------------------

    async def _create_payin(self, request: Request) -> Response:
        body = read_payin(await request.body())
        return _json(payin_json(self._book.create_payin(body, _tags(request))))

    async def _list_payins(self, request: Request) -> Response:
        return _page(request, self._readable(self._book.payins()))

    async def _payin(self, request: Request) -> Response:
        return _json(self._read(self._book.payin(request.path_params["id"])))

    async def _payin_by_code(self, request: Request) -> Response:
        return _json(self._read(self._book.payin_by_code(request.path_params["code"])))

    async def _cancel_payin(self, request: Request) -> Response:
        payin = self._book.payin(request.path_params["id"])
        return _json(payin_json(self._book.withdraw_payin(payin)))

    # -- payouts -------------------------------------------------------------------------------------------------

    async def _create_payout(self, request: Request) -> Response:
        body = read_payout(await request.body())
        return _json(payout_json(self._book.create_payout(body, _tags(request))))

    async def _list_payouts(self, request: Request) -> Response:
        wanted = request.query_params.get("status")
        found = [one for one in self._book.payouts() if wanted in (None, one.status)]
        return _page(request, self._readable(found))

    async def _payout(self, request: Request) -> Response:
        return _json(self._read(self._book.payout(request.path_params["id"])))

    async def _payout_by_code(self, request: Request) -> Response:
        return _json(self._read(self._book.payout_by_code(request.path_params["code"])))

    async def _commit_payout(self, request: Request) -> Response:
        self._book.commit_payout(self._book.payout(request.path_params["id"]))
        return Response(status_code=204)

    async def _cancel_payout(self, request: Request) -> Response:
        payout = self._book.payout(request.path_params["id"])
        return _json(payout_json(self._book.withdraw_payout(payout)))

    async def _payout_events(self, request: Request) -> Response:
        events = self._book.payout(request.path_params["id"]).events
        return _json([{"status": status, "createdAt": when(seconds)} for status, seconds in events])

    # -- deposits ------------------------------------------------------------------------------------------------

    async def _list_deposits(self, request: Request) -> Response:
        return _page(request, [deposit_json(one) for one in self._book.deposits()])

    async def _deposit(self, request: Request) -> Response:
        return _json(deposit_json(self._book.deposit(request.path_params["id"])))


def _tags(request: Request) -> tuple[str, ...]:
    """How what is made now is to end, if a fault decides that."""
    fault = fault_in(request, "outcome")
    return () if fault is None else (str(fault.request.value),)


def _json(body: Any, status: int = 200) -> Response:
    return Response(encode(body), status, media_type="application/json")


def _page(request: Request, rows: Sequence[dict[str, Any]]) -> Response:
    """`{items, startCursor, endCursor}`, newest first; the cursors are ids, exclusive, and missing without items."""
    given = request.query_params
    per_page = given.get("perPage", str(PAGE_DEFAULT))
    if not per_page.isdecimal() or not PAGE_MIN <= int(per_page) <= PAGE_MAX:
        raise AirtmRefused("415054", f"perPage must be between {PAGE_MIN} and {PAGE_MAX}")
    newest_first = list(reversed(rows))
    ids = [row["id"] for row in newest_first]
    begin = ids.index(given["after"]) + 1 if given.get("after") in ids else 0
    end = ids.index(given["before"]) if given.get("before") in ids else len(ids)
    items = newest_first[begin:end][: int(per_page)]
    cursors = {"startCursor": items[0]["id"], "endCursor": items[-1]["id"]} if items else {}
    return _json({"items": items, **cursors})
