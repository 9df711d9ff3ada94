"""The routes of access (contract 2.2)."""

from datetime import datetime, timedelta
from typing import Any, Final

from offerhub.access import service
from offerhub.access.model import (
    API_KEY_NAME_DEFAULT,
    ApiKeyAnswer,
    ApiKeyCreatedAnswer,
    ApiKeyRevokedAnswer,
    CreateApiKey,
    CreateMarketplace,
    CredentialAnswer,
    CredentialSummaryAnswer,
    IssueToken,
    ListApiKeys,
    MarketplaceAnswer,
    TokenAnswer,
)
from offerhub.access.tokens import TokenSigner
from offerhub.errors import (
    ApiKeyNotFound,
    InvalidState,
    MarketplaceNotFound,
    UserNotFound,
    invalid_field,
)
from offerhub.kernel.clock import Clock, SystemClock, to_wire
from offerhub.kernel.pages import Page
from offerhub.runtime.actor import Actor
from offerhub.runtime.routes import Answer, Call, Envelope, Route, first

TOKEN_SECONDS_DEFAULT: Final = 3600


def routes(
    signer: TokenSigner, clock: Clock | None = None, *, token_seconds: int = TOKEN_SECONDS_DEFAULT
) -> tuple[Route, ...]:
    """The routes; `signer` signs the tokens, which live for `token_seconds` unless they are asked for otherwise."""
    handlers = _Handlers(signer, clock or SystemClock(), token_seconds)
    keys: dict[str, Any] = {"scope": "support", "domain": "access"}
    master: dict[str, Any] = {"scope": "master", "domain": "access"}
    data, page = Envelope.DATA, Envelope.PAGE
    return (
        Route("POST", "/auth/api-keys", "api_keys.create", "Create an API key; its secret is shown only here.",
              handlers.create_key, **keys, envelope=data, status=201, body=CreateApiKey, body_optional=True,
              sealed=True, answer=ApiKeyCreatedAnswer, errors=(UserNotFound, MarketplaceNotFound)),
        Route("GET", "/auth/api-keys", "api_keys.list", "List API keys, newest first.",
              handlers.list_keys, **keys, envelope=page, query=ListApiKeys, unit="read", answer=ApiKeyAnswer),
        Route("DELETE", "/auth/api-keys/{key_id}", "api_keys.revoke", "Revoke an API key and its tokens.",
              handlers.revoke_key, **keys, envelope=data, answer=ApiKeyRevokedAnswer, errors=(ApiKeyNotFound,),
              description="It is refused everywhere a second later. Revoking again changes nothing."),
        Route("POST", "/auth/api-keys/{key_id}/token", "api_keys.issue_token", "Issue a short-lived token for a key.",
              handlers.issue_token, scope="write", domain="access", envelope=data, status=201, body=IssueToken,
              body_optional=True, sealed=True, answer=TokenAnswer, errors=(ApiKeyNotFound, InvalidState),
              description="For the calling key itself, or with `support` for any key of the marketplace. The token "
              "may do what both may."),
        Route("GET", "/auth/me", "auth.me", "Say which credential is calling.",
              handlers.me, scope="any", domain="access", envelope=data, unit="none", answer=CredentialAnswer),
        Route("GET", "/me", "auth.me_alias", "Another name of `/auth/me`.",
              handlers.me, scope="any", domain="access", envelope=data, unit="none", answer=CredentialAnswer),
        Route("POST", "/admin/marketplaces", "marketplaces.create", "Create a marketplace, or find it by its name.",
              handlers.create_marketplace, **master, envelope=data, status=201, also=(200,),
              body=CreateMarketplace, answer=MarketplaceAnswer),
        Route("GET", "/admin/marketplaces", "marketplaces.list", "List the marketplaces, newest first.",
              handlers.list_marketplaces, **master, envelope=data, unit="read", answer=list[MarketplaceAnswer]),
    )  # fmt: skip


class _Handlers:
    def __init__(self, signer: TokenSigner, clock: Clock, token_seconds: int) -> None:
        self._signer = signer
        self._clock = clock
        self._token_seconds = token_seconds

    async def create_key(self, call: Call) -> ApiKeyCreatedAnswer:
        body: CreateApiKey = call.body
        made = await service.create_key(
            call.tx,
            call.actor,
            name=body.name or API_KEY_NAME_DEFAULT,
            scopes=body.scopes,
            user_id=body.userId,
            marketplace_id=first(body.marketplaceId, body.marketplace_id),
            expires_at=self._end_of(body),
        )
        return made.key.created(made.credential)

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
        return Page([key.wire() for key in found.items], found.next_cursor)

    async def revoke_key(self, call: Call) -> ApiKeyRevokedAnswer:
        return (await service.revoke_key(call.tx, call.actor, call.path["key_id"])).revoked()

    async def issue_token(self, call: Call) -> TokenAnswer:
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
        return TokenAnswer(token=issued.token, scopes=issued.scopes, expiresAt=ends, expires_at=ends)

    async def me(self, call: Call) -> CredentialAnswer:
        return _described(call.actor)

    async def create_marketplace(self, call: Call) -> Answer:
        marketplace, is_new = await service.create_marketplace(call.tx, call.actor, call.body.name)
        return Answer(marketplace.wire(), 201 if is_new else 200)

    async def list_marketplaces(self, call: Call) -> list[MarketplaceAnswer]:
        return [found.wire() for found in await service.list_marketplaces(call.tx)]


def _described(actor: Actor) -> CredentialAnswer:
    scopes = sorted(actor.scopes)
    return CredentialAnswer(
        apiKeyId=actor.credential_id,
        apiKeyName=actor.name,
        scopes=scopes,
        userId=actor.bound_user_id,
        marketplaceId=actor.marketplace_id,
        marketplace_id=actor.marketplace_id,
        api_key=CredentialSummaryAnswer(id=actor.credential_id, name=actor.name, scopes=scopes),
        environment="live",
    )
