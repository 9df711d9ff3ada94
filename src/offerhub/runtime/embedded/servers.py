"""The two servers: how each is prepared, started, known to be ready, and stopped."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from offerhub.runtime.embedded.place import SERVER_ENVIRONMENT, EmbeddedServicesError, Place, postgres_bin

READY_SECONDS_MAX: Final = 60
STOP_SECONDS_MAX: Final = 30
POLL_SECONDS: Final = 0.01
DATABASE_NAME: Final = "offerhub"
DATABASE_USER: Final = "offerhub"
CREATE_DATABASE: Final = """
SELECT 'CREATE DATABASE offerhub' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'offerhub') \\gexec
"""

DURABLE_ON: Final = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
DURABLE_OFF: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Server(Protocol):
    """A server of ours, run by a supervisor."""

    def command(self, port: int) -> list[str]:
        """Prepare the server's data if needed; the command line that runs it on a loopback port."""
        ...

    def input(self, port: int) -> bytes:
        """What the server reads from its standard input."""
        ...

    def is_ready(self, port: int) -> bool:
        """Does it answer yet?"""
        ...

    def finish(self, port: int) -> str:
        """Do what is left to do once it answers; returns its URL."""
        ...

    @property
    def stop_signals(self) -> tuple[signal.Signals, ...]:
        """The signals that stop it, the gentlest first. The first is also sent when its supervisor dies."""
        ...


@dataclass(slots=True)
class Postgres:
    """PostgreSQL on a loopback port with a random password, kept in a file that only its owner reads."""

    place: Place
    durable: bool
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)  # "fast", "immediate"

    def command(self, port: int) -> list[str]:
        programs = self.place.postgres_programs()
        cluster = self.place.private_folder("postgres") / "cluster"
        if not (cluster / "PG_VERSION").exists():
            self._create_cluster(programs, cluster)
        _wait_for_predecessor(cluster / "postmaster.pid", str(cluster))
        settings = (
            "listen_addresses=127.0.0.1",
            f"port={port}",
            "unix_socket_directories=",  # a socket's path is limited to 107 bytes; a project's path is not
            "max_connections=500",
            "shared_buffers=256MB",
            "jit=off",
            "timezone=UTC",
            "log_timezone=UTC",
            *(DURABLE_ON if self.durable else DURABLE_OFF),
        )
        return [str(programs / "postgres"), "-D", str(cluster), *(x for s in settings for x in ("-c", s))]

    def input(self, port: int) -> bytes:
        return b""

    def is_ready(self, port: int) -> bool:
        state = self._cluster / "postmaster.pid"
        try:
            lines = state.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"  # the line that pg_ctl looks at

    def finish(self, port: int) -> str:
        password = (self.place.folder / "postgres" / "password").read_text(encoding="ascii").strip()
        done = subprocess.run(
            [str(postgres_bin() / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "postgres"],
            input=CREATE_DATABASE,
            env=SERVER_ENVIRONMENT
            | {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": DATABASE_USER, "PGPASSWORD": password},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedServicesError(f"The database {DATABASE_NAME} cannot be created: {done.stderr.strip()}")
        return f"postgresql://{DATABASE_USER}:{password}@127.0.0.1:{port}/{DATABASE_NAME}?sslmode=disable"

    @property
    def _cluster(self) -> Path:
        return self.place.folder / "postgres" / "cluster"

    def _create_cluster(self, programs: Path, cluster: Path) -> None:
        """Run initdb into a scratch folder, so that a cluster is there whole or not at all."""
        scratch = cluster.with_name("cluster.new")
        shutil.rmtree(scratch, ignore_errors=True)
        password = cluster.with_name("password")
        password.unlink(missing_ok=True)
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(24))
        self.place.account.owns(password)
        done = subprocess.run(
            [
                *(str(programs / "initdb"), "-D", str(scratch), "-U", DATABASE_USER),
                *("--auth=scram-sha-256", f"--pwfile={password}"),
                # Sorted by code point on every machine, as with the locale C of PostgreSQL 15.
                *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(() if self.durable else ("--no-sync",)),
            ],
            user=self.place.account.uid,
            group=self.place.account.gid,
            extra_groups=None if self.place.account.uid is None else [],
            env=SERVER_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedServicesError(f"initdb failed: {done.stderr.strip()}")
        scratch.rename(cluster)


@dataclass(slots=True)
class Valkey:
    """Valkey on a loopback port with a random password; it keeps nothing on disk, for Redis is never the truth."""

    place: Place
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)
    password: str = ""

    def command(self, port: int) -> list[str]:
        self.password = secrets.token_urlsafe(24)
        return [str(self.place.valkey_program()), "-"]

    def input(self, port: int) -> bytes:
        # Through standard input, because anybody on the machine can read a command line.
        settings = (
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {self.password}",
            "maxmemory-policy noeviction",  # BullMQ's jobs must not be evicted
            "appendonly no",
            'save ""',
            f"dir {_quoted(self.place.private_folder('valkey'))}",
        )
        return "\n".join(settings).encode() + b"\n"

    def is_ready(self, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\n".encode())
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False

    def finish(self, port: int) -> str:
        return f"redis://:{self.password}@127.0.0.1:{port}/0"


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _wait_for_predecessor(pid_file: Path, mark: str) -> None:
    """Wait until a server whose supervisor was killed has shut down; hasten it when it takes too long.

    The kernel has already told it to stop. A process of another program that got the same number is left alone.
    """
    try:
        pid = int(pid_file.read_text(encoding="ascii").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    for last in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS_MAX / 3
        while _is_ours(pid, mark):
            if time.monotonic() > deadline:
                os.kill(pid, last)
                break
            time.sleep(POLL_SECONDS)
        else:
            return


def _is_ours(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
