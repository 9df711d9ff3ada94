"""From a credential to the actor it stands for.

Keys that were looked up are remembered for at most a second, counted from before the look-up: a revoked key, and
every token issued for it, is refused everywhere a second later. That a key was used is noted in the background, at
most once a minute.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg
import structlog

from offerhub.access import store
from offerhub.access.model import (
    DEFAULT_MARKETPLACE_ID,
    MASTER_SCOPES,
    TOKEN_PREFIX,
    ApiKey,
    hash_credential,
    key_id_of,
)
from offerhub.access.tokens import TokenSigner
from offerhub.errors import InvalidApiKey, MarketplaceNotFound
from offerhub.kernel.clock import Clock, SystemClock
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database
from offerhub.runtime.round_trips import beside

CACHE_SECONDS: Final = 1.0
CACHE_KEYS_MAX: Final = 10_000
TOUCH_INTERVAL_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Remembered:
    key: ApiKey
    until: float


class Credentials:
    """Authenticates API keys, tokens and the master key. `master_key` None switches the master key off.

    `previous_master_key` is accepted beside it while the two overlap, and each use of it is logged.
    """

    def __init__(
        self,
        database: Database,
        *,
        master_key: str | None,
        previous_master_key: str | None = None,
        signer: TokenSigner,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._master = _digest(master_key) if master_key else None
        self._previous_master = _digest(previous_master_key) if previous_master_key else None
        self._signer = signer
        self._clock = clock or SystemClock()
        self._keys: dict[str, _Remembered] = {}
        self._marketplaces = {DEFAULT_MARKETPLACE_ID}
        self._touched: dict[str, float] = {}
        self._touching: set[asyncio.Task[None]] = set()

    async def __call__(self, credential: str, marketplace_id: str | None = None) -> Actor:
        """The actor. `marketplace_id` is where the master key acts; for a key it must be its own, if given.

        Raises InvalidApiKey and MarketplaceNotFound.
        """
        # First of all: a master key may look like anything, even like a token.
        if self._is_master(credential):
            return await self._master_actor(marketplace_id)
        if credential.startswith(TOKEN_PREFIX):
            return _in_marketplace(await self._token_actor(credential), marketplace_id)
        return _in_marketplace(await self._key_actor(credential), marketplace_id)

    async def close(self) -> None:
        """Finish noting which keys were used."""
        await asyncio.gather(*self._touching)

    def _is_master(self, credential: str) -> bool:
        digest = _digest(credential)
        if self._master is not None and hmac.compare_digest(digest, self._master):
            return True
        if self._previous_master is not None and hmac.compare_digest(digest, self._previous_master):
            log.warning("previous_master_key_used")
            return True
        return False

    async def _master_actor(self, marketplace_id: str | None) -> Actor:
        wanted = DEFAULT_MARKETPLACE_ID if marketplace_id is None else marketplace_id
        if wanted not in self._marketplaces:
            known = await self._database.run(lambda tx: store.marketplace_exists(tx, wanted), read_only=True)
            if not known:
                raise MarketplaceNotFound(marketplaceId=wanted)
            self._marketplaces.add(wanted)  # marketplaces are never removed
        return Actor(wanted, "master", "master", "master", MASTER_SCOPES)

    async def _key_actor(self, credential: str) -> Actor:
        key_id = key_id_of(credential)
        if key_id is None:
            raise InvalidApiKey
        key = await self._usable(key_id)
        if not hmac.compare_digest(key.secret_hash, hash_credential(key_id, credential)):
            raise InvalidApiKey
        self._note_use(key)
        return _actor(key, "api_key", key.scopes)

    async def _token_actor(self, credential: str) -> Actor:
        claims = self._signer.verify(credential, now=self._clock.now())
        if claims is None:
            raise InvalidApiKey
        key = await self._usable(claims.sub)
        self._note_use(key)
        return _actor(key, "token", claims.scopes)

    async def _usable(self, key_id: str) -> ApiKey:
        now = self._clock.monotonic()
        remembered = self._keys.get(key_id)
        if remembered is None or remembered.until <= now:
            key = await self._database.run(lambda tx: store.find_key(tx, key_id), read_only=True)
            if key is None:
                raise InvalidApiKey
            if len(self._keys) >= CACHE_KEYS_MAX:
                self._keys.clear()
            remembered = self._keys[key_id] = _Remembered(key, now + CACHE_SECONDS)
        if not remembered.key.is_usable(self._clock.now()):
            raise InvalidApiKey
        return remembered.key

    def _note_use(self, key: ApiKey) -> None:
        now = self._clock.monotonic()
        if now < self._touched.get(key.id, now):
            return
        if len(self._touched) >= CACHE_KEYS_MAX:
            self._touched.clear()
        self._touched[key.id] = now + TOUCH_INTERVAL_SECONDS
        task = asyncio.create_task(self._touch(key.id), context=beside())
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)

    async def _touch(self, key_id: str) -> None:
        try:
            await self._database.run(lambda tx: store.touch_key(tx, key_id, TOUCH_INTERVAL_SECONDS))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("last_use_not_noted", api_key=key_id, error=type(error).__name__)


def _digest(text: str) -> bytes:
    # Of equal length whatever was sent, so that comparing tells nothing about the length either.
    return hashlib.sha256(text.encode()).digest()


def _actor(key: ApiKey, kind: Literal["api_key", "token"], scopes: Iterable[str]) -> Actor:
    return Actor(key.marketplace_id, kind, key.id, key.name, frozenset(scopes), key.user_id)


def _in_marketplace(actor: Actor, marketplace_id: str | None) -> Actor:
    if marketplace_id not in (None, actor.marketplace_id):
        raise MarketplaceNotFound(marketplaceId=marketplace_id)
    return actor
