"""Real processes, as fast as they can be had: a zygote that has imported everything, and forks one for each task.

`python -m faults.processes.zygote` reads tasks and writes reports, a line of JSON each. It never opens a connection
or a loop itself, so that what it forks begins as clean as a new interpreter, only two seconds earlier. What is told
of a process that was killed is told by the zygote, as the kernel told it.
"""

import asyncio
import contextlib
import gc
import itertools
import json
import logging
import os
import selectors
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from faults.processes.runner import Report, Task, run

TESTS: Final = Path(__file__).parents[2]
LINE_BYTES_MAX: Final = 2**20


@dataclass
class Child:
    """A process at work, and what it has told so far."""

    number: int
    pid: int
    told: bytearray


def main() -> None:
    """Serve tasks until there are no more."""
    import offerhub.providers.trustless_work.verify  # noqa: F401 - as the service does in the background

    # What goes wrong here is asked for: its traces, with all their values, would take longer than what is tested.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # What is printed goes where errors go: the answers have the line for themselves.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    gc.freeze()
    print("ready", file=answers, flush=True)
    asked, tasks = sys.stdin.fileno(), bytearray()
    children: dict[int, Child] = {}
    with selectors.DefaultSelector() as ready:
        ready.register(asked, selectors.EVENT_READ)
        while ready.get_map():
            for key, _ in ready.select():
                piece = os.read(key.fd, LINE_BYTES_MAX)
                if key.fd == asked:
                    if not piece:
                        ready.unregister(asked)
                        continue
                    *whole, rest = (bytes(tasks) + piece).split(b"\n")
                    tasks[:] = rest
                    for line in whole:
                        pipe, child = _fork(json.loads(line))
                        children[pipe] = child
                        ready.register(pipe, selectors.EVENT_READ)
                elif piece:
                    children[key.fd].told += piece
                else:
                    ready.unregister(key.fd)
                    os.close(key.fd)
                    print(json.dumps(_ended(children.pop(key.fd))), file=answers, flush=True)


def _fork(asked: dict[str, Any]) -> tuple[int, Child]:
    readable, writable = os.pipe()
    number = asked.pop("number")
    pid = os.fork()
    if pid == 0:
        told = json.dumps(run(Task(**asked))).encode()
        with os.fdopen(writable, "wb") as pipe:
            pipe.write(told)
        os._exit(0)
    os.close(writable)
    return readable, Child(number, pid, bytearray())


def _ended(child: Child) -> dict[str, Any]:
    _, status = os.waitpid(child.pid, 0)
    ended = {"number": child.number, "pid": child.pid}
    if os.WIFSIGNALED(status):
        return asdict(Report(signal=os.WTERMSIG(status))) | ended
    return json.loads(child.told) | ended


class Zygote:
    """The zygote as a test speaks to it; any number of tasks at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Report]] = {}

    async def run(self, task: Task) -> Report:
        """Let a process do a task; returns once it has ended, and fails with what must never happen in one."""
        assert self._process.stdin is not None
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps(asdict(task) | {"number": number}).encode() + b"\n")
        report = await self._waiting[number]
        assert not report.failure, f"{task.flow}, {_what(task)}: {report.told}, {report.blown_at}\n{report.failure}"
        return report

    async def listen(self) -> None:
        """Hand on what it tells, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            waiting = self._waiting.pop(told.pop("number"))
            if not waiting.done():  # a test that failed waits no more
                waiting.set_result(Report(**told))
        for future in self._waiting.values():
            future.set_exception(AssertionError("the zygote has died"))


def _what(task: Task) -> str:
    if task.kill_at:
        return f"killed at point {task.kill_at}"
    return f"{task.error} at statement {task.error_at}" if task.error else "undisturbed"


@contextlib.asynccontextmanager
async def zygote(log: Path) -> AsyncIterator[Zygote]:
    """A zygote for the length of the block; what its processes log goes to a file."""
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "faults.processes.zygote"),
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            limit=LINE_BYTES_MAX,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    found = Zygote(process)
    listening = asyncio.create_task(found.listen())
    try:
        yield found
    finally:
        process.stdin.close()
        await listening
        await process.wait()


if __name__ == "__main__":
    main()
