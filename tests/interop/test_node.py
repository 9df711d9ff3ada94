"""BullMQ for Node, as its authors publish it, and ours on the same queues: either takes what the other has added.

A long test (`make test-long`): it installs packages from npm's registry. Their versions and hashes are in
`packages.txt`; what hashes otherwise is not installed, and nothing of theirs is run while installing.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from offerhub.runtime import dead_letters
from offerhub.runtime.database import Database
from offerhub.runtime.dead_letters import DeadLetters
from offerhub.runtime.jobs import Handler, Priority
from offerhub.runtime.outbox import Relay
from offerhub.runtime.queue import Queues, Workers
from offerhub.runtime.schedules import Schedule, Schedules
from support.npm import unpacked

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `peer.js` and what it needs, each archive as it is known to be."""
    assert shutil.which("node") is not None, "this test needs Node.js"
    folder = tmp_path_factory.mktemp("node")
    unpacked(HERE / "packages.txt", folder)
    shutil.copy(HERE / "peer.js", folder)
    return folder


class Peer:
    """A process of Node's."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, folder: Path, *words: str) -> "Peer":
        return cls(
            await asyncio.create_subprocess_exec(
                "node", "peer.js", *words, cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        )

    async def hears(self) -> Any:
        """The next thing it says."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            return json.loads(await self._process.stdout.readline())

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._process.communicate()


async def says(folder: Path, *words: str) -> Any:
    """The one thing that a peer says."""
    peer = await Peer.start(folder, *words)
    heard = await peer.hears()
    await peer.close()
    return heard


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(fresh_database_url)
    yield database
    await database.close()


async def write(database: Database, queue: str, payload: dict[str, Any], priority: Priority = Priority.FIRST) -> int:
    sql = "INSERT INTO outbox (queue, name, payload, priority) VALUES ($1, 'greet', $2, $3) RETURNING id"
    return int(await database.run(lambda tx: tx.value(sql, queue, payload, int(priority))))


async def rows(database: Database) -> int:
    return int(await database.run(lambda tx: tx.value("SELECT count(*) FROM outbox")))


async def test_a_node_worker_runs_our_jobs_and_its_failures_become_dead_letters(
    node: Path, database: Database, queue: str, queues: Queues, redis_url: str
) -> None:
    relay = Relay(database, queues, sweep_after_seconds=0)
    later = await write(database, queue, {"to": "Bob"}, Priority.LATER)
    first = await write(database, queue, {"to": "Ada"})
    await relay.hand_over()
    peer = await Peer.start(node, "work", redis_url, queue)
    try:
        heard = [await peer.hears() for _ in range(3)]
        took = [one for one in heard if "took" in one]
        assert [(one["took"], one["payload"]["to"]) for one in took] == [
            (f"outbox-{first}", "Ada"),
            (f"outbox-{later}", "Bob"),
        ], "what is urgent goes first"
        assert [one["priority"] or 0 for one in took] == [0, 10]

        async def swept() -> bool:
            await relay.sweep()
            return await rows(database) == 0

        await eventually(swept)

        broken = await write(database, queue, {"fail": True})
        await database.run(lambda tx: tx.execute("UPDATE outbox SET enqueued_at = now(), enqueued = 1"))
        await queues.add(queue, "greet", {"fail": True}, job_id=f"outbox-{broken}", attempts=1, outbox_id=broken)
        assert (await peer.hears())["took"] == f"outbox-{broken}"
        letters = DeadLetters(database, queues, [queue], "test")

        async def buried() -> bool:
            return await letters.look(queue) == 1

        await eventually(buried)
        letter = await database.run(lambda tx: dead_letters.get(tx, f"{queue}.outbox-{broken}"))
        assert letter is not None
        assert (letter.reason, letter.payload, letter.outbox_id) == ("the stranger gave up", {"fail": True}, broken)
    finally:
        await peer.close()


async def test_ours_runs_a_job_that_node_has_added(node: Path, queue: str, queues: Queues, redis_url: str) -> None:
    ran: list[dict[str, Any]] = []

    async def handler(payload: dict[str, Any]) -> None:
        ran.append(payload)

    added = (await says(node, "add", redis_url, queue))["added"]
    workers = Workers(redis_url, {(queue, "greet"): handler}, {})
    workers.start()

    async def completed() -> bool:
        return await queues.state(queue, added) == "completed"

    await eventually(completed)
    await workers.close(0)
    assert ran == [{"to": "Ada"}]


async def test_a_dashboard_sees_what_we_see_and_may_retry(
    node: Path, database: Database, queue: str, queues: Queues, redis_url: str
) -> None:
    """What Bull Board asks for, and its button on a failed job."""
    broken = True

    async def handler(_: dict[str, Any]) -> None:
        if broken:
            raise RuntimeError("not yet")

    async def tidy(_: dict[str, Any]) -> None:
        pass

    relay = Relay(database, queues)
    letters = DeadLetters(database, queues, [queue], "test")
    row = await write(database, queue, {"to": "Ada"})
    await database.run(lambda tx: tx.execute("UPDATE outbox SET enqueued_at = now(), enqueued = 1"))
    await queues.add(queue, "greet", {"to": "Ada"}, job_id=f"outbox-{row}", attempts=1, outbox_id=row)
    handlers: dict[tuple[str, str], Handler] = {(queue, "greet"): handler, (queue, "tidy:up"): tidy}
    workers = Workers(redis_url, handlers, {}, finish=relay.finish, fail=letters.keep, name="host:1")
    workers.start()

    async def failed() -> bool:
        return await queues.state(queue, f"outbox-{row}") == "failed"

    await eventually(failed)
    await Schedules(queues, queue, [Schedule("daily", "tidy:up", 86_400.0)]).ensure()
    broken = False
    seen = await says(node, "look", redis_url, queue, "retry")
    [job] = [one for one in seen["jobs"] if one["id"] == f"outbox-{row}"]
    assert job == {
        "id": f"outbox-{row}",
        "name": "greet",
        "state": "failed",
        "reason": "not yet",
        "data": {"outboxId": row, "payload": {"to": "Ada"}},
    }
    assert seen["schedulers"] == [{"key": "daily", "name": "tidy:up", "every": 86_400_000}]
    assert (seen["workers"], seen["counts"]["failed"]) == (1, 1)

    async def run() -> bool:
        return await rows(database) == 0

    await eventually(run)
    assert await database.run(dead_letters.counts) == {}, "its letter went with its row"
    await workers.close(0)
