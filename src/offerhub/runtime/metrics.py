"""What a process tells about itself, in the text format of Prometheus.

Counters and histograms are moved where things happen. What is looked up instead, in the database or in Redis, comes
from sources: each is asked when somebody reads the metrics, at most once in its own time, and for a bounded one. A
source that fails or hangs leaves its metrics out and `offerhub_metrics_source_up` at 0;
the others are told all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from offerhub.kernel.clock import Clock
from offerhub.runtime.round_trips import RoundTrips

SOURCE_SECONDS_MAX: Final = 5.0
REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
CALL_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
MEDIA_TYPE: Final = CONTENT_TYPE_LATEST

log = structlog.stdlib.get_logger(__name__)

# A second series beside each, with the time of its first sample, that nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric as a source found it: the values of its labels with each value. Counters end in `_total`."""

    name: str
    help: str
    values: Sequence[tuple[tuple[str, ...], float]]
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"

    def family(self) -> Metric:
        """The same in the client library's terms."""
        made: GaugeMetricFamily | CounterMetricFamily
        if self.kind == "counter":
            made = CounterMetricFamily(self.name, self.help, labels=self.labels)
        else:
            made = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for labels, value in self.values:
            made.add_metric(labels, value)
        return made


@dataclass(frozen=True, slots=True)
class Source:
    """Where readings come from. What was read is told again for `seconds` before it is read anew."""

    name: str
    seconds: float
    read: Callable[[], Awaitable[Sequence[Reading]]]


@dataclass(slots=True)
class _Kept:
    until: float = float("-inf")
    readings: Sequence[Reading] = ()
    is_up: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class _Found(Collector):
    """Readings as a collector of one rendering."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        for reading in self._readings:
            yield reading.family()


class _OfRoute(NamedTuple):
    """The metrics of one route, looked up by its labels once."""

    seconds: Histogram
    sql: Counter
    redis: Counter


class Metrics:
    """The metrics of one process."""

    def __init__(self, clock: Clock, version: str) -> None:
        self._clock = clock
        self._registry = registry = CollectorRegistry()
        self._sources: dict[Source, _Kept] = {}
        self._of_route: dict[str, _OfRoute] = {}
        self._requests = Counter(
            "offerhub_http_requests",
            "Requests answered, by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            "offerhub_http_request_seconds",
            "How long answers took, by route.",
            ("route",),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self._request_sql = Counter(
            "offerhub_http_sql_statements",
            "SQL statements that requests sent, by route.",
            ("route",),
            registry=registry,
        )
        self._request_redis = Counter(
            "offerhub_http_redis_calls",
            "Calls to Redis that requests waited for, by route.",
            ("route",),
            registry=registry,
        )
        self._call_seconds = Histogram(
            "offerhub_provider_call_seconds",
            "How long attempted calls to a provider took, by outcome.",
            ("provider", "outcome"),
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._build = Reading(
            "offerhub_build_info", "The version that runs; always 1.", [((version,), 1)], ("version",)
        )

    def add(self, *sources: Source) -> None:
        """Ask these, too."""
        self._sources |= {source: _Kept() for source in sources}

    def request(self, route: str, status: int, seconds: float, asked: RoundTrips) -> None:
        """A request was answered; `route` is its declared name, or `unmatched`."""
        told = self._of_route.get(route)
        if told is None:
            told = self._of_route[route] = _OfRoute(
                self._request_seconds.labels(route),
                self._request_sql.labels(route),
                self._request_redis.labels(route),
            )
        self._requests.labels(route, str(status)).inc()
        told.seconds.observe(seconds)
        told.sql.inc(asked.sql)
        told.redis.inc(asked.redis)

    def call(self, provider: str, outcome: str, seconds: float) -> None:
        """A call to a provider has ended."""
        self._call_seconds.labels(provider, outcome).observe(seconds)

    async def render(self) -> bytes:
        """All metrics as text of MEDIA_TYPE."""
        await asyncio.gather(*(self._refresh(source, kept) for source, kept in self._sources.items()))
        readings = [self._build]
        readings += [reading for kept in self._sources.values() for reading in kept.readings]
        up = [((source.name,), float(kept.is_up)) for source, kept in self._sources.items()]
        readings.append(
            Reading("offerhub_metrics_source_up", "Whether a source of metrics could be read.", up, ("source",))
        )
        found = CollectorRegistry()
        found.register(_Found(readings))
        return generate_latest(self._registry) + generate_latest(found)

    async def _refresh(self, source: Source, kept: _Kept) -> None:
        async with kept.lock:
            now = self._clock.monotonic()
            if now < kept.until:
                return
            try:
                async with asyncio.timeout(SOURCE_SECONDS_MAX):
                    kept.readings = await source.read()
                kept.is_up = True
            except Exception as error:  # noqa: BLE001 - whatever broke, the other metrics are told
                log.warning("metrics_source_failed", source=source.name, error=repr(error))
                kept.readings, kept.is_up = (), False
            kept.until = now + source.seconds
