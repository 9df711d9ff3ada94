"""A port of its own for `/health` and `/metrics`, without a key: for whoever watches processes from inside."""

import contextlib
from collections.abc import AsyncIterator

from offerhub.app import Product
from offerhub.kernel.version import VERSION
from offerhub.operations.metrics import queue_source
from offerhub.queues import NAMES
from offerhub.runtime.metrics import MEDIA_TYPE
from offerhub.runtime.queue import Queues


@contextlib.asynccontextmanager
async def metrics_port(made: Product, *, queues_are_told: bool) -> AsyncIterator[None]:
    """Listen while the block runs, if METRICS_PORT says so. Raises OSError when the port is taken.

    `queues_are_told` where the process tells of its queues already, because it serves the API.
    """
    settings = made.settings
    if not settings.server.metrics_port:
        yield
        return
    # Only here: most processes have no such port, and need no server of aiohttp.
    from aiohttp import web

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "version": VERSION})

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await made.metrics.render(), headers={"content-type": MEDIA_TYPE})

    async with contextlib.AsyncExitStack() as stack:
        if not queues_are_told:
            queues = Queues(settings.storage.redis_url.reveal())
            stack.push_async_callback(queues.close)
            made.metrics.add(queue_source(queues, NAMES))
        app = web.Application()
        app.add_routes([web.get("/health", health), web.get("/metrics", metrics)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, settings.server.host, settings.server.metrics_port).start()
        yield
