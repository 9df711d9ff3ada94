"""A collector of OpenTelemetry's on loopback: it takes what a real exporter sends, by OTLP over HTTP."""

import asyncio
import contextlib
import gzip
import http.server
import os
import threading
import unittest.mock
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.outside import PATIENCE_SECONDS


@dataclass(frozen=True)
class Got:
    """A span as it arrived; ids are hexadecimal, `parent` is empty for a root."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    failed: bool
    said: dict[str, Any]
    told: str
    """What its status says in words."""


class Collector:
    """What has arrived: spans, and the raw bytes and headers of the requests that brought them."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[Got] = []
        self.resources: list[dict[str, Any]] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    collector.take({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """A request has come."""
        asked = ExportTraceServiceRequest.FromString(body)
        self.headers.append(headers)
        self.bodies.append(body)
        for of_process in asked.resource_spans:
            self.resources.append(_said(of_process.resource.attributes))
            for scope in of_process.scope_spans:
                self.spans += [_got(span) for span in scope.spans]

    async def until(self, wanted: Callable[[list[Got]], bool]) -> list[Got]:
        """All spans, once they are what is wanted; fails with their names when they never are."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not wanted(self.spans):
            names = sorted({span.name for span in self.spans})
            assert asyncio.get_running_loop().time() < deadline, f"still waiting, seen: {names}"
            await asyncio.sleep(0.05)
        return self.spans

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Answer while the block runs. Exporters that begin meanwhile send what they have ten times a second."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            with unittest.mock.patch.dict(os.environ, OTEL_BSP_SCHEDULE_DELAY="100"):
                yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _said(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def _got(span: Any) -> Got:
    return Got(
        name=span.name,
        kind=type(span).SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        failed=span.status.code == 2,
        said=_said(span.attributes),
        told=span.status.message + "".join(str(event) for event in span.events),
    )
