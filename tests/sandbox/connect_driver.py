"""Airtm's Connect as its client and a user's browser call it."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
from sandbox_driver import Answer, Sandbox

BASE = "/airtm/api/connect/v1"
CALLBACK = "http://127.0.0.1:3000/callback?shop=1"
ALL = "openid profile email offline_access wallet:receive wallet:send wallet:read kyc:status"
VERIFIER = "a-verifier-of-enough-characters-0123456789.~_"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CLIENT = aiohttp.encode_basic_auth("sandbox-connect-client", "sandbox-connect-secret")


def query(**changes: str | None) -> dict[str, str]:
    told = {
        "client_id": "sandbox-connect-client",
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": ALL,
        "state": "s1",
        "nonce": "n1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return {name: value for name, value in {**told, **changes}.items() if value is not None}


def returned(redirect: str) -> dict[str, str]:
    """What the browser brings back to the client."""
    assert redirect.startswith("http://127.0.0.1:3000/callback?shop=1&")
    return dict(parse_qsl(urlsplit(redirect).query))


@dataclass
class Connected:
    """A client with one user's tokens."""

    sandbox: Sandbox
    email: str
    tokens: dict[str, Any]

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        bearer = {"authorization": f"Bearer {self.tokens['access_token']}"}
        return await self.sandbox.call(method, BASE + path, json=body, headers={**bearer, **headers})

    async def get(self, path: str) -> Any:
        answer = await self.call("GET", path)
        assert answer.status == 200, answer
        return answer.body

    async def balance(self) -> str:
        return str((await self.get("/balance"))["balance"])

    async def quote(self, scope: str, **amounts: str) -> dict[str, Any]:
        answer = await self.call("POST", "/quotes", {"scope": f"wallet:{scope}", **amounts})
        assert answer.status in (200, 201), answer
        found: dict[str, Any] = answer.body
        return found

    async def send(self, amount: str, to: str, memo: str | None = None, **more: Any) -> dict[str, Any]:
        quote = await self.quote("send", amountToSend=amount)
        place = {"stellarAddress": to, **({"memo": memo, "memoType": "MEMO_TEXT"} if memo else {})}
        body = {"quoteId": quote["id"], "scope": "wallet:send", "destination": place, **more}
        return await self.made(body)

    async def receive(self, amount: str, reference: str) -> dict[str, Any]:
        quote = await self.quote("receive", amountToSend=amount)
        return await self.made({"quoteId": quote["id"], "scope": "wallet:receive", "partnerReference": reference})

    async def made(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.call("POST", "/transactions", body)
        assert answer.status == 201, answer
        found: dict[str, Any] = answer.body
        return found

    async def code(self, transaction: dict[str, Any]) -> str:
        return await code_of(self.sandbox, transaction["id"])

    async def confirm(self, transaction: dict[str, Any], code: str | None = None) -> Answer:
        body = {"code": code or await self.code(transaction)}
        return await self.call("POST", f"/transactions/{transaction['id']}/2fa", body)

    async def status(self, transaction: dict[str, Any]) -> str:
        return str((await self.get(f"/transactions/{transaction['id']}"))["status"])


async def code_of(sandbox: Sandbox, transaction: str) -> str:
    rows = (await sandbox.sim("/airtm/connect/transactions"))["transactions"]
    return next(str(row["twoFactorCode"]) for row in rows if row["id"] == transaction)


async def token(sandbox: Sandbox, form: dict[str, str], authorization: str = CLIENT) -> Answer:
    return await sandbox.call("POST", f"{BASE}/oidc/token", data=form, headers={"authorization": authorization})


def exchange_of(code: str, /, **changes: str) -> dict[str, str]:
    told = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return {**told, "code": code} | changes


async def consented(sandbox: Sandbox, email: str, scope: str = ALL) -> str:
    """The code that a user's consent gives."""
    url = f"{sandbox.base}{BASE}/oidc/authorize?{urlencode(query(scope=scope))}"
    answer = await sandbox.sim("/airtm/connect/consent", {"url": url, "email": email})
    return returned(answer["redirect"])["code"]


async def connected(sandbox: Sandbox, email: str, scope: str = ALL, give: str | None = None) -> Connected:
    answer = await token(sandbox, exchange_of(await consented(sandbox, email, scope)))
    assert answer.status == 200, answer
    if give is not None:
        await sandbox.sim("/airtm/connect/wallets", {"email": email, "give": give})
    return Connected(sandbox, email, answer.body)
