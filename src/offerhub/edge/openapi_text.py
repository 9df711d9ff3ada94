"""The prose of the API's document: what holds for every operation, and a sentence for each group of them."""

from typing import Final

TITLE: Final = "OFFER-HUB Orchestrator"
SUMMARY: Final = "Payments of a marketplace: balances, orders with escrow, disputes, withdrawals."

INTRODUCTION: Final = """\
A marketplace's backend speaks to this API; its users never do. Everything is JSON in UTF-8, below `/api/v1` (and, for
clients that know no base path, at the root as well).

## Credentials

Send an API key, a short-lived token or the master key as `Authorization: Bearer …`, or as `x-api-key`; when both are
there, `Authorization` counts. Each operation names the scope that it needs: `read`, `write` or `support`. The scopes
`*` and `admin` hold all of them within one marketplace; `orders.read` or `users.write` is a scope for one group of
operations. A key belongs to one marketplace, and whatever belongs to another is answered with 404. The master key
acts in the default marketplace, or in the one that the header `X-Marketplace-Id` names.

## Money and time

Amounts are strings with two decimals, such as `"25.00"`: never numbers, so that no client rounds them. Amounts on the
chain have seven. Times are in UTC with milliseconds, such as `2026-11-22T10:15:30.123Z`.

## Answers and errors

An answer holds the resource in `data`, and `meta` with the request's id and the time. Where older clients read the
resource's fields beside `data`, they are there too. An error is
`{"error": {"code", "message", "details"}}` with `details.requestId`. Decide by `code`; the message is for people.
Every code is listed below with what to do about it.

## Repeating a request

Send an `Idempotency-Key` of your own with each change, and repeat the same request with the same key whenever you do
not know what became of it. It is done once, and a repetition is answered with the stored answer, marked
`Idempotency-Replay: true`. The same key with another request is refused (409). The answers 401, 403, 429 and 500 and
above are not stored: they free the key.

## Lists

Lists are newest first. `limit` is the length of a page, and `cursor` the `nextCursor` of the page before; at the end
`hasMore` is false.

## Limits

Requests are counted per key, or per address for callers without one: `X-RateLimit-Limit`, `X-RateLimit-Remaining` and
`X-RateLimit-Reset` (epoch seconds) are on every answer. Beyond the limit the answer is 429 with `Retry-After` in
seconds. Beginning top-ups and withdrawals has a limit for each user besides. A body may have 100,000 bytes.
Properties that are not described here are refused, so that a misspelling is not taken for silence.
"""

TAGS: Final = {
    "access": "API keys, short-lived tokens and marketplaces.",
    "users": "The buyers and sellers of a marketplace.",
    "balance": "What a user has available and reserved, and manual movements of it.",
    "wallet": "A user's Stellar wallet: where to deposit, and what happened on it.",
    "topups": "Money that users bring in through Airtm.",
    "orders": "A job between a buyer and a seller, its escrow and its milestones, and how it ends.",
    "disputes": "Disagreements about an order, and their resolution by support.",
    "policies": "What happens by itself once a time is over; all of it is off until it is set.",
    "withdrawals": "Money that users take out.",
    "events": "What happens, as it happens.",
    "webhooks": "Where events are sent, what was sent and what came back; and what providers tell us.",
    "idempotency": "What became of a request whose answer was lost.",
    "treasury": "The operator's money that pays escrows in while users pay through Airtm.",
    "audit": "Who changed what, and when.",
    "operations": "The service itself: its health, its settings, maintenance and what operators look after.",
    "metrics": "What the service tells those who watch it.",
    "documentation": "This document, for people and for machines.",
}
"""By a route's domain, in the order in which a reader meets them."""
