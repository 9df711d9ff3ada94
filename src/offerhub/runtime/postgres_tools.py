"""PostgreSQL's own programs for backups: which of them fits a server, and running one without showing a password."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from offerhub.runtime.embedded import EmbeddedServicesError
from offerhub.runtime.embedded.place import postgres_bin

INSTALLED: Final = "/usr/lib/postgresql/*/bin"
"""Where Debian and its kin keep them, a folder for each version."""
NOT_OF_LIBPQ: Final = frozenset({"search_path"})
"""Parameters of our URLs that the programs do not know."""
INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
SHOWN_CHARACTERS_MAX: Final = 2000

_VERSION: Final = re.compile(r"\(PostgreSQL\) ([0-9]+)")


class ToolError(Exception):
    """A program of PostgreSQL's is missing, or has failed; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One program, of the PostgreSQL release `major`."""

    path: Path
    major: int

    async def run(self, url: str, *options: str) -> None:
        """Run it against the database of this URL. Raises ToolError when it fails."""
        address, password = _without_password(url)
        inherited = {name: text for name, text in os.environ.items() if name in INHERITED or name.startswith("PG")}
        variables = inherited | ({"PGPASSWORD": password} if password else {})
        process = await asyncio.create_subprocess_exec(
            str(self.path),
            *options,
            f"--dbname={address}",
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, told = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            said = told.decode(errors="replace").strip()[:SHOWN_CHARACTERS_MAX]
            raise ToolError(f"{self.path.name} failed: {said or process.returncode}")


async def find_tool(name: str, server_major: int, folder: Path | None = None) -> Tool:
    """The program that fits a server best: of its own release, else of the next newer one that is here.

    Looks in `folder` alone, if given; else in PATH, where Debian keeps them, and at the embedded server's. Raises
    ToolError when there is none: an older one cannot read a newer server.
    """
    found = [tool for tool in await asyncio.to_thread(lambda: list(_tools(name, folder))) if tool is not None]
    fitting = [tool for tool in found if tool.major >= server_major]
    if not fitting:
        here = ", ".join(sorted({str(tool.major) for tool in found})) or "none"
        raise ToolError(
            f"{name} of PostgreSQL {server_major} or newer is needed, and there is {here} here: install "
            f"postgresql-client-{server_major}, or name its folder with --postgres-bin."
        )
    return min(fitting, key=lambda tool: tool.major)


def _tools(name: str, folder: Path | None) -> Iterator[Tool | None]:
    if folder is not None:
        yield _tool(folder / name)
        return
    if (on_path := shutil.which(name)) is not None:
        yield _tool(Path(on_path))
    for installed in Path("/").glob(INSTALLED.lstrip("/")):
        yield _tool(installed / name)
    try:
        yield _tool(postgres_bin() / name)
    except EmbeddedServicesError:
        return


def _tool(path: Path) -> Tool | None:
    try:
        said = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    match = _VERSION.search(said)
    return None if match is None else Tool(path, int(match[1]))


def _without_password(url: str) -> tuple[str, str]:
    """A URL that may be seen in the list of processes, and the password."""
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    query: Sequence[tuple[str, str]] = parse_qsl(parts.query, keep_blank_values=True)
    password = unquote(password) or dict(query).get("password", "")
    kept = [(name, text) for name, text in query if name not in NOT_OF_LIBPQ and name != "password"]
    return urlunsplit(parts._replace(netloc=f"{user}{at}{hosts}", query=urlencode(kept, quote_via=quote))), password
