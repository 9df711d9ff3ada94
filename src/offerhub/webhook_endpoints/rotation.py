"""Sealing the secrets of all endpoints anew under the current key, while the service runs.

A batch is one transaction in which its secrets are locked. Whatever is killed in between leaves each secret whole
under one key or the other. One that opens under no key that we have stays as it is, and is named.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from offerhub.events.journal import AuditEntry, record
from offerhub.runtime.actor import Actor
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.vault import VaultError
from offerhub.webhook_endpoints import store
from offerhub.webhook_endpoints.service import RESOURCE
from offerhub.webhook_endpoints.signing import SecretBox

BATCH: Final = 200


@dataclass(slots=True)
class Rotated:
    """What a run has done: secrets sealed anew, and `endpoint:number` to reason of those that did not open."""

    secrets: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


async def secrets_by_version(database: Database) -> dict[int, int]:
    """How many secrets each version of the key seals."""
    return await database.run(store.secrets_by_key_version, read_only=True)


@dataclass(frozen=True, slots=True)
class _Batch:
    last: tuple[str, int]
    resealed: int
    unreadable: dict[str, str]


async def rotate(database: Database, box: SecretBox, actor: Actor, *, dry: bool = False) -> Rotated:
    """Go through all secrets under another key. With `dry` each is opened, and nothing is written."""
    done = Rotated()
    after = ("", 0)
    while True:
        batch = await database.run(partial(_reseal, box=box, actor=actor, after=after, dry=dry))
        if batch is None:
            return done
        after = batch.last
        done.secrets += batch.resealed
        done.unreadable |= batch.unreadable


async def _reseal(tx: Tx, *, box: SecretBox, actor: Actor, after: tuple[str, int], dry: bool) -> _Batch | None:
    found = await store.sealed_under_other(tx, box.key_version, after, BATCH)
    if not found:
        return None
    resealed = 0
    unreadable: dict[str, str] = {}
    for endpoint_id, number, sealed in found:
        try:
            again = box.reseal(endpoint_id, number, sealed)
        except VaultError as error:
            unreadable[f"{endpoint_id}:{number}"] = str(error)
            continue
        if not dry:
            await store.replace_secret(tx, endpoint_id, number, again)
        resealed += 1
    if resealed and not dry:
        told = {"version": box.key_version, "secrets": resealed, "last": found[-1][0]}
        entry = AuditEntry("WEBHOOK_SECRETS_ROTATED", RESOURCE, f"version-{box.key_version}", None, told)
        await record(tx, actor, audit=[entry])
    return _Batch(found[-1][:2], resealed, unreadable)
