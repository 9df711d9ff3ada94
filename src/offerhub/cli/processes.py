"""Several processes behind one port: `offerhub serve` with WEB_CONCURRENCY, one for each core.

The processes are forked before anything is opened, so they share the memory of what is imported. Each listens by
itself (SO_REUSEPORT) and the kernel spreads connections over them. One that ends is replaced; one that ends before it
was ever ready ends all. They stop with the process that has begun them, however that ends.
"""

import asyncio
import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from offerhub.cli.environment import CommandError

REPLACED_AFTER_SECONDS: Final = 1.0
"""Time to breathe between the end of a process and its successor."""
BACKLOG: Final = 2048
_WOKEN_BY: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

log = structlog.get_logger("offerhub.processes")


def listening(host: str, port: int) -> socket.socket:
    """A socket that shares its port with other processes' of this user."""
    return _bound(host, port, shared=True)


def require_free(host: str, port: int) -> None:
    """Raise CommandError when somebody listens there: with a shared port both would be asked, in turns."""
    try:
        _bound(host, port, shared=False).close()
    except OSError as error:
        raise CommandError(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.") from error


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)


@dataclass(frozen=True, slots=True)
class Part:
    """One of several processes: its number from 0, and its ends of the pipes that it shares with the first."""

    number: int
    lifeline: int
    ready: int

    def tell_ready(self) -> None:
        """It listens."""
        os.write(self.ready, bytes([self.number]))

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop as if told to when the process that has begun this one is gone."""

        def gone() -> None:
            loop.remove_reader(self.lifeline)
            signal.raise_signal(signal.SIGTERM)

        loop.add_reader(self.lifeline, gone)


class Processes:
    """`count` processes that each run `work`. Call `run` where nothing is open yet that a fork must not share."""

    def __init__(self, count: int, work: Callable[[Part], None], all_ready: str) -> None:
        self._count = count
        self._work = work
        self._all_ready = all_ready
        self._numbers: dict[int, int] = {}
        self._were_ready: set[int] = set()
        self._stopping = False
        self._status = 0
        self._lifeline, self._held = os.pipe()
        self._told, self._tells = os.pipe()
        self._woken, self._wakes = os.pipe()

    def run(self) -> int:
        """Run until told to stop, or until one does not start; returns the status to end with."""
        gc.collect()
        gc.freeze()  # or the first collection in each would copy what they share
        os.set_blocking(self._wakes, False)
        signal.set_wakeup_fd(self._wakes)
        for signaled in _WOKEN_BY:
            signal.signal(signaled, self._note)
        for number in range(self._count):
            self._begin(number)
        while self._numbers:
            readable, _, _ = select.select([self._told, self._woken], [], [])
            if self._told in readable:
                self._note_ready(os.read(self._told, 1024))
            if self._woken in readable:
                os.read(self._woken, 1024)
            self._bury()
        return self._status

    def _note(self, number: int, _: object) -> None:
        if number != signal.SIGCHLD:
            self._stop()

    def _note_ready(self, numbers: bytes) -> None:
        were_all = len(self._were_ready) == self._count
        self._were_ready.update(numbers)
        if not were_all and len(self._were_ready) == self._count:
            print(self._all_ready, flush=True)

    def _stop(self) -> None:
        self._stopping = True
        for pid in self._numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _begin(self, number: int) -> None:
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            self._numbers[pid] = number
            return
        status = 1
        try:
            # Ctrl-C is for the first process, which passes it on once.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for signaled in _WOKEN_BY:
                signal.signal(signaled, signal.SIG_DFL)
            for end in (self._held, self._told, self._woken, self._wakes):
                os.close(end)
            self._work(Part(number, self._lifeline, self._tells))
            status = 0
        except SystemExit as stopped:
            status = stopped.code if isinstance(stopped.code, int) else 1
        except BaseException:  # noqa: BLE001 - whatever it was, nothing above may run a second time
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _bury(self) -> None:
        """See who has ended; replace what ended by itself."""
        while self._numbers:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            number = self._numbers.pop(pid)
            status = os.waitstatus_to_exitcode(ended)
            if self._stopping:
                is_early = status == -signal.SIGTERM  # told before it could listen to that
                self._status = self._status or (0 if is_early else abs(status))
            elif number not in self._were_ready:
                log.error("process_did_not_start", number=number, status=status)
                self._status = abs(status) or 1
                self._stop()
            else:
                log.error("process_replaced", number=number, status=status)
                time.sleep(REPLACED_AFTER_SECONDS)
                self._begin(number)
