"""The sources of metrics: what the database, the queues and the lines to the providers tell when they are asked.

Metrics are of the whole installation, so only operators read them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from offerhub.access.service import require_operator
from offerhub.operations import store
from offerhub.operations.radar import Radar
from offerhub.runtime.breaker import BreakerState
from offerhub.runtime.database import Database
from offerhub.runtime.line import LineSnapshot
from offerhub.runtime.metrics import MEDIA_TYPE, Metrics, Reading, Source
from offerhub.runtime.queue import Queues
from offerhub.runtime.routes import Call, Document, Envelope, Route

WORK_SECONDS: Final = 5.0
QUEUES_SECONDS: Final = 5.0
STUCK_SECONDS: Final = 15.0
BOOKS_SECONDS: Final = 300.0
"""Sums over all postings: exact, and too dear for every reading."""

BREAKER_STATES: Final[tuple[BreakerState, ...]] = ("closed", "half_open", "open")


def metrics_routes(metrics: Metrics) -> tuple[Route, ...]:
    """`GET /metrics`, for a key of the default marketplace with the scope `metrics.read`."""

    async def read(call: Call) -> Document:
        require_operator(call.actor)
        return Document(await metrics.render(), MEDIA_TYPE)

    return (
        Route("GET", "/metrics", "metrics.read", "Read the metrics of this process and of the installation.",
              read, scope="read", domain="metrics", envelope=Envelope.DATA, unit="none", answer=Document,
              media_type="text/plain",
              description="In the text format of Prometheus. For the master key, or a key of the default marketplace "
              "that is bound to no user; `metrics.read` is the least scope."),
    )  # fmt: skip


def database_sources(database: Database) -> tuple[Source, ...]:
    """Work that waits, sums of the books, and the pool of connections."""

    async def work() -> Sequence[Reading]:
        sagas = await database.run(store.running_sagas, read_only=True)
        waiting = await database.run(store.waiting_work, read_only=True)
        kinds = ("kind",)
        return (
            Reading("offerhub_sagas_running", "Sagas under way, by kind.",
                    [((row["kind"],), row["running"]) for row in sagas], kinds),
            Reading("offerhub_saga_oldest_seconds", "The age of the oldest saga under way, by kind.",
                    [((row["kind"],), row["oldest"]) for row in sagas], kinds),
            Reading("offerhub_saga_steps_unknown", "Steps whose outcome is unknown, by kind of saga.",
                    [((row["kind"],), row["unknown"]) for row in sagas], kinds),
            *(Reading(f"offerhub_{name}", words, [((), waiting[name])]) for name, words in store.WAITING.items()),
        )  # fmt: skip

    async def books() -> Sequence[Reading]:
        totals = await database.run(store.ledger_totals, read_only=True)
        return (
            Reading("offerhub_ledger_units", "Sums of the books in units of 10^-7, by kind of account.",
                    [((row["kind"],), row["total"]) for row in totals], ("kind",)),
            Reading("offerhub_ledger_sum_units", "The sum over all accounts in units of 10^-7: always 0.",
                    [((), sum(row["total"] for row in totals))]),
        )  # fmt: skip

    async def pool() -> Sequence[Reading]:
        size, idle, most = database.connections
        return (
            Reading("offerhub_database_connections", "Connections of this process.",
                    [(("idle",), idle), (("busy",), size - idle)], ("state",)),
            Reading("offerhub_database_connections_max", "How many there may be.", [((), most)]),
        )  # fmt: skip

    return (
        Source("work", WORK_SECONDS, work),
        Source("books", BOOKS_SECONDS, books),
        Source("pool", 0, pool),
    )


def stuck_source(database: Database, radar: Radar) -> Source:
    """What is past its time."""

    async def read() -> Sequence[Reading]:
        found = await database.run(radar.counts, read_only=True)
        return (
            Reading("offerhub_stuck", "What is past its time, by type.",
                    [((kind,), count) for kind, count in found.items()], ("type",)),
        )  # fmt: skip

    return Source("stuck", STUCK_SECONDS, read)


def queue_source(queues: Queues, names: Sequence[str]) -> Source:
    """Jobs in Redis by queue and state."""

    async def read() -> Sequence[Reading]:
        found = {name: await queues.counts(name) for name in names}
        return (
            Reading("offerhub_queue_jobs", "Jobs in Redis by queue and state.",
                    _by_two(found), ("queue", "state")),
        )  # fmt: skip

    return Source("queues", QUEUES_SECONDS, read)


def line_source(snapshots: Callable[[], Sequence[LineSnapshot]]) -> Source:
    """The lines to the providers."""

    async def read() -> Sequence[Reading]:
        return _line_readings(snapshots())

    return Source("lines", 0, read)


def _by_two(counts: Mapping[str, Mapping[Any, int]]) -> list[tuple[tuple[str, ...], float]]:
    """Counts by two labels, one within the other."""
    return [((outer, inner), count) for outer, by in counts.items() for inner, count in by.items()]


def _line_readings(found: Sequence[LineSnapshot]) -> Sequence[Reading]:
    states = {one.provider: {state: int(state == one.breaker) for state in BREAKER_STATES} for one in found}
    transitions = {one.provider: one.breaker_transitions for one in found}
    held_back = {one.provider: one.held_back for one in found}
    provider = ("provider",)
    return (
        Reading("offerhub_breaker_state", "1 for the state that a provider's circuit breaker is in.",
                _by_two(states), ("provider", "state")),
        Reading("offerhub_breaker_transitions_total", "How often a breaker came into a state.",
                _by_two(transitions), ("provider", "state"), "counter"),
        Reading("offerhub_provider_calls_held_back_total", "Calls that were not let out, by reason.",
                _by_two(held_back), ("provider", "reason"), "counter"),
        Reading("offerhub_provider_retries_total", "Reads that were attempted again.",
                [((one.provider,), one.retries) for one in found], provider, "counter"),
        Reading("offerhub_provider_places_taken", "Calls under way.",
                [((one.provider,), one.places_taken) for one in found], provider),
        Reading("offerhub_provider_calls_waiting", "Calls that wait for a place.",
                [((one.provider,), one.waiting) for one in found], provider),
        Reading("offerhub_provider_counted_alone_total", "Calls counted without the shared budget, Redis being away.",
                [((one.provider,), one.counted_alone) for one in found], provider, "counter"),
    )  # fmt: skip
