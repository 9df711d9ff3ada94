"""The sender of Airtm's webhooks: signed, repeated on Svix's schedule, logged, broken on demand (providers.md 2.5).

The schedule runs on the sandbox's clock. The timestamp of an attempt is the machine's, because the receiver holds it
against its own clock.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import aiohttp

from offerhub.kernel.clock import Clock
from offerhub.sandbox import svix
from offerhub.sandbox.airtm_bodies import encode
from offerhub.sandbox.append_log import AppendLog
from offerhub.sandbox.faults import Fault, Faults
from offerhub.sandbox.schedule import Schedule
from offerhub.sandbox.webhook_model import (
    DELAYS,
    DISABLED_AFTER_SECONDS,
    TIMEOUT_SECONDS,
    Attempt,
    Endpoint,
    Message,
)

_LOG_FORMAT: Final = {"format": 1, "face": "airtm-webhooks"}
HELD_SECONDS_MAX: Final = 60.0
"""How long a reordered message waits for one to overtake it."""
SKEW_SECONDS: Final = 600
"""How far off the timestamps of the faults old_timestamp and future_timestamp are, unless they say."""

Post = Callable[[str, bytes, dict[str, str]], Awaitable[int]]
"""POSTs a body with headers to an address and returns the status. Raises TimeoutError or OSError."""


class Webhooks:
    """Endpoints, messages and attempts."""

    def __init__(
        self,
        schedule: Schedule,
        machine: Clock,
        faults: Faults,
        digest: Callable[[str], bytes],
        state_file: Path | None,
    ) -> None:
        self._schedule = schedule
        self._machine = machine
        self._faults = faults
        self._digest = digest
        self.endpoints: dict[str, Endpoint] = {}
        self.messages: dict[str, Message] = {}
        self.attempts: list[Attempt] = []
        self._held: list[Message] = []
        self._count = 0
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.post: Post = self._post
        """Makes the call of an attempt; a world without sockets has another."""
        self._log: AppendLog | None = None
        if state_file is not None:
            self._log = AppendLog(state_file.with_name(f"{state_file.name}.webhooks"), _LOG_FORMAT)
            for line in self._log.lines():
                self._recall(line)
        for message in self.messages.values():
            if message.state in {"pending", "held"}:
                message.state = "pending"
                self._plan(message, max(message.due, schedule.clock.now()))

    async def close(self) -> None:
        """Give up what is under way, and let go of connections and file."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        if self._log is not None:
            self._log.close()

    # -- endpoints -----------------------------------------------------------------------------------------------

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Send to these from now on, and to no other."""
        self.endpoints = {endpoint.id: endpoint for endpoint in endpoints}
        self._keep("endpoints", {"list": [asdict(endpoint) for endpoint in endpoints]})

    def rotate(self, endpoint: Endpoint) -> str:
        """Give an endpoint a new secret; the old one signs as well until `retire`."""
        secret = svix.PREFIX + svix.encoded(self._digest(f"webhook-secret:{endpoint.id}:{endpoint.secrets[0]}"))
        endpoint.secrets = [secret, endpoint.secrets[0]]
        self._keep_endpoints()
        return secret

    def retire(self, endpoint: Endpoint) -> None:
        """Sign with the newest secret only."""
        endpoint.secrets = endpoint.secrets[:1]
        self._keep_endpoints()

    def enable(self, endpoint: Endpoint) -> None:
        """Send to an endpoint again that was switched off."""
        endpoint.disabled, endpoint.failing_since = False, None
        self._keep_endpoints()

    # -- messages ------------------------------------------------------------------------------------------------

    def announce(self, event: str, data: dict[str, Any]) -> float:
        """Send an event to whoever wants it; for how many seconds the change is not to be readable yet."""
        hidden = 0.0
        for endpoint in self.endpoints.values():
            if endpoint.types is not None and event not in endpoint.types:
                continue
            fault = self._faults.take_event(event, "send")
            hidden = max(hidden, endpoint.early_seconds)
            if fault is not None and fault.kind == "early":
                hidden = max(hidden, fault.seconds)
            self._send(endpoint, event, data, fault)
        return hidden

    def replay(self, message: Message) -> None:
        """Send a message again, under its own id, with a schedule of its own."""
        message.attempts, message.state = 0, "pending"
        self._plan(message, self._schedule.clock.now())

    def recover(self, since: float) -> int:
        """Send every message again that failed since a moment; how many those are."""
        found = [one for one in self.messages.values() if one.state == "failed" and one.created_at >= since]
        for message in found:
            self.replay(message)
        return len(found)

    def _send(self, endpoint: Endpoint, event: str, data: dict[str, Any], fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else ""
        bare = endpoint.bare or kind == "bare"
        body = encode(data if bare else {"type": event, "data": data}).decode()
        now = self._schedule.clock.now()
        message = Message(self._new_id(), endpoint.id, event, body, now)
        self.messages[message.id] = message
        first = now
        match kind:
            case "drop":
                message.state = "dropped"
            case "reorder":
                message.state, first = "held", now + HELD_SECONDS_MAX
                self._held.append(message)
            case "delay" if fault is not None:
                first = now + fault.seconds
            case "new_id":
                again = Message(self._new_id(), endpoint.id, event, body, now)
                self.messages[again.id] = again
                self._plan(again, now)
        if message.state == "dropped":
            self._keep("message", asdict(message))
            return
        self._plan(message, first)
        if kind == "duplicate":
            self._schedule.at(first, lambda: self._attempt(message))
        if kind != "reorder":
            held, self._held = self._held, []
            for overtaken in held:
                overtaken.state = "pending"
                self._plan(overtaken, now)

    def _plan(self, message: Message, moment: float) -> None:
        message.due = moment
        self._keep("message", asdict(message))

        def due() -> asyncio.Task[None] | None:
            # A message that was planned anew since has another moment.
            return self._attempt(message) if message.due == moment and message.state != "delivered" else None

        self._schedule.at(moment, due)

    # -- attempts ------------------------------------------------------------------------------------------------

    def _attempt(self, message: Message) -> "asyncio.Task[None] | None":
        endpoint = self.endpoints.get(message.endpoint)
        if endpoint is None or endpoint.disabled:
            message.state = "failed"
            self._keep("message", asdict(message))
            return None
        message.attempts += 1
        message.state = "pending"
        task = asyncio.get_running_loop().create_task(self._deliver(endpoint, message, message.attempts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _deliver(self, endpoint: Endpoint, message: Message, number: int) -> None:
        body = message.body.encode()
        signed = self._signed(endpoint, message, body)
        status, error = None, None
        try:
            status = await self.post(endpoint.url, body, signed)
        except TimeoutError:
            error = f"no answer in {TIMEOUT_SECONDS:.0f} s"
        except (aiohttp.ClientError, OSError) as failure:
            error = f"{type(failure).__name__}: {failure}"[:200]
        now = self._schedule.clock.now()
        attempt = Attempt(message.id, endpoint.id, message.type, number, now, status, error, signed)
        self.attempts.append(attempt)
        self._keep("attempt", asdict(attempt))
        if attempt.delivered:
            message.state, endpoint.failing_since = "delivered", None
            self._keep("message", asdict(message))
        elif message.state != "delivered" and number == message.attempts:
            self._failed(endpoint, message, now)

    def _failed(self, endpoint: Endpoint, message: Message, now: float) -> None:
        endpoint.failing_since = now if endpoint.failing_since is None else endpoint.failing_since
        if now - endpoint.failing_since >= DISABLED_AFTER_SECONDS:
            endpoint.disabled = True
        self._keep_endpoints()
        if message.attempts >= len(DELAYS) or endpoint.disabled:
            message.state = "failed"
            self._keep("message", asdict(message))
        else:
            self._plan(message, now + DELAYS[message.attempts])

    def _signed(self, endpoint: Endpoint, message: Message, body: bytes) -> dict[str, str]:
        """The headers of an attempt, with what a fault does to them."""
        fault = self._faults.take_event(message.type, "attempt")
        kind = fault.kind if fault is not None else ""
        moment, secrets = int(self._machine.now().timestamp()), endpoint.secrets
        skew = int(fault.seconds) if fault is not None and fault.seconds else SKEW_SECONDS
        if kind == "old_timestamp":
            moment -= skew
        elif kind == "future_timestamp":
            moment += skew
        elif kind == "both_secrets":
            secrets = [svix.PREFIX + svix.encoded(self._digest("webhook-secret:another")), *secrets[:1]]
        signed = svix.headers(secrets, message.id, moment, body)
        if kind == "bad_signature":
            signed["svix-signature"] = svix.sign(secrets[0], message.id, moment, body + b" ")
        return signed

    async def _post(self, url: str, body: bytes, signed: dict[str, str]) -> int:
        if self._session is None:
            # Not through a proxy of the environment: receivers are on this machine.
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        headers = {"content-type": "application/json", "user-agent": "Svix-Webhooks/1.0 (sandbox)", **signed}
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            return response.status

    # -- remembering ---------------------------------------------------------------------------------------------

    def _new_id(self) -> str:
        self._count += 1
        return f"msg_{self._digest(f'webhook:{self._count}').hex()[:27]}"

    def _keep_endpoints(self) -> None:
        self._keep("endpoints", {"list": [asdict(endpoint) for endpoint in self.endpoints.values()]})

    def _keep(self, name: str, body: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write({name: body})

    def _recall(self, line: dict[str, Any]) -> None:
        if "endpoints" in line:
            self.endpoints = {one["id"]: Endpoint(**one) for one in line["endpoints"]["list"]}
        elif "message" in line:
            message = Message(**line["message"])
            self._count += message.id not in self.messages
            self.messages[message.id] = message
        else:
            self.attempts.append(Attempt(**line["attempt"]))
