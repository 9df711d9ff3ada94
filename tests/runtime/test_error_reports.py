"""Errors on their way to Sentry: its real client, and a receiver that speaks its protocol."""

import gzip
import http.server
import json
import logging
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog

from offerhub.runtime import telemetry
from offerhub.runtime.error_reports import NoErrorReports, reporter
from support.outside import PATIENCE_SECONDS

SEED = "S" + "A" * 55
KEY = "ohk_live_key_" + "a" * 32 + "_" + "b" * 48


class Project:
    """What Sentry would have got."""

    def __init__(self) -> None:
        self.got: queue.Queue[str] = queue.Queue()
        received = self.got

        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.put((gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode())
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.dsn = f"http://public@127.0.0.1:{self.server.server_port}/7"

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next report: all that was sent, and the event in it."""
        sent = self.got.get(timeout=PATIENCE_SECONDS)
        return sent, json.loads(sent.splitlines()[2])


@pytest.fixture
def project() -> Iterator[Project]:
    """Logging and the client are the whole process's: both are left as they were."""
    made, root = Project(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    sentry_sdk.get_client().close(timeout=PATIENCE_SECONDS)
    sentry_sdk.get_global_scope().set_client(None)
    made.server.shutdown()
    made.server.server_close()
    thread.join()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_errors_are_sent_masked_and_nothing_else(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure(report=reporter(project.dsn, "staging", "1.2.3"))
    log = structlog.get_logger("x")
    local_secret = SEED
    log.warning("not an error")
    try:
        int(f"the seed is {local_secret}")
    except ValueError as error:
        log.error("internal_error", exc_info=error, order="ord_1", api_key=KEY, note=f"with {KEY}")  # noqa: TRY400
    logging.getLogger("library").error("%s fails", "something")
    sent, event = project.next()
    assert SEED not in sent
    assert KEY not in sent
    assert (event["logentry"]["formatted"], event["level"], event["environment"]) == (
        "internal_error",
        "error",
        "staging",
    )
    assert event["release"] == "offerhub@1.2.3"
    assert event["extra"]["order"] == "ord_1"
    assert "ValueError" in event["extra"]["exception"]
    assert event["fingerprint"] == ["internal_error", "ValueError"]
    assert not any(event.get(name) for name in ("exception", "request", "user", "modules"))
    assert not event.get("breadcrumbs", {}).get("values")
    assert project.next()[1]["logentry"]["formatted"] == "something fails"
    assert project.got.empty()
    assert "internal_error" in capsys.readouterr().err, "the log has it, too"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(NoErrorReports, match="SENTRY_DSN"):
        reporter("not an address", "production", "1")


def test_without_the_package_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    with pytest.raises(NoErrorReports, match=r"offerhub\[sentry\]"):
        reporter("http://public@127.0.0.1:9/7", "production", "1")
