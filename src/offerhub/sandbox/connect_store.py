"""What the Connect face remembers: tables by kind, and the file beside the sandbox's own that holds them."""

import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

from offerhub.sandbox.append_log import AppendLog
from offerhub.sandbox.connect_model import Client, Code, Gift, Grant, Quote, Token, Transfer, Wallet

Thing = TypeVar("Thing", Client, Grant, Code, Token, Wallet, Gift, Quote, Transfer)

_KINDS: Final[tuple[type, ...]] = (Client, Grant, Code, Token, Wallet, Gift, Quote, Transfer)
_LOG_FORMAT: Final = {"format": 1, "face": "airtm-connect"}


class ConnectStore:
    """Everything by its kind and id, in the order in which it was made."""

    def __init__(self, state_file: Path | None, digest: Callable[[str], bytes]) -> None:
        self._digest = digest
        self._tables: dict[type, dict[str, Any]] = {kind: {} for kind in _KINDS}
        self._log: AppendLog | None = None
        if state_file is not None:
            self._log = AppendLog(state_file.with_name(f"{state_file.name}.connect"), _LOG_FORMAT)
            for line in self._log.lines():
                self._recall(line)

    def close(self) -> None:
        """Let go of the file."""
        if self._log is not None:
            self._log.close()

    def keep(self, thing: Thing) -> Thing:
        """Remember it as it is now; returns when the operating system has it."""
        self._tables[type(thing)][thing.id] = thing
        if self._log is not None:
            self._log.write({type(thing).__name__: asdict(thing)})
        return thing

    def all(self, kind: type[Thing]) -> list[Thing]:
        """Every one of a kind, oldest first."""
        return list(self._tables[kind].values())

    def find(self, kind: type[Thing], thing_id: str) -> Thing | None:
        """The one with this id."""
        found: Thing | None = self._tables[kind].get(thing_id)
        return found

    def new_id(self, kind: type) -> str:
        """The next id of this kind: always the same for the same seed and history."""
        return str(uuid.UUID(bytes=self._next(kind)[:16], version=4))

    def new_secret(self, kind: type, purpose: str) -> str:
        """The next id of this kind as text that nobody guesses: a code, a token, a memo."""
        return f"{purpose}_{self._next(kind).hex()}"

    def digits(self, purpose: str) -> str:
        """Six digits that follow from the seed and the purpose."""
        return f"{int.from_bytes(self._digest(f'connect:{purpose}')[:8]) % 1_000_000:06d}"

    def _next(self, kind: type) -> bytes:
        return self._digest(f"connect:{kind.__name__.lower()}:{len(self._tables[kind])}")

    def _recall(self, line: dict[str, Any]) -> None:
        for kind in _KINDS:
            if kind.__name__ in line:
                thing = kind(**line[kind.__name__])
                self._tables[kind][thing.id] = thing
