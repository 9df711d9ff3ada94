"""Using the embedded servers: start or join them, and leave."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from offerhub.runtime.embedded.place import DATA_DIR_DEFAULT, EmbeddedServicesError, Place, postgres_bin

JOIN_SECONDS_MAX: Final = 120
LEAVE_SECONDS_MAX: Final = 60
POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class ServiceUrls:
    """Where the servers are. An URL is empty when its server was not wanted."""

    database_url: str
    redis_url: str
    postgres_bin: Path
    """The folder of psql, pg_dump and pgbench."""


@contextmanager
def embedded_services(
    data_dir: Path | None = None, *, durable: bool = True, want_postgres: bool = True, want_redis: bool = True
) -> Iterator[ServiceUrls]:
    """Use PostgreSQL and Valkey for the length of a `with` block, starting those that do not run yet.

    Several processes, and several blocks of one process, share the servers of a data folder; the last one out
    stops them and waits for that. A process that is killed counts as out. `durable=False` gives up crash safety
    for speed, for tests only. Pass the URLs on to child processes in DATABASE_URL and REDIS_URL: they then use
    the servers without holding them.

    Raises EmbeddedServicesError when a server cannot be used, with the end of its log.
    """
    folder = (data_dir or DATA_DIR_DEFAULT).absolute()
    with ExitStack() as stack:
        database_url = stack.enter_context(_used(folder, "postgres", durable)) if want_postgres else ""
        redis_url = stack.enter_context(_used(folder, "valkey", durable=True)) if want_redis else ""
        yield ServiceUrls(database_url, redis_url, postgres_bin())


@contextmanager
def _used(data_dir: Path, kind: str, durable: bool) -> Iterator[str]:
    place = Place.open(data_dir)
    users = place.open_file(f"{kind}.users")
    try:
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while the server is being stopped
        yield _join(data_dir, place, kind, durable)
        _leave(place, kind, users)
    finally:
        os.close(users)


def _join(data_dir: Path, place: Place, kind: str, durable: bool) -> str:
    """Join the running server or start it; one process at a time."""
    door = place.open_file(f"{kind}.door")
    try:
        fcntl.flock(door, fcntl.LOCK_EX)
        deadline = time.monotonic() + JOIN_SECONDS_MAX
        while time.monotonic() < deadline:
            if not _is_alive(place, kind):
                url = _start(data_dir, kind, durable)
                if url is not None:
                    return url
            elif (state := _state(place, kind)) is not None:
                if durable and not state["durable"]:
                    raise EmbeddedServicesError(f"{data_dir} is in use by tests, without crash safety.")
                return str(state["url"])
            time.sleep(POLL_SECONDS)  # it is on its way in, started by somebody who was killed, or out
        raise EmbeddedServicesError(f"{kind} neither starts nor stops; see {place.folder / kind}.log")
    finally:
        os.close(door)


def _start(data_dir: Path, kind: str, durable: bool) -> str | None:
    """Start a supervisor; returns the URL, or None when another supervisor came first."""
    arguments = (str(data_dir), kind, "durable" if durable else "fast")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "offerhub.runtime.embedded.supervisor", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        check=False,
    )
    try:
        answer: dict[str, str] = json.loads(done.stdout)
    except ValueError:
        raise EmbeddedServicesError(f"The supervisor of {kind} failed:\n{done.stderr.decode()}") from None
    if "error" in answer:
        raise EmbeddedServicesError(answer["error"])
    return answer.get("url")


def _leave(place: Place, kind: str, users: int) -> None:
    """Stop the server if nobody else uses it, and wait until it has stopped; new users wait outside."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # somebody else uses it, or the supervisor is stopping it already
    state = _state(place, kind)
    if state is None or not _is_alive(place, kind):
        return
    os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + LEAVE_SECONDS_MAX
    while _is_alive(place, kind) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _is_alive(place: Place, kind: str) -> bool:
    """Is there a supervisor? It holds this lock as long as it lives."""
    alive = place.open_file(f"{kind}.alive")
    try:
        fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(alive)


def _state(place: Place, kind: str) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((place.folder / f"{kind}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return state
