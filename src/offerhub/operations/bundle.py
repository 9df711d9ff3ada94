"""The bundle: what an auditor needs to check the books without this program, in one file.

A zip of CSV files, the audit trail as `offerhub audit export` writes it, and a manifest with the SHA-256 of each. All
of it is of one snapshot, and is streamed: nothing is held in memory but what is being written. `verify.py` inside
checks the rest; it is plain Python without imports of ours. No secrets, nothing sealed, no texts that users wrote.
"""

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from offerhub.audit import chain
from offerhub.operations import store
from offerhub.operations.bundle_tables import TABLES
from offerhub.operations.histories import HISTORIES, told_by
from offerhub.operations.proof import CHECK_SECONDS_MAX, prepare
from offerhub.runtime.database import Database, Tx

FORMAT: Final = "offerhub-bundle/1"
VERIFIER: Final = Path(__file__).with_name("verify_bundle.py")
AUDIT: Final = "audit.txt"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was written: rows by file, and the SHA-256 of the manifest, to be kept elsewhere."""

    rows: dict[str, int]
    manifest_sha256: str


class _Member:
    """A file of the bundle that is being written: what goes in is hashed and its lines are counted."""

    def __init__(self, to: IO[bytes]) -> None:
        self._to = to
        self._hash = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Add to the file."""
        self._to.write(data)
        self._hash.update(data)
        self.bytes += len(data)
        return len(data)

    async def take(self, data: bytes) -> None:
        """The same, for who waits for it."""
        self.write(data)

    def told(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {"sha256": self._hash.hexdigest(), "bytes": self.bytes}


class _Text:
    """Lines into a member, as UTF-8."""

    def __init__(self, member: _Member) -> None:
        self._member = member

    def writelines(self, lines: Iterable[str], /) -> None:
        """Add to the file."""
        for line in lines:
            self._member.write(line.encode())


async def write(
    database: Database,
    to: IO[bytes],
    *,
    program: str,
    network_id: str,
    with_audit: bool = True,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Bundle:
    """Write the bundle. `network_id` is SHA-256 of the network's passphrase, in hexadecimal.

    `progress` is told how many files of how many are done, and which one begins. Raises what the database raises.
    """

    async def run(tx: Tx) -> Bundle:
        await prepare(tx)
        files: dict[str, dict[str, Any]] = {}
        total = len(TABLES) + 2 + int(with_audit)
        with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:

            @contextlib.contextmanager
            def member(name: str) -> Iterator[_Member]:
                progress(len(files), total, name)
                with archive.open(name, "w", force_zip64=True) as opened:
                    made = _Member(opened)
                    yield made
                files[name] = made.told()

            with member("verify.py") as file:
                file.write(VERIFIER.read_bytes())
            with member("machines.json") as file:
                file.write(_pretty(_machines()))
            for table in TABLES:
                with member(table.file) as file:
                    rows = await tx.copy(table.sql, file.take, seconds=CHECK_SECONDS_MAX)
                files[table.file]["rows"] = rows
            head = None
            if with_audit:
                # Read batch by batch, each of which is a few rows of a long chain.
                await tx.execute("SET LOCAL enable_nestloop = on")
                with member(AUDIT) as file:
                    head = await chain.write(tx, _Text(file), 0, lambda _: None)
                files[AUDIT]["rows"] = head.sequence
            manifest = {
                "format": FORMAT,
                "program": program,
                "networkId": network_id,
                "auditHead": None if head is None else str(head),
                **await store.snapshot_facts(tx),
                "files": files,
            }
            text = _pretty(manifest)
            digest = hashlib.sha256(text).hexdigest()
            archive.writestr("manifest.json", text)
            archive.writestr("manifest.sha256", digest + "\n")
        progress(total, total, "")
        return Bundle({name: told["rows"] for name, told in files.items() if "rows" in told}, digest)

    return await database.snapshot(run)


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _machines() -> dict[str, Any]:
    """The machines whose states are exported: which row of `moves.csv` is theirs, and what their events tell."""
    return {
        aggregate: {"machine": machine.column, "initial": machine.initial, "events": told_by(aggregate)}
        for aggregate, machine in HISTORIES.items()
    }
