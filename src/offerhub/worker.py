"""What a process does beside answering requests: hand jobs over, run them, sweep sagas, watch for deposits."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import structlog

from offerhub.app import Product
from offerhub.runtime.database import UNREACHABLE, heed_cancellation
from offerhub.runtime.leases import Lease, LeaseToken
from offerhub.runtime.outbox import Relay
from offerhub.runtime.queue import Queues, Workers
from offerhub.sagas import engine

CONCURRENCY: Final[Mapping[str, int]] = {engine.QUEUE: 32}
CLOSE_SECONDS: Final = 10.0
"""How long running jobs may finish when the process stops; what is left is resumed by another."""

WALLET_SETUP_SECONDS: Final = 30.0
"""How often wallets are looked for whose set-up was refused."""

log = structlog.get_logger("offerhub.worker")


async def _finish_wallets(made: Product) -> None:
    """Look now and then for wallets whose set-up was refused, and begin it again."""
    while True:
        try:
            begun = await made.database.run(made.wallets.begin_again)
            if begun:
                log.info("wallet_setup_begun_again", wallets=begun)
        except UNREACHABLE as error:
            log.warning("wallet_setup_delayed", error=str(error))
        heed_cancellation()
        await made.clock.sleep(WALLET_SETUP_SECONDS)


@contextlib.asynccontextmanager
async def background(made: Product) -> AsyncIterator[None]:
    """Run the background work of a process while the block runs; stop it cleanly in the end."""
    redis_url = made.settings.storage.redis_url.reveal()
    queues = Queues(redis_url)
    relay = Relay(made.database, queues)

    async def drive(payload: Mapping[str, Any]) -> None:
        await made.engine.drive(payload["sagaId"])

    workers = Workers(redis_url, {(engine.QUEUE, engine.JOB): drive}, CONCURRENCY, finish=relay.finish)
    holder = f"{socket.gethostname()}:{os.getpid()}"

    async def watch(_: LeaseToken) -> None:
        await made.deposits.watch()

    tasks = [
        asyncio.create_task(_finish_wallets(made), name="wallet set-up"),
        asyncio.create_task(relay.run(), name="outbox relay"),
        asyncio.create_task(made.engine.sweep_forever(), name="saga sweeper"),
    ]
    if made.settings.stellar.monitor_enabled:
        lease = Lease(made.database, "deposits", holder)
        tasks.append(asyncio.create_task(lease.hold(watch), name="deposit watcher"))
    workers.start()
    log.info("background_started", holder=holder)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await made.engine.stop()
        await workers.close(CLOSE_SECONDS)
        await queues.close()
        log.info("background_stopped", holder=holder)
