"""The sandbox's ledgers on disk: one JSON line per ledger that held transactions, replayed at start.

Only envelopes and changes by the controls are kept, because everything else follows from them. A line is written
before anybody is told that the ledger closed. Empty ledgers are not written one by one: a `reserved` line announces
numbers in advance, so that after a kill the ledger number never steps back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from offerhub.sandbox.append_log import AppendLog

FORMAT: Final = 1
LEDGERS_RESERVED: Final = 1_000
RESET: Final = "reset"
"""The change after which ledgers count from the beginning."""


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """What a control changed between two ledgers (sandbox.changes), or how the clock ran (`clock`)."""

    kind: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class JournalLine:
    """A ledger that held transactions; `closed_at` in Unix seconds, envelopes in base64, in order."""

    ledger: int
    closed_at: int
    envelopes: Sequence[str]


class Journal:
    """The file of ledgers. `lines` must be read through before anything is written."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self._log = AppendLog(path, {"format": FORMAT, **identity})
        self.reserved = 0

    def lines(self) -> Iterator[JournalLine | ChangeLine]:
        """What was written before. Raises ForeignLog for somebody else's file."""
        for line in self._log.lines():
            if "change" in line:
                if line["change"] == RESET:
                    self.reserved = 0
                yield ChangeLine(line["change"], line["body"])
            self.reserved = max(self.reserved, line.get("reserved", 0))
            if "ledger" in line:
                yield JournalLine(line["ledger"], line["closed_at"], line["envelopes"])

    def append(self, ledger: int, closed_at: int, envelopes: Sequence[str]) -> None:
        """Remember a ledger; returns when the operating system has it."""
        if ledger > self.reserved:
            self.reserved = ledger + LEDGERS_RESERVED
            self._log.write({"reserved": self.reserved})
        if envelopes:
            self._log.write({"ledger": ledger, "closed_at": closed_at, "envelopes": list(envelopes)})

    def note(self, kind: str, body: dict[str, Any]) -> None:
        """Remember a change; returns when the operating system has it."""
        if kind == RESET:
            self.reserved = 0
        self._log.write({"change": kind, "body": body})

    def close(self) -> None:
        """Close the file."""
        self._log.close()
