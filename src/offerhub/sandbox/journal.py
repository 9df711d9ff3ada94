"""The sandbox's memory on disk: one JSON line per ledger that held transactions, replayed at start.

Only envelopes are kept, because everything else follows from them. A line is written before anybody is told
that the ledger closed; a torn last line, left by a kill, is cut off. Empty ledgers are not written one by one:
a `reserved` line announces numbers in advance, so that after a kill the ledger number never steps back.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

FORMAT: Final = 1
LEDGERS_RESERVED: Final = 1_000


class JournalError(RuntimeError):
    """The state file belongs to a sandbox with another seed, passphrase or format."""


@dataclass(frozen=True, slots=True)
class JournalLine:
    """A ledger that held transactions; `closed_at` in Unix seconds, envelopes in base64, in order."""

    ledger: int
    closed_at: int
    envelopes: Sequence[str]


class Journal:
    """An append-only file. `lines` must be read through before anything is written."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self._path = path
        self._identity = {"format": FORMAT, **identity}
        self._file: TextIO | None = None
        self.reserved = 0

    def lines(self) -> Iterator[JournalLine]:
        """What was written before. Raises JournalError for somebody else's file."""
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        texts = whole.decode().splitlines()
        if texts and json.loads(texts[0]) != self._identity:
            raise JournalError(f"{self._path} was written by another sandbox: {texts[0][:200]}")
        for text in texts[1:]:
            line = json.loads(text)
            self.reserved = max(self.reserved, line.get("reserved", 0))
            if "ledger" in line:
                yield JournalLine(line["ledger"], line["closed_at"], line["envelopes"])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a")
        if not texts:
            self._write(self._identity)

    def append(self, ledger: int, closed_at: int, envelopes: Sequence[str]) -> None:
        """Remember a ledger; returns when the operating system has it."""
        if ledger > self.reserved:
            self.reserved = ledger + LEDGERS_RESERVED
            self._write({"reserved": self.reserved})
        if envelopes:
            self._write({"ledger": ledger, "closed_at": closed_at, "envelopes": list(envelopes)})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None, "lines() comes first"
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()
