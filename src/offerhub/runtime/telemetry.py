"""Logs: one JSON object a line in production, coloured text in development; secrets masked in both.

Our own events and those of the libraries (Uvicorn, BullMQ, asyncio) pass the same processors. What is masked, and by
which names, is `runtime.redaction`'s business; the finished line is scrubbed once more for seeds and API keys that
stand in a message or a traceback.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor, WrappedLogger

from offerhub.runtime.redaction import redact, scrub

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# They log what the edge logs better, or every call at INFO.
_OF_QUEUES: Final = ("queue.", "outbox.", "schedules.", "dead_letter.")
_QUIET: Final = ("uvicorn.access", "aiohttp.access", "asyncio")


def configure(
    *,
    level: str = "info",
    production: bool = True,
    queues: bool = False,
    stream: TextIO | None = None,
    report: Processor | None = None,
) -> None:
    """Set up logging for this process; safe to call again. Raises ValueError for a level that is not in LEVELS.

    With `queues` every step of a job is logged, whatever the level. `report` sees each line after it was masked.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"the log level must be one of {', '.join(LEVELS)}")
    threshold = LEVELS[level.lower()]
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _mask_fields,
        *([] if report is None else [report]),
    ]
    finish: list[Processor] = [_renderer(production), _mask_line]
    chosen: list[Processor] = [structlog.stdlib.add_log_level, _above(threshold)] if queues else []
    structlog.configure(
        processors=[*chosen, *shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if queues else threshold),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def _renderer(production: bool) -> Processor:
    return structlog.processors.JSONRenderer() if production else structlog.dev.ConsoleRenderer()


def _above(threshold: int) -> Processor:
    """Drop what is below the threshold, except what the queues have to say."""

    def drop(_: WrappedLogger, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        level = LEVELS.get(event["level"], logging.CRITICAL)
        if level < threshold and not str(event["event"]).startswith(_OF_QUEUES):
            raise structlog.DropEvent
        return event

    return drop


def _mask_fields(_: WrappedLogger, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    masked: MutableMapping[str, Any] = redact(event)
    return masked


def _mask_line(_: WrappedLogger, __: str, line: Any) -> str:
    return scrub(str(line))
