"""PostgreSQL servers of one test's own, durable ones, which it may stop, kill, start again, copy and promote."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from offerhub.runtime.embedded.place import SERVER_ENVIRONMENT, Place
from offerhub.runtime.embedded.servers import DATABASE_USER, Postgres
from support.fleet import free_port

PATIENCE_SECONDS: Final = 60
STANDBY: Final = "standby"
ENDS: Final[Mapping[str, signal.Signals]] = {
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}
"""As `pg_ctl stop -m` says it; `kill` is what it does not offer."""


class OwnPostgres:
    """A server on a port of its own, in a data folder that is kept while it does not run."""

    def __init__(self, data_dir: Path) -> None:
        self.port = free_port()
        self._place = Place.open(data_dir)
        self._server = Postgres(self._place, durable=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    async def start(self) -> None:
        """Return once it takes connections; raise TimeoutError if it does not."""
        self._process = await asyncio.to_thread(self._spawn)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._server.is_ready(self.port):
                assert self._process.poll() is None, (self._place.folder / "postgres.log").read_text()[-2000:]
                await asyncio.sleep(0.01)
        if not self.url:
            self.url = await asyncio.to_thread(self._server.finish, self.port)

    async def stop(self, how: str) -> None:
        """End it in one of the ways of ENDS; returns once it is gone."""
        if self._process is not None:
            self._process.send_signal(ENDS[how])
            await asyncio.to_thread(self._process.wait, PATIENCE_SECONDS)
            self._process = None

    async def close(self) -> None:
        """End it if it runs."""
        await self.stop("immediate")

    async def copy(self, data_dir: Path) -> "OwnPostgres":
        """A standby that follows this server, ready; not waited for at commits before `require_standby`."""
        standby = OwnPostgres(data_dir)
        standby.url = self.url.replace(f":{self.port}/", f":{standby.port}/")
        folder = standby._place.private_folder("postgres")
        shutil.copy(self._place.folder / "postgres" / "password", folder / "password")
        standby._place.account.owns(folder / "password")
        source = f"host=127.0.0.1 port={self.port} user={DATABASE_USER} application_name={STANDBY}"
        options = (
            "-D",
            str(folder / "cluster"),
            "-d",
            source,
            "-R",
            "-X",
            "stream",
            "--checkpoint=fast",
            "--no-sync",
        )
        await self._run("pg_basebackup", *options, PGPASSWORD=(folder / "password").read_text().strip())
        (folder / "cluster" / "postmaster.pid").unlink(missing_ok=True)
        await standby.start()
        return standby

    async def promote(self) -> None:
        """Make a standby the server that is written to; returns once it is."""
        cluster = self._place.folder / "postgres" / "cluster"
        await self._run("pg_ctl", "promote", "-w", "-D", str(cluster))

    def _spawn(self) -> "subprocess.Popen[bytes]":
        command = self._server.command(self.port)
        log = self._place.open_file("postgres.log", os.O_WRONLY | os.O_APPEND)
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as())
        finally:
            os.close(log)

    def _as(self) -> dict[str, Any]:
        account = self._place.account
        groups = None if account.uid is None else []
        return {
            "user": account.uid,
            "group": account.gid,
            "extra_groups": groups,
            "env": SERVER_ENVIRONMENT,
            "cwd": "/",
        }

    async def _run(self, program: str, *options: str, **variables: str) -> None:
        command = [str(self._place.postgres_programs() / program), *options]
        settings = self._as() | {"env": SERVER_ENVIRONMENT | variables}
        done = await asyncio.to_thread(
            subprocess.run, command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **settings
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


STANDBY_REQUIRED: Final = (
    f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'",
    "SELECT pg_reload_conf()",
)
"""From then on a commit is only answered once the standby has it on disk."""
