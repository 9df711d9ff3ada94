"""The Airtm face as the enterprise calls it."""

from typing import Any

import aiohttp
from sandbox_driver import Answer, Sandbox

KEY = aiohttp.encode_basic_auth("sandbox-airtm-key", "sandbox-airtm-secret")
URIS = {"confirmationUri": "https://shop.example/done?x=1", "cancelUri": "https://shop.example/cancelled"}


async def call(sandbox: Sandbox, method: str, path: str, body: Any = None) -> Answer:
    return await sandbox.call(method, "/airtm/v2" + path, json=body, headers={"authorization": KEY})


def payin_of(code: str, amount: float = 25.5) -> dict[str, Any]:
    item = {"description": "Top-up", "amount": amount, "quantity": 1}
    return {"code": code, "amount": amount, "description": "Top-up", "items": [item], **URIS}


def payout_of(code: str, email: str = "ana@example.com", amount: float = 40.0, **more: Any) -> dict[str, Any]:
    return {"code": code, "airtmUserEmail": email, "amount": amount, "notes": "Payout", **more}


async def made(sandbox: Sandbox, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await call(sandbox, "POST", path, body)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body
    return found


def refusal(answer: Answer) -> str:
    assert answer.status >= 400
    assert set(answer.body) == {"code", "message"}
    return str(answer.body["code"])
