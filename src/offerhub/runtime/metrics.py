"""What a process tells about itself, in the text format of Prometheus.

Counters and histograms are moved where things happen. What is looked up instead, in the database or in Redis, comes
from sources: each is asked when somebody reads the metrics, at most once in its own time, and for a bounded one. A
source that fails or hangs leaves its metrics out and `offerhub_metrics_source_up` at 0;
the others are told all the same.
"""

import asyncio
import itertools
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
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


@dataclass(slots=True)
class _OfRoute:
    """What the requests of one route came to."""

    statuses: dict[int, int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(REQUEST_BUCKETS) + 1))
    seconds: float = 0.0
    sql: int = 0
    redis: int = 0

    def upper_bounds(self) -> Iterator[tuple[str, float]]:
        """How many took at most so long, for each bound."""
        yield from zip([*map(str, REQUEST_BUCKETS), "+Inf"], itertools.accumulate(self.buckets), strict=True)


class _Requests(Collector):
    """What requests came to: numbers that each of them moves, put into the client library's terms when asked for."""

    def __init__(self) -> None:
        self._of_route: dict[str, _OfRoute] = {}

    def note(self, route: str, status: int, seconds: float, asked: RoundTrips) -> None:
        """A request was answered."""
        told = self._of_route.get(route)
        if told is None:
            told = self._of_route[route] = _OfRoute()
        told.statuses[status] = told.statuses.get(status, 0) + 1
        told.buckets[bisect_left(REQUEST_BUCKETS, seconds)] += 1
        told.seconds += seconds
        told.sql += asked.sql
        told.redis += asked.redis

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "offerhub_http_requests", "Requests answered, by route and status.", labels=("route", "status")
        )
        took = HistogramMetricFamily(
            "offerhub_http_request_seconds", "How long answers took, by route.", labels=("route",)
        )
        sql = CounterMetricFamily(
            "offerhub_http_sql_statements", "SQL statements that requests sent, by route.", labels=("route",)
        )
        redis = CounterMetricFamily(
            "offerhub_http_redis_calls", "Calls to Redis that requests waited for, by route.", labels=("route",)
        )
        for route, told in self._of_route.items():
            for status, count in told.statuses.items():
                requests.add_metric((route, str(status)), count)
            took.add_metric((route,), list(told.upper_bounds()), told.seconds)
            sql.add_metric((route,), told.sql)
            redis.add_metric((route,), told.redis)
        yield from (requests, took, sql, redis)


class Metrics:
    """The metrics of one process."""

    def __init__(self, clock: Clock, version: str) -> None:
        self._clock = clock
        self._registry = registry = CollectorRegistry()
        self._sources: dict[Source, _Kept] = {}
        self._requests = _Requests()
        registry.register(self._requests)
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
        self._requests.note(route, status, seconds, asked)

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
