"""Short-lived tokens: who may issue one, what it holds, and what is refused."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from access_office import Office

from offerhub.access.tokens import TokenSigner
from offerhub.kernel.clock import ManualClock, to_wire

NOW = ManualClock().now()
SIGNER = TokenSigner(b"s" * 32)


async def token(office: Office, issuer: str, key_id: str, body: Any = None) -> Any:
    return await office.caller(issuer).post(f"/auth/api-keys/{key_id}/token", body)


async def test_a_token_stands_for_its_key(office: Office) -> None:
    made = await office.key("write", "read")
    heard = await token(office, made["key"], made["id"])
    assert heard.status == 201
    assert heard.data["token"].startswith("ohk_tok_")
    assert heard.data["expiresAt"] == heard.data["expires_at"] == to_wire(office.clock.now() + timedelta(hours=1))
    me = (await office.caller(heard.data["token"]).get("/auth/me")).data
    assert (me["apiKeyId"], me["scopes"]) == (made["id"], ["read", "write"])


@pytest.mark.parametrize("name", ["ttl", "ttl_seconds"])
async def test_a_token_ends(office: Office, name: str) -> None:
    made = await office.key("write")
    heard = await token(office, made["key"], made["id"], {name: 60})
    caller = office.caller(heard.data["token"])
    office.clock.advance(59)
    assert (await caller.get("/me")).status == 200
    office.clock.advance(1)
    assert (await caller.get("/me")).code == "INVALID_API_KEY"


async def test_a_token_ends_with_its_key(office: Office) -> None:
    made = await office.key("write", ttl=120)
    heard = await token(office, made["key"], made["id"], {"ttl": 600})
    assert heard.data["expiresAt"] == made["expiresAt"]


async def test_revoking_a_key_revokes_its_tokens(office: Office) -> None:
    made = await office.key("write")
    caller = office.caller((await token(office, made["key"], made["id"])).data["token"])
    assert (await caller.get("/me")).status == 200
    await office.master.send("DELETE", f"/auth/api-keys/{made['id']}")
    office.clock.advance(1)
    assert (await caller.get("/me")).status == 401
    heard = await office.master.post(f"/auth/api-keys/{made['id']}/token")
    assert (heard.status, heard.code) == (409, "INVALID_STATE")


async def test_a_write_key_gets_no_token_for_another_key(office: Office) -> None:
    mighty, weak = await office.key("*"), await office.key("write")
    heard = await token(office, weak["key"], mighty["id"])
    assert (heard.status, heard.code) == (403, "INSUFFICIENT_SCOPE")
    assert (await token(office, (await office.key("read"))["key"], mighty["id"])).status == 403


async def test_a_token_never_has_a_scope_that_its_issuer_lacks(office: Office) -> None:
    operator = await office.key("support", "write")
    target = await office.key("*", "write", "orders")
    heard = await token(office, operator["key"], target["id"])
    assert heard.data["scopes"] == ["write"]
    nothing_in_common = await office.key("*")
    assert (await token(office, operator["key"], nothing_in_common["id"])).status == 403
    assert (await office.master.post(f"/auth/api-keys/{target['id']}/token")).data["scopes"] == list(target["scopes"])


async def test_a_token_issues_no_tokens(office: Office) -> None:
    made = await office.key("write")
    issued = (await token(office, made["key"], made["id"])).data["token"]
    assert (await token(office, issued, made["id"])).status == 403


async def test_tokens_for_unknown_keys_and_of_wrong_length(office: Office) -> None:
    assert (await office.master.post("/auth/api-keys/key_unknown/token")).code == "API_KEY_NOT_FOUND"
    made = await office.key("write")
    for ttl in (59, 86_401, "3600"):
        assert (await token(office, made["key"], made["id"], {"ttl": ttl})).status == 400


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(header: object, claims: object, secret: bytes = SIGNER.secret) -> str:
    text = f"{part(header)}.{part(claims)}"
    signature = hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"ohk_tok_{text}." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


CLAIMS = {
    "sub": "key_1",
    "scopes": ["*"],
    "type": "short-lived",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 60,
    "jti": "1",
}


def test_what_was_signed_is_verified() -> None:
    issued = SIGNER.sign("key_1", ["read"], now=NOW, expires_at=NOW + timedelta(seconds=60))
    claims = SIGNER.verify(issued, now=NOW)
    assert claims is not None
    assert (claims.sub, claims.scopes, claims.exp - claims.iat) == ("key_1", ["read"], 60)
    assert SIGNER.verify(issued, now=NOW + timedelta(seconds=60)) is None
    assert TokenSigner(b"t" * 32).verify(issued, now=NOW) is None


def test_every_changed_character_is_found() -> None:
    issued = SIGNER.sign("key_1", ["read"], now=NOW, expires_at=NOW + timedelta(seconds=60))
    for place in range(len("ohk_tok_"), len(issued)):
        changed = issued[:place] + ("A" if issued[place] != "A" else "B") + issued[place + 1 :]
        assert SIGNER.verify(changed, now=NOW) is None, place


@pytest.mark.parametrize(
    "forged",
    [
        signed({"alg": "none", "typ": "JWT"}, CLAIMS),
        f"ohk_tok_{part({'alg': 'none', 'typ': 'JWT'})}.{part(CLAIMS)}.",
        signed({"alg": "HS512", "typ": "JWT"}, CLAIMS),
        signed({"alg": "HS256", "typ": "JWT"}, CLAIMS, b"x" * 32),
        signed({"alg": "HS256", "typ": "JWT"}, {**CLAIMS, "type": "refresh"}),
        signed({"alg": "HS256", "typ": "JWT"}, {**CLAIMS, "exp": "never"}),
        signed({"alg": "HS256", "typ": "JWT"}, ["a"]),
        "ohk_tok_",
        "ohk_tok_..",
        "ohk_tok_a.b.c.d",
        "ohk_tok_" + "a" * 9000,
        "ohk_tok_caf\xe9.b.c",
    ],
)
def test_forged_tokens(forged: str) -> None:
    assert SIGNER.verify(forged, now=NOW) is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        TokenSigner(b"s" * 31)
