"""The chain of the audit trail: sealing what has been committed, and finding what was changed since.

Link n is SHA-256 of link n-1 (32 zero bytes before the first) followed by entry n as text. The end of each batch is
sealed under the wallets' key, which the database does not hold.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from offerhub.audit import store
from offerhub.runtime.database import Database, Row, Tx
from offerhub.runtime.vault import Sealed, Vault, VaultError

GENESIS: Final = bytes(32)
BATCH: Final = 5000
FINDINGS_MAX: Final = 1000
"""How many findings a verification keeps; it goes on counting."""
OTHER_CHAIN: Final = "the chain up to here is not the one whose head was kept elsewhere"
ENDS_EARLY: Final = "the chain ends before the head that was kept elsewhere: its last links were removed"


def link(previous: bytes, content: str) -> bytes:
    """The hash of an entry after the one whose hash is `previous`."""
    return hashlib.sha256(previous + content.encode()).digest()


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain: kept elsewhere, it also shows when the newest entries were taken away."""

    sequence: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read what `str` wrote. Raises ValueError."""
        number, _, digest = text.partition(":")
        found = cls(int(number), bytes.fromhex(digest))
        if found.sequence < 0 or len(found.hash) != len(GENESIS):
            raise ValueError(f"not the end of a chain: {text!r}")
        return found


class Sealer:
    """Appends committed entries to the chain; any number of processes may, one at a time does."""

    def __init__(self, vault: Vault, batch: int = BATCH) -> None:
        self._vault = vault
        self._batch = batch

    async def seal(self, tx: Tx) -> int:
        """Seal one batch; returns how many entries it has, 0 also while another process is sealing."""
        turn = await store.begin_sealing(tx)
        if turn is None:
            return 0
        found = await store.unsealed(tx, turn.settled, self._batch)
        if found:
            await self._append(tx, Head(turn.sequence, turn.hash or GENESIS), found)
        if len(found) < self._batch:
            await store.note_progress(tx, turn)
        return len(found)

    async def _append(self, tx: Tx, head: Head, found: list[Row]) -> None:
        hashes = []
        previous = head.hash
        for entry in found:
            previous = link(previous, entry["content"])
            hashes.append(previous)
        await store.append(tx, head.sequence, [entry["id"] for entry in found], hashes)
        end = Head(head.sequence + len(found), previous)
        sealed = self._vault.seal(str(end).encode(), bound_to=_owner(end.sequence))
        await store.keep_seal(tx, end.sequence, sealed.version, sealed.blob)


def _owner(sequence: int) -> str:
    return f"audit-seal:{sequence}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was sealed: where in the chain, and what is wrong there, in words."""

    sequence: int
    entry_id: str | None
    reason: str


@dataclass(slots=True)
class Verdict:
    """What a verification saw. `waiting` entries have been committed but not sealed yet."""

    entries: int = 0
    seals: int = 0
    waiting: int = 0
    head: Head = Head(0, GENESIS)
    found: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True when nothing was found."""
        return self.found == 0

    def add(self, sequence: int, entry_id: str | None, reason: str) -> None:
        """Note a finding."""
        self.found += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(sequence, entry_id, reason))

    def wire(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return {
            "holds": self.holds,
            "entries": self.entries,
            "seals": self.seals,
            "waiting": self.waiting,
            "head": str(self.head),
            "found": self.found,
            "findings": [
                {"sequence": one.sequence, "entryId": one.entry_id, "reason": one.reason} for one in self.findings
            ],
        }


async def verify(
    database: Database, vault: Vault, anchor: Head | None = None, progress: Callable[[int], Any] = lambda _: None
) -> Verdict:
    """Walk the whole chain on one snapshot; nothing is written or locked. `progress` hears how many were walked.

    `anchor` is the end of the chain as it was kept elsewhere at some earlier time.
    """

    async def walk(tx: Tx) -> Verdict:
        verdict = Verdict()
        seals = await _seals(tx, vault, verdict)
        while rows := await store.links(tx, verdict.head.sequence, BATCH):
            for row in rows:
                _check_link(row, verdict, seals, anchor)
            progress(len(rows))
        newest = await store.newest_seal(tx)
        if verdict.head.sequence > newest:
            verdict.add(newest + 1, None, "the chain goes on after its last seal: the links from here on were added")
        for sequence in seals:
            verdict.add(sequence, None, "the chain ends before this seal: its last links were removed")
        if anchor is not None and anchor.sequence > verdict.head.sequence:
            verdict.add(anchor.sequence, None, ENDS_EARLY)
        for row in await store.strangers(tx, FINDINGS_MAX):
            verdict.add(0, row["id"], "stands among sealed entries without a link: it was added later")
        verdict.waiting = await store.waiting(tx)
        return verdict

    return await database.snapshot(walk)


async def _seals(tx: Tx, vault: Vault, verdict: Verdict) -> dict[int, bytes]:
    """The hash that each seal vouches for, by the sequence of its link. Seals that do not open are findings."""
    vouched: dict[int, bytes] = {}
    newest = True
    for row in await store.seals(tx):
        verdict.seals += 1
        sequence = row["last_sequence"]
        try:
            opened = vault.open(Sealed(row["key_version"], row["seal"]), bound_to=_owner(sequence))
            vouched[sequence] = Head.parse(opened.decode()).hash
        except VaultError as error:
            # Of keys that are gone only the newest seal matters: it vouches for the whole chain before it.
            if row["key_version"] in vault.keys or newest:
                verdict.add(sequence, None, f"its seal does not open: {error}")
        newest = False
    return vouched


def _check_link(row: Row, verdict: Verdict, seals: dict[int, bytes], anchor: Head | None) -> None:
    """Compare one link with its entry and with the link before, which the verdict's head is; it moves on."""
    sequence, entry_id, content, kept = row["sequence"], row["entry_id"], row["content"], row["hash"]
    gap = sequence - verdict.head.sequence - 1
    if gap:
        verdict.add(sequence - gap, None, f"{gap} links were removed")
    if content is None:
        verdict.add(sequence, entry_id, "the entry was removed")
    elif not gap and link(verdict.head.hash, content) != kept:
        verdict.add(sequence, entry_id, "the entry or its place was changed")
    if seals.pop(sequence, kept) != kept:
        verdict.add(sequence, entry_id, "the chain up to here is not the one that was sealed")
    if anchor is not None and anchor.sequence == sequence and anchor.hash != kept:
        verdict.add(sequence, entry_id, OTHER_CHAIN)
    verdict.entries += 1
    verdict.head = Head(sequence, kept)


class Lines(Protocol):
    """Where an export is written to."""

    def writelines(self, lines: Iterable[str], /) -> None:
        """Add these."""
        ...


async def write(tx: Tx, to: Lines, after: int, progress: Callable[[int], Any]) -> Head:
    """Write the links after a sequence, each `<sequence> <hash in hex> <entry as it was hashed>`; returns the end."""
    head = Head(after, GENESIS)
    while rows := await store.links(tx, head.sequence, BATCH):
        to.writelines(f"{row['sequence']} {row['hash'].hex()} {row['content'] or ''}\n" for row in rows)
        progress(len(rows))
        head = Head(rows[-1]["sequence"], rows[-1]["hash"])
    return head


async def export(database: Database, to: Lines, after: int, progress: Callable[[int], Any]) -> Head:
    """The same on a snapshot of its own."""
    return await database.snapshot(lambda tx: write(tx, to, after, progress))


def verify_export(text: Iterable[str], anchor: Head | None = None) -> Verdict:
    """Check an export without a database. It may begin anywhere: its first line is then taken as it stands.

    Only an `anchor` that was kept elsewhere tells an export from one that was made up as a whole.
    """
    verdict = Verdict()
    for number, line in enumerate(text, 1):
        try:
            place, digest, content = line.rstrip("\n").split(" ", 2)
            sequence, kept = int(place), Head.parse(f"{place}:{digest}").hash
        except ValueError:
            verdict.add(number, None, f"line {number} is not one of an export")
            continue
        first = verdict.entries == 0 and sequence != 1
        if sequence != verdict.head.sequence + 1 and not first:
            verdict.add(sequence, None, f"follows {verdict.head.sequence}: lines were removed or reordered")
        elif not first and link(verdict.head.hash, content) != kept:
            verdict.add(sequence, None, "the entry was changed")
        if anchor is not None and anchor.sequence == sequence and anchor.hash != kept:
            verdict.add(sequence, None, OTHER_CHAIN)
        verdict.entries += 1
        verdict.head = Head(sequence, kept)
    if anchor is not None and anchor.sequence > verdict.head.sequence:
        verdict.add(anchor.sequence, None, ENDS_EARLY)
    return verdict
