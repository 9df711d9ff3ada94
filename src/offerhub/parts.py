"""Parts of a product as the settings describe them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from offerhub.kernel.clock import Clock
from offerhub.kernel.failures import OperatorError
from offerhub.kernel.version import VERSION
from offerhub.providers.airtm.client import Airtm
from offerhub.runtime.counted_redis import CountedRedis
from offerhub.runtime.database import Database
from offerhub.runtime.line import Line
from offerhub.runtime.statements import Batches
from offerhub.settings import Airtm as AirtmSettings
from offerhub.settings import Settings
from offerhub.topups.service import ReturnAddresses
from offerhub.webhooks.service import Inbox

REDIS_SECONDS_MAX: Final = 0.5


class NoTraces(OperatorError):
    """OTEL_EXPORTER_OTLP_ENDPOINT is set and OpenTelemetry cannot be used."""


@contextlib.asynccontextmanager
async def traced(settings: Settings) -> AsyncIterator[None]:
    """Traces go where the settings say while the block runs. Raises NoTraces without the packages for it.

    What is made before it, such as a pool of connections, leaves none.
    """
    wanted = settings.traces
    if wanted is None:
        yield
        return
    try:
        # Only here: it takes 30 MB and half a second that nobody else shall pay for.
        from offerhub.runtime.span_export import exporting, sampler
    except ImportError as error:
        raise NoTraces(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: offerhub[otel]"
        ) from error
    async with exporting(
        endpoint=wanted.endpoint,
        headers=wanted.headers.reveal(),
        resource={"service.version": VERSION, **wanted.resource},
        sample=sampler(wanted.sampler, wanted.ratio),
        version=VERSION,
    ):
        yield


def inbox(settings: Settings, database: Database, batches: Batches, clock: Clock) -> Inbox:
    """What takes the providers' webhooks, with the secrets that are set."""
    trustless, airtm = settings.trustless_work, settings.airtm
    theirs = (trustless.webhook_secret, trustless.previous_webhook_secret)
    ours = () if airtm is None else (airtm.webhook_secret, airtm.previous_webhook_secret)
    return Inbox(
        database,
        batches,
        clock,
        tuple(secret.reveal() for secret in ours if secret.reveal()),
        tuple(secret.reveal() for secret in theirs if secret.reveal()),
    )


def airtm(line: Line | None, settings: AirtmSettings | None) -> Airtm | None:
    """Airtm's client, where it is the rail."""
    if line is None or settings is None:
        return None
    return Airtm(
        line,
        settings.api_url,
        settings.checkout_url,
        settings.api_key.reveal(),
        settings.api_secret.reveal(),
        timeout_seconds=settings.timeout_ms / 1000,
        require_id_verified=settings.require_id_verified,
    )


def prompt_redis(settings: Settings) -> "redis.asyncio.Redis":
    """Redis for what is asked on the way of a request: it fails fast and never retries."""
    return CountedRedis.from_url(
        settings.storage.redis_url.reveal(),
        socket_timeout=REDIS_SECONDS_MAX,
        socket_connect_timeout=REDIS_SECONDS_MAX,
        retry=Retry(NoBackoff(), 0),
    )


def return_addresses(settings: AirtmSettings | None) -> ReturnAddresses | None:
    """Where Airtm's checkout sends a user back to."""
    if settings is None:
        return None
    return ReturnAddresses(
        callback_base=settings.topup_callback_base_url,
        success=settings.topup_success_redirect_url,
        cancel=settings.topup_cancel_redirect_url,
    )
