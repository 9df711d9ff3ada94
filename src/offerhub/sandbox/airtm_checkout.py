"""The page where a user confirms a payin: Airtm's web host, as far as an integrator needs it. No script.

Afterwards the browser is sent on to the enterprise's address, with the payin's code, as Airtm does.
"""

from html import escape
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from offerhub.sandbox.airtm_book import AirtmBook, AirtmRefused
from offerhub.sandbox.airtm_model import Payin, Person

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action *; base-uri 'none'",
    "cache-control": "no-store",
}
STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:4rem auto;padding:0 1rem;color:#1c2733}
body{background:#f4f6f8}
main{background:#fff;border-radius:12px;padding:1.5rem 2rem;box-shadow:0 1px 4px #0002}
h1{font-size:1.1rem;margin:0 0 1rem}.sum{font-size:2rem;font-weight:600}
label,input{display:block;width:100%;box-sizing:border-box}input{margin:.3rem 0 1rem;padding:.5rem;font:inherit}
button{font:inherit;padding:.5rem 1rem;margin-right:.5rem;border-radius:8px;border:1px solid #8a97a5;background:#fff}
button.pay{background:#0a6cff;border-color:#0a6cff;color:#fff}.note{color:#5a6875;font-size:.85rem}.bad{color:#b00020}
"""


class CheckoutPage:
    """`/airtm-web/payin/{id}`."""

    def __init__(self, book: AirtmBook) -> None:
        self._book = book

    def routes(self) -> list[Route]:
        """Every route of this host, without its prefix."""
        return [
            Route("/payin/{id}", self._show, methods=["GET"]),
            Route("/payin/{id}", self._submit, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        try:
            return _page(self._book.payin(request.path_params["id"]))
        except AirtmRefused as refused:
            return HTMLResponse(f"<h1>{escape(refused.message)}</h1>", 404, HEADERS)

    async def _submit(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        action = form.get("action", [""])[0]
        try:
            payin = self._book.payin(request.path_params["id"])
        except AirtmRefused as refused:
            return HTMLResponse(f"<h1>{escape(refused.message)}</h1>", 404, HEADERS)
        try:
            match action:
                case "pay":
                    self._book.pay(payin, Person(form.get("email", [""])[0]))
                    return _sent_on(payin.confirmation_uri, payin)
                case "fail":
                    self._book.move_payin(payin, "fail")
                    return _sent_on(payin.confirmation_uri, payin)
                case "cancel":
                    self._book.move_payin(payin, "cancel")
                    return _sent_on(payin.cancel_uri, payin)
                case _:
                    return _page(payin, "There is no such button.", 400)
        except AirtmRefused as refused:
            return _page(payin, refused.message, 409)


def _sent_on(address: str, payin: Payin) -> Response:
    parts = urlsplit(address)
    query = "&".join(part for part in (parts.query, urlencode({"code": payin.code})) if part)
    return RedirectResponse(urlunsplit(parts._replace(query=query)), 303, {"cache-control": "no-store"})


def _page(payin: Payin, problem: str = "", status: int = 200) -> Response:
    amount = f"{payin.amount // 100}.{payin.amount % 100:02d} USD"
    told = f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else ""
    form = f'<p class="note">This payment is {payin.status}.</p>'
    if payin.status == "CREATED":
        form = (
            '<form method="post"><label for="email">Your Airtm account</label>'
            '<input id="email" name="email" type="email" required value="payer@example.com">'
            '<button class="pay" name="action" value="pay">Pay</button>'
            '<button name="action" value="fail" formnovalidate>Let it fail</button>'
            '<button name="action" value="cancel" formnovalidate>Cancel</button></form>'
            '<p class="note">Sandbox: no money moves. Addresses such as payer+poor@example.com are refused.</p>'
        )
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pay {amount}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>'
        f"<h1>{escape(payin.description)}</h1>"
        f'<p class="sum">{amount}</p>{told}{form}</main></body></html>'
    )
    return HTMLResponse(body, status, HEADERS)
