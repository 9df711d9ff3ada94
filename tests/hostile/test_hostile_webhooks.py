"""Webhooks that are signed and mad, or not signed at all (reliability 2.6): kept or refused, and nothing moves."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hostile_site import Site

from asgi_client import Heard
from offerhub.providers.airtm.signatures import key_of
from support.long_runs import Tally
from support.raw_http import Said, request, spoken

DEEP: Final = 40_000
BODIES: Final[Mapping[str, bytes]] = {
    "nothing": b"",
    "a text": b'"payin.confirmed"',
    "a list": b"[1, 2, 3]",
    "null": b"null",
    "no JSON": b"type=payin.confirmed&data=1",
    "half of it": b'{"type": "payin.confirmed", "data": {',
    "not UTF-8": b'{"type": "\xff\xfe"}',
    "a lone surrogate": b'{"type": "\\ud800"}',
    "a NUL": b'{"type": "a\\u0000b", "data": {"code": "topup_\\u0000"}}',
    "a NUL byte": b'{"type": "a\0b"}',
    "a huge number": b'{"type": "x", "data": {"amount": 1e999}}',
    "no number": b'{"type": "x", "data": {"amount": NaN}}',
    "an integer without end": b'{"type": "x", "data": {"amount": ' + b"9" * 90_000 + b"}}",
    "deep lists": b'{"type": "x", "data": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "not too deep to be read": b'{"type": "x", "data": ' + b"[" * 900 + b"]" * 900 + b"}",
    "many names": json.dumps({f"n{number}": number for number in range(5_000)}).encode(),
    "one name twice": b'{"type": "x", "type": "y", "data": {"code": "topup_1", "code": "topup_2"}}',
    "a long type": json.dumps({"type": "t" * 50_000, "data": {}}).encode(),
    "a type that is none": b'{"type": {"a": 1}, "data": {"code": 7}}',
    "a code with SQL in it": json.dumps({"type": "x", "data": {"code": "topup_' OR 1=1 --"}}).encode(),
    "a code of another kind": json.dumps({"type": "x", "data": {"code": "usr_" + "0" * 32}}).encode(),
    "what it may not decide": json.dumps(
        {"type": "payin.confirmed", "data": {"code": "topup_" + "0" * 32, "status": "CONFIRMED", "netAmount": 1e9}}
    ).encode(),
}


def svix(secret: str, body: bytes, message: str, *, age: int = 0) -> dict[str, str]:
    stamp = str(int(time.time()) - age)
    signed = hmac.digest(key_of(secret), f"{message}.{stamp}.".encode() + body, hashlib.sha256)
    return {
        "svix-id": message,
        "svix-timestamp": stamp,
        "svix-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


async def moved(site: Site) -> list[tuple[Any, ...]]:
    """Whatever a webhook could move."""
    tables = ("ledger.postings", "events", "audit_entries", "sagas", "topups", "withdrawals")
    sql = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    return [tuple(row) for row in await site.live.rows(sql)]


def assert_no_harm(heard: Heard, name: str) -> None:
    assert heard.status in (200, 400, 401, 413), (name, heard.status, heard.body)


async def test_signed_nonsense_is_kept_or_refused(site: Site, tally: Tally) -> None:
    before, printed = await moved(site), len(site.log())
    anybody = site.shop.using("")
    for name, body in BODIES.items():
        headers = svix(site.environ["AIRTM_WEBHOOK_SECRET"], body, f"msg_{secrets.token_hex(8)}")
        for _ in range(2):
            heard = await anybody.send("POST", "/webhooks/airtm", raw=body, headers=headers)
            assert_no_harm(heard, name)
        signature = hmac.new(site.environ["TRUSTLESS_WEBHOOK_SECRET"].encode(), body, hashlib.sha256).hexdigest()
        heard = await anybody.send(
            "POST", "/webhooks/trustless-work", raw=body, headers={"x-tw-signature": signature}
        )
        assert_no_harm(heard, name)
        tally("hostile requests", 3)
    assert await moved(site) == before
    assert "internal_error" not in site.log()[printed:]


async def test_what_is_not_signed_as_it_must_be_is_refused(site: Site, tally: Tally) -> None:
    body, secret = BODIES["what it may not decide"], site.environ["AIRTM_WEBHOOK_SECRET"]
    before, anybody = await moved(site), site.shop.using("")
    good = svix(secret, body, "msg_good")
    spoilt: dict[str, dict[str, str]] = {
        "no header at all": {},
        "no id": {name: text for name, text in good.items() if name != "svix-id"},
        "no time": {name: text for name, text in good.items() if name != "svix-timestamp"},
        "no signature": {name: text for name, text in good.items() if name != "svix-signature"},
        "another secret": svix("whsec_" + base64.b64encode(b"0" * 32).decode(), body, "msg_good"),
        "too old": svix(secret, body, "msg_good", age=400),
        "from the future": svix(secret, body, "msg_good", age=-400),
        "for another body": svix(secret, body + b" ", "msg_good"),
        "many signatures": good | {"svix-signature": " ".join(["v1,AAAA"] * 1000)},
        "a long id": svix(secret, body, "m" * 300),
    }
    for name, headers in spoilt.items():
        heard = await anybody.send("POST", "/webhooks/airtm", raw=body, headers=headers)
        assert (heard.status, heard.code) == (401, "WEBHOOK_SIGNATURE_INVALID"), (name, heard.body)
        tally("hostile requests")
    assert await moved(site) == before
    assert await site.live.value("SELECT count(*) FROM webhook_events WHERE event_id = 'msg_good'") == 0


@pytest.mark.parametrize("name", ["svix-id", "svix-timestamp", "svix-signature"])
async def test_a_header_that_comes_twice_is_read_in_one_way(site: Site, tally: Tally, name: str) -> None:
    """Right and wrong beside each other: at most the one that is verified counts, and it never fails inside."""
    body, message = b'{"type": "x"}', f"msg_{secrets.token_hex(8)}"
    good = svix(site.environ["AIRTM_WEBHOOK_SECRET"], body, message)
    for order in (1, -1):
        lines = [f"{one}: {text}" for one, text in good.items()]
        twice = [f"{name}: other", *lines][::order]
        common = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
        heard: list[Said] = await spoken(
            site.live.url, request("POST", "/api/v1/webhooks/airtm", *common, *twice, body=body)
        )
        assert [said.status for said in heard] in ([200], [401])
        tally("hostile requests")
    assert await site.live.value("SELECT count(*) FROM webhook_events WHERE event_id = 'other'") == 0
