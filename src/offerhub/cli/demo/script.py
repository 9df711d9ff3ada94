"""The acts of the demo, played over HTTP: the service's API on one side, the sandbox as the world on the other.

Every act checks what it claims and raises DemoFailed when that is not so. Amounts are wire text or integer units.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from offerhub.cli.demo.client import Client, DemoFailed, Pending
from offerhub.cli.demo.progress import Progress
from offerhub.cli.demo.stage import Stage
from offerhub.kernel.money import format_chain_amount, parse_chain_amount

WAIT_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.1
WATCH_SECONDS: Final = 0.02
"""Between two looks at the chain while the moment to kill is awaited; a step there takes a ledger."""

DEPOSIT: Final = "300.00"
RELEASED_NET: Final = "79.76"
"""80.00 less the 0.3 % that Trustless Work keeps."""

T = TypeVar("T")


@dataclass(slots=True)
class Cast:
    """Who takes part, as the acts find out. Ids are the API's, addresses the chain's."""

    api_key: str = ""
    buyer: str = ""
    seller: str = ""
    addresses: dict[str, str] = field(default_factory=dict)
    outside: str = ""
    contracts: list[str] = field(default_factory=list)


class Script:
    """Plays the acts in order."""

    def __init__(self, on: Stage, progress: Progress) -> None:
        self._stage = on
        self._progress = progress
        self._step = progress.step
        self._sandbox = Client(on.sandbox_url)
        self._horizon = Client(f"{on.sandbox_url}/horizon")
        self.api = Client(f"{on.service.address}/api/v1", on.master_key)
        self.cast = Cast()

    def play(self) -> None:
        """Everything from the first key to the withdrawal. Raises DemoFailed, ConnectionCut."""
        self._open_shop()
        self._deposit()
        self._release_through_a_crash()
        self._split()
        self._refund()
        self._withdraw()

    def chain_state(self) -> dict[str, Any]:
        """What is on the sandbox's ledger now: accounts, contracts, the sum of USDC issued."""
        state: dict[str, Any] = self._sandbox.get("/_sim/state")
        return state

    # -- acts ----------------------------------------------------------------------------------------------------

    def _open_shop(self) -> None:
        self._progress.act("A marketplace with a buyer and a seller")
        with self._step("API key, created with the master key"):
            self.cast.api_key = self.api.post("/auth/api-keys", {"name": "demo", "scopes": ["*"]})["key"]
            self.api = Client(self.api.base_url, self.cast.api_key)
        with self._step("two users with a Stellar wallet each") as step:
            self.cast.buyer = self.api.post("/users", {"externalUserId": "buyer", "email": "buyer@example.com"})["id"]
            self.cast.seller = self.api.post("/users", {"externalUserId": "seller"})["id"]
            for user in (self.cast.buyer, self.cast.seller):
                wallet = self._until(partial(self._ready_wallet, user), "a wallet is READY")
                self.cast.addresses[user] = wallet["publicKey"]
            buyer, seller = (short(address) for address in self.cast.addresses.values())
            step.show(f"buyer {buyer} and seller {seller}, wallets on the chain")

    def _ready_wallet(self, user: str) -> Any:
        wallet = self.api.get(f"/users/{user}/wallet")
        return wallet if wallet["status"] == "READY" else None

    def _deposit(self) -> None:
        self._progress.act(f"A deposit of {DEPOSIT} USDC")
        with self._step("paid to the buyer's address on the chain"):
            to = self.api.get(f"/users/{self.cast.buyer}/wallet/deposit")["address"]
            self._sandbox.post("/_sim/mint", {"address": to, "amount": DEPOSIT})
        with self._step("seen by the service and credited"):
            self._until(lambda: self._available(self.cast.buyer) == DEPOSIT, f"{DEPOSIT} are available")

    def _release_through_a_crash(self) -> None:
        self._progress.act("Order 1: 80.00 in two milestones, and a crash in the middle of its release")
        parts = [
            {"milestone_ref": "draft", "title": "First draft", "amount": "30.00"},
            {"milestone_ref": "final", "title": "Final files", "amount": "50.00"},
        ]
        order, contract = self._funded_order("80.00", parts)
        with self._step("both milestones completed"):
            for part in parts:
                self.api.post(f"/orders/{order}/milestones/{part['milestone_ref']}/complete")
        path, key = f"/orders/{order}/resolution/release", f"release-{order}"
        with self._step("release requested; waiting for the middle of it") as step:
            request = Pending(self.api, path, key)
            half_done = partial(self._is_half_done, contract, request)
            approved = self._until(half_done, "one milestone is approved", every=WATCH_SECONDS)
            pid = self._stage.service.pid
            self._stage.service.kill()
            step.show(f"release half done: {approved} of 2 milestones approved. SIGKILL to {pid}")
        with self._step("the request got no answer, and nothing was paid out"):
            check(request.reply() is None, "The release was answered before the service was killed.")
            held = parse_chain_amount(self._contract(contract)["usdc"])
            check(held == parse_chain_amount("80"), f"The contract should hold 80.00 and holds {held} units.")
            check(not self._payouts(contract), "The seller was paid before the service was killed.")
        with self._step("the service started again") as step:
            self._stage.service.start()
            status = self.api.get(f"/orders/{order}")["status"]
            step.show(f"the service started again; the order stands at {status}")
            check(status != "CLOSED", "The order was closed before the release went on.")
        self._finish_release(order, contract, path, key)

    def _finish_release(self, order: str, contract: str, path: str, key: str) -> None:
        with self._step("same request, same Idempotency-Key; the dead process's lease runs out") as step:
            repeated = Pending(self.api, path, key)
            self._until_closed(order, "RELEASED")
            first = repeated.reply()
            step.show("same request, same Idempotency-Key: order CLOSED, RELEASED")
        with self._step("paid exactly once") as step:
            payouts = self._payouts(contract)
            check(len(payouts) == 1, f"The chain shows {len(payouts)} payouts to the seller instead of one.")
            credited = self._available(self.cast.seller)
            check(credited == RELEASED_NET, f"The seller should have {RELEASED_NET} and has {credited}.")
            step.show(f"one payout on the chain, {format_chain_amount(payouts[0])} to the seller")
        with self._step("asked a third time with that key: the same answer, byte for byte"):
            again = self.api.send("POST", path, {}, idempotency_key=key)
            check(first is not None and again.replayed and again.body == first.body, "The answers differ.")
            check(len(self._payouts(contract)) == 1, "The repeated request paid again.")

    def _split(self) -> None:
        self._progress.act("Order 2: 50.00, disputed and split 60/40")
        order, _ = self._funded_order("50.00", [])
        with self._step("dispute opened by the buyer, assigned to an agent"):
            opened = {"openedBy": "BUYER", "reason": "QUALITY_ISSUE", "evidence": ["The logo is blurred."]}
            dispute = self.api.post(f"/orders/{order}/resolution/dispute", opened)["id"]
            self.api.post(f"/disputes/{dispute}/assign", {"assignedTo": "agent-7"})
        with self._step("resolved: 30.00 to the seller, 20.00 to the buyer, less 0.3 %"):
            decision = {"decision": "SPLIT", "releaseAmount": "30.00", "refundAmount": "20.00"}
            self.api.post(f"/disputes/{dispute}/resolve", decision)
            self._until_closed(order, "RELEASED")

    def _refund(self) -> None:
        self._progress.act("Order 3: 20.00, refunded")
        order, _ = self._funded_order("20.00", [])
        with self._step("refunded to the buyer, less 0.3 %"):
            self.api.post(f"/orders/{order}/resolution/refund", {"reason": "The buyer changed their mind."})
            self._until_closed(order, "REFUNDED")

    def _withdraw(self) -> None:
        self._progress.act("A withdrawal of 42.50 to the outside world")
        with self._step("a Stellar address that the service knows nothing about") as step:
            self.cast.outside = self._sandbox.post("/_sim/account", {})["public_key"]
            step.show(f"the seller's own address, {short(self.cast.outside)}")
        with self._step("42.50 sent there from the seller's balance"):
            destination = {"destinationType": "crypto", "destinationRef": self.cast.outside}
            asked = {"userId": self.cast.seller, "amount": "42.50", **destination}
            withdrawal = self.api.post("/withdrawals", asked)["id"]
            self._until(
                lambda: self.api.get(f"/withdrawals/{withdrawal}")["status"] == "WITHDRAWAL_COMPLETED",
                "the withdrawal is completed",
            )

    # -- what the acts share -------------------------------------------------------------------------------------

    def _funded_order(self, amount: str, parts: list[dict[str, str]]) -> tuple[str, str]:
        """An order whose money is in its escrow contract; its id and the contract's address."""
        with self._step(f"order created, {amount} reserved"):
            parties = {"buyer_id": self.cast.buyer, "seller_id": self.cast.seller}
            order = self.api.post("/orders", {**parties, "amount": amount, "title": "Logo", "milestones": parts})[
                "id"
            ]
            self.api.post(f"/orders/{order}/reserve")
        with self._step("escrow contract deployed") as step:
            # The system's own wallets may still be on their way when the users' are ready.
            self._until(lambda: self._deployed(order), "the escrow is deployed")
            contract = str(self.api.get(f"/orders/{order}")["escrow"]["contractId"])
            self.cast.contracts.append(contract)
            step.show(f"escrow contract {short(contract)} deployed")
        with self._step(f"{amount} moved into the contract"):
            self.api.post(f"/orders/{order}/escrow/fund")
            self._until(lambda: self.api.get(f"/orders/{order}")["status"] == "IN_PROGRESS", "the order is funded")
        return order, contract

    def _deployed(self, order: str) -> bool:
        reply = self.api.send("POST", f"/orders/{order}/escrow")
        if reply.error_code == "WALLET_NOT_READY":
            return False
        check(reply.status < 300, f"The escrow was refused: {reply.body.decode()[:500]}")
        return bool(self._until(lambda: self.api.get(f"/orders/{order}")["status"] == "ESCROW_FUNDING", "a contract"))

    def _is_half_done(self, contract: str, request: Pending) -> int:
        """How many milestones the contract has approved, once it is one or more and the rest is still to come."""
        check(not request.is_over, "The release was over before its middle was seen.")
        found = self._contract(contract)
        check(not found["released"], "The release was over before its middle was seen.")
        return sum(found["approved"])

    def _contract(self, address: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.chain_state()["contracts"] if one["address"] == address)
        return found

    def _payouts(self, contract: str) -> list[int]:
        """What the contract has paid to the seller's wallet, in units, one entry a transfer, as Horizon tells it."""
        wallet = self.cast.addresses[self.cast.seller]
        page = self._horizon.get(f"/accounts/{wallet}/payments?limit=200")["_embedded"]["records"]
        moves = [move for record in page for move in record.get("asset_balance_changes", [])]
        return [
            parse_chain_amount(move["amount"]) for move in moves if (move["from"], move["to"]) == (contract, wallet)
        ]

    def _available(self, user: str) -> str:
        return str(self.api.get(f"/users/{user}/balance")["available"])

    def _until_closed(self, order: str, end: str) -> None:
        self._until(lambda: self.api.get(f"/orders/{order}")["status"] == "CLOSED", "the order is CLOSED")
        found = self.api.get(f"/orders/{order}")["finalStatus"]
        check(found == end, f"The order should have ended as {end} and ended as {found}.")

    @staticmethod
    def _until(look: Callable[[], T], what: str, *, every: float = POLL_SECONDS) -> T:
        """Look until there is something to see. Raises DemoFailed when that takes too long."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < deadline:
            if seen := look():
                return seen
            time.sleep(every)
        raise DemoFailed(f"{WAIT_SECONDS_MAX:.0f} seconds were not enough until {what}.")


def check(holds: bool, otherwise: str) -> None:
    """Raises DemoFailed unless it holds."""
    if not holds:
        raise DemoFailed(otherwise)


def short(address: str) -> str:
    """An address as a person compares it."""
    return f"{address[:4]}…{address[-4:]}"
