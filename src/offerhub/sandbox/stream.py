"""Horizon's server-sent events, frame by frame as it sends them (providers.md 6.5)."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import StreamingResponse

from offerhub.sandbox.chain import Chain
from offerhub.sandbox.history import OperationRecord, page

_HELLO: Final = 'retry: 1000\nevent: open\ndata: "hello"\n\n'
_GOODBYE: Final = 'retry: 10\nevent: close\ndata: "byebye"\n\n'
_ERROR: Final = 'event: error\ndata: "Stream error"\n\n'


@dataclass(frozen=True, slots=True)
class StreamFault:
    """What is wrong with one stream (fault_kinds), and how its connection is cut."""

    kind: str
    cut: Callable[[], None]


@dataclass(frozen=True, slots=True)
class EventStream:
    """The records behind the cursor, then new ones as ledgers close; after `limit` of them, goodbye.

    `records` is the live list, which history keeps appending to. Without a cursor it starts at genesis.
    """

    chain: Chain
    records: Sequence[OperationRecord]
    cursor: int | None
    limit: int
    visible: Callable[[OperationRecord], bool]
    shape: Callable[[OperationRecord], dict[str, Any]]
    fault: StreamFault | None = None

    def response(self) -> StreamingResponse:
        """The answer that streams them."""
        return StreamingResponse(self._frames(), media_type="text/event-stream")

    async def _frames(self) -> AsyncIterator[str]:
        yield _HELLO
        kind = self.fault.kind if self.fault is not None else ""
        if kind == "stream_error":
            yield _ERROR
            return
        if kind == "stream_silence":
            while not self.chain.stopped:
                await self.chain.closed.wait()
        elif kind != "stream_byebye":
            async for record in self._live():
                frame = f"id: {record.id}\ndata: {json.dumps(self.shape(record))}\n\n"
                if self.fault is not None and kind == "stream_cut":
                    yield frame[: len(frame) // 2]
                    self.fault.cut()
                    return
                yield frame
                if kind == "stream_duplicate":
                    yield frame
        yield _GOODBYE

    async def _live(self) -> AsyncIterator[OperationRecord]:
        position, sent, epoch = self.cursor, 0, self.chain.epoch
        while sent < self.limit and not self.chain.stopped and self.chain.epoch == epoch:
            closed = self.chain.closed
            for record in page(self.records, position, "asc", self.limit - sent, self.visible):
                position, sent = record.id, sent + 1
                yield record
            if sent < self.limit:
                await closed.wait()
