"""`offerhub health`: the verdict is the exit status."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from offerhub.cli.environment import CommandError
from offerhub.cli.health import health
from offerhub.cli.remote import Access
from support.command import offerhub
from support.product import Marketplace


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What a service on this machine says; the tests change it. Its address is in the variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFFERHUB_HOME", str(tmp_path))
    monkeypatch.delenv("OFFERHUB_API_KEY", raising=False)
    said: dict[str, Any] = {"version": "1.0.0", "dependencies": {}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v1/health/detailed"
            assert "authorization" not in self.headers
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": said}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OFFERHUB_API_URL", f"http://127.0.0.1:{server.server_port}/api/v1")
        yield said
        server.shutdown()


@pytest.mark.parametrize(("status", "code"), [("healthy", 0), ("unhealthy", 1), ("degraded", 3)])
def test_the_verdict_is_the_exit_status(
    told: dict[str, Any], status: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    told |= {
        "status": status,
        "dependencies": {
            "database": {"status": "healthy", "latency": 0.41},
            "schema": {"status": "healthy", "latency": 0.5, "version": 36},
            "airtm": {"status": "degraded", "error": "Not configured"},
            "deposits": {"status": "degraded", "lag": 130.0, "error": "Deposits are not being booked"},
        },
    }
    with pytest.raises(SystemExit) as ended:
        health()
    printed = capsys.readouterr().out
    assert ended.value.code == code
    assert all(words in printed for words in (status, "0.4 ms", "migration 36", "not used", "130.0"))
    with pytest.raises(SystemExit) as ended:
        health(as_json=True)
    assert (ended.value.code, json.loads(capsys.readouterr().out)) == (code, told)


def test_where_nothing_answers_it_ends_with_two(told: dict[str, Any]) -> None:
    told["status"] = "healthy"
    with pytest.raises(CommandError, match=r"no service answers at http://127\.0\.0\.1:9"):
        health(access=Access(url="http://127.0.0.1:9"))


async def test_of_a_real_service(tmp_path: Path, shop: Marketplace) -> None:
    await shop.live.system_is_ready()
    code, printed = await offerhub(tmp_path, "health", "--url", shop.live.url, HOME=str(tmp_path))
    assert (code, "database" in printed, "schema" in printed) == (0, True, True), printed
