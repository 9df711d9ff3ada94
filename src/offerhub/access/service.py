"""Use cases of access: make, list and revoke API keys, issue tokens, make marketplaces. Each is one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from offerhub.access import store
from offerhub.access.model import (
    DEFAULT_MARKETPLACE_ID,
    GRANTING_SCOPES,
    ApiKey,
    Marketplace,
    hash_credential,
    new_credential,
)
from offerhub.access.tokens import TokenSigner
from offerhub.errors import ApiKeyNotFound, InsufficientScope, InvalidState, MarketplaceNotFound
from offerhub.events import journal
from offerhub.kernel.clock import Clock, to_wire
from offerhub.kernel.ids import new_id
from offerhub.kernel.pages import Page
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.runtime.paging import PageQuery

LAST_CHARACTERS: Final = 4


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made, with the credential that is shown this once."""

    key: ApiKey
    credential: str


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that was just issued."""

    token: str
    scopes: list[str]
    expires_at: datetime


def holds_everything(actor: Actor) -> bool:
    """True for the master key, `*` and `admin`."""
    return actor.kind == "master" or bool(actor.scopes & GRANTING_SCOPES)


def is_operator(actor: Actor) -> bool:
    """True for whoever may act on the whole installation: the master key, or a key of the default marketplace.

    A key of another marketplace, or of one user, must not reach beyond it, whatever its scopes.
    """
    if actor.kind == "master":
        return True
    return actor.marketplace_id == DEFAULT_MARKETPLACE_ID and actor.bound_user_id is None


def require_operator(actor: Actor) -> None:
    """Raises InsufficientScope for whoever is no operator."""
    if not is_operator(actor):
        raise InsufficientScope(
            "This is for the whole installation: use the master key, or a key of the default marketplace.",
            required_scope="master",
            current_scopes=sorted(actor.scopes),
        )


async def create_key(
    tx: Tx,
    actor: Actor,
    *,
    name: str,
    scopes: Sequence[str],
    user_id: str | None,
    marketplace_id: str | None,
    expires_at: datetime | None,
) -> NewKey:
    """Make a key in the caller's marketplace; the master key may name another.

    A key that is bound to a user makes keys for that user only, and `*` or `admin` is granted only by who holds it.
    Raises InsufficientScope, MarketplaceNotFound and UserNotFound.
    """
    actor = await _acting_in(tx, actor, marketplace_id)
    granted = list(dict.fromkeys(scopes))
    if GRANTING_SCOPES.intersection(granted) and not holds_everything(actor):
        raise InsufficientScope(
            "Only a key with `*` or `admin` grants these scopes.",
            required_scope="admin",
            current_scopes=sorted(actor.scopes),
        )
    owner = actor.bound_user_id if user_id is None else user_id
    if actor.bound_user_id not in (None, owner):
        raise InsufficientScope("A key that is bound to a user makes keys for that user only.")
    key_id = new_id("key")
    credential = new_credential(key_id)
    key = await store.insert_key(
        tx,
        key_id=key_id,
        marketplace_id=actor.marketplace_id,
        name=name,
        secret_hash=hash_credential(key_id, credential),
        last4=credential[-LAST_CHARACTERS:],
        scopes=granted,
        user_id=owner,
        expires_at=expires_at,
    )
    after = _for_journal(key)
    await journal.record(
        tx,
        actor,
        events=[journal.Event("api_key.created", "ApiKey", key.id, after, user_id=key.user_id)],
        audit=[journal.AuditEntry("API_KEY_CREATED", "ApiKey", key.id, after=after, user_id=key.user_id)],
    )
    return NewKey(key, credential)


async def _acting_in(tx: Tx, actor: Actor, marketplace_id: str | None) -> Actor:
    if marketplace_id is None or marketplace_id == actor.marketplace_id:
        return actor
    if actor.kind != "master":
        raise InsufficientScope("Only the master key names a marketplace.", required_scope="master")
    if not await store.marketplace_exists(tx, marketplace_id):
        raise MarketplaceNotFound(marketplaceId=marketplace_id)
    return msgspec.structs.replace(actor, marketplace_id=marketplace_id)


async def list_keys(tx: Tx, actor: Actor, *, user_id: str | None, query: PageQuery) -> Page:
    """One page of the keys that the caller may see, newest first."""
    return await store.list_keys(tx, actor.marketplace_id, user_id=user_id, bound_to=actor.bound_user_id, query=query)


async def revoke_key(tx: Tx, actor: Actor, key_id: str) -> ApiKey:
    """Revoke a key, and with it every token that was issued for it. Revoking again changes nothing.

    Raises ApiKeyNotFound.
    """
    before = await _visible_key(tx, actor, key_id, for_update=True)
    if before.revoked_at is not None:
        return before
    after = await store.revoke_key(tx, key_id)
    told = _for_journal(after)
    await journal.record(
        tx,
        actor,
        events=[journal.Event("api_key.revoked", "ApiKey", key_id, told, user_id=after.user_id)],
        audit=[
            journal.AuditEntry(
                "API_KEY_REVOKED",
                "ApiKey",
                key_id,
                before=_for_journal(before),
                after=told,
                user_id=after.user_id,
            )
        ],
    )
    return after


async def issue_token(
    tx: Tx, actor: Actor, key_id: str, *, ttl_seconds: int, signer: TokenSigner, clock: Clock
) -> IssuedToken:
    """Issue a token for a key: one's own, or with `support` any key that one may see.

    The token holds the scopes that both the key and the caller have, and never outlives the key. A token issues no
    tokens, else it would not be short-lived. Raises InsufficientScope, ApiKeyNotFound and InvalidState.
    """
    if actor.kind == "token":
        raise InsufficientScope("A token issues no tokens: use the API key itself.")
    is_own = key_id == actor.credential_id
    if not (is_own or holds_everything(actor) or "support" in actor.scopes):
        raise InsufficientScope(
            "A token for another key takes the scope `support`.",
            required_scope="support",
            current_scopes=sorted(actor.scopes),
        )
    key = await _visible_key(tx, actor, key_id, for_update=False)
    now = clock.now()
    if not key.is_usable(now):
        raise InvalidState("The key is revoked or has expired.", currentState="REVOKED", allowedStates=["ACTIVE"])
    scopes = [scope for scope in key.scopes if is_own or holds_everything(actor) or scope in actor.scopes]
    if key.scopes and not scopes:
        raise InsufficientScope("The caller holds none of the key's scopes.", current_scopes=sorted(actor.scopes))
    expires_at = now + timedelta(seconds=ttl_seconds)
    if key.expires_at is not None:
        expires_at = min(expires_at, key.expires_at)
    token = signer.sign(key.id, scopes, now=now, expires_at=expires_at)
    after = {"apiKeyId": key.id, "scopes": scopes, "expiresAt": to_wire(expires_at)}
    entry = journal.AuditEntry("API_TOKEN_ISSUED", "ApiKey", key.id, after=after, user_id=key.user_id)
    await journal.record(tx, actor, audit=[entry])
    return IssuedToken(token, scopes, expires_at)


async def _visible_key(tx: Tx, actor: Actor, key_id: str, *, for_update: bool) -> ApiKey:
    # A bound key always sees itself, since it is bound to the user it is looked up for.
    key = await store.get_key(tx, actor.marketplace_id, key_id, user_id=actor.bound_user_id, for_update=for_update)
    if key is None:
        raise ApiKeyNotFound(apiKeyId=key_id)
    return key


async def create_marketplace(tx: Tx, actor: Actor, name: str) -> tuple[Marketplace, bool]:
    """Make a marketplace, or find the one of that name; the flag says whether it is new."""
    made = await store.insert_marketplace(tx, new_id("mkt"), name)
    if made is None:
        return await store.marketplace_named(tx, name), False
    entry = journal.AuditEntry("MARKETPLACE_CREATED", "Marketplace", made.id, after={"name": made.name})
    await journal.record(tx, msgspec.structs.replace(actor, marketplace_id=made.id), audit=[entry])
    return made, True


async def list_marketplaces(tx: Tx) -> list[Marketplace]:
    """Every marketplace, newest first."""
    return await store.list_marketplaces(tx)


def _for_journal(key: ApiKey) -> dict[str, object]:
    return {
        "apiKeyId": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "userId": key.user_id,
        "last4": key.last4,
        "expiresAt": to_wire(key.expires_at) if key.expires_at else None,
        "revokedAt": to_wire(key.revoked_at) if key.revoked_at else None,
    }
