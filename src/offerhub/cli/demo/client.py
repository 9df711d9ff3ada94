"""A small HTTP client, as a marketplace might write one: JSON, an API key, idempotency keys, nothing hidden."""

import http.client
import json
import threading
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

ANSWER_SECONDS_MAX: Final = 60.0


class DemoFailed(Exception):
    """Something did not go as it must; the text says what, for the person who watches."""


class ConnectionCut(Exception):
    """The connection ended without an answer: what was asked may have happened or not."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. `replayed` is true when the service says that it repeats an earlier answer."""

    status: int
    body: bytes
    replayed: bool

    @property
    def data(self) -> Any:
        """The JSON inside the envelope, when there is one."""
        parsed = json.loads(self.body)
        return parsed.get("data", parsed) if isinstance(parsed, dict) else parsed

    @property
    def error_code(self) -> str | None:
        """The error's code, such as `WALLET_NOT_READY`; None for a success."""
        if self.status < 300:
            return None
        error = json.loads(self.body)["error"]
        return str(error["code"]) if isinstance(error, dict) else str(error)


class Client:
    """Calls one HTTP service. Proxies of the environment are left alone: everything here is on this machine."""

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        self.base_url = base_url
        self.api_key = api_key

    def send(self, method: str, path: str, body: Any = None, *, idempotency_key: str | None = None) -> Reply:
        """One request, never repeated by itself. Raises ConnectionCut."""
        url = urlsplit(self.base_url)
        headers = {"content-type": "application/json"}
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=ANSWER_SECONDS_MAX)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, url.path + path, content, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), answer.headers.get("idempotency-replay") == "true")
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionCut(f"{method} {url.path}{path} got no answer: {error!r}") from error
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Read something. Raises DemoFailed for a refusal, ConnectionCut."""
        return self._accepted("GET", path, self.send("GET", path))

    def post(self, path: str, body: Any = None) -> Any:
        """Do something. Raises DemoFailed for a refusal, ConnectionCut."""
        return self._accepted("POST", path, self.send("POST", path, body))

    @staticmethod
    def _accepted(method: str, path: str, reply: Reply) -> Any:
        if reply.status >= 300:
            raise DemoFailed(f"{method} {path} was answered with {reply.status}: {reply.body.decode()[:500]}")
        return reply.data


class Pending:
    """A request that is on its way while the caller does something else."""

    def __init__(self, client: Client, path: str, idempotency_key: str) -> None:
        self._reply: Reply | None = None

        def send() -> None:
            try:
                self._reply = client.send("POST", path, {}, idempotency_key=idempotency_key)
            except ConnectionCut:
                self._reply = None

        self._thread = threading.Thread(target=send, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """True once it was answered or cut off."""
        return not self._thread.is_alive()

    def reply(self) -> Reply | None:
        """Wait for the answer; None when the connection was cut."""
        self._thread.join()
        return self._reply
