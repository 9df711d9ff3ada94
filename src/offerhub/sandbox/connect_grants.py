"""Consents and tokens of Connect: authorization code with PKCE, and refresh tokens that rotate (providers.md 2.4)."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from offerhub.sandbox.airtm_model import Person
from offerhub.sandbox.connect_model import (
    ACCESS_SECONDS,
    CODE_SECONDS,
    REFRESH_SECONDS,
    SCOPES,
    Client,
    Code,
    ConnectRefused,
    Grant,
    Token,
)
from offerhub.sandbox.connect_store import ConnectStore

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class OAuthRefused(Exception):
    """An error of OAuth, as the client hears it; `returns` says whether the user's browser may carry it there."""

    def __init__(self, error: str, description: str, *, status: int = 400, returns: bool = True) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.returns = returns


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks a user for."""

    redirect_uri: str
    scopes: list[str]
    state: str | None
    nonce: str | None
    challenge: str


@dataclass(frozen=True, slots=True)
class Issued:
    """New tokens; without `offline_access` there is no refresh token. `nonce` is that of the request."""

    grant: Grant
    access: Token
    refresh: Token | None
    nonce: str | None = None


class Grants:
    """Who has allowed what, and the tokens that prove it."""

    def __init__(self, store: ConnectStore, now: Callable[[], int], client_id: str, secret: str) -> None:
        self._store = store
        self._now = now
        self._secret = secret
        self._client_id = client_id

    @property
    def client(self) -> Client:
        """The one client that is registered."""
        return self._store.find(Client, self._client_id) or Client(self._client_id, [])

    def register(self, redirect_uris: list[str]) -> Client:
        """Let the client send browsers back to these addresses, and to no other."""
        return self._store.keep(Client(self._client_id, list(redirect_uris)))

    def grants(self) -> list[Grant]:
        """Every consent, oldest first."""
        return self._store.all(Grant)

    def asked(self, query: Mapping[str, str]) -> Asked:
        """Read the query of the authorization endpoint. Raises OAuthRefused."""
        redirect_uri = query.get("redirect_uri", "")
        if query.get("client_id") != self._client_id or redirect_uri not in self.client.redirect_uris:
            raise OAuthRefused("invalid_request", "the client or its redirect_uri is not registered", returns=False)
        if query.get("response_type") != "code":
            raise OAuthRefused("unsupported_response_type", "response_type must be code")
        challenge = query.get("code_challenge", "")
        if query.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
            raise OAuthRefused("invalid_request", "PKCE with the method S256 is mandatory")
        scopes = query.get("scope", "").split()
        if "openid" not in scopes or not set(scopes) <= set(SCOPES):
            raise OAuthRefused("invalid_scope", f"scope must hold openid, and only {' '.join(SCOPES)}")
        return Asked(redirect_uri, scopes, query.get("state"), query.get("nonce"), challenge)

    def allow(self, asked: Asked, email: str) -> str:
        """The user consents; where the browser goes. Raises ConnectRefused when this person cannot."""
        person = Person(email)
        if not _EMAIL.fullmatch(email) or not person.is_known:
            raise ConnectRefused(404, "There is no such account", code="415059")
        if not person.is_active:
            raise ConnectRefused(400, "This account is not active", code="415008")
        grant = self._store.keep(Grant(self._store.new_id(Grant), email.lower(), asked.scopes, self._now()))
        secret, expires_at = self._store.new_secret(Code, "code"), self._now() + CODE_SECONDS
        code = Code(secret, grant.id, asked.redirect_uri, asked.challenge, asked.nonce, expires_at)
        return _back(asked.redirect_uri, code=self._store.keep(code).id, state=asked.state)

    def deny(self, asked: Asked) -> str:
        """The user does not consent; where the browser goes."""
        return _back(asked.redirect_uri, error="access_denied", state=asked.state)

    def returned(self, refused: OAuthRefused, query: Mapping[str, str]) -> str:
        """Where the browser goes with an error that it may carry."""
        told = {"error": refused.error, "error_description": refused.description, "state": query.get("state")}
        return _back(query["redirect_uri"], **told)

    def revoke(self, grant: Grant) -> Grant:
        """End a consent with all its tokens."""
        grant.revoked = True
        return self._store.keep(grant)

    # -- tokens --------------------------------------------------------------------------------------------------

    def authenticate(self, client_id: str, secret: str) -> None:
        """Raises OAuthRefused unless it is the client."""
        is_known = hmac.compare_digest(client_id.encode(), self._client_id.encode())
        if not (is_known and hmac.compare_digest(secret.encode(), self._secret.encode())):
            raise OAuthRefused("invalid_client", "the client is not known, or its secret is wrong", status=401)

    def issue(self, form: Mapping[str, str]) -> Issued:
        """Tokens for what the client presents. Raises OAuthRefused."""
        match form.get("grant_type"):
            case "authorization_code":
                return self._exchange(form)
            case "refresh_token":
                return self._refresh(form)
        raise OAuthRefused("unsupported_grant_type", "authorization_code and refresh_token are supported")

    def bearer(self, authorization: str, scope: str | None) -> Grant:
        """The grant behind an access token that reaches as far as `scope`. Raises ConnectRefused."""
        kind, _, secret = authorization.partition(" ")
        token = self._store.find(Token, secret) if kind.lower() == "bearer" else None
        if token is None or token.kind != "access" or self._now() >= token.expires_at:
            raise ConnectRefused(401, "The access token is missing, unknown or expired", error="invalid_token")
        grant = self._grant(token.grant)
        if grant.revoked:
            raise ConnectRefused(401, "The access token was revoked", error="invalid_token")
        if scope is not None and scope not in token.scopes:
            raise ConnectRefused(
                403, f"The access token does not reach as far as {scope}", error="insufficient_scope"
            )
        return grant

    def _exchange(self, form: Mapping[str, str]) -> Issued:
        """Tokens for a code. One that comes a second time revokes what came of it. Raises OAuthRefused."""
        code = self._store.find(Code, form.get("code", ""))
        if code is None:
            raise OAuthRefused("invalid_grant", "there is no such code")
        grant = self._grant(code.grant)
        if code.used:
            self.revoke(grant)
            raise OAuthRefused("invalid_grant", "the code was used before; what it gave is revoked")
        if self._now() >= code.expires_at or grant.revoked:
            raise OAuthRefused("invalid_grant", "the code is not good any more")
        if form.get("redirect_uri") != code.redirect_uri:
            raise OAuthRefused("invalid_grant", "redirect_uri is another one than in the request")
        verifier = form.get("code_verifier", "")
        if not _VERIFIER.fullmatch(verifier) or not hmac.compare_digest(_challenge(verifier), code.challenge):
            raise OAuthRefused("invalid_grant", "code_verifier does not fit code_challenge")
        code.used = True
        self._store.keep(code)
        return self._issue(grant, grant.scopes, code.nonce)

    def _refresh(self, form: Mapping[str, str]) -> Issued:
        """New tokens for a refresh token, which is used up. A replayed one revokes the grant. Raises OAuthRefused."""
        token = self._store.find(Token, form.get("refresh_token", ""))
        if token is None or token.kind != "refresh":
            raise OAuthRefused("invalid_grant", "there is no such refresh token")
        grant = self._grant(token.grant)
        if token.used:
            self.revoke(grant)
            raise OAuthRefused("invalid_grant", "the refresh token was used before; the grant is revoked")
        if self._now() >= token.expires_at or grant.revoked:
            raise OAuthRefused("invalid_grant", "the refresh token is not good any more")
        scopes = form.get("scope", "").split() or grant.scopes
        if not set(scopes) <= set(grant.scopes):
            raise OAuthRefused("invalid_scope", "scope must not be more than what was granted")
        token.used = True
        self._store.keep(token)
        return self._issue(grant, scopes, None)

    def _issue(self, grant: Grant, scopes: list[str], nonce: str | None) -> Issued:
        access = self._token(grant, "access", scopes, ACCESS_SECONDS)
        refresh = None
        if "offline_access" in grant.scopes:
            refresh = self._token(grant, "refresh", grant.scopes, REFRESH_SECONDS)
        return Issued(grant, access, refresh, nonce)

    def _token(self, grant: Grant, kind: Literal["access", "refresh"], scopes: list[str], seconds: int) -> Token:
        secret = self._store.new_secret(Token, kind)
        return self._store.keep(Token(secret, grant.id, kind, scopes, self._now() + seconds))

    def _grant(self, grant_id: str) -> Grant:
        grant = self._store.find(Grant, grant_id)
        assert grant is not None, "codes and tokens are kept after their grant"
        return grant


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _back(redirect_uri: str, **told: str | None) -> str:
    parts = urlsplit(redirect_uri)
    more = urlencode({name: value for name, value in told.items() if value is not None})
    return urlunsplit(parts._replace(query="&".join(part for part in (parts.query, more) if part)))


def claims(grant: Grant) -> dict[str, Any]:
    """What a client may know of the user, by its scopes."""
    person = Person(grant.email)
    shown: dict[str, Any] = {"sub": person.id}
    if "email" in grant.scopes:
        shown |= {"email": grant.email, "email_verified": True}
    if "profile" in grant.scopes:
        wire = person.wire()
        shown |= {"given_name": wire["firstName"], "family_name": wire["lastName"]}
        shown["name"] = f"{wire['firstName']} {wire['lastName']}"
    return shown
