"""The OpenID provider of Connect: discovery, the consent page, tokens, keys and claims (providers.md 2.4)."""

import base64
import json
from collections.abc import Callable
from html import escape
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from stellar_sdk import Keypair

from offerhub.sandbox.airtm_checkout import HEADERS, STYLE
from offerhub.sandbox.connect import Endpoint, answering
from offerhub.sandbox.connect_grants import Asked, Grants, Issued, OAuthRefused, claims
from offerhub.sandbox.connect_model import ACCESS_SECONDS, SCOPES, ConnectRefused

_NO_STORE: Final = {"cache-control": "no-store", "pragma": "no-cache"}
_WORDS: Final = {
    "openid": "know that you have an Airtm account",
    "profile": "see your name",
    "email": "see your e-mail address",
    "offline_access": "do this while you are away",
    "wallet:receive": "pay USDC into your wallet",
    "wallet:send": "send USDC from your wallet, each time with a code of yours",
    "wallet:read": "see your balance and your transactions",
    "kyc:status": "see whether your identity was verified",
}


class OpenIdFace:
    """`…/oidc`; `issuer` is its whole address, `keypair` signs the id tokens."""

    def __init__(self, grants: Grants, now: Callable[[], int], issuer: str, keypair: Keypair) -> None:
        self._grants = grants
        self._now = now
        self._issuer = issuer
        self._keypair = keypair
        self._key_id = keypair.public_key[-8:]

    def routes(self) -> list[Route]:
        """Every route, without its prefix."""
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/.well-known/openid-configuration", self._discovery),
            ("GET", "/jwks", self._keys),
            ("GET", "/authorize", self._ask),
            ("POST", "/authorize", self._decide),
            ("POST", "/token", self._token),
            ("GET", "/userinfo", self._claims),
        ]
        return [Route(path, answering(endpoint), methods=[method]) for method, path, endpoint in table]

    async def _discovery(self, request: Request) -> Response:
        at = self._issuer
        return JSONResponse(
            {
                "issuer": at,
                "authorization_endpoint": f"{at}/authorize",
                "token_endpoint": f"{at}/token",
                "userinfo_endpoint": f"{at}/userinfo",
                "jwks_uri": f"{at}/jwks",
                "scopes_supported": list(SCOPES),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["EdDSA"],
            }
        )

    async def _keys(self, request: Request) -> Response:
        public = _text(self._keypair.raw_public_key())
        key = {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": self._key_id, "use": "sig", "alg": "EdDSA"}
        return JSONResponse({"keys": [key]})

    async def _claims(self, request: Request) -> Response:
        return JSONResponse(claims(self._grants.bearer(request.headers.get("authorization", ""), "openid")))

    # -- consent -------------------------------------------------------------------------------------------------

    async def _ask(self, request: Request) -> Response:
        try:
            return _page(self._grants.asked(request.query_params))
        except OAuthRefused as refused:
            return self._sent_back(refused, request)

    async def _decide(self, request: Request) -> Response:
        try:
            asked = self._grants.asked(request.query_params)
        except OAuthRefused as refused:
            return self._sent_back(refused, request)
        form = await _form(request)
        if form.get("action") == "deny":
            return RedirectResponse(self._grants.deny(asked), 303, _NO_STORE)
        if form.get("action") != "allow":
            return _page(asked, "There is no such button.", 400)
        try:
            return RedirectResponse(self._grants.allow(asked, form.get("email", "")), 303, _NO_STORE)
        except ConnectRefused as refused:
            return _page(asked, refused.message, 409)

    def _sent_back(self, refused: OAuthRefused, request: Request) -> Response:
        if refused.returns:
            return RedirectResponse(self._grants.returned(refused, request.query_params), 303, _NO_STORE)
        return HTMLResponse(f"<h1>{escape(refused.description)}</h1>", 400, HEADERS)

    # -- tokens --------------------------------------------------------------------------------------------------

    async def _token(self, request: Request) -> Response:
        form = await _form(request)
        try:
            self._grants.authenticate(*_credentials(request, form))
            issued = self._grants.issue(form)
        except OAuthRefused as refused:
            body = {"error": refused.error, "error_description": refused.description}
            more = {"www-authenticate": "Basic"} if refused.status == 401 else {}
            return JSONResponse(body, refused.status, {**_NO_STORE, **more})
        return JSONResponse(self._issued(issued), headers=_NO_STORE)

    def _issued(self, issued: Issued) -> dict[str, Any]:
        return {
            "access_token": issued.access.id,
            "token_type": "Bearer",
            "expires_in": ACCESS_SECONDS,
            "scope": " ".join(issued.access.scopes),
            "id_token": self._id_token(issued),
            **({"refresh_token": issued.refresh.id} if issued.refresh is not None else {}),
        }

    def _id_token(self, issued: Issued) -> str:
        now = self._now()
        told = {"iss": self._issuer, "aud": self._grants.client.id, "iat": now, "exp": now + ACCESS_SECONDS}
        nonce = {} if issued.nonce is None else {"nonce": issued.nonce}
        parts = [{"alg": "EdDSA", "typ": "JWT", "kid": self._key_id}, {**told, **nonce, **claims(issued.grant)}]
        content = ".".join(_text(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
        return f"{content}.{_text(self._keypair.sign(content.encode()))}"


def _credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """Client id and secret, from the header or the form."""
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        client_id, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote(client_id), unquote(secret)


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _page(asked: Asked, problem: str = "", status: int = 200) -> Response:
    """The page where a user allows it or not. No script; the form goes to the address of the page itself."""
    told = f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else ""
    wishes = "".join(f"<li>{escape(_WORDS[scope])}</li>" for scope in asked.scopes)
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Connect your Airtm account</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>'
        f"<h1>Sandbox Enterprise would like to</h1><ul>{wishes}</ul>{told}"
        '<form method="post"><label for="email">Your Airtm account</label>'
        '<input id="email" name="email" type="email" required value="payer@example.com">'
        '<button class="pay" name="action" value="allow">Allow</button>'
        '<button name="action" value="deny" formnovalidate>Do not allow</button></form>'
        f'<p class="note">Sandbox: nobody is asked for a password. You go on to {escape(asked.redirect_uri)}.</p>'
        "</main></body></html>"
    )
    return HTMLResponse(body, status, HEADERS)
