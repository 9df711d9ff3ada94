"""When a delivery that has failed is tried again.

The delays are those that the Standard Webhooks specification recommends: ten attempts over a little more than three
days, each a fifth sooner or later so that what failed together does not come back together.
"""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from offerhub.kernel.chance import jitter

MINUTE: Final = 60
HOUR: Final = 3600
DELAYS_SECONDS: Final = (
    *(5, 5 * MINUTE, 30 * MINUTE),
    *(2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
)
"""Before the second, third … attempt; after the tenth there is none."""
ATTEMPTS_MAX: Final = len(DELAYS_SECONDS) + 1
JITTER_SPREAD: Final = 0.2
ASKED_SECONDS_MAX: Final = 24 * HOUR
"""The longest wait that an endpoint may ask for (`Retry-After`)."""
FAILURES_BEFORE_REST: Final = 5
REST_SECONDS_MAX: Final = 60
"""How long at most an endpoint rests that fails and fails, unless it asks for more."""
ASKED_REST_SECONDS_MAX: Final = HOUR


def next_attempt(tries: int, now: datetime, asked_seconds: float | None) -> datetime | None:
    """When to try again after so many failures; None: never. `asked_seconds` is what the endpoint asked for."""
    if tries >= ATTEMPTS_MAX:
        return None
    delay = jitter(DELAYS_SECONDS[tries - 1], JITTER_SPREAD)
    if asked_seconds is not None:
        delay = max(delay, min(asked_seconds, ASKED_SECONDS_MAX))
    return now + timedelta(seconds=delay)


def rest_seconds(failures: int, asked_seconds: float | None) -> float:
    """How long an endpoint is left alone that has failed so many times in a row; 0 while these are few."""
    rest = 0.0
    if failures >= FAILURES_BEFORE_REST:
        doublings = min(failures - FAILURES_BEFORE_REST, 10)
        rest = jitter(min(2.0**doublings, REST_SECONDS_MAX), JITTER_SPREAD)
    return rest if asked_seconds is None else max(rest, min(asked_seconds, ASKED_REST_SECONDS_MAX))


def asked_for(retry_after: str | None, now: datetime) -> float | None:
    """The seconds of a `Retry-After`, which is a number of them or a date (RFC 9110, 10.2.3); None for any other."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((moment - now).total_seconds(), 0.0) if moment.tzinfo is not None else None
