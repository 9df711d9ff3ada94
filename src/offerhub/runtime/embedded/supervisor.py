"""`python -m offerhub.runtime.embedded.supervisor FOLDER KIND`: run one server for as long as somebody uses it.

The first user starts the supervisor and reads JSON from it: `{"url": …}`, `{"error": …}` or, when another
supervisor turns out to be alive, `{"again": …}`. It then lives in a session of its own, so that neither Ctrl-C nor
the end of its first user touches it.

Locks, all on files in FOLDER, all given back by the kernel when a process ends:
`KIND.users`  shared by every user; whoever holds it alone may stop the server, and keeps new users waiting meanwhile
`KIND.alive`  held by the supervisor as long as it lives
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from offerhub.runtime.embedded.place import SERVER_ENVIRONMENT, EmbeddedServicesError, Place
from offerhub.runtime.embedded.servers import (
    POLL_SECONDS,
    READY_SECONDS_MAX,
    STOP_SECONDS_MAX,
    Postgres,
    Server,
    Valkey,
)

WATCH_SECONDS: Final = 0.1
START_ATTEMPTS_MAX: Final = 3
PR_SET_PDEATHSIG: Final = 1
LOG_BYTES_MAX: Final = 10_000_000


def server_for(kind: str, place: Place, durable: bool) -> Server:
    """The server of a kind: `postgres` or `valkey`."""
    return Postgres(place, durable) if kind == "postgres" else Valkey(place)


def free_port() -> int:
    """A loopback port that is free now; starting is tried again should somebody else take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Supervisor:
    """Runs one server and stops it when its last user is gone."""

    def __init__(self, place: Place, kind: str, durable: bool) -> None:
        self._place = place
        self._kind = kind
        self._durable = durable
        self._server = server_for(kind, place, durable)
        self._process: subprocess.Popen[bytes] | None = None
        self._asked_to_stop = False

    def start(self) -> str:
        """Start the server; returns its URL once it answers. Raises EmbeddedServicesError."""
        for _ in range(START_ATTEMPTS_MAX):
            port = free_port()
            self._spawn(self._server.command(port), self._server.input(port))
            if self._becomes_ready(port):
                url = self._server.finish(port)
                state = {"url": url, "pid": os.getpid(), "durable": self._durable}
                self._place.write_private(f"{self._kind}.json", json.dumps(state))
                return url
        log = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise EmbeddedServicesError(f"{self._kind} did not start. Its log {self._log} ends with:\n{log}")

    def watch(self) -> None:
        """Return when the last user is gone, when asked to stop, or when the server has died."""
        assert self._process is not None
        users = self._place.open_file(f"{self._kind}.users")
        while not self._asked_to_stop and self._process.poll() is None:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(WATCH_SECONDS)
            else:
                return

    def stop(self) -> None:
        """Stop the server, gently first. Users that arrive meanwhile start a new one afterwards."""
        (self._place.folder / f"{self._kind}.json").unlink(missing_ok=True)
        if self._process is None:
            return
        for number in self._server.stop_signals:
            if self._process.poll() is not None:
                return
            self._process.send_signal(number)
            try:
                self._process.wait(STOP_SECONDS_MAX / 3)
            except subprocess.TimeoutExpired:
                continue

    def ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        """A signal asks us to stop; the watch sees it at its next look."""
        self._asked_to_stop = True

    @property
    def _log(self) -> Path:
        return self._place.folder / f"{self._kind}.log"

    def _spawn(self, command: list[str], standard_input: bytes) -> None:
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
            self._log.replace(self._log.with_suffix(".log.1"))
        account = self._place.account
        log = self._place.open_file(self._log.name, os.O_WRONLY | os.O_APPEND)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                user=account.uid,
                group=account.gid,
                extra_groups=None if account.uid is None else [],
                env=SERVER_ENVIRONMENT,
                cwd="/",
                # Unsafe only in a process with threads; a supervisor has none.
                preexec_fn=_dies_with_us(self._server.stop_signals[0]),  # noqa: PLW1509 - the child is single-threaded here
            )
        finally:
            os.close(log)
        assert self._process.stdin is not None
        self._process.stdin.write(standard_input)
        self._process.stdin.close()

    def _becomes_ready(self, port: int) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._server.is_ready(port):
                return True
            time.sleep(POLL_SECONDS)
        return False


def _dies_with_us(number: signal.Signals) -> Callable[[], None] | None:
    """Have the kernel send a signal to the server when this process dies, even by SIGKILL (Linux only).

    Called after the change of user, which would clear it. Elsewhere a server outlives a killed supervisor
    until the next run, which waits for it.
    """
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    supervisor = os.getpid()

    def prepare() -> None:
        if library.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0 or os.getppid() != supervisor:
            os._exit(1)

    return prepare


def _detach() -> None:
    """Leave our parent: it is told of our start through the pipe, and never has to wait for our end."""
    if os.fork() > 0:
        os._exit(0)


def _say(message: dict[str, str]) -> None:
    """Answer whoever started us, and close the pipe: from now on nobody listens."""
    os.write(1, json.dumps(message).encode())
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    os.close(silence)


def main(folder: str, kind: str, durable: bool) -> None:
    """Run one supervisor, from the fork to the server's end."""
    _detach()
    os.chdir("/")
    place = Place.open(Path(folder))
    try:
        fcntl.flock(place.open_file(f"{kind}.alive"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say({"again": "another supervisor is alive"})
        return
    (place.folder / f"{kind}.json").unlink(missing_ok=True)  # of a supervisor that was killed
    supervisor = Supervisor(place, kind, durable)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.ask_to_stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        url = supervisor.start()
    except (EmbeddedServicesError, OSError) as error:
        supervisor.stop()
        _say({"error": str(error)})
        return
    _say({"url": url})
    supervisor.watch()
    supervisor.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], durable=sys.argv[3] == "durable")
