"""What every command starts from: the settings, and the servers they need."""

import os
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from offerhub.kernel.failures import OperatorError
from offerhub.kernel.version import VERSION
from offerhub.runtime import telemetry
from offerhub.runtime.embedded import embedded_services
from offerhub.runtime.error_reports import reporter
from offerhub.settings import Settings, load, read_env_file, with_development_key

T = TypeVar("T")

ENV_FILE = Path(".env")


class CommandError(OperatorError):
    """A command cannot do what it was asked for; the text tells its user why."""


def environment(**extra: str) -> dict[str, str]:
    """The process environment over `.env` in the current directory; `extra` fills what neither sets."""
    return {**extra, **read_env_file(ENV_FILE), **os.environ}


def settings_of(environ: Mapping[str, str]) -> Settings:
    """The settings, with logging set up to match.

    Raises SettingsError, naming every fault at once, and NoErrorReports for SENTRY_DSN without what it needs.
    """
    settings = load(with_development_key(environ))
    server = settings.server
    report = None
    if server.sentry_dsn:
        report = reporter(server.sentry_dsn.reveal(), settings.environment, VERSION)
    telemetry.configure(
        level=server.log_level, production=settings.is_production, queues=server.log_queues, report=report
    )
    return settings


@contextmanager
def services(settings: Settings, *, begin: bool = True) -> Iterator[Settings]:
    """The settings with PostgreSQL and Redis that run: the configured ones, or our own where none is.

    With `begin=False` a data folder must be there already: for commands that look at what others have made.
    Raises EmbeddedServicesError when an own server cannot be started, CommandError without a data folder.
    """
    storage = settings.storage
    if not begin and not storage.database_url and not (storage.data_dir / "services").exists():
        raise CommandError(
            f"there is no database: DATABASE_URL is not set, and {storage.data_dir.absolute()} holds none. "
            "Run this where the service runs, or set OFFERHUB_DATA_DIR."
        )
    if storage.database_url and storage.redis_url:
        yield settings
        return
    with embedded_services(
        storage.data_dir, want_postgres=not storage.database_url, want_redis=not storage.redis_url
    ) as urls:
        yield settings.with_services(urls.database_url, urls.redis_url)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on uvloop; returns what it returns."""
    import uvloop

    return uvloop.run(main)
