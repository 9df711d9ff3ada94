"""Logs: readable by machines, and without secrets."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from offerhub.runtime import telemetry

SEED = "S" + "A" * 55
CREDENTIAL = "ohk_live_key_" + "a" * 32 + "_" + "b" * 48


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the whole process's: leave it as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line() -> None:
    stream = io.StringIO()
    telemetry.configure(stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("x").info("request", status=200)
    logging.getLogger("library").warning("old %s", "style")
    ours, theirs = lines(stream)
    assert (ours["event"], ours["status"], ours["request_id"], ours["level"]) == ("request", 200, "r-1", "info")
    assert (theirs["event"], theirs["level"]) == ("old style", "warning")
    assert ours["timestamp"].endswith("Z")


def test_the_level_holds_for_both() -> None:
    stream = io.StringIO()
    telemetry.configure(level="WARNING", stream=stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("library").info("quiet")
    structlog.get_logger().error("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("production", [True, False])
def test_secrets_are_masked_wherever_they_stand(production: bool) -> None:
    stream = io.StringIO()
    telemetry.configure(production=production, stream=stream)
    log = structlog.get_logger()
    log.info("x", password="hunter2", nested={"authorization": "hunter2", "seeds": [SEED]}, note=f"key {CREDENTIAL}")
    logging.getLogger("library").error("could not sign with %s for %s", SEED, CREDENTIAL)
    log.error("failed", exc_info=ValueError(f"bad seed {SEED}"))
    log.error("failed", reason=ValueError(f"bad seed {SEED}"), seen={CREDENTIAL})
    told = stream.getvalue()
    assert "failed" in told
    assert "ValueError" in told
    for secret in ("hunter2", SEED, CREDENTIAL):
        assert secret not in told


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="warning"):
        telemetry.configure(level="verbose")


def test_the_queues_can_be_turned_up_alone() -> None:
    stream = io.StringIO()
    telemetry.configure(level="warning", stream=stream, queues=True)
    log = structlog.get_logger("anybody")
    log.debug("queue.job_taken", job_id="outbox-1")
    log.debug("saga_waits")
    log.info("background_started")
    log.warning("chore_delayed")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "queue.job_taken",
        "chore_delayed",
    ]
