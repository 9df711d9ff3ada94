"""Horizon's server-sent events, frame by frame as it sends them (providers.md 6.5)."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from starlette.responses import StreamingResponse

from offerhub.sandbox.chain import Chain
from offerhub.sandbox.history import OperationRecord, page


def event_stream(
    chain: Chain,
    records: Sequence[OperationRecord],
    cursor: int | None,
    limit: int,
    visible: Callable[[OperationRecord], bool],
    shape: Callable[[OperationRecord], dict[str, Any]],
) -> StreamingResponse:
    """The records behind the cursor, then new ones as ledgers close; after `limit` of them, goodbye.

    `records` is the live list, which history keeps appending to. Without a cursor it starts at genesis.
    """

    async def frames() -> AsyncIterator[str]:
        yield 'retry: 1000\nevent: open\ndata: "hello"\n\n'
        position, sent = cursor, 0
        while sent < limit and not chain.stopped:
            closed = chain.closed
            for record in page(records, position, "asc", limit - sent, visible):
                position, sent = record.id, sent + 1
                yield f"id: {record.id}\ndata: {json.dumps(shape(record))}\n\n"
            if sent < limit:
                await closed.wait()
        yield 'retry: 10\nevent: close\ndata: "byebye"\n\n'

    return StreamingResponse(frames(), media_type="text/event-stream")
