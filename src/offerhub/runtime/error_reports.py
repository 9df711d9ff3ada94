"""Errors to Sentry, for who has one: what the log says at level error, masked as the log masks it, and nothing else.

Sentry's client would look into local variables, requests and libraries by itself; all of that is off: keys and money
are in them. It is an optional package, imported only where SENTRY_DSN is set.
"""

import importlib
import json
from collections.abc import MutableMapping
from typing import Any, Final

from structlog.typing import Processor, WrappedLogger

from offerhub.kernel.failures import OperatorError
from offerhub.runtime.redaction import scrub

REPORTED: Final = frozenset({"error", "critical"})
FLUSH_SECONDS_MAX: Final = 2.0
_OF_THE_LINE: Final = frozenset({"event", "level", "timestamp", "exception"})


class NoErrorReports(OperatorError):
    """SENTRY_DSN is set and Sentry's client cannot be used."""


def reporter(dsn: str, environment: str, release: str) -> Processor:
    """A processor that passes every line on, and sends errors to the project of this DSN.

    Sending is done by a thread and never waited for, but for two seconds at the end of the process. Raises
    NoErrorReports without the package, or for an address that is none.
    """
    try:
        sdk: Any = importlib.import_module("sentry_sdk")
        at_exit: Any = importlib.import_module("sentry_sdk.integrations.atexit")
    except ImportError as error:
        raise NoErrorReports(
            "SENTRY_DSN is set, and the package sentry-sdk is not installed: offerhub[sentry]"
        ) from error
    try:
        sdk.init(
            dsn=dsn,
            environment=environment,
            release=f"offerhub@{release}",
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[at_exit.AtexitIntegration(callback=lambda *_: None)],
            include_local_variables=False,
            include_source_context=False,
            max_breadcrumbs=0,
            max_request_body_size="never",
            send_client_reports=False,
            shutdown_timeout=FLUSH_SECONDS_MAX,
        )
    except ValueError as error:
        raise NoErrorReports("SENTRY_DSN is not the address of a project at Sentry") from error

    def report(_: WrappedLogger, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event.get("level") in REPORTED:
            sdk.capture_event(as_report(event))
        return event

    return report


def as_report(event: MutableMapping[str, Any]) -> dict[str, Any]:
    """A masked line of the log as an event of Sentry's: one issue for each kind of line and of error."""
    words = str(event["event"])
    trace = str(event.get("exception", ""))
    kind = trace.rstrip().rpartition("\n")[2].partition(":")[0]
    facts = {name: value for name, value in event.items() if name not in _OF_THE_LINE}
    found: dict[str, Any] = {
        "level": "fatal" if event["level"] == "critical" else "error",
        "logentry": {"formatted": words},
        "fingerprint": [words, kind],
        "extra": {**facts, **({"exception": trace} if trace else {})},
    }
    # The finished line is scrubbed once more in the log; so is this.
    scrubbed: dict[str, Any] = json.loads(scrub(json.dumps(found, default=str)))
    return scrubbed
