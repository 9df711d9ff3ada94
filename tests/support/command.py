"""The command line as an operator runs it: a process of its own, its exit status and what it prints."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

MASTER_KEY: Final = "a master key that must never be printed"
INHERITED: Final = frozenset({"PATH", "HOME", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"})
"""What a process has from the tests' own: also which copy of the product it runs."""


async def started(folder: Path, *words: str, **variables: str) -> asyncio.subprocess.Process:
    """Start a command in a folder, with these variables and no others that matter."""
    inherited = {name: text for name, text in os.environ.items() if name in INHERITED}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from offerhub.cli.main import main; main()",
        *words,
        cwd=folder,
        env={**inherited, "OFFERHUB_MASTER_KEY": MASTER_KEY, "COLUMNS": "200", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def offerhub(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Run a command; its exit status and everything it printed."""
    process = await started(folder, *words, **variables)
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()
