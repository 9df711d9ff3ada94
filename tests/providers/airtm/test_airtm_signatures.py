"""Signatures of Airtm's webhooks: the published vector, our own, and all that must not pass (providers 3.2)."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Final

import pytest

from offerhub.errors import WebhookSignatureInvalid
from offerhub.providers.airtm.signatures import key_of, verify

SECRET_1: Final = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
SECRET_2: Final = "whsec_GBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc="
ID: Final = "msg_2test0000000000000000001"
BODY: Final = (
    b'{"type":"payin.confirmed","data":{"id":"0b9f6c1e-7c3b-4a55-9d57-2f1c6a1e0001",'
    b'"code":"topup_01J0000000000000000000001","status":"CONFIRMED","amount":25.5,"netAmount":25.5,"airtmFee":0}}'
)
SIGNED_1: Final = "v1,v9dD8UfjWt6zTPKPm9KKnQaaxbPp3EqeTiImw/7x38s="
SIGNED_2: Final = "v1,BhcJrTjN++JD9flsx8vtTYskmSEK/JDyyqP27/Bg4mg="
AT: Final = 1_760_000_000
BOTH: Final = (SECRET_1, SECRET_2)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def headers(signature: str, message_id: str = ID, timestamp: str = str(AT), brand: str = "svix") -> dict[str, str]:
    return {f"{brand}-id": message_id, f"{brand}-timestamp": timestamp, f"{brand}-signature": signature}


def test_the_vector_is_the_published_one() -> None:
    assert hashlib.sha256(BODY).hexdigest() == "36de81497239d2831fecb8a7614a017108d8621658c311caae65d9b32eaa590d"
    given = headers("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")
    body, secret = b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert verify(given, body, [secret], moment(1_614_265_330)) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@pytest.mark.parametrize(
    ("signature", "secrets"),
    [
        (SIGNED_1, BOTH),
        (SIGNED_2, BOTH),
        (f"{SIGNED_2} {SIGNED_1}", [SECRET_1]),
        (f"{SIGNED_2} {SIGNED_1}", [SECRET_2]),
        (f"v1a,abc v2,def v1 {SIGNED_1}", [SECRET_1]),
    ],
    ids=["first", "second", "rotation seen by the old", "rotation seen by the new", "beside others"],
)
def test_a_signature_of_any_secret_in_force_passes(signature: str, secrets: list[str]) -> None:
    assert verify(headers(signature), BODY, secrets, moment(AT)) == ID


def test_a_retry_has_a_fresh_time_and_the_same_id() -> None:
    given = headers("v1,XIJr00vTtiqQBeYi6aqOHmBA6sj1isygr3rfYAUYu20=", timestamp=str(AT + 5))
    assert verify(given, BODY, [SECRET_1], moment(AT + 5)) == ID


def test_white_labelled_headers_pass_and_a_mixture_does_not() -> None:
    assert verify(headers(SIGNED_1, brand="webhook"), BODY, [SECRET_1], moment(AT)) == ID
    mixed = headers(SIGNED_1)
    mixed["webhook-id"] = mixed.pop("svix-id")
    with pytest.raises(WebhookSignatureInvalid):
        verify(mixed, BODY, [SECRET_1], moment(AT))


@pytest.mark.parametrize("offset", [-300, 300])
def test_five_minutes_are_allowed(offset: int) -> None:
    assert verify(headers(SIGNED_1), BODY, [SECRET_1], moment(AT + offset)) == ID


REFUSED: Final = {
    "no header at all": ({}, BODY, BOTH, AT),
    "no signature": ({"svix-id": ID, "svix-timestamp": str(AT)}, BODY, BOTH, AT),
    "empty signature": (headers(""), BODY, BOTH, AT),
    "no comma": (headers("v1"), BODY, BOTH, AT),
    "another version only": (headers("v1a," + SIGNED_1[3:]), BODY, BOTH, AT),
    "not base64": (headers("v1,\u00e9\u00e9"), BODY, BOTH, AT),
    "one byte changed": (headers(SIGNED_1), BODY.replace(b"25.5", b"95.5", 1), BOTH, AT),
    "serialised anew": (headers(SIGNED_1), json.dumps(json.loads(BODY)).encode(), BOTH, AT),
    "another id": (headers(SIGNED_1, "msg_other"), BODY, BOTH, AT),
    "another time": (headers(SIGNED_1, timestamp=str(AT + 1)), BODY, BOTH, AT),
    "too old": (headers(SIGNED_1), BODY, BOTH, AT + 301),
    "from the future": (headers(SIGNED_1), BODY, BOTH, AT - 301),
    "time with a fraction": (headers(SIGNED_1, timestamp=f"{AT}.0"), BODY, BOTH, AT),
    "time that is no number": (headers(SIGNED_1, timestamp="nan"), BODY, BOTH, AT),
    "time without end": (headers(SIGNED_1, timestamp="1" * 40), BODY, BOTH, AT),
    "not UTF-8": (headers(SIGNED_1), b"\xff\xfe", BOTH, AT),
    "the other secret": (headers(SIGNED_1), BODY, [SECRET_2], AT),
    "no secret": (headers(SIGNED_1), BODY, [], AT),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_everything_else_is_refused(case: str) -> None:
    given, body, secrets, now = REFUSED[case]
    with pytest.raises(WebhookSignatureInvalid):
        verify(given, body, secrets, moment(now))


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "plain-text-secret"])
def test_a_secret_without_a_key_is_no_secret(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        key_of(secret)
