"""The load generator for `ledger.post` alone: one statement, one durable transaction, through asyncpg."""

import asyncio
import random
import time
from typing import Any, Final

import asyncpg
import uvloop

from offerhub.kernel.ids import new_id
from samples import Recorder, read_task

HOT_ACCOUNTS: Final = 10
_POST: Final = "SELECT * FROM ledger.post($1, $2, 'manual_credit', $3, NULL, 'bench', $4, $5, $6)"
_KINDS: Final = ["world:manual", "available"]


async def _client(task: dict[str, Any], recorder: Recorder) -> None:
    marketplace: str = task["marketplace"]
    users: list[str] = task["users"][:HOT_ACCOUNTS] if task["flow"] == "ledger_hot" else task["users"]
    connection = await asyncpg.connect(task["dsn"])
    statement = await connection.prepare(_POST)
    more = True
    while more:
        user = random.choice(users)
        fault = None
        started = time.perf_counter()
        try:
            await statement.fetch(marketplace, new_id("req"), user, [marketplace, user], _KINDS, [-100_000, 100_000])
        except asyncpg.PostgresError as error:
            fault = error.sqlstate
        more = recorder.note(started, fault)
    await connection.close()


async def _main() -> None:
    task = read_task()
    recorder = Recorder(task["warm_up_seconds"], task["seconds"])
    await asyncio.gather(*(_client(task, recorder) for _ in range(task["connections"])))
    recorder.report()


if __name__ == "__main__":
    uvloop.run(_main())
