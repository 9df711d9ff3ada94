"""Marketplaces and API keys: their shapes, and the format of the credential (contract 1.2)."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from offerhub.kernel.clock import to_wire
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import ALIAS, ApiKeyId, MarketplaceId, Timestamp, UserId

DEFAULT_MARKETPLACE_ID: Final = "mkt_" + "0" * 32
"""Seeded by the first migration; a single-tenant installation never meets another."""

MASTER_SCOPES: Final = frozenset({"read", "write", "support"})
GRANTING_SCOPES: Final = frozenset({"*", "admin"})
"""Only who holds one of these (or the master key) may grant them."""

SECRET_BYTES: Final = 24
API_KEY_NAME_DEFAULT: Final = "API key"
TOKEN_PREFIX: Final = "ohk_tok_"
SCOPES_MAX: Final = 50
YEAR_SECONDS: Final = 365 * 24 * 3600

_API_KEY = re.compile(r"ohk_(?:live|test)_(?P<id>key_[0-9A-Za-z]{32})_[0-9a-f]{48}", re.ASCII)


_EXAMPLE_SECRET: Final = "ohk_live_key_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe_" + "0123456789abcdef" * 3

KeyName = Annotated[str, Meta(description="For people.", examples=["Backend"])]
MarketplaceName = Annotated[str, Meta(examples=["Sunny Jobs"])]
ScopeNames = Annotated[
    list[str],
    Meta(
        description="`read`, `write`, `support`; `*` and `admin` hold all of them; `orders.read` or `users.write` "
        "is for one group of operations.",
        examples=[["read", "write"]],
    ),
]
Secret = Annotated[
    str,
    Meta(
        description="The credential. It is shown only in this answer.",
        examples=[_EXAMPLE_SECRET],
        extra_json_schema={"pattern": "^ohk_live_key_[0-9A-Za-z]{32}_[0-9a-f]{48}$"},
    ),
]


class ApiKeyCreatedAnswer(Shape):
    """A new API key with its secret."""

    id: ApiKeyId
    key: Secret
    api_key: Annotated[Secret, Meta(description="The same as `key`.")]
    name: KeyName
    scopes: ScopeNames
    userId: Annotated[UserId | None, Meta(description="The user whom the key is bound to.")]
    marketplaceId: MarketplaceId
    createdAt: Timestamp
    expiresAt: Annotated[Timestamp | None, Meta(description="When it stops working; null: never.")]


class ApiKeyAnswer(Shape):
    """An API key, without its secret."""

    id: ApiKeyId
    maskedKey: Annotated[str, Meta(description="The secret's last four characters.", examples=["ohk_live_***cdef"])]
    name: KeyName
    userId: Annotated[UserId | None, Meta(description="The user whom the key is bound to.")]
    scopes: ScopeNames
    createdAt: Timestamp
    lastUsedAt: Annotated[Timestamp | None, Meta(description="Accurate to a minute.")]
    expiresAt: Annotated[Timestamp | None, Meta(description="When it stops working; null: never.")]
    revokedAt: Timestamp | None


class ApiKeyRevokedAnswer(Shape):
    """An API key that works no more."""

    id: ApiKeyId
    status: Literal["revoked"]
    revokedAt: Timestamp
    revoked_at: Annotated[Timestamp, Meta(description="The same as `revokedAt`.")]


class TokenAnswer(Shape):
    """A short-lived token."""

    token: Annotated[
        str,
        Meta(
            description="The credential. It is shown only in this answer.",
            examples=["ohk_tok_eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"],
            extra_json_schema={"pattern": r"^ohk_tok_[\w.-]+$"},
        ),
    ]
    scopes: Annotated[list[str], Meta(description="What it may do.", examples=[["read", "write"]])]
    expiresAt: Annotated[Timestamp, Meta(description="When it stops working.")]
    expires_at: Annotated[Timestamp, Meta(description="The same as `expiresAt`.")]


class CredentialSummaryAnswer(Shape):
    """The credential, in the words of older documentation."""

    id: Annotated[str, Meta(description="The same as `apiKeyId`.", examples=["key_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"])]
    name: Annotated[str, Meta(description="The same as `apiKeyName`.", examples=["Backend"])]
    scopes: ScopeNames


class CredentialAnswer(Shape):
    """Who is calling, and what this credential may do."""

    apiKeyId: Annotated[
        str,
        Meta(
            description="The API key's id, for a token too; `master` for the master key.",
            examples=["key_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"],
        ),
    ]
    apiKeyName: Annotated[str, Meta(description="The API key's name, or `master`.", examples=["Backend"])]
    scopes: ScopeNames
    userId: Annotated[UserId | None, Meta(description="The user whom the credential is bound to.")]
    marketplaceId: MarketplaceId
    marketplace_id: Annotated[MarketplaceId, Meta(description="The same as `marketplaceId`.")]
    api_key: CredentialSummaryAnswer
    environment: Literal["live"]


class MarketplaceAnswer(Shape):
    """A tenant: nothing of it is visible to another."""

    id: MarketplaceId
    name: MarketplaceName
    createdAt: Timestamp


@dataclass(frozen=True, slots=True)
class Marketplace:
    """A tenant."""

    id: str
    name: str
    created_at: datetime

    def wire(self) -> MarketplaceAnswer:
        """The marketplace as it is answered."""
        return MarketplaceAnswer(id=self.id, name=self.name, createdAt=to_wire(self.created_at))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it is stored: without its secret, which only its owner has."""

    id: str
    marketplace_id: str
    name: str
    secret_hash: bytes
    last4: str
    scopes: tuple[str, ...]
    user_id: str | None
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_usable(self, now: datetime) -> bool:
        """False once it is revoked or has expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def wire(self) -> ApiKeyAnswer:
        """The key as lists show it (contract 2.2)."""
        return ApiKeyAnswer(
            id=self.id,
            maskedKey=f"ohk_live_***{self.last4}",
            name=self.name,
            userId=self.user_id,
            scopes=list(self.scopes),
            createdAt=to_wire(self.created_at),
            lastUsedAt=_moment(self.last_used_at),
            expiresAt=_moment(self.expires_at),
            revokedAt=_moment(self.revoked_at),
        )

    def created(self, credential: str) -> ApiKeyCreatedAnswer:
        """The new key with its credential."""
        return ApiKeyCreatedAnswer(
            id=self.id,
            key=credential,
            api_key=credential,
            name=self.name,
            scopes=list(self.scopes),
            userId=self.user_id,
            marketplaceId=self.marketplace_id,
            createdAt=to_wire(self.created_at),
            expiresAt=_moment(self.expires_at),
        )

    def revoked(self) -> ApiKeyRevokedAnswer:
        """The key after its revocation."""
        assert self.revoked_at is not None
        moment = to_wire(self.revoked_at)
        return ApiKeyRevokedAnswer(id=self.id, status="revoked", revokedAt=moment, revoked_at=moment)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else to_wire(moment)


def new_credential(key_id: str) -> str:
    """A fresh credential for the key: `ohk_live_key_<32>_<48 hex>`; shown once, never stored."""
    return f"ohk_live_{key_id}_{secrets.token_hex(SECRET_BYTES)}"


def key_id_of(credential: str) -> str | None:
    """The id of the key that the credential claims to be, or None when it has another format."""
    found = _API_KEY.fullmatch(credential)
    return None if found is None else found["id"]


def hash_credential(key_id: str, credential: str) -> bytes:
    """What is stored of a credential. Its 192 random bits need no slow hash, only one that is bound to the row."""
    return hmac.digest(key_id.encode("ascii"), credential.encode(), hashlib.sha256)


_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_ScopeName = Annotated[str, Meta(pattern=r"\A(\*|[a-z][a-z0-9._-]{0,63})\Z")]
_TokenSeconds = Annotated[int, Meta(ge=60, le=86_400)]
_KeySeconds = Annotated[int, Meta(ge=60, le=10 * YEAR_SECONDS)]
_Moment = Annotated[datetime, Meta(tz=True)]


class CreateApiKey(Body):
    """A new key. `ttl` (seconds) and `expiresAt` are two ways to say when it ends; without them it does not."""

    name: Annotated[_Name | None, Meta(description="For people.", examples=["Backend"])] = None
    scopes: Annotated[
        list[_ScopeName],
        Meta(
            max_length=SCOPES_MAX,
            description="What the key may do. `*` and `admin` are granted only by who holds one of them.",
            examples=[["read", "write"]],
        ),
    ] = field(default_factory=list)
    userId: Annotated[
        UserId | None, Meta(description="Binds the key to a user: it sees and moves what is that user's.")
    ] = None
    marketplaceId: Annotated[
        MarketplaceId | None, Meta(description="The key's marketplace; only the master key names another.")
    ] = None
    marketplace_id: Annotated[
        MarketplaceId | None, Meta(description="Another name of `marketplaceId`.", extra_json_schema=ALIAS)
    ] = None
    expiresAt: Annotated[
        _Moment | None,
        Meta(description="When it stops working, with an offset; in the future.", examples=["2036-11-22T00:00:00Z"]),
    ] = None
    ttl: Annotated[_KeySeconds | None, Meta(description="How long it works, in seconds, instead of `expiresAt`.")] = (
        None
    )


class ListApiKeys(PageQuery):
    """Which keys to list."""

    userId: Annotated[UserId | None, Meta(description="Only the keys that are bound to this user.")] = None


class IssueToken(Body):
    """How long the token lives; the key's own end is its end as well."""

    ttl: Annotated[
        _TokenSeconds | None,
        Meta(
            description="In seconds. Without it the token lives as long as the setting `JWT_EXPIRES_IN` says.",
            examples=[3600],
        ),
    ] = None
    ttl_seconds: Annotated[
        _TokenSeconds | None, Meta(description="Another name of `ttl`.", examples=[3600], extra_json_schema=ALIAS)
    ] = None


class CreateMarketplace(Body):
    """A new marketplace."""

    name: Annotated[_Name, Meta(description="Its name, which no other has.", examples=["Sunny Jobs"])]
