"""Where providers send what has happened (contract 2.11). Signatures are the credential."""

from typing import Any, Final

from offerhub.errors import WebhookSignatureInvalid
from offerhub.runtime.routes import Call, Envelope, Raw, Route
from offerhub.webhooks.model import WebhookAnswer
from offerhub.webhooks.service import Inbox

_AIRTM: Final = """
Signed as Svix does: `svix-id`, `svix-timestamp`, `svix-signature` (or `webhook-…`) over the bytes of the body, with
`AIRTM_WEBHOOK_SECRET`; a timestamp more than five minutes off is refused. The body is `{"type", "data"}`, or the
payin or payout itself. It is a hint only: what it names is read at Airtm before anything moves. It may come as often
and in whatever order it likes: a message counts once, by its `svix-id`.
"""
_TRUSTLESS_WORK: Final = """
Signed in `x-tw-signature` (or `TW-Signature`): the hexadecimal HMAC-SHA256 of the body's bytes under
`TRUSTLESS_WEBHOOK_SECRET`. A message without a signature is answered with 200 and has no effect. It is a hint only:
what is under way for the order looks at the chain at once.
"""


def routes(inbox: Inbox) -> tuple[Route, ...]:
    """Declare the endpoints."""

    async def airtm(call: Call) -> WebhookAnswer:
        raw: Raw = call.body
        return await inbox.from_airtm(raw.headers, raw.content)

    async def trustless_work(call: Call) -> WebhookAnswer:
        raw: Raw = call.body
        return await inbox.from_trustless_work(raw.headers, raw.content)

    # Not counted: a provider has many events of its own to tell, and an unsigned one costs a hash and no more.
    shared: dict[str, Any] = {
        "scope": "public",
        "domain": "webhooks",
        "envelope": Envelope.DATA,
        "answer": WebhookAnswer,
        "raw": True,
        "unit": "none",
        "rate_limited": False,
        "errors": (WebhookSignatureInvalid,),
    }
    return (
        Route("POST", "/webhooks/airtm", "webhooks.airtm", "What Airtm tells of payins and payouts",
              airtm, **shared, description=_AIRTM),
        Route("POST", "/webhooks/trustless-work", "webhooks.trustless_work", "What Trustless Work tells of contracts",
              trustless_work, **shared, description=_TRUSTLESS_WORK),
    )  # fmt: skip
