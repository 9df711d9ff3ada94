"""The command line as an operator runs it: a process of its own, its exit status and what it prints.

Each is forked from a server that has imported the program once: what a test is about is what a command does, not that
Python reads the same modules again. How the program begins from nothing is seen by `test_demo.py` and by the pages
whose examples are run.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

MASTER_KEY: Final = "a master key that must never be printed"
INHERITED: Final = frozenset({"PATH", "HOME", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"})
"""What a process has from the tests' own: also which copy of the product it runs."""

_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["offerhub.cli.main", "offerhub.cli.serve", "offerhub.cli.wallets"])


class Command:
    """A process of the program, with the parts of `asyncio.subprocess.Process` that tests use."""

    def __init__(self, words: tuple[str, ...], folder: Path, environ: Mapping[str, str]) -> None:
        readable, writable = os.pipe()
        printed = Connection(writable, readable=False)
        self._process = _FORKS.Process(target=_run, args=(printed, words, str(folder), dict(environ)))
        self._process.start()
        printed.close()
        self._readable = readable
        self._ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, self._end)
        self._loop = loop
        self.stdout = asyncio.StreamReader(limit=2**20)

    async def open(self) -> "Command":
        """Read what it prints, from now on."""
        await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.stdout), os.fdopen(self._readable, "rb", buffering=0)
        )
        return self

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, or what signal ended it, less than zero; None while it runs."""
        return self._process.exitcode

    def _end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._process.join()
        self._ended.set()

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, None]:
        """All that it prints, once it has ended."""
        printed = await self.stdout.read()
        await self.wait()
        return printed, None

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _run(printed: Connection, words: tuple[str, ...], folder: str, environ: dict[str, str]) -> None:
    """Be the command, as at a terminal: what runs in the background of a shell ignores an interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    printed.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["offerhub", *words]
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    from offerhub.cli.main import main

    main()


def _environ(variables: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: text for name, text in os.environ.items() if name in INHERITED}
    return {**inherited, "OFFERHUB_MASTER_KEY": MASTER_KEY, "COLUMNS": "200", **variables}


async def started(folder: Path, *words: str, **variables: str) -> Command:
    """Start a command in a folder, with these variables and no others that matter."""
    return await Command(words, folder, _environ(variables)).open()


async def started_from(sources: Path, folder: Path, *words: str, **variables: str) -> asyncio.subprocess.Process:
    """Start a command of another version of the program, whose sources these are: nothing of this one is loaded."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from offerhub.cli.main import main; main()",
        *words,
        cwd=folder,
        env=_environ({**variables, "PYTHONPATH": str(sources)}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def offerhub(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Run a command; its exit status and everything it printed."""
    process = await started(folder, *words, **variables)
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()
