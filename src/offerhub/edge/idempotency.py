"""Idempotency keys: one key, one effect, one answer (contract 1.9).

The claim on a key, the effect and the stored answer are one transaction. While it runs, an advisory lock that ends
with it tells duplicates at once that the first is still being worked on; once it is answered, so are all of them. A
request that started a saga leaves the saga's id behind: whoever comes back with the key, after a crash too, is
answered from the saga.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from offerhub.edge.answers import Reply
from offerhub.errors import AnswerUnreadable, IdempotencyKeyInProgress, IdempotencyKeyReused, Refusal
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Tx
from offerhub.runtime.routes import Route
from offerhub.runtime.vault import Sealed, Vault, VaultError, wipe

# Sent as a script, which has no parameters: the texts are hexadecimal, so that nothing in them can end a literal.
_TEXT = "convert_from(decode('{}', 'hex'), 'UTF8')"
_BEGIN = f"BEGIN; SELECT idempotency_begin({_TEXT}, {_TEXT}); SAVEPOINT effect"
TAKEN: Final = "OH013"
"""What PostgreSQL says of a key that an earlier request has or has had."""
_KEEP = """
INSERT INTO idempotent_requests AS r (credential_id, key, marketplace_id, method, path, fingerprint, expires_at,
    status, body, saga_id, completed_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7), $8, $9, $10,
    CASE WHEN $8::integer IS NOT NULL THEN clock_timestamp() END)
ON CONFLICT (credential_id, key) DO UPDATE
SET marketplace_id = excluded.marketplace_id, method = excluded.method, path = excluded.path,
    fingerprint = excluded.fingerprint, saga_id = excluded.saga_id, status = excluded.status, body = excluded.body,
    created_at = clock_timestamp(), completed_at = excluded.completed_at, expires_at = excluded.expires_at
WHERE r.expires_at <= clock_timestamp()
"""
_READ = "SELECT fingerprint, saga_id, status, body FROM idempotent_requests WHERE credential_id = $1 AND key = $2"
_READ_LIVE = _READ + " AND expires_at > clock_timestamp()"
# A key that was released and claimed anew belongs to another saga: a late answer must not touch it.
_READ_LOCKED = _READ + " AND saga_id = $3 FOR UPDATE"
_ANSWERED = """
UPDATE idempotent_requests SET status = $3, body = $4, completed_at = clock_timestamp()
WHERE credential_id = $1 AND key = $2 AND saga_id = $5
"""
_RELEASE = "DELETE FROM idempotent_requests WHERE credential_id = $1 AND key = $2 AND saga_id = $3"
_KNOWN = """
SELECT EXISTS (
    SELECT FROM idempotent_requests WHERE credential_id = $1 AND key = $2 AND expires_at > clock_timestamp())
"""

_LOOK_UP = """
SELECT method, path, status, created_at, completed_at, expires_at FROM idempotent_requests
WHERE credential_id = $1 AND key = $2 AND expires_at > clock_timestamp()
"""

_PURGE = """
DELETE FROM idempotent_requests WHERE (credential_id, key) IN (
    SELECT credential_id, key FROM idempotent_requests WHERE expires_at <= now()
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
"""
PURGE_BATCH: Final = 1_000

# A sealed answer begins with the version of its key, whose first byte is 0; JSON never does.
_SEALED = r"""
SELECT credential_id, key, body FROM idempotent_requests
WHERE (credential_id, key) > ($1, $2) AND substring(body FROM 1 FOR 1) = '\x00'::bytea
    AND expires_at > clock_timestamp()
ORDER BY credential_id, key LIMIT $3 FOR UPDATE
"""
_RESEALED = "UPDATE idempotent_requests SET body = $3 WHERE credential_id = $1 AND key = $2"
RESEAL_BATCH: Final = 500

_canonical = msgspec.json.Encoder(order="deterministic")


async def purge(tx: Tx) -> int:
    """Forget a batch of answers whose time is over; returns how many. They count as absent already."""
    return await tx.execute(_PURGE, PURGE_BATCH)


@dataclass(frozen=True, slots=True)
class Resealed:
    """A batch of sealed answers: the last (credential, key) that was looked at, and how many were sealed anew."""

    last: tuple[str, str]
    resealed: int


async def reseal(tx: Tx, vault: Vault, after: tuple[str, str]) -> Resealed | None:
    """Seal the next batch of kept answers anew under the current key; None when there is none behind `after`.

    One that opens under no key that we have stays as it is: its request is answered with AnswerUnreadable until
    its time is over.
    """
    rows = await tx.rows(_SEALED, *after, RESEAL_BATCH)
    if not rows:
        return None
    resealed = 0
    for row in rows:
        bound_to = _bound_to(row["credential_id"], row["key"])
        version = int.from_bytes(row["body"][:4], "big")
        if version == vault.current or version not in vault.keys:
            continue
        try:
            opened = vault.open(Sealed(version, row["body"][4:]), bound_to=bound_to)
        except VaultError:
            continue
        await tx.execute(_RESEALED, row["credential_id"], row["key"], _seal(vault, opened, bound_to))
        wipe(opened)
        resealed += 1
    return Resealed((rows[-1]["credential_id"], rows[-1]["key"]), resealed)


def _bound_to(credential_id: str, key: str) -> str:
    return f"idempotent:{credential_id}:{key}"


def _seal(vault: Vault, body: bytes | bytearray, bound_to: str) -> bytes:
    sealed = vault.seal(body, bound_to=bound_to)
    return sealed.version.to_bytes(4, "big") + sealed.blob


def fingerprint(method: str, path: str, body: Any) -> bytes:
    """What makes two requests the same: the path below the base path, and the body without its key order."""
    described = f"{method}\n{path}\n".encode()
    return hashlib.sha256(described + _canonical.encode(body)).digest()


@dataclass(frozen=True, slots=True)
class KeyState:
    """What became of a request with a key, without its answer; `status` is None while it is being worked on."""

    method: str
    path: str
    status: int | None
    created_at: datetime
    completed_at: datetime | None
    expires_at: datetime


async def look_up(tx: Tx, actor: Actor, key: str) -> KeyState | None:
    """What became of the caller's own key, None when it is not known (any more)."""
    row = await tx.row(_LOOK_UP, owner_of(actor), key)
    if row is None:
        return None
    return KeyState(
        row["method"], row["path"], row["status"], row["created_at"], row["completed_at"], row["expires_at"]
    )


def owner_of(actor: Actor) -> str:
    """Whose keys an actor uses. The master key acts in many marketplaces and has keys for each."""
    master = actor.kind == "master"
    return f"{actor.credential_id}:{actor.marketplace_id}" if master else actor.credential_id


def is_final(refusal: Refusal) -> bool:
    """True when a refusal is the answer to the request for good, so that a repetition gets the same one.

    Faults of ours, of providers or of the caller's credential, and whatever says "try again", free the key instead.
    """
    return refusal.status < 500 and refusal.status not in (401, 403, 429) and refusal.retry_after_seconds is None


@dataclass(frozen=True, slots=True)
class Started:
    """An earlier request with this key started a saga and has not been answered yet."""

    saga_id: str


class Claim(msgspec.Struct, frozen=True):
    """One key of one credential, for one request. Every method runs inside the caller's transaction."""

    credential_id: str
    key: str
    fingerprint: bytes
    vault: Vault | None

    @classmethod
    def of(cls, actor: Actor, route: Route, key: str, path: str, body: Any, vault: Vault | None) -> "Claim":
        """The claim that a request makes."""
        return cls(owner_of(actor), key, fingerprint(route.method, path, body), vault if route.sealed else None)

    def described(self, actor: Actor, route: Route, path: str) -> dict[str, Any]:
        """The claim as `perform_one` takes it, which keeps the answer as well."""
        assert self.vault is None, "an answer that is sealed is not made in the database"
        return {
            "credential": self.credential_id,
            "key": self.key,
            "marketplace": actor.marketplace_id,
            "method": route.method,
            "path": path,
            "fingerprint": self.fingerprint.hex(),
            "status": route.status,
            "seconds": route.idempotency_seconds,
        }

    def begin(self) -> str:
        """What a transaction begins with that takes the key until its end, and has a savepoint `effect` behind it.

        It fails with TAKEN when an earlier request has the key or has had it: then `earlier` tells what came of it.
        """
        return _BEGIN.format(self.credential_id.encode().hex(), self.key.encode().hex())

    async def earlier(self, tx: Tx) -> Reply | Started:
        """What came of the earlier request with the key.

        Raises IdempotencyKeyInProgress, IdempotencyKeyReused and AnswerUnreadable.
        """
        # Nothing is there while the earlier one is inside its transaction, or when the key has been released.
        row = await tx.row(_READ_LIVE, self.credential_id, self.key)
        if row is None:
            raise IdempotencyKeyInProgress(idempotency_key=self.key)
        if row["fingerprint"] != self.fingerprint:
            raise IdempotencyKeyReused(idempotency_key=self.key)
        if row["status"] is not None:
            return self._replay(row["status"], row["body"])
        assert row["saga_id"] is not None, "a key is kept with its answer or with its saga"
        return Started(row["saga_id"])

    async def keep(self, tx: Tx, actor: Actor, route: Route, path: str, outcome: Reply | Started) -> None:
        """Keep the key with its answer, for replay, or with the saga that the answer depends on."""
        kept = await tx.execute(
            _KEEP,
            self.credential_id,
            self.key,
            actor.marketplace_id,
            route.method,
            path,
            self.fingerprint,
            float(route.idempotency_seconds),
            outcome.status if isinstance(outcome, Reply) else None,
            self._sealed(outcome.body) if isinstance(outcome, Reply) else None,
            outcome.saga_id if isinstance(outcome, Started) else None,
        )
        if kept == 0:  # somebody else has had it meanwhile, who knows nothing of the lock
            raise IdempotencyKeyInProgress(idempotency_key=self.key)

    async def is_known(self, tx: Tx) -> bool:
        """True when an earlier request with the key has left its answer or its saga behind: nothing new begins."""
        return bool(await tx.value(_KNOWN, self.credential_id, self.key))

    async def answered(self, tx: Tx, saga_id: str) -> Reply | None:
        """The answer of this saga, if another waiter stored it first; locks the row, so that one answer is stored."""
        row = await tx.row(_READ_LOCKED, self.credential_id, self.key, saga_id)
        return None if row is None or row["status"] is None else self._replay(row["status"], row["body"])

    async def store(self, tx: Tx, reply: Reply, saga_id: str) -> None:
        """Keep the answer of the key's saga for replay."""
        body = self._sealed(reply.body)
        await tx.execute(_ANSWERED, self.credential_id, self.key, reply.status, body, saga_id)

    async def release(self, tx: Tx, saga_id: str) -> None:
        """Forget the key: the saga came to nothing and the request may be tried again."""
        await tx.execute(_RELEASE, self.credential_id, self.key, saga_id)

    def replay_headers(self) -> list[tuple[bytes, bytes]]:
        """What marks an answer as a repetition."""
        return [(b"idempotency-replay", b"true"), (b"x-idempotency-key", self.key.encode("ascii"))]

    def _replay(self, status: int, body: bytes) -> Reply:
        return Reply(status, self._opened(body), self.replay_headers())

    def _sealed(self, body: bytes) -> bytes:
        if self.vault is None:
            return body
        return _seal(self.vault, body, _bound_to(self.credential_id, self.key))

    def _opened(self, body: bytes) -> bytes:
        if self.vault is None:
            return body
        sealed = Sealed(int.from_bytes(body[:4], "big"), body[4:])
        try:
            return bytes(self.vault.open(sealed, bound_to=_bound_to(self.credential_id, self.key)))
        except VaultError as error:
            raise AnswerUnreadable(idempotency_key=self.key, version=sealed.version) from error
