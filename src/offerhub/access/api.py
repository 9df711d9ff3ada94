"""The routes of access (contract 2.2)."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from msgspec import Meta, field

from offerhub.access import service
from offerhub.access.model import API_KEY_NAME_DEFAULT, ApiKey, Marketplace
from offerhub.access.tokens import TokenSigner
from offerhub.errors import (
    ApiKeyNotFound,
    InsufficientScope,
    InvalidState,
    MarketplaceNotFound,
    UserNotFound,
    invalid_field,
)
from offerhub.kernel.clock import Clock, SystemClock, to_wire
from offerhub.kernel.pages import Page
from offerhub.runtime.actor import Actor
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Answer, Body, Call, Envelope, Route

TOKEN_SECONDS_DEFAULT: Final = 3600
SCOPES_MAX: Final = 50
YEAR_SECONDS: Final = 365 * 24 * 3600

Name = Annotated[str, Meta(min_length=1, max_length=200)]
ScopeName = Annotated[str, Meta(pattern=r"\A(\*|[a-z][a-z0-9._-]{0,63})\Z")]
TokenSeconds = Annotated[int, Meta(ge=60, le=86_400)]
KeySeconds = Annotated[int, Meta(ge=60, le=10 * YEAR_SECONDS)]
Moment = Annotated[datetime, Meta(tz=True)]


class CreateApiKey(Body):
    """A new key. `ttl` (seconds) and `expiresAt` are two ways to say when it ends; without them it does not."""

    name: Name | None = None
    scopes: Annotated[list[ScopeName], Meta(max_length=SCOPES_MAX)] = field(default_factory=list)
    userId: str | None = None
    marketplaceId: str | None = None
    marketplace_id: str | None = None
    expiresAt: Moment | None = None
    ttl: KeySeconds | None = None


class ListApiKeys(PageQuery):
    """Which keys to list."""

    userId: str | None = None


class IssueToken(Body):
    """How long the token lives, in seconds (60 to 86400, default an hour); `ttl_seconds` is another name of `ttl`."""

    ttl: TokenSeconds | None = None
    ttl_seconds: TokenSeconds | None = None


class CreateMarketplace(Body):
    """A new marketplace."""

    name: Name


def routes(
    signer: TokenSigner, clock: Clock | None = None, *, token_seconds: int = TOKEN_SECONDS_DEFAULT
) -> tuple[Route, ...]:
    """The routes; `signer` signs the tokens, which live for `token_seconds` unless they are asked for otherwise."""
    handlers = _Handlers(signer, clock or SystemClock(), token_seconds)
    keys: dict[str, Any] = {"scope": "support", "domain": "access"}
    master: dict[str, Any] = {"scope": "master", "domain": "access"}
    data, page = Envelope.DATA, Envelope.PAGE
    return (
        Route("POST", "/auth/api-keys", "createApiKey", "Create an API key; its secret is shown only here.",
              handlers.create_key, **keys, envelope=data, status=201, body=CreateApiKey, body_optional=True,
              sealed=True, errors=(UserNotFound, MarketplaceNotFound, InsufficientScope)),
        Route("GET", "/auth/api-keys", "listApiKeys", "List API keys, newest first.",
              handlers.list_keys, **keys, envelope=page, query=ListApiKeys, unit="read"),
        Route("DELETE", "/auth/api-keys/{key_id}", "revokeApiKey", "Revoke an API key and its tokens.",
              handlers.revoke_key, **keys, envelope=data, errors=(ApiKeyNotFound,)),
        Route("POST", "/auth/api-keys/{key_id}/token", "issueToken", "Issue a short-lived token for an API key.",
              handlers.issue_token, scope="write", domain="access", envelope=data, status=201, body=IssueToken,
              body_optional=True, sealed=True, errors=(ApiKeyNotFound, InsufficientScope, InvalidState)),
        Route("GET", "/auth/me", "whoAmI", "Say which credential is calling.",
              handlers.me, scope="any", domain="access", envelope=data, unit="none"),
        Route("GET", "/me", "whoAmIAlias", "Another name of `/auth/me`.",
              handlers.me, scope="any", domain="access", envelope=data, unit="none"),
        Route("POST", "/admin/marketplaces", "createMarketplace", "Create a marketplace, or find it by its name.",
              handlers.create_marketplace, **master, envelope=data, status=201, also=(200,),
              body=CreateMarketplace),
        Route("GET", "/admin/marketplaces", "listMarketplaces", "List the marketplaces, newest first.",
              handlers.list_marketplaces, **master, envelope=data, unit="read"),
    )  # fmt: skip


class _Handlers:
    def __init__(self, signer: TokenSigner, clock: Clock, token_seconds: int) -> None:
        self._signer = signer
        self._clock = clock
        self._token_seconds = token_seconds

    async def create_key(self, call: Call) -> dict[str, Any]:
        body: CreateApiKey = call.body
        made = await service.create_key(
            call.tx,
            call.actor,
            name=body.name or API_KEY_NAME_DEFAULT,
            scopes=body.scopes,
            user_id=body.userId,
            marketplace_id=body.marketplaceId or body.marketplace_id,
            expires_at=self._end_of(body),
        )
        return {
            "id": made.key.id,
            "key": made.credential,
            "api_key": made.credential,
            "name": made.key.name,
            "scopes": made.key.scopes,
            "userId": made.key.user_id,
            "marketplaceId": made.key.marketplace_id,
            "createdAt": to_wire(made.key.created_at),
            "expiresAt": _moment(made.key.expires_at),
        }

    def _end_of(self, body: CreateApiKey) -> datetime | None:
        now = self._clock.now()
        if body.ttl is not None:
            if body.expiresAt is not None:
                raise invalid_field("ttl", "ttl and expiresAt exclude each other")
            return now + timedelta(seconds=body.ttl)
        if body.expiresAt is not None and body.expiresAt <= now:
            raise invalid_field("expiresAt", "expiresAt must be in the future")
        return body.expiresAt

    async def list_keys(self, call: Call) -> Page:
        query: ListApiKeys = call.query
        found = await service.list_keys(call.tx, call.actor, user_id=query.userId, query=query)
        return Page([_listed(key) for key in found.items], found.next_cursor)

    async def revoke_key(self, call: Call) -> dict[str, Any]:
        key = await service.revoke_key(call.tx, call.actor, call.path["key_id"])
        revoked_at = _moment(key.revoked_at)
        return {"id": key.id, "status": "revoked", "revokedAt": revoked_at, "revoked_at": revoked_at}

    async def issue_token(self, call: Call) -> dict[str, Any]:
        body: IssueToken = call.body
        issued = await service.issue_token(
            call.tx,
            call.actor,
            call.path["key_id"],
            ttl_seconds=body.ttl or body.ttl_seconds or self._token_seconds,
            signer=self._signer,
            clock=self._clock,
        )
        ends = to_wire(issued.expires_at)
        return {"token": issued.token, "scopes": issued.scopes, "expiresAt": ends, "expires_at": ends}

    async def me(self, call: Call) -> dict[str, Any]:
        return _described(call.actor)

    async def create_marketplace(self, call: Call) -> Answer:
        marketplace, is_new = await service.create_marketplace(call.tx, call.actor, call.body.name)
        return Answer(_marketplace(marketplace), 201 if is_new else 200)

    async def list_marketplaces(self, call: Call) -> list[dict[str, Any]]:
        return [_marketplace(found) for found in await service.list_marketplaces(call.tx)]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else to_wire(moment)


def _listed(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "maskedKey": f"ohk_live_***{key.last4}",
        "name": key.name,
        "userId": key.user_id,
        "scopes": key.scopes,
        "createdAt": to_wire(key.created_at),
        "lastUsedAt": _moment(key.last_used_at),
        "expiresAt": _moment(key.expires_at),
        "revokedAt": _moment(key.revoked_at),
    }


def _described(actor: Actor) -> dict[str, Any]:
    scopes = sorted(actor.scopes)
    return {
        "apiKeyId": actor.credential_id,
        "apiKeyName": actor.name,
        "scopes": scopes,
        "userId": actor.bound_user_id,
        "marketplaceId": actor.marketplace_id,
        "marketplace_id": actor.marketplace_id,
        "api_key": {"id": actor.credential_id, "name": actor.name, "scopes": scopes},
        "environment": "live",
    }


def _marketplace(marketplace: Marketplace) -> dict[str, Any]:
    return {"id": marketplace.id, "name": marketplace.name, "createdAt": to_wire(marketplace.created_at)}
