"""The five minutes of the README, as they stand there."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from support.documented import ROOT, SECONDS_MAX, examples
from support.outside import World
from support.product import MASTER_KEY, Running

README: Final = ROOT / "README.md"
SHOWN: Final = [
    "FUNDS_RESERVED",
    "ESCROW_FUNDING",
    "IN_PROGRESS",
    "COMPLETED",
    "COMPLETED",
    "CLOSED",
    "79.76",
    "WITHDRAWAL_COMPLETED",
    "54.76",
]
"""What the commands print beside JSON, and the page says in words."""


async def test_the_five_minutes_with_curl(
    live: Running, environ: dict[str, str], world: World, tmp_path: Path
) -> None:
    if not shutil.which("curl"):
        pytest.skip("the examples need curl")
    first, *rest = [example.code for example in examples(README) if example.language == "sh"]
    assert first == "make dev\n"
    text = README.read_text(encoding="utf-8")
    assert all(word in text for word in SHOWN)
    # As after `make dev` in the repository's folder.
    (tmp_path / ".offerhub").mkdir()
    (tmp_path / ".offerhub" / "master.key").write_text(MASTER_KEY)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    commands = "\n".join(rest).replace("http://localhost:4000", live.url)
    commands = commands.replace("http://localhost:4010", world.environ["OFFERHUB_SANDBOX_URL"])
    assert "localhost" not in commands
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env={**environ, "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    printed = [line for line in done.stdout.splitlines() if re.fullmatch(r"[A-Z_]+|\d+\.\d\d", line)]
    assert printed == SHOWN
    assert "proven" in done.stdout
