"""Spans on their way to a collector: OpenTelemetry's own SDK and OTLP over HTTP (decision 0063).

The only module that imports OpenTelemetry, and imported only where an endpoint is set. Nothing hooks into libraries:
spans are those that `spans` describes. They are sent by a thread that nobody waits for, but for FLUSH_SECONDS_MAX
when the process ends; what the collector does not take is lost, and the log says so.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from offerhub.runtime import spans
from offerhub.runtime.spans import CARRIED, Attributes, Kind

FLUSH_SECONDS_MAX: Final = 2.0
EXPORT_SECONDS_MAX: Final = 10.0
ATTRIBUTE_CHARACTERS_MAX: Final = 512

_KINDS: Final = {kind.name: kind for kind in SpanKind}
_W3C: Final = TraceContextTextMapPropagator()


def sampler(name: str, ratio: float) -> Sampler:
    """The sampler of this standard name. Raises KeyError for one that there is not."""
    root = {"always_on": ALWAYS_ON, "always_off": ALWAYS_OFF, "traceidratio": TraceIdRatioBased(ratio)}
    base = name.removeprefix("parentbased_")
    return root[base] if base == name else ParentBased(root[base])


class _Span:
    """A span of `spans`, as OpenTelemetry has it."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: str | int) -> None:
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        # Without a description: the texts of errors may hold anything.
        self._span.set_status(StatusCode.ERROR)


class Exporting:
    """Makes spans with a provider of this process's own."""

    def __init__(self, provider: TracerProvider, version: str) -> None:
        self._tracer = provider.get_tracer("offerhub", version)

    @contextlib.contextmanager
    def span(
        self, name: str, kind: Kind, attributes: Attributes, *, under: str | None = None
    ) -> Iterator[spans.Span]:
        """As `spans.Tracing.span`."""
        parent = context.get_current() if under is None else _W3C.extract({CARRIED: under}, context.Context())
        begun = self._tracer.start_span(name, parent, _KINDS[kind], attributes)
        token = context.attach(trace.set_span_in_context(begun, parent))
        span = _Span(begun)
        try:
            yield span
        except BaseException as error:
            span.fail(type(error).__name__)
            raise
        finally:
            context.detach(token)
            begun.end()

    def records(self) -> bool:
        """As `spans.Tracing.records`."""
        return trace.get_current_span().is_recording()

    def traceparent(self) -> str | None:
        """As `spans.Tracing.traceparent`."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get(CARRIED)


@contextlib.asynccontextmanager
async def exporting(
    *,
    endpoint: str,
    headers: Mapping[str, str],
    resource: Mapping[str, str],
    sample: Sampler,
    version: str,
) -> AsyncIterator[None]:
    """Spans go to a collector while the block runs. `endpoint` is its base: `/v1/traces` is added."""
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", headers=dict(headers), timeout=EXPORT_SECONDS_MAX)
    provider = TracerProvider(
        sampler=sample,
        resource=Resource.create(dict(resource)),
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_span_attribute_length=ATTRIBUTE_CHARACTERS_MAX),
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    before, spans.active = spans.active, Exporting(provider, version)
    try:
        yield
    finally:
        spans.active = before
        # A thread of its own: a collector that hangs must not hold up the end of the process.
        flush = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        flush.start()
        await asyncio.to_thread(flush.join, FLUSH_SECONDS_MAX)
