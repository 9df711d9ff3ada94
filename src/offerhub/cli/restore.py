"""`offerhub restore`: a backup into an empty database, proven, and held back from paying anything twice."""

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import asyncpg
from cyclopts import Parameter
from rich.console import Console

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.audit import chain
from offerhub.cli.backup import FORMAT, Bin, Manifest, describe, digest_of, manifest_of
from offerhub.cli.database import connected
from offerhub.cli.environment import CommandError, environment, run, settings_of
from offerhub.cli.prove import show_proof
from offerhub.cli.remote import AsJson
from offerhub.operations import maintenance
from offerhub.operations.proof import Proof, prove
from offerhub.runtime.actor import system
from offerhub.runtime.database import Tx
from offerhub.runtime.postgres_tools import ToolError, find_tool
from offerhub.runtime.vault import Vault
from offerhub.settings import Keys
from offerhub.wallets.keyring import Keyring

NAME: Final = "offerhub restore"
RESTORED: Final = "RESTORE_DATABASE_URL"
HELD_DAYS: Final = 36_500
"""How long a saga is held back unless somebody lets it go on. The books' proof wants a moment that comes."""

_OCCUPIED: Final = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
"""
_HOLD: Final = """
UPDATE sagas SET next_attempt_at = clock_timestamp() + make_interval(days => $1), lease_holder = NULL,
    lease_until = '-infinity'
WHERE status = 'RUNNING' RETURNING id, kind, subject_id
"""


def restore(
    file: Path,
    /,
    *,
    to: Annotated[str | None, Parameter(env_var=RESTORED, help="The URL of an empty database.")] = None,
    verify: Annotated[bool, Parameter(negative="")] = False,
    as_it_was: Annotated[bool, Parameter(negative="")] = False,
    postgres_bin: Bin = None,
    as_json: AsJson = False,
) -> None:
    """Bring a backup into an empty database, whole or not at all; never over one that has something in it.

    With --verify it then holds what came back against the manifest, runs the proof of the books, walks the audit
    trail, and opens a wallet of each key version with the keys that are set here. Exits with 1 when anything of that
    does not hold.

    Money has moved since the backup. What is restored is therefore under maintenance, and the sagas that were under
    way then are held back: what they were about to pay, the service of that time has probably paid. Read
    docs/operating/backup.md before you let them go on.

    Parameters
    ----------
    file
        What `offerhub backup` wrote, with its manifest beside it.
    verify
        Prove what was restored.
    as_it_was
        Do not switch maintenance on, and hold nothing back: for a drill, or when nothing has happened since.
    """
    manifest = read_manifest(file)
    if to is None:
        raise CommandError(f"say where to, with --to or {RESTORED}: the URL of an empty database.")

    async def work() -> tuple[Verified | None, list[str]]:
        await load_backup(file, manifest, to, postgres_bin)
        verified = await verify_restored(manifest, to) if verify else None
        return verified, [] if as_it_was else await hold(manifest, to)

    verified, held = run(work())
    _tell(manifest, verified, held, as_json)
    if verified is not None and not verified.holds:
        sys.exit(1)


def read_manifest(file: Path) -> Manifest:
    """The manifest, once the file is what it says. Raises CommandError."""
    try:
        told = json.loads(manifest_of(file).read_text(encoding="utf-8"))
        manifest = Manifest(**told)
        digest, size = digest_of(file)
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError) as error:
        raise CommandError(f"{manifest_of(file)} is no manifest of a backup.") from error
    if manifest.format != FORMAT:
        raise CommandError(f"{file} is of a newer program (format {manifest.format}): restore it with that one.")
    if (digest, size) != (manifest.sha256, manifest.bytes):
        raise CommandError(f"{file} is not what was written: its SHA-256 differs from its manifest's. Use another.")
    return manifest


async def load_backup(file: Path, manifest: Manifest, url: str, folder: Path | None = None) -> None:
    """Bring it in. Raises CommandError when the database is not empty, or pg_restore is missing or fails."""
    async with _connected(url) as connection:
        if await connection.fetchval(_OCCUPIED):
            raise CommandError("the database is not empty, and is left as it is: create another (CREATE DATABASE …).")
        major = connection.get_server_version().major
    try:
        tool = await find_tool("pg_restore", max(major, int(manifest.server.split(".")[0])), folder)
        await tool.run(url, "--exit-on-error", "--single-transaction", "--no-owner", str(file))
    except ToolError as error:
        raise CommandError(f"nothing was restored: {error}") from error


@asynccontextmanager
async def _connected(url: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
    connection = await asyncpg.connect(url, server_settings={"application_name": NAME})
    try:
        yield connection
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class Verified:
    """What a restored database was found to be; each fault is a sentence."""

    faults: list[str]
    proof: Proof

    @property
    def holds(self) -> bool:
        """Is everything as it was?"""
        return not self.faults


async def verify_restored(manifest: Manifest, url: str, keys: Keys | None = None) -> Verified:
    """Hold a restored database against its manifest and itself, with these keys, or those that are set here."""
    faults: list[str] = []
    async with _connected(url) as connection:
        found = await describe(connection)
    for table, count in manifest.rows.items():
        if found["rows"].get(table) != count:
            faults.append(f"{table} has {found['rows'].get(table)} rows, the backup had {count}")
    if found["schemaVersion"] != manifest.schemaVersion:
        faults.append(f"schema {found['schemaVersion']}, the backup had {manifest.schemaVersion}")
    keys = keys or settings_of(environment()).keys
    vault = Vault(keys.wallet_keys, keys.wallet_key_version)
    async with connected(url, NAME) as database:
        proof = await prove(database)
        faults += [f"{one.check.invariant}: {one.check.sentence}" for one in proof.findings]
        head = chain.Head.parse(manifest.auditHead) if manifest.auditHead else None
        verdict = await chain.verify(database, vault, head, lambda _: None)
        if not verdict.holds:
            faults.append("the audit trail is not intact: offerhub audit verify names the places")
        for version, opens in (await Keyring(database, vault, "").opens_by_version()).items():
            if not opens:
                faults.append(f"wallets under key version {version} do not open with the keys that are set here")
    return Verified(faults, proof)


async def hold(manifest: Manifest, url: str) -> list[str]:
    """Switch maintenance on and hold back what was under way; returns those sagas, each with what it was about."""
    actor = system(DEFAULT_MARKETPLACE_ID, "restore")
    words = f"Restored from the backup of {manifest.createdAt}; what has happened since is being looked at."

    async def use_case(tx: Tx) -> list[str]:
        await maintenance.enable(tx, actor, words)
        rows = await tx.rows(_HOLD, HELD_DAYS)
        return [f"{row['id']} {row['kind']} {row['subject_id']}" for row in rows]

    async with connected(url, NAME, connections=1) as database:
        return await database.run(use_case)


def _tell(manifest: Manifest, verified: Verified | None, held: Sequence[str], as_json: bool) -> None:
    if as_json:
        told: Mapping[str, Any] = {
            "manifest": asdict(manifest),
            "verified": None if verified is None else verified.holds,
            "faults": [] if verified is None else verified.faults,
            "held": list(held),
        }
        print(json.dumps(told, indent=2))
        return
    print(f"restored: schema {manifest.schemaVersion}, as of {manifest.createdAt}")
    if verified is not None:
        show_proof(verified.proof, Console())
        for fault in verified.faults:
            print(f"does not hold: {fault}")
        print("verified" if verified.holds else "NOT verified")
    for saga in held:
        print(f"held back: {saga}")
    print("Before a service starts on it: docs/operating/backup.md says what to do about what has happened since.")
