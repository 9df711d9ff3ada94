"""Whatever proves who somebody is, is compared in constant time: the time taken tells nothing (R11, API2)."""

import ast
import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import offerhub
from offerhub.access import authenticator
from offerhub.access.authenticator import Credentials
from offerhub.access.model import ApiKey, hash_credential
from offerhub.access.tokens import TokenSigner
from offerhub.errors import InvalidApiKey, WebhookSignatureInvalid
from offerhub.kernel.clock import ManualClock
from offerhub.providers.airtm import signatures as airtm
from offerhub.providers.trustless_work import signatures as trustless_work

SOURCE = Path(offerhub.__file__).parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODY = b'{"type":"payin.confirmed"}'
SVIX_SECRETS = tuple("whsec_" + base64.b64encode(bytes([place]) * 32).decode() for place in (1, 2))
TRUSTLESS_SECRETS = ("first-secret", "second-secret")
SIGNER = TokenSigner(b"s" * 32)
KEY_ID = "key_" + "1" * 32


class Compared(list[tuple[bytes, bytes]]):
    """What was compared by `hmac.compare_digest`."""

    def has(self, one: bytes, other: bytes) -> bool:
        """True when these two were compared, in either order."""
        return (one, other) in self or (other, one) in self


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Compared:
    found = Compared()
    real = hmac.compare_digest

    def compare(one: Any, other: Any) -> bool:
        found.append(
            (one.encode() if isinstance(one, str) else one, other.encode() if isinstance(other, str) else other)
        )
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    return found


def test_every_secret_is_compared_in_constant_time(compared: Compared) -> None:
    """Right or wrong, first or second: all secrets in force are compared, and by nothing but `compare_digest`."""
    stamp = str(int(NOW.timestamp()))
    signed = f"msg_1.{stamp}.".encode() + BODY
    expected = [base64.b64encode(hmac.digest(airtm.key_of(one), signed, hashlib.sha256)) for one in SVIX_SECRETS]
    for given in (*expected, b"forged"):
        compared.clear()
        headers = {"svix-id": "msg_1", "svix-timestamp": stamp, "svix-signature": f"v1,{given.decode()}"}
        refused = _refused(lambda headers=headers: airtm.verify(headers, BODY, SVIX_SECRETS, NOW))
        assert refused == (given == b"forged")
        assert all(compared.has(given, one) for one in expected)

    theirs = [hmac.new(one.encode(), BODY, hashlib.sha256).hexdigest().encode() for one in TRUSTLESS_SECRETS]
    for given in (*theirs, b"forged"):
        compared.clear()
        headers = {"x-tw-signature": given.decode()}
        refused = _refused(lambda headers=headers: trustless_work.verify(headers, BODY, TRUSTLESS_SECRETS))
        assert refused == (given == b"forged")
        assert all(compared.has(given, one) for one in theirs)

    issued = SIGNER.sign("key_1", ["read"], now=NOW, expires_at=NOW + timedelta(seconds=60))
    text, _, signature = issued.rpartition(".")
    for given_text in (signature, signature[:-1] + ("A" if signature[-1] != "A" else "B"), "forged"):
        compared.clear()
        assert (SIGNER.verify(f"{text}.{given_text}", now=NOW) is not None) == (given_text == signature)
        assert compared.has(given_text.encode(), signature.encode())


def _refused(verify: Any) -> bool:
    try:
        verify()
    except WebhookSignatureInvalid:
        return True
    return False


async def test_keys_are_compared_in_constant_time(compared: Compared) -> None:
    """The master key and API keys, by digests of one length whatever was sent."""
    clock = ManualClock()
    credentials = Credentials(
        cast("Any", None), master_key="master", previous_master_key="previous", signer=SIGNER, clock=clock
    )
    digests = {text: hashlib.sha256(text.encode()).digest() for text in ("master", "previous", "forged")}
    assert (await credentials("master")).kind == "master"
    assert compared.has(digests["master"], digests["master"])
    compared.clear()
    with pytest.raises(InvalidApiKey):
        await credentials("forged")
    assert compared.has(digests["forged"], digests["master"])
    assert compared.has(digests["forged"], digests["previous"])

    right, wrong = (f"ohk_live_{KEY_ID}_{letter * 48}" for letter in "ab")
    stored = hash_credential(KEY_ID, right)
    key = ApiKey(KEY_ID, "mkt_1", "k", stored, "aaaa", ("read",), None, NOW, NOW, None, None)
    credentials._keys[KEY_ID] = authenticator._Remembered(key, clock.monotonic() + 1)
    credentials._touched[KEY_ID] = clock.monotonic() + 1
    assert (await credentials(right)).credential_id == KEY_ID
    with pytest.raises(InvalidApiKey):
        await credentials(wrong)
    assert compared.has(stored, hash_credential(KEY_ID, wrong))


def test_nothing_else_compares_what_is_secret() -> None:
    """Where a secret's digest is made, no `==`, `!=` or `in` looks at one."""
    suspicious = re.compile(r"signature|digest|secret|expected|credential\b|hash\b")
    found = []
    for module in sorted(SOURCE.rglob("*.py")):
        text = module.read_text(encoding="utf-8")
        if "import hmac" not in text or module.is_relative_to(SOURCE / "sandbox"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
                shown = ast.unparse(node)
                if suspicious.search(shown):
                    found.append(f"{module.relative_to(SOURCE)}:{node.lineno}: {shown}")
    # Whether a header is there at all is no secret.
    assert [one for one in found if not one.endswith("-signature' in headers")] == []
