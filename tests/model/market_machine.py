"""The state machine: users, orders, providers, faults and time, in whatever order Hypothesis comes upon."""

from collections.abc import Coroutine
from typing import Any, ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from market_client import Client, Stage
from market_oracle import Market, Order, Rail
from market_orders import Orders, parts_of
from market_transfers import WITHDRAWAL_ENDS, TopUp, Withdrawal
from market_words import Said, User, units, wire

T = TypeVar("T")

USERS: Final = 3
ORDERS_MAX: Final = 6
TOPUPS_MAX: Final = 4
WITHDRAWALS_MAX: Final = 6

AMOUNTS = st.sampled_from(["10.00", "0.01", "1.00", "9.99", "25.00", "150.00"])
DEPOSITS = st.sampled_from(["100", "33.3333333", "0.0000001", "0.0049999", "60.0099999"])
BAD_AMOUNTS = st.sampled_from(["0.00", "1", "1.5", "-1.00", "1.005", "1e2", "NaN", " 1.00", "12345678901.00", "1,00"])
WHO = st.integers(0, USERS - 1)
WHICH = st.integers(0, 9)
REFS = st.sampled_from(["a", "b", "c", "none"])
BY_HAND = st.sampled_from(["job", "other"])
ENDS = st.sampled_from(["release", "refund", "dispute", "part"])
DECISIONS = st.sampled_from(["SPLIT", "FULL_RELEASE", "FULL_REFUND"])
PAYINS = st.sampled_from(["confirm", "process", "fail", "cancel"])
PAYOUTS = st.sampled_from(["complete", "process", "wait", "fail", "cancel", "refund"])
FEES = st.sampled_from(["0.00", "0.01", "0.25"])
HOW_TO_SPLIT = st.sampled_from(["half", "all to the seller", "all to the buyer", "too much"])
NEXT: Final = {"ORDER_CREATED": "reserve", "FUNDS_RESERVED": "escrow", "ESCROW_FUNDING": "fund"}
PATHS: Final = {"escrow": "escrow", "fund": "escrow/fund", "release": "resolution/release"}

_LOST: Final = ("lose_request", "lose_response", "rate_limit")
FAULTS: Final = {
    "build": ("trustless_work", "/(escrow|deployer)/", _LOST),
    "send": ("trustless_work", "/helper/send-transaction", (*_LOST, "error_before", "error_after")),
    "pay": ("horizon", "/transactions", (*_LOST, "error_before", "error_after")),
    "payin": ("airtm", "/payins", (*_LOST, "error_before", "error_after")),
    "payout": ("airtm", "/payouts", (*_LOST, "error_before", "error_after")),
}
"""Calls that may go wrong once without anybody noticing: the face, the route, and how."""


class Trade(RuleBasedStateMachine):
    """One marketplace from its beginning; every answer and every balance is what the oracle says."""

    stage: ClassVar[Stage]
    rail: ClassVar[Rail]

    def __init__(self) -> None:
        super().__init__()
        self.market = Market(self.rail)
        self.oracle = Orders(self.market)
        self.failed = False
        linked = USERS - 1 if self.rail == "airtm" else 0
        self.client = self.do(Client.found(self.stage, self.market, USERS, linked))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the product's loop do this; what fails there is the end of the game."""
        try:
            return self.stage.do(work)
        except BaseException:
            self.failed = True
            raise

    def ask(self, path: str, body: Any, wanted: Said, **more: Any) -> Any:
        """A POST that must be answered like this."""
        return self.do(self.client.ask("POST", path, body, wanted, **more))

    def user(self, number: int) -> User:
        """One of the users."""
        return self.market.users[number]

    # -- money by hand -------------------------------------------------------------------------------------------

    @initialize(shape=st.sampled_from(["parts", "plain", "multi"]))
    def begin(self, shape: str) -> None:
        """Two users have something to begin with, and one works for the other already."""
        for number, amount in enumerate(("500.00", "300.00")):
            if self.rail == "crypto":
                self.deposit(number, amount)
            else:
                self.credit(number, amount)
        self.trade(buyer=0, seller=1, amount="25.00", shape=shape, steps=0)

    @precondition(lambda self: self.rail == "crypto")
    @rule(who=WHO, amount=DEPOSITS)
    def deposit(self, who: int, amount: str) -> None:
        """USDC arrives over the chain, to the seventh decimal."""
        self.market.deposit(self.user(who), units(amount))
        self.do(self.client.deposit(self.user(who), amount))

    def credit(self, who: int, amount: str) -> None:
        """Money by hand, which the chain does not have."""
        user = self.user(who)
        self.ask(f"/users/{user.id}/balance/credit", {"amount": amount}, self.market.credit(user, units(amount)))

    @rule(who=WHO, amount=AMOUNTS, move=st.sampled_from(["reserve", "credit", "debit"]), reference=BY_HAND)
    def by_hand(self, who: int, amount: str, move: str, reference: str) -> None:
        """Money given, taken or set aside by hand."""
        user, worth, path = self.user(who), units(amount), f"/users/{self.user(who).id}/balance"
        if move == "credit":
            self.credit(who, amount)
        elif move == "debit":
            self.ask(f"{path}/debit", {"amount": amount}, self.market.debit(user, worth))
        else:
            wanted = self.market.hold(user, reference, worth)
            self.ask(f"{path}/reserve", {"amount": amount, "orderId": reference}, wanted)

    @rule(
        who=WHO,
        amount=AMOUNTS,
        reference=BY_HAND,
        move=st.sampled_from(["cancel-reservation", "deduct-reserved", "release"]),
        payee=WHO,
        of_a_hold=st.booleans(),
    )
    def settle(self, who: int, amount: str, reference: str, move: str, payee: int, of_a_hold: bool) -> None:
        """What was set aside by hand goes back, away, or to somebody else; or there is nothing of the kind."""
        user, worth = self.user(who), units(amount)
        if of_a_hold and self.market.holds():
            user, reference = self.market.holds()[who % len(self.market.holds())]
        body = {"amount": amount, "reference": reference}
        if move == "release":
            body["recipientId"] = self.user(payee).id
            wanted = self.market.pay(user, reference, worth, self.user(payee))
        elif move == "deduct-reserved":
            wanted = self.market.deduct(user, reference, worth)
        else:
            wanted = self.market.give_back(user, reference, worth)
        self.ask(f"/users/{user.id}/balance/{move}", body, wanted)

    @rule(who=WHO, amount=BAD_AMOUNTS, where=st.sampled_from(["credit", "debit", "order", "withdrawal"]))
    def bad_amount(self, who: int, amount: str, where: str) -> None:
        """What is no amount is refused, and nothing moves."""
        user, other = self.user(who), self.user((who + 1) % USERS)
        path, code, body = f"/users/{user.id}/balance/{where}", "INVALID_AMOUNT_FORMAT", {"amount": amount}
        if where == "order":
            path, code = "/orders", "INVALID_AMOUNT"
            body |= {"buyer_id": user.id, "seller_id": other.id, "title": "t"}
        if where == "withdrawal":
            path = "/withdrawals"
            body |= {"userId": user.id, "destinationType": "crypto", "destinationRef": self.stage.trusting}
        self.ask(path, body, Said(400, code, {"provided": amount}))

    # -- orders --------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.market.orders) < ORDERS_MAX)
    @rule(
        buyer=WHO,
        seller=st.integers(1, USERS - 1),
        amount=AMOUNTS,
        shape=st.sampled_from(["plain", "parts", "multi", "multi three"]),
        steps=st.integers(0, 3),
    )
    def trade(self, buyer: int, seller: int, amount: str, shape: str, steps: int) -> None:
        """Two users agree on something, and go some steps of the way to its funding."""
        order = self._order(self.user(buyer), self.user((buyer + seller) % USERS), amount, shape)
        assert order is not None
        for _ in range(3 - steps):
            if order.status not in NEXT:
                break
            self._move(order, NEXT[order.status])

    @rule(who=WHO, amount=AMOUNTS, shape=st.sampled_from(["plain", "wrong sum", "multi none"]))
    def bad_order(self, who: int, amount: str, shape: str) -> None:
        """With oneself, with parts that are not the whole, or by milestones that there are not."""
        other = who if shape == "plain" else (who + 1) % USERS
        assert self._order(self.user(who), self.user(other), amount, shape) is None

    def _order(self, buyer: User, seller: User, amount: str, shape: str) -> Order | None:
        wanted, order = self.oracle.create(buyer, seller, units(amount), shape)
        parts = [
            {"ref": one.ref, "title": "Part", "amount": wire(one.amount)} for one in parts_of(shape, units(amount))
        ]
        if shape == "wrong sum":
            parts[0]["amount"] = wire(units(amount) + units("0.01"))
        body = {"buyer_id": buyer.id, "seller_id": seller.id, "amount": amount, "title": "A logo"}
        type_ = {"escrow_type": "multi-release"} if shape.startswith("multi") else {}
        found = self.ask("/orders", {**body, **type_, "milestones": parts}, wanted)
        if order is not None:
            order.id = found["id"]
        return order

    def _open(self, which: int) -> Order:
        """One of the orders that are open, if there are any."""
        found = [order for order in self.market.orders if order.status != "CLOSED"] or self.market.orders
        return found[which % len(found)]

    def _move(self, order: Order, move: str, *arguments: str) -> None:
        wanted: Said = getattr(self.oracle, move)(order, *arguments)
        path = f"/orders/{order.id}/{PATHS.get(move, move)}"
        body = None
        if move == "refund":
            path, body = f"/orders/{order.id}/resolution/refund", {"reason": "Not delivered"}
        if move in ("complete", "release_milestone", "refund_milestone"):
            path = f"/orders/{order.id}/milestones/{arguments[0]}/{move.removesuffix('_milestone')}"
            body = {"reason": "r"} if move == "refund_milestone" else None
        self.ask(path, body, wanted)

    @precondition(lambda self: self.market.orders)
    @rule(which=WHICH, end=ENDS, decision=DECISIONS, steps=st.integers(1, 7))
    def go_on(self, which: int, end: str, decision: str, steps: int) -> None:
        """An order takes the steps that come next: on its way to funding, and from there to an end."""
        order = self._open(which)
        for _ in range(steps):
            before = order.facts
            self._step(order, end, decision)
            if order.facts == before:
                break

    def _step(self, order: Order, end: str, decision: str) -> None:
        still_open = [one.ref for one in order.milestones if one.status == "OPEN" and one.paid == "UNPAID"]
        if order.status in NEXT:
            self._move(order, NEXT[order.status])
        elif order.status == "DISPUTED":
            self._judge(order, decision, "half")
        elif end == "dispute":
            self._dispute(order, "BUYER")
        elif end in ("release", "part") and still_open:
            self._move(order, "complete", still_open[0])
        elif end == "part" and order.multi:
            unpaid = [one.ref for one in order.milestones if one.paid == "UNPAID"]
            self._move(order, "release_milestone", (unpaid or ["none"])[0])
        else:
            self._move(order, "refund" if end == "refund" else "release")

    @precondition(lambda self: self.market.orders)
    @rule(which=WHICH, move=st.sampled_from(["reserve", "cancel", "escrow", "fund", "release", "refund"]))
    def any_move(self, which: int, move: str) -> None:
        """Any move of any order, whether it is possible or not."""
        self._move(self.market.orders[which % len(self.market.orders)], move)

    @precondition(lambda self: self.market.orders)
    @rule(which=WHICH, ref=REFS, move=st.sampled_from(["complete", "release_milestone", "refund_milestone"]))
    def milestone(self, which: int, ref: str, move: str) -> None:
        """Something about a milestone, whether there is one or not."""
        self._move(self._open(which), move, ref)

    @precondition(lambda self: self.market.orders)
    @rule(which=WHICH, opened_by=st.sampled_from(["BUYER", "SELLER"]))
    def dispute(self, which: int, opened_by: str) -> None:
        """Somebody disputes an order."""
        self._dispute(self._open(which), opened_by)

    def _dispute(self, order: Order, opened_by: str) -> None:
        wanted = self.oracle.dispute(order)
        body = {"openedBy": opened_by, "reason": "QUALITY_ISSUE"}
        found = self.ask(f"/orders/{order.id}/resolution/dispute", body, wanted)
        if wanted.code is None:
            assert order.dispute is not None
            order.dispute.id = found["id"]

    @precondition(lambda self: any(order.dispute for order in self.market.orders))
    @rule(which=WHICH, decision=DECISIONS, how=HOW_TO_SPLIT)
    def judge(self, which: int, decision: str, how: str) -> None:
        """A dispute is taken under review and then decided; one that is decided already is not decided again."""
        disputed = [order for order in self.market.orders if order.dispute is not None]
        waiting = [order for order in disputed if order.status == "DISPUTED"] or disputed
        self._judge(waiting[which % len(waiting)], decision, how)

    def _judge(self, order: Order, decision: str, how: str) -> None:
        assert order.dispute is not None
        path = f"/disputes/{order.dispute.id}"
        if order.dispute.status == "OPEN" or how == "too much":
            self.ask(f"{path}/assign", {"assignedTo": "support"}, self.oracle.assign(order))
        seller, buyer = self._parts(order, how)
        wanted = self.oracle.resolve(order, decision, seller, buyer)
        parts = {"releaseAmount": wire(seller), "refundAmount": wire(buyer)} if decision == "SPLIT" else {}
        self.ask(f"{path}/resolve", {"decision": decision, **parts}, wanted)

    @staticmethod
    def _parts(order: Order, how: str) -> tuple[int, int]:
        cents = order.unpaid // units("0.01")
        seller = {"half": cents // 2, "all to the seller": cents, "all to the buyer": 0, "too much": cents}[how]
        buyer = cents - seller + (how == "too much")
        return seller * units("0.01"), buyer * units("0.01")

    # -- out -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.market.withdrawals) < WITHDRAWALS_MAX)
    @rule(who=WHO, amount=AMOUNTS, to=st.sampled_from(["trusting", "trusting", "untrusting", "nonsense"]))
    def withdraw(self, who: int, amount: str, to: str) -> None:
        """To a Stellar address, be it one that can take it or not."""
        user, place = self.user(who), {"trusting": self.stage.trusting, "untrusting": self.stage.untrusting}
        wanted, made = self.market.withdraw(user, units(amount), to)
        body = {"userId": user.id, "amount": amount, "destinationType": "crypto"}
        found = self.ask("/withdrawals", {**body, "destinationRef": place.get(to, "nowhere")}, wanted)
        if made is not None:
            made.id = found["id"] if wanted.code is None else self.do(self.client.newest_withdrawal(user))

    @precondition(lambda self: self.rail == "airtm" and len(self.market.withdrawals) < WITHDRAWALS_MAX)
    @rule(who=WHO, amount=AMOUNTS, commit=st.booleans())
    def pay_out(self, who: int, amount: str, commit: bool) -> None:
        """Through Airtm."""
        user = self.user(who)
        wanted, made = self.market.pay_out(user, units(amount), commit=commit)
        body = {"userId": user.id, "amount": amount, "destinationType": "airtm_balance", "destinationRef": "mine"}
        found = self.ask("/withdrawals", {**body, "commit": commit}, wanted)
        if made is not None:
            made.id, made.payout = found["id"], found["airtmPayoutId"]

    def _payouts(self) -> list[Withdrawal]:
        return [one for one in self.market.withdrawals if one.by == "airtm"]

    @precondition(lambda self: self._payouts())
    @rule(which=WHICH, what=st.sampled_from(["commit", "cancel", "refresh"]))
    def follow_payout(self, which: int, what: str) -> None:
        """A payout through Airtm is committed, taken back, or asked about."""
        self._follow_payout(self._payouts()[which % len(self._payouts())], what)

    def _follow_payout(self, found: Withdrawal, what: str) -> None:
        wanted: Said = getattr(found, what)()
        self.ask(f"/withdrawals/{found.id}/{what}", None, wanted, keyed=what != "refresh")

    @precondition(lambda self: self._payouts())
    @rule(which=WHICH, actions=st.lists(PAYOUTS, min_size=1, max_size=3), tell=st.booleans())
    def airtm_pays_out(self, which: int, actions: list[str], tell: bool) -> None:
        """Airtm goes on with a payout, and tells of it or not."""
        found = self._payouts()[which % len(self._payouts())]
        if found.status == "WITHDRAWAL_CREATED" and tell:
            self._follow_payout(found, "commit")
        for action in actions:
            if found.airtm_does(action):
                self.do(self.stage.world.airtm_payout(found.payout, action))
            if tell:
                self._tell(found, 1)

    @precondition(lambda self: self.rail == "crypto")
    @rule(who=WHO, out=st.booleans())
    def without_airtm(self, who: int, out: bool) -> None:
        """Where there is no Airtm there is no way through it."""
        if out:
            self.pay_out(who, "10.00", commit=True)
        else:
            self.top_up(who, "10.00")

    # -- in ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.rail == "airtm" and len(self.market.topups) < TOPUPS_MAX)
    @rule(who=WHO, amount=AMOUNTS)
    def top_up(self, who: int, amount: str) -> None:
        """Money through Airtm."""
        user = self.user(who)
        wanted, made = self.market.top_up(user, units(amount))
        found = self.ask("/topups", {"userId": user.id, "amount": amount}, wanted)
        if made is not None:
            made.id, made.payin = found["id"], found["airtmPayinId"]

    @precondition(lambda self: self.market.topups)
    @rule(which=WHICH, actions=st.lists(PAYINS, min_size=1, max_size=2), fee=FEES, tell=st.booleans())
    def airtm_is_paid(self, which: int, actions: list[str], fee: str, tell: bool) -> None:
        """The user pays at Airtm, or does not, and Airtm tells of it or not."""
        topup = self.market.topups[which % len(self.market.topups)]
        kept = fee if units(fee) < topup.amount else "0.00"
        for action in actions:
            if topup.airtm_does(action, units(kept)):
                self.do(self.stage.world.airtm_payin(topup.payin, action, kept))
            if tell:
                self._tell(topup, 1)

    @precondition(lambda self: self.market.topups)
    @rule(which=WHICH, what=st.sampled_from(["refresh", "cancel"]))
    def follow_topup(self, which: int, what: str) -> None:
        """A top-up is asked about, or taken back."""
        topup = self.market.topups[which % len(self.market.topups)]
        if what == "cancel":
            self.ask(f"/topups/{topup.id}/cancel", None, topup.cancel(), keyed=False)
        else:
            topup.learn()
            self.ask(f"/topups/{topup.id}/refresh", None, Said(200, None, topup.facts), keyed=False)

    @precondition(lambda self: self.market.topups or self._payouts())
    @rule(which=WHICH, times=st.integers(1, 3))
    def webhook(self, which: int, times: int) -> None:
        """Airtm tells of a payin or a payout, once or several times."""
        told = [*self.market.topups, *self._payouts()]
        self._tell(told[which % len(told)], times)

    def _tell(self, thing: TopUp | Withdrawal, times: int) -> None:
        ended = thing.status in WITHDRAWAL_ENDS
        thing.learn()
        self.do(self.client.webhook(thing.id, "payin.news" if isinstance(thing, TopUp) else "payout.news", times))
        if ended:
            # News of what has ended: whatever Airtm has given back is looked for.
            for one in self._payouts():
                one.learn_of_refund()

    # -- around it -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.client.sent)
    @rule(which=st.integers(0, 99), other=st.booleans())
    def again(self, which: int, other: bool) -> None:
        """A key is used again: for the same request, or for another one."""
        sent = self.client.sent[which % len(self.client.sent)]
        self.do(self.client.other_with_key_of(sent) if other else self.client.again(sent))

    @rule(which=st.integers(0, 99), reading=st.booleans())
    def stranger(self, which: int, reading: bool) -> None:
        """Another marketplace tries something of ours."""
        kinds: list[tuple[str, str, Any, str]] = []
        for user in self.market.users:
            credit = {"amount": "1.00"}
            kinds.append((f"/users/{user.id}/balance", "/credit", credit, "USER_NOT_FOUND"))
        kinds += [(f"/orders/{one.id}", "/reserve", None, "ORDER_NOT_FOUND") for one in self.market.orders]
        kinds += [(f"/topups/{one.id}", "/cancel", None, "TOPUP_NOT_FOUND") for one in self.market.topups]
        kinds += [(f"/withdrawals/{one.id}", "/commit", None, "WITHDRAWAL_NOT_FOUND") for one in self._payouts()]
        kinds += [
            (f"/disputes/{one.dispute.id}", "/assign", {"assignedTo": "x"}, "DISPUTE_NOT_FOUND")
            for one in self.market.orders
            if one.dispute is not None
        ]
        path, move, body, code = kinds[which % len(kinds)]
        if reading:
            self.do(self.client.strange("GET", path, None, code))
        else:
            self.do(self.client.strange("POST", path + move, body, code))

    @rule(where=st.sampled_from(sorted(FAULTS)), which=WHICH)
    def fault(self, where: str, which: int) -> None:
        """The next call of this kind goes wrong, once. No answer changes for that."""
        face, route, kinds = FAULTS[where]
        kind = kinds[which % len(kinds)]
        more = {"status": 503} if kind == "error_before" else {}
        self.do(self.client.fault(face, route, kind, more))

    @rule(days=st.sampled_from([0.5, 1.5, 3, 11, 15]))
    def time(self, days: float) -> None:
        """What the marketplace's policies let happen when so many days are over."""
        self.oracle.days_pass(days)
        self.do(self.client.days_pass(days))

    @invariant()
    def everything_agrees(self) -> None:
        """Every state and every balance is what the oracle has."""
        self.stage.steps += 1
        self.do(self.client.check())

    def teardown(self) -> None:
        """Whatever was done, it ends well: books, chain and Airtm agree to the unit."""
        if not self.failed:
            ends = [one.final for one in self.market.orders]
            ends += [one.status for one in (*self.market.topups, *self.market.withdrawals)]
            self.stage.ended.update(end for end in ends if end)
            self.do(self.client.ends_well())
