"""Dead letters on real servers: kept with their history whatever becomes of Redis, retried and given up."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from offerhub.runtime import dead_letters, outbox
from offerhub.runtime import queue as queue_module
from offerhub.runtime.database import Database
from offerhub.runtime.dead_letters import DeadLetter, DeadLetters
from offerhub.runtime.jobs import Failure
from offerhub.runtime.outbox import Relay
from offerhub.runtime.queue import Queues, Workers

PATIENCE_SECONDS = 30


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


class Office:
    """Two queues whose jobs fail until they are told not to, fed from an outbox by hand."""

    def __init__(self, redis_url: str, database: Database) -> None:
        self.names = [f"q{secrets.token_hex(6)}" for _ in range(2)]
        self.database = database
        self.queues = Queues(redis_url)
        self.relay = Relay(database, self.queues, sweep_after_seconds=0)
        self.letters = DeadLetters(database, self.queues, self.names, "worker-1")
        self.broken = True
        self.ran: list[Any] = []
        self.workers = Workers(
            redis_url,
            {(name, "greet"): self._handle for name in self.names},
            {},
            finish=self.relay.finish,
            fail=self.letters.keep,
        )
        self.workers.start()

    async def _handle(self, payload: dict[str, Any]) -> None:
        self.ran.append(payload)
        if self.broken:
            raise RuntimeError(f"nobody answers the door of {payload['to']}: S{'A' * 55}")

    async def write(self, to: str, *, queue: int = 0) -> int:
        sql = "INSERT INTO outbox (queue, name, payload) VALUES ($1, 'greet', $2) RETURNING id"
        return int(await self.database.run(lambda tx: tx.value(sql, self.names[queue], {"to": to})))

    async def found(self, letter_id: str) -> DeadLetter | None:
        return await self.database.run(lambda tx: dead_letters.get(tx, letter_id))

    async def fail(self, to: str, *, queue: int = 0) -> DeadLetter:
        """A job of the outbox that has used up its attempts, in PostgreSQL and in Redis."""
        row = await self.write(to, queue=queue)
        await self.relay.hand_over()
        return await self.letter(f"{self.names[queue]}.outbox-{row}")

    async def letter(self, letter_id: str) -> DeadLetter:
        async def there() -> bool:
            letter = await self.found(letter_id)
            return letter is not None and await self.queues.state(letter.queue, letter.job_id) == "failed"

        await eventually(there)
        letter = await self.found(letter_id)
        assert letter is not None
        return letter

    async def rows(self) -> int:
        return int(await self.database.run(lambda tx: tx.value("SELECT count(*) FROM outbox")))

    async def newest(self, limit: int, **more: Any) -> list[DeadLetter]:
        return await self.database.run(lambda tx: dead_letters.newest(tx, limit, **more))

    async def history(self, letter: DeadLetter) -> list[int]:
        return [one.number for one in await self.database.run(lambda tx: dead_letters.history(tx, letter))]

    async def retry(self, letter: DeadLetter) -> DeadLetter | None:
        assert await dead_letters.remove_failed(self.queues, letter)
        return await self.database.run(lambda tx: dead_letters.retry(tx, letter.id))

    async def flush(self) -> None:
        """What Redis had of these queues is gone."""
        for name in self.names:
            client = self.queues.bullmq(name).client
            keys = [key async for key in client.scan_iter(f"bull:{name}:*")]
            await client.delete(*keys, "nothing")

    async def close(self) -> None:
        await self.workers.close(0)
        await self.queues.close()


@pytest.fixture
async def office(redis_url: str, fresh_database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    monkeypatch.setattr(queue_module, "BACKOFF_SECONDS", 0.002)
    database = await Database.connect(fresh_database_url)
    opened = Office(redis_url, database)
    yield opened
    await opened.close()
    await database.close()


async def test_a_job_that_always_fails_is_kept_with_every_attempt(office: Office) -> None:
    letter = await office.fail("Ada")
    assert len(office.ran) == letter.attempts == 5
    assert (letter.name, letter.payload) == ("greet", {"to": "Ada"})
    assert letter.reason == "nobody answers the door of Ada: ***REDACTED***"
    assert "RuntimeError" in letter.trace
    assert "AAAA" not in letter.trace
    assert letter.created_at <= letter.failed_at
    history = await office.database.run(lambda tx: dead_letters.history(tx, letter))
    assert [(one.number, one.worker) for one in history] == [(n, "worker-1") for n in range(1, 6)]
    assert all(one.reason == letter.reason for one in history)
    assert await office.database.run(dead_letters.counts) == {office.names[0]: 1}
    assert await office.letters.look(office.names[0]) == 0, "it is kept once"
    assert await office.database.run(outbox.backlog) == {}, "nobody waits for it"
    await office.write("Bob")
    backlog = (await office.database.run(outbox.backlog))[office.names[0]]
    assert (backlog.not_handed_over, (backlog.oldest_seconds or 0) > 0) == (1, True)


async def test_letters_of_all_queues_come_newest_first_and_in_pages(office: Office) -> None:
    made = [*await asyncio.gather(*(office.fail(f"n{number}", queue=number % 2) for number in range(4)))]
    made.append(await office.fail("n4"))
    same = await office.database.run(
        lambda tx: tx.value("UPDATE dead_letters SET failed_at = $1 WHERE id <> $2", made[0].failed_at, made[4].id)
    )
    assert same is None
    wanted = [made[4].id, *sorted((one.id for one in made[:4]), reverse=True)]
    seen: list[str] = []
    after = None
    while found := await office.newest(2, after=after):
        seen += [letter.id for letter in found]
        after = found[-1].place
    assert seen == wanted, "also those that failed in one moment"
    only = await office.newest(10, queue=office.names[1])
    assert {letter.id for letter in only} == {made[1].id, made[3].id}


async def test_emptying_redis_loses_no_letter_and_hands_none_over_again(office: Office) -> None:
    letter = await office.fail("Ada")
    await office.flush()
    assert await office.relay.sweep() == 0
    assert await office.relay.hand_over() == 0
    assert await office.found(letter.id) == letter
    assert await office.rows() == 1
    # An operator decides all the same, and the job runs under the id of its next hand-over.
    office.broken = False
    assert await office.retry(letter) == letter
    await office.relay.hand_over()

    async def done() -> bool:
        return await office.queues.state(letter.queue, f"{letter.job_id}-2") == "completed"

    await eventually(done)
    assert await office.rows() == 0
    assert await office.found(letter.id) is None


async def test_a_retried_job_has_all_its_attempts_and_keeps_its_history(office: Office) -> None:
    letter = await office.fail("Ada")
    assert await office.retry(letter) == letter
    assert await office.found(letter.id) is None
    assert await office.retry(letter) is None, "it is no dead letter any more"
    await office.relay.hand_over()
    again = await office.letter(letter.id)
    assert (again.job_id, len(office.ran)) == (f"{letter.job_id}-2", 10)
    assert again.failed_at > letter.failed_at
    assert await office.history(again) == [1, 2, 3, 4, 5] * 2


async def test_a_discarded_job_is_gone_and_stays_gone(office: Office) -> None:
    letter = await office.fail("Ada")
    assert await office.database.run(lambda tx: dead_letters.discard(tx, letter.id)) == letter
    assert await office.database.run(lambda tx: dead_letters.discard(tx, letter.id)) is None
    # Redis could not be told: what it has left is no letter, and is taken out.
    assert await office.queues.state(letter.queue, letter.job_id) == "failed"
    assert await office.letters.look(letter.queue) == 0
    assert await office.queues.state(letter.queue, letter.job_id) == "unknown"
    assert await office.found(letter.id) is None
    assert await office.rows() == 0
    assert len(office.ran) == 5


async def test_a_letter_whose_job_was_retried_by_another_tool_goes_when_it_has_run(office: Office) -> None:
    letter = await office.fail("Ada")
    office.broken = False
    job = await office.queues.bullmq(letter.queue).getJob(letter.job_id)
    await job.retry("failed", {"resetAttemptsMade": True})

    async def gone() -> bool:
        return await office.found(letter.id) is None

    await eventually(gone)
    assert await office.rows() == 0


async def test_what_ends_in_the_failed_set_without_a_word_is_found(office: Office) -> None:
    """A job that killed its workers, or that a foreign worker gave up: nobody has told us of it."""
    name = office.names[0]
    silent = Workers(str(office.workers._redis_url), {(name, "whisper"): office._handle}, {})
    await office.workers.close(0)
    silent.start()
    row = await office.database.run(
        lambda tx: tx.value(
            "INSERT INTO outbox (queue, name, payload) VALUES ($1, 'whisper', '{}') RETURNING id", name
        )
    )
    await office.relay.hand_over()
    await office.queues.add(name, "whisper", {"to": "Bob"}, job_id="foreign", attempts=1)
    raw = {"jobId": "raw", "attempts": 1, "removeOnFail": False}
    await office.queues.bullmq(name).add("whisper", [1, 2], raw)

    async def failed() -> bool:
        states = [await office.queues.state(name, job) for job in (f"outbox-{row}", "foreign", "raw")]
        return states == ["failed"] * 3

    await eventually(failed)
    await silent.close(0)
    assert await office.letters.look(name) == 3
    assert await office.letters.look(name) == 0
    kept = {letter.job_id: letter for letter in await office.newest(10)}
    assert kept[f"outbox-{row}"].outbox_id == row
    assert kept[f"outbox-{row}"].attempts == 5
    assert kept["foreign"].payload == {"to": "Bob"}
    assert kept["raw"].payload == {"value": [1, 2]}
    # What has no row of its own gets one when it is retried.
    await office.retry(kept["foreign"])
    assert await office.rows() == 2
    assert await office.letters.look(name) == 0


async def test_an_old_failure_does_not_bury_a_job_that_was_handed_over_again(office: Office) -> None:
    letter = await office.fail("Ada")
    await office.database.run(lambda tx: dead_letters.retry(tx, letter.id))
    late = Failure(letter.queue, letter.job_id, "greet", {"outboxId": letter.outbox_id, "payload": {}}, 5, True,
                   "late", "", 0)  # fmt: skip
    await office.letters.keep(late)
    assert await office.found(letter.id) is None
    assert await office.letters.look(letter.queue) == 0, "its failed job of the first hand-over is taken out"


async def test_old_failures_are_forgotten_unless_a_letter_needs_them(office: Office) -> None:
    letter = await office.fail("Ada")
    other = await office.fail("Bob")
    await office.retry(other)
    await office.database.run(lambda tx: tx.execute("UPDATE job_failures SET failed_at = now() - interval '31 days'"))
    assert await office.database.run(dead_letters.purge) == 5
    assert await office.history(letter) == [1, 2, 3, 4, 5]
    assert await office.database.run(dead_letters.purge) == 0


async def test_what_is_no_dead_letter_is_not_found(office: Office) -> None:
    office.broken = False
    row = await office.write("Ada")
    await office.relay.hand_over()
    name = office.names[0]

    async def done() -> bool:
        return await office.rows() == 0

    await eventually(done)
    for letter_id in (f"{name}.outbox-{row}", f"{name}.nothing", f"{name}.", name, "", "."):
        assert await office.found(letter_id) is None


async def test_without_redis_letters_are_kept_and_decided_about(office: Office) -> None:
    letter = await office.fail("Ada")
    away = Queues("redis://127.0.0.1:1/0")
    assert not await dead_letters.remove_failed(away, letter)
    assert await office.database.run(lambda tx: dead_letters.retry(tx, letter.id)) == letter
    await away.close()
