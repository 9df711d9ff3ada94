"""The port of a worker: `/health` and `/metrics`, for whoever watches processes that answer nothing else."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from offerhub.app import VERSION, Product
from offerhub.operations.metrics import queue_source
from offerhub.queues import NAMES
from offerhub.runtime.metrics import MEDIA_TYPE
from offerhub.runtime.queue import Queues


@contextlib.asynccontextmanager
async def metrics_port(made: Product) -> AsyncIterator[None]:
    """Listen while the block runs, if METRICS_PORT says so. Raises OSError when the port is taken."""
    settings = made.settings
    if not settings.server.metrics_port:
        yield
        return

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "version": VERSION})

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await made.metrics.render(), headers={"content-type": MEDIA_TYPE})

    queues = Queues(settings.storage.redis_url.reveal())
    made.metrics.add(queue_source(queues, NAMES))
    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.server.host, settings.server.metrics_port).start()
        yield
    finally:
        await runner.cleanup()
        await queues.close()
