"""Taking a webhook in: verify the bytes, keep it with its job in one transaction, and only then answer.

Whatever it says is a hint. What it names is read at the provider before anything moves, so a late, repeated,
reordered or invented one changes nothing that the provider would not confirm.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.events.journal import Job, job_rows
from offerhub.kernel.clock import Clock
from offerhub.providers.airtm import signatures as airtm_signatures
from offerhub.providers.trustless_work import signatures as trustless_work_signatures
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database
from offerhub.runtime.statements import Batches, Statement
from offerhub.webhooks.model import TRUSTLESS_WORK_TYPES, News, WebhookAnswer

QUEUE: Final = "webhooks"
JOB: Final = "process"
TYPE_CHARACTERS_MAX: Final = 100
EVENT_ID_CHARACTERS_MAX: Final = 255
UNSIGNED: Final = "unsigned"

_OURS = re.compile(r"(?:topup|wd|ord)_[0-9A-Za-z]{32}", re.ASCII)

log = structlog.get_logger("offerhub.webhooks")


@dataclass(frozen=True, slots=True)
class Inbox:
    """Takes webhooks in. Any of a provider's secrets may have signed; without one nothing of that provider counts."""

    database: Database
    batches: Batches
    clock: Clock
    airtm_secrets: tuple[str, ...] = field(repr=False)
    trustless_work_secrets: tuple[str, ...] = field(repr=False)

    async def from_airtm(self, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """Take in what Airtm sends through Svix. Raises WebhookSignatureInvalid."""
        message_id = airtm_signatures.verify(headers, body, self.airtm_secrets, self.clock.now())
        told = _read(body)
        kind = told.get("type") if told else None
        # Wrapped as `{type, data}`, or bare: both are documented (providers 2.5). Either way only our code counts.
        data = told.get("data", told) if told else None
        code = data.get("code") if isinstance(data, dict) else None
        news = News("AIRTM", message_id, _short(kind, "unknown"), _ours(code, ("topup_", "wd_")), told)
        return await self._keep(news, "no top-up or withdrawal of ours")

    async def from_trustless_work(self, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """Take in what is signed with Trustless Work's secret. Raises WebhookSignatureInvalid.

        Without a signature it is answered, and nothing of it is kept.
        """
        if not trustless_work_signatures.verify(headers, body, self.trustless_work_secrets):
            return WebhookAnswer(status="ok", processed=False, reason=UNSIGNED)
        told = _read(body)
        kind = told.get("type") if told else None
        is_known = isinstance(kind, str) and kind in TRUSTLESS_WORK_TYPES
        data = told.get("data") if told else None
        order_id = data.get("order_id") if isinstance(data, dict) and is_known else None
        event_id = told.get("event_id") if told else None
        if not (isinstance(event_id, str) and 0 < len(event_id) <= EVENT_ID_CHARACTERS_MAX):
            event_id = "sha256:" + hashlib.sha256(body).hexdigest()
        news = News("TRUSTLESS_WORK", event_id, _short(kind, "unknown"), _ours(order_id, ("ord_",)), told)
        return await self._keep(news, "no order of ours" if is_known else "unknown event type")

    async def _keep(self, news: News, ignored: str) -> WebhookAnswer:
        statement = _kept(news, ignored)
        told = await self.batches.perform(statement, "")
        if told is None:
            told = await self.database.run(lambda tx: statement.within(tx, ""))
        is_new = told == b"true"
        log.info("webhook_received", provider=news.provider, kind=news.event_type, subject=news.subject, new=is_new)
        if not is_new:
            return WebhookAnswer(status="ok", processed=news.subject is not None, duplicate=True)
        if news.subject is None:
            return WebhookAnswer(status="ok", processed=False, reason=ignored)
        return WebhookAnswer(status="ok", processed=True)


def _kept(news: News, ignored: str) -> Statement:
    """Keep a delivery, and the job that looks into it when it names something of ours."""
    actor = system(DEFAULT_MARKETPLACE_ID, "webhooks")
    job = Job(QUEUE, JOB, {"provider": news.provider, "eventId": news.event_id})
    request = {
        "marketplace": actor.marketplace_id,
        "actor": actor.for_audit(),
        "news": {
            "provider": news.provider,
            "event_id": news.event_id,
            "event_type": news.event_type,
            "subject": news.subject,
            "payload": news.payload,
            "status": "IGNORED" if news.subject is None else "RECEIVED",
            "outcome": ignored if news.subject is None else None,
        },
        "jobs": [] if news.subject is None else job_rows([job]),
    }
    turn = f"{news.provider} {news.event_id}"
    return Statement("keep_webhook", turn, request, None, lambda _: None, rings=("jobs",))


def _read(body: bytes) -> dict[str, Any] | None:
    """The body as an object that PostgreSQL can keep; None when it is not one."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return told if isinstance(told, dict) and b"\\u0000" not in body else None


def _short(kind: Any, default: str) -> str:
    return kind[:TYPE_CHARACTERS_MAX] if isinstance(kind, str) and kind else default


def _ours(code: Any, prefixes: tuple[str, ...]) -> str | None:
    return code if isinstance(code, str) and _OURS.fullmatch(code) and code.startswith(prefixes) else None
