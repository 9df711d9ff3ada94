"""Dead letters on a real Valkey: what failed for good can be listed, shown, retried and given up."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from offerhub.runtime import queue as queue_module
from offerhub.runtime.dead_letters import DeadLetter, DeadLetters
from offerhub.runtime.queue import Queues, QueueUnavailable, Workers

PATIENCE_SECONDS = 30


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


class Office:
    """Two queues whose jobs fail until they are told not to."""

    def __init__(self, redis_url: str) -> None:
        self.names = [f"q{secrets.token_hex(6)}" for _ in range(2)]
        self.queues = Queues(redis_url)
        self.letters = DeadLetters(self.queues, self.names)
        self.broken = True
        self.ran: list[Any] = []
        self.workers = Workers(redis_url, {(name, "greet"): self._handle for name in self.names}, {})
        self.workers.start()

    async def _handle(self, payload: dict[str, Any]) -> None:
        self.ran.append(payload)
        if self.broken:
            raise RuntimeError(f"nobody answers the door of {payload['to']}")

    async def fail(self, to: str, *, queue: int = 0, attempts: int = 1, outbox_id: int | None = None) -> DeadLetter:
        """A job that has used up its attempts."""
        name = self.names[queue]
        await self.queues.add(name, "greet", {"to": to}, job_id=f"job-{to}", attempts=attempts, outbox_id=outbox_id)

        async def failed() -> bool:
            return await self.queues.state(name, f"job-{to}") == "failed"

        await eventually(failed)
        letter = await self.letters.get(f"{name}.job-{to}")
        assert letter is not None
        return letter

    async def close(self) -> None:
        await self.workers.close(0)
        await self.queues.close()


@pytest.fixture
async def office(redis_url: str) -> AsyncIterator[Office]:
    opened = Office(redis_url)
    yield opened
    await opened.close()


async def test_a_job_that_always_fails_is_found_with_what_it_failed_with(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "BACKOFF_SECONDS", 0.01)
    letter = await office.fail("Ada", attempts=3, outbox_id=17)
    assert len(office.ran) == letter.attempts == 3
    assert (letter.name, letter.payload, letter.outbox_id) == ("greet", {"to": "Ada"}, 17)
    assert letter.reason == "nobody answers the door of Ada"
    assert "RuntimeError" in letter.trace
    assert letter.created_ms <= letter.failed_ms
    assert await office.letters.newest(10) == [letter]


async def test_letters_of_all_queues_come_newest_first_and_in_pages(office: Office) -> None:
    made = [await office.fail(f"n{number}", queue=number % 2) for number in range(7)]
    wanted = [letter.id for letter in sorted(made, key=lambda one: one.place, reverse=True)]
    seen: list[str] = []
    after = None
    while found := await office.letters.newest(2, after=after):
        seen += [letter.id for letter in found]
        after = found[-1].place
    assert seen == wanted
    only = await office.letters.newest(10, queue=office.names[1])
    assert [letter.job_id for letter in only] == ["job-n5", "job-n3", "job-n1"]


async def test_jobs_that_failed_in_one_moment_are_all_found(office: Office) -> None:
    for number in range(5):
        await office.fail(f"n{number}")
    bullmq = office.queues.bullmq(office.names[0])
    await bullmq.client.zadd(bullmq.keys["failed"], {f"job-n{number}": 1_000 for number in range(5)})
    seen: list[str] = []
    after = None
    while places := await office.letters._places(office.names[0], 2, after):
        seen += [job_id for _, _, job_id in places]
        after = places[-1]
    assert seen == [f"job-n{number}" for number in (4, 3, 2, 1, 0)]


async def test_a_retried_job_runs_again_with_all_its_attempts(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "BACKOFF_SECONDS", 0.01)
    letter = await office.fail("Ada", attempts=2)
    assert await office.letters.retry(letter)

    async def failed_again() -> bool:
        return len(office.ran) == 4 and await office.queues.state(letter.queue, letter.job_id) == "failed"

    await eventually(failed_again)
    office.broken = False
    assert await office.letters.retry(letter)

    async def done() -> bool:
        return await office.queues.state(letter.queue, letter.job_id) == "completed"

    await eventually(done)
    assert await office.letters.newest(10) == []
    assert not await office.letters.retry(letter), "it is no dead letter any more"
    assert not await office.letters.discard(letter)
    assert await office.queues.state(letter.queue, letter.job_id) == "completed", "and was left alone"


async def test_a_discarded_job_is_gone(office: Office) -> None:
    letter = await office.fail("Ada")
    assert await office.letters.discard(letter)
    assert await office.queues.state(letter.queue, letter.job_id) == "unknown"
    assert await office.letters.get(letter.id) is None
    assert not await office.letters.discard(letter)
    assert len(office.ran) == 1


async def test_what_is_no_dead_letter_is_not_found(office: Office) -> None:
    office.broken = False
    name = office.names[0]
    await office.queues.add(name, "greet", {"to": "Ada"}, job_id="fine")

    async def done() -> bool:
        return await office.queues.state(name, "fine") == "completed"

    await eventually(done)
    for letter_id in (f"{name}.fine", f"{name}.nothing", f"{name}.", name, "", ".", "other.fine"):
        assert await office.letters.get(letter_id) is None


async def test_without_redis_nothing_is_claimed() -> None:
    queues = Queues("redis://127.0.0.1:1/0")
    letters = DeadLetters(queues, ["sagas"])
    with pytest.raises(QueueUnavailable):
        await letters.newest(1)
    with pytest.raises(QueueUnavailable):
        await letters.get("sagas.outbox-1")
    with pytest.raises(QueueUnavailable):
        await queues.counts("sagas")
    await queues.close()
