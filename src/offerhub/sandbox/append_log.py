"""A file of JSON lines that only grows: what the sandbox remembers on disk.

The first line says whose file it is. A torn last line, left by a kill, is cut off.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO


class ForeignLog(RuntimeError):
    """The file belongs to a sandbox with another seed, passphrase or format."""


class AppendLog:
    """An append-only file. `lines` must be read through before anything is written."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self._path = path
        self._identity = identity
        self._file: TextIO | None = None

    def lines(self) -> Iterator[dict[str, Any]]:
        """What was written before. Raises ForeignLog for somebody else's file."""
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        texts = whole.decode().splitlines()
        if texts and json.loads(texts[0]) != self._identity:
            raise ForeignLog(f"{self._path} was written by another sandbox: {texts[0][:200]}")
        yield from (json.loads(text) for text in texts[1:])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a")
        if not texts:
            self.write(self._identity)

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line; returns when the operating system has it."""
        assert self._file is not None, "lines() comes first"
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
