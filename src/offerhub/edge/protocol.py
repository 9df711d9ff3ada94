"""The server's HTTP protocol: Uvicorn's, and a way for the application to cut a connection.

ASGI has no such way. A client that reads nothing holds what was sent to it, and its connection, for as long as it
likes.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from offerhub.edge.streams import ABORT


class Protocol(HttpToolsProtocol):
    """Tells the application how to cut its connection: `cut` of the extension ABORT in a request's scope."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"cut": self.transport.abort}}
