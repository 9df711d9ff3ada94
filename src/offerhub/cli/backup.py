"""`offerhub backup`: the database as one file, with a manifest that says what is in it."""

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import asyncpg
from cyclopts import Parameter

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.cli.database import connected
from offerhub.cli.environment import CommandError, environment, run, services, settings_of
from offerhub.cli.remote import AsJson
from offerhub.cli.secrets import write_private
from offerhub.events.journal import AuditEntry, record
from offerhub.kernel.clock import SystemClock, to_wire
from offerhub.kernel.version import VERSION
from offerhub.runtime.actor import system
from offerhub.runtime.database import UNREACHABLE
from offerhub.runtime.postgres_tools import ToolError, find_tool
from offerhub.settings import Settings

NAME: Final = "offerhub backup"
FORMAT: Final = 1
MANIFEST_SUFFIX: Final = ".manifest.json"
LOCK_WAIT: Final = "--lock-wait-timeout=60s"
"""A migration that runs meanwhile is waited for; rather no backup than one that queues everybody behind it."""
READ_BYTES: Final = 1 << 20
COUNTED: Final = ("ledger.postings", "ledger.transactions", "orders", "withdrawals", "wallets", "audit_entries")

Bin = Annotated[Path | None, Parameter(name="--postgres-bin", help="The folder of pg_dump and pg_restore.")]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is, beside its file. Read by `restore` before it believes the file."""

    format: int
    sha256: str
    bytes: int
    createdAt: str
    program: str
    server: str
    schemaVersion: int
    rows: dict[str, int]
    walletKeyVersions: list[int]
    """The versions of WALLET_ENCRYPTION_KEY without which the wallets in it do not open."""
    auditHead: str
    """The end of the audit trail's chain at that moment."""


def manifest_of(file: Path) -> Path:
    """Where a backup's manifest is."""
    return file.with_name(f"{file.name}{MANIFEST_SUFFIX}")


def backup(file: Path, /, *, postgres_bin: Bin = None, as_json: AsJson = False) -> None:
    """Write the whole database to a file, from one snapshot, while the service runs.

    Needs pg_dump of the server's release or a newer one. Beside the file goes its manifest, with the file's SHA-256,
    what is in it, and which wallet keys it needs: those are in no backup. Both can be read by their owner alone.
    The audit trail is told, and the metrics tell the backup's age.

    Parameters
    ----------
    file
        A new file. It is written whole or not at all.
    """
    if file.exists():
        raise CommandError(f"{file} is there already.")

    async def work(settings: Settings) -> Manifest:
        made = await write_backup(settings, file, postgres_bin)
        try:
            await note(settings, file, made)
        except UNREACHABLE as error:
            # At a standby, or before an upgrade whose program this already is. The file is as good.
            print(f"offerhub: its age will not be told, because it could not be noted: {error}", file=sys.stderr)
        return made

    with services(settings_of(environment()), begin=False) as settings:
        manifest = run(work(settings))
    if as_json:
        print(json.dumps(asdict(manifest), indent=2))
    else:
        keys = ", ".join(map(str, manifest.walletKeyVersions)) or "none"
        print(f"{file}: {manifest.bytes} bytes, sha256 {manifest.sha256}")
        print(f"schema {manifest.schemaVersion}, {manifest.rows['ledger.postings']} postings, wallet keys: {keys}")


async def write_backup(settings: Settings, file: Path, folder: Path | None = None) -> Manifest:
    """Write file and manifest. Raises CommandError without a fitting pg_dump, or when that fails."""
    url = settings.storage.direct_url.reveal()
    part, manifest_file = file.with_name(f"{file.name}.part"), manifest_of(file)
    connection = await asyncpg.connect(url, server_settings={"application_name": NAME})
    try:
        tool = await find_tool("pg_dump", connection.get_server_version().major, folder)
        part.unlink(missing_ok=True)
        part.touch(mode=0o600, exist_ok=False)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # The dump and what the manifest says of it are of one moment.
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            told = await describe(connection)
            await tool.run(url, "--format=custom", LOCK_WAIT, f"--snapshot={snapshot}", f"--file={part}")
        digest, size = digest_of(part)
        manifest = Manifest(FORMAT, digest, size, to_wire(SystemClock().now()), VERSION, **told)
        manifest_file.unlink(missing_ok=True)
        write_private(manifest_file, json.dumps(asdict(manifest), indent=2) + "\n")
        part.rename(file)
    except (ToolError, OSError) as error:
        raise CommandError(f"no backup was made: {error}") from error
    else:
        return manifest
    finally:
        part.unlink(missing_ok=True)
        await connection.close()


async def note(settings: Settings, file: Path, manifest: Manifest) -> None:
    """Tell the audit trail who has a copy of everything; the metrics read the backup's age there."""
    after = {"file": file.name, "sha256": manifest.sha256, "bytes": manifest.bytes, "createdAt": manifest.createdAt}
    entry = AuditEntry("BACKUP_CREATED", "Backup", "installation", after=after)
    actor = system(DEFAULT_MARKETPLACE_ID, "backup")
    async with connected(settings.storage.direct_url.reveal(), NAME, connections=1) as database:
        await database.run(lambda tx: record(tx, actor, audit=[entry]))


async def describe(connection: "asyncpg.Connection[Any]") -> dict[str, Any]:
    """What a manifest says of a database's content."""
    head = await connection.fetchrow("SELECT sequence, hash FROM audit_chain ORDER BY sequence DESC LIMIT 1")
    versions = await connection.fetch("SELECT DISTINCT key_version FROM wallets ORDER BY 1")
    return {
        "server": await connection.fetchval("SELECT current_setting('server_version')"),
        "schemaVersion": await connection.fetchval("SELECT max(version) FROM schema_migrations"),
        "rows": await _counts(connection),
        "walletKeyVersions": [row[0] for row in versions],
        "auditHead": "" if head is None else f"{head['sequence']}:{head['hash'].hex()}",
    }


async def _counts(connection: "asyncpg.Connection[Any]") -> dict[str, int]:
    return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in COUNTED}


def digest_of(path: Path) -> tuple[str, int]:
    """A file's SHA-256 and its length."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size
