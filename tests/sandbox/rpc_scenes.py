"""What faults of the RPC face look like on the wire."""

from typing import Any

from fault_scenes import Scene
from stellar_sdk import Payment, TransactionEnvelope, xdr


async def ask(scene: Scene, method: str, params: dict[str, Any]) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = await scene.sandbox.call("POST", "/rpc", json=body)
    assert answer.status == 200
    return answer.body


async def _send(scene: Scene) -> tuple[Any, TransactionEnvelope]:
    envelope = await scene.sandbox.build(scene.payer, Payment(scene.payee.public_key, scene.sandbox.usdc, "1"))
    return (await ask(scene, "sendTransaction", {"transaction": envelope.to_xdr()}))["result"], envelope


async def play_rpc(scene: Scene) -> None:
    """Meet the fault, and see what it does."""
    match scene.fault["kind"]:
        case "try_again_later":
            told, _ = await _send(scene)
            assert told["status"] == "TRY_AGAIN_LATER"
            await scene.sandbox.sim("/close", {})
            assert not await scene.paid()
        case "duplicate_tx":
            told, _ = await _send(scene)
            assert told["status"] == "DUPLICATE"
            await scene.eventually_paid()
        case "tx_error":
            told, _ = await _send(scene)
            assert told["status"] == "ERROR"
            assert xdr.TransactionResult.from_xdr(told["errorResultXdr"]).result.code.name == "txBAD_SEQ"
            await scene.eventually_paid()
        case "node_behind":
            _, transaction = await scene.pay()
            asked = [await ask(scene, "getTransaction", {"hash": transaction}) for _ in range(4)]
            assert [one["result"]["status"] for one in asked] == [*["NOT_FOUND"] * 3, "SUCCESS"]
        case "history_gone":
            error = (await ask(scene, "getEvents", {"startLedger": 1}))["error"]
            assert error["code"] == -32600
            assert "ledger range" in error["message"]
        case "duplicate_items":
            events = (await ask(scene, "getEvents", {"startLedger": 1}))["result"]["events"]
            assert events[0] == events[1]
