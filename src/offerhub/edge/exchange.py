"""One request and its answer on a connection: Uvicorn's, with the answer written in one piece.

The head waits for the first piece of the body, as ASGI has it, and both go in one write: one system call and one
wake-up of the client less. An answer that begins before it has anything to say sends an empty piece.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

WITHOUT_BODY: Final = (204, 304)
_LINE: Final = b"\r\n"


class Exchange(RequestResponseCycle):
    """What a request asks of its connection while it is answered."""

    head: bytes = b""
    """What is to be written before anything else."""

    def arrived(self) -> bool:
        """True once the whole body is there, and whoever receives it does not wait."""
        return not self.more_body

    async def send(self, message: Any) -> None:
        """Take the head of the answer, or the next piece of its body."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            _require(message, "http.response.start")
            self.response_started, self.waiting_for_100_continue = True, False
            self.head = self._head(message["status"], [*message.get("headers", ())])
        elif self.response_complete:
            raise RuntimeError(f"{message['type']} behind the end of the answer")
        else:
            _require(message, "http.response.body")
            self._write(message.get("body", b""), more=message.get("more_body", False))

    def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        named = dict(headers)
        length = named.get(b"content-length")
        if length is not None:
            self.chunked_encoding, self.expected_content_length = False, int(length)
        elif self.scope["method"] != "HEAD" and status not in WITHOUT_BODY:
            self.chunked_encoding = True
            headers.append((b"transfer-encoding", b"chunked"))
        if named.get(b"connection") == b"close":
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append((b"connection", b"close"))
        lines = _LINE.join(map(b": ".join, headers))
        # What ends a line would make one header into two, or the head into a body.
        if lines.count(b"\n") != len(headers) - 1 or lines.count(b"\r") != len(headers) - 1 or b"\0" in lines:
            raise RuntimeError("a header holds the end of a line")
        return STATUS_LINE[status] + lines + _LINE + _LINE

    def _write(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body, self.expected_content_length = b"", 0
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = body if more else body + b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more):
                raise RuntimeError("the body is not as long as its head says")
        if self.head:
            body, self.head = self.head + body, b""
        if body:
            self.transport.write(body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


def _require(message: Any, kind: str) -> None:
    if message["type"] != kind:
        raise RuntimeError(f"{message['type']} where {kind} is due")
