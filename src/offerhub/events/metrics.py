"""The source of metrics about event streams."""

from collections.abc import Callable, Sequence

from offerhub.events.feed import Feed
from offerhub.runtime.metrics import Reading, Source


def source(feed: Feed, streams: Callable[[], int]) -> Source:
    """Streams of this process, and what it has handed to them; `streams` counts those that are open."""

    async def read() -> Sequence[Reading]:
        counts = feed.counts
        return (
            Reading("offerhub_event_streams", "Open streams of events.", [((), streams())]),
            Reading("offerhub_event_deliveries_total", "Events handed to streams.",
                    [((), counts.deliveries)], kind="counter"),
            Reading("offerhub_event_streams_slow_total", "Streams ended because their client was too far behind.",
                    [((), counts.slow)], kind="counter"),
        )  # fmt: skip

    return Source("streams", 0, read)
