"""`offerhub queues` and `offerhub dlq`, as an operator types them at a product with queues of its own."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from offerhub.queues import NAMES
from support.command import offerhub
from support.product import MASTER_KEY, Running, running


@pytest.fixture(scope="module")
async def office(office_environ: dict[str, str]) -> AsyncIterator[Running]:
    """A product without jobs: what is put into its queues stays there."""
    async with running(office_environ, jobs=False) as found:
        yield found


class Operator:
    def __init__(self, folder: Path, live: Running) -> None:
        self.folder = folder
        self.live = live
        self.variables = {"OFFERHUB_API_URL": live.url, "OFFERHUB_API_KEY": MASTER_KEY, "HOME": str(folder)}

    async def types(self, *words: str, **variables: str) -> tuple[int, str]:
        return await offerhub(self.folder, *words, **{**self.variables, **variables})

    async def hears(self, *words: str) -> Any:
        code, printed = await self.types(*words, "--json")
        assert code == 0, printed
        return json.loads(printed)

    async def buries(self, count: int, queue: str = "sagas") -> list[str]:
        """Letters of jobs of the outbox, with two attempts each."""
        sql = """
            WITH row AS (
                INSERT INTO outbox (queue, name, payload, enqueued_at, enqueued, dead_at)
                SELECT $1, 'drive', '{"sagaId": "sga_1"}', now(), 1, now() FROM generate_series(1, $2) RETURNING id
            ), noted AS (
                INSERT INTO job_failures (queue, job_key, job_id, attempt, reason, trace, worker)
                SELECT $1, 'outbox-' || id, 'outbox-' || id, attempt, 'attempt [b]' || attempt, '', 'host:1'
                FROM row, generate_series(1, 2) attempt
            )
            INSERT INTO dead_letters
            SELECT $1 || '.outbox-' || id, $1, 'outbox-' || id, 'outbox-' || id, 'drive', '{"sagaId": "sga_1"}',
                id, 2, 'nobody [there]', 'Traceback: somewhere', now(), now() FROM row
            RETURNING id
        """
        rows = await self.live.product.database.run(lambda tx: tx.rows(sql, queue, count))
        return [row["id"] for row in rows]

    async def row(self, letter: str) -> Any:
        sql = "SELECT dead_at IS NULL AND enqueued_at IS NULL AS waits FROM outbox WHERE id = $1"
        return await self.live.value(sql, int(letter.rpartition("-")[2]))


@pytest.fixture
def operator(tmp_path: Path, office: Running) -> Operator:
    return Operator(tmp_path, office)


async def test_the_queues_are_shown_and_checked(operator: Operator) -> None:
    code, printed = await operator.types("queues")
    assert (code, [name for name in (*NAMES, "a worker") if name not in printed]) == (0, [])
    found = await operator.hears("queues")
    assert set(found) == set(NAMES)
    assert [found[name]["needs"] for name in NAMES] == [["a worker"]] * len(NAMES)
    assert (await operator.types("queues", "--check"))[0] == 1
    await operator.buries(101, "webhooks")
    assert (await operator.hears("queues"))["webhooks"]["needs"] == ["a look at its dead letters", "a worker"]
    assert len(await operator.hears("dlq", "list", "--queue", "webhooks", "--limit", "200")) == 101, "past a page"
    assert len(await operator.hears("dlq", "discard", "--all", "--queue", "webhooks")) == 101
    assert await operator.hears("dlq", "list") == []


async def test_a_letter_is_listed_shown_retried_and_discarded(operator: Operator) -> None:
    first, second, third = await operator.buries(3)
    code, printed = await operator.types("dlq", "list")
    assert (code, first in printed, "nobody [there]" in printed) == (0, True, True)
    code, printed = await operator.types("dlq", "show", first)
    assert code == 0
    for word in (first, "sga_1", "nobody [there]", "attempt [b]1", "attempt [b]2", "host:1", "Traceback: somewhere"):
        assert word in printed
    assert [one["attempt"] for one in (await operator.hears("dlq", "show", first))["history"]] == [1, 2]
    code, printed = await operator.types("dlq", "retry", first, second)
    assert (code, printed.split("\n")[:2]) == (0, [f"retried {first}", f"retried {second}"])
    assert [await operator.row(one) for one in (first, second)] == [True, True]
    assert await operator.hears("dlq", "discard", third) == [
        {"id": third, "queue": "sagas", "job": "drive", "status": "DISCARDED"}
    ]
    assert await operator.row(third) is None
    code, printed = await operator.types("dlq", "show", third)
    assert (code, "NOT_FOUND" in printed) == (1, True)


async def test_what_cannot_be_meant_is_refused(operator: Operator, tmp_path: Path) -> None:
    [kept] = await operator.buries(1)
    for words in (("retry",), ("discard",), ("retry", kept, "--all"), ("retry", kept, "--queue", "sagas")):
        code, printed = await operator.types("dlq", *words)
        assert (code, "--all" in printed) == (2, True), printed
    code, printed = await operator.types("dlq", "list", "--queue", "nothing")
    assert (code, "VALIDATION_ERROR" in printed) == (1, True)
    assert (await operator.types("dlq", "list", "--limit", "0"))[0] != 0
    code, printed = await operator.types("queues", OFFERHUB_API_KEY="ohk_live_nonsense")
    assert code == 1
    assert await operator.row(kept) is False, "still dead"
    code, printed = await offerhub(tmp_path, "worker", "--queues", "sagas,mail")
    assert (code, "there is no queue mail: --queues takes sagas, " in printed) == (2, True)
    code, printed = await offerhub(tmp_path, "worker", "--queues", ",")
    assert (code, "no queue named" in printed) == (2, True)
