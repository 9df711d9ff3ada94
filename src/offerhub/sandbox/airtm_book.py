"""The books of the Airtm face: what is there, how it moves, and the file that remembers it.

Every change of a status passes `_set_payin` or `_set_payout`, which tell it to whoever sends webhooks. What settles
by itself does so when its moment comes on the sandbox's clock, or when somebody looks after that moment.
"""

import math
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Final, TypeVar

from offerhub.sandbox.airtm_bodies import PayinBody, PayoutBody, payin_json, payout_json
from offerhub.sandbox.airtm_model import (
    ODD_STATUS,
    PAYIN_MOVES,
    PAYOUT_MOVES,
    PAYOUT_WAITING,
    REFUSED_AMOUNT,
    Deposit,
    Payin,
    PayinAction,
    PayinStatus,
    Payout,
    PayoutAction,
    Person,
)
from offerhub.sandbox.append_log import AppendLog
from offerhub.sandbox.options import SandboxOptions
from offerhub.sandbox.schedule import Schedule
from offerhub.sandbox.state import ConservationError

Thing = TypeVar("Thing", Payin, Payout, Deposit)
Transfer = TypeVar("Transfer", Payin, Payout)

FUNDING: Final = 1_000_000_00
"""What the enterprise has at the beginning, in cents."""
PAYIN_LIFETIME_SECONDS: Final = 15 * 86_400
_EVENTS: Final = {
    ("payin", "CREATED"): "payin.created",
    ("payin", "CONFIRMED"): "payin.confirmed",
    ("payin", "FAILED"): "payin.failed",
    ("payin", "CANCELED"): "payin.canceled",
    ("payout", "CREATED"): "payout.created",
    ("payout", "COMPLETED"): "payout.completed",
    ("payout", "FAILED"): "payout.failed",
    ("payout", "CANCELED"): "payout.canceled",
}
"""The eight events that Airtm declares; every other change of a status is found by asking only."""
_LOG_FORMAT: Final = {"format": 1, "face": "airtm"}


class AirtmRefused(Exception):
    """Airtm says no: one of its codes, with a status of HTTP that may go with it (providers.md 2.2)."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class AirtmBook:
    """Payins, payouts and the enterprise's balance."""

    def __init__(
        self, options: SandboxOptions, now: Callable[[], int], schedule: Schedule, digest: Callable[[str], bytes]
    ) -> None:
        self._now = now
        self._schedule = schedule
        self._digest = digest
        self._settle_seconds = math.ceil(options.airtm_settle_seconds)
        self.wait_days = options.airtm_cancel_pending_days
        """Days after which a payout that waits for its recipient is cancelled."""
        self.announce: Callable[[str, dict[str, Any]], float] = lambda event, body: 0
        """Told each declared event with the body; answers for how many seconds it is not to be readable yet."""
        self._hidden: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self._payins: dict[str, Payin] = {}
        self._payouts: dict[str, Payout] = {}
        self._deposits: dict[str, Deposit] = {}
        self._log: AppendLog | None = None
        if options.state_file is not None:
            path = options.state_file
            self._log = AppendLog(path.with_name(f"{path.name}.airtm"), _LOG_FORMAT)
            for line in self._log.lines():
                self._recall(line)
        if not self._deposits:
            self._keep(Deposit(self._new_id(Deposit), "funding", FUNDING, now()))
        for payin in self._payins.values():
            self._watch(payin)
        for payout in self._payouts.values():
            self._watch(payout)

    def dispose(self) -> None:
        """Let go of the file."""
        if self._log is not None:
            self._log.close()

    def body_of(self, thing: Payin | Payout) -> dict[str, Any] | None:
        """A payin or payout as the API shows it now: what it was before while a change is not readable yet."""
        until, before = self._hidden.get(thing.id, (0, None))
        if self._schedule.clock.now() < until:
            return before
        self._hidden.pop(thing.id, None)
        return payin_json(thing) if isinstance(thing, Payin) else payout_json(thing)

    # -- reading -------------------------------------------------------------------------------------------------

    def payins(self) -> list[Payin]:
        """All payins, oldest first."""
        return [self._advanced_payin(one) for one in self._payins.values()]

    def payouts(self) -> list[Payout]:
        """All payouts, oldest first."""
        return [self._advanced_payout(one) for one in self._payouts.values()]

    def deposits(self) -> list[Deposit]:
        """All deposits, oldest first."""
        return list(self._deposits.values())

    def payin(self, payin_id: str) -> Payin:
        """The payin with this id. Raises AirtmRefused."""
        if payin_id not in self._payins:
            raise AirtmRefused("415902", "Payin not found", 404)
        return self._advanced_payin(self._payins[payin_id])

    def payin_by_code(self, code: str) -> Payin:
        """The payin with the enterprise's code. Raises AirtmRefused."""
        found = _by_code(self._payins.values(), code)
        if found is None:
            raise AirtmRefused("415902", "Payin not found", 404)
        return self._advanced_payin(found)

    def payout(self, payout_id: str) -> Payout:
        """The payout with this id. Raises AirtmRefused."""
        if payout_id not in self._payouts:
            raise AirtmRefused("415902", "Payout not found", 404)
        return self._advanced_payout(self._payouts[payout_id])

    def payout_by_code(self, code: str) -> Payout:
        """The payout with the enterprise's code. Raises AirtmRefused."""
        found = _by_code(self._payouts.values(), code)
        if found is None:
            raise AirtmRefused("415902", "Payout not found", 404)
        return self._advanced_payout(found)

    def deposit(self, deposit_id: str) -> Deposit:
        """The deposit with this id. Raises AirtmRefused."""
        if deposit_id not in self._deposits:
            raise AirtmRefused("415902", "Deposit not found", 404)
        return self._deposits[deposit_id]

    def balance(self) -> tuple[int, int]:
        """(available, pending) of the enterprise, in cents, from everything that ever happened."""
        payouts = self.payouts()
        came = sum(one.amount for one in self._deposits.values())
        came += sum(one.amount - one.fee for one in self.payins() if one.status == "CONFIRMED")
        gone = sum(one.amount for one in payouts if one.status == "COMPLETED")
        pending = sum(
            one.amount for one in payouts if one.status not in {"CREATED", "COMPLETED", "FAILED", "CANCELED"}
        )
        available = came - gone - pending
        if available < 0:
            raise ConservationError(f"the enterprise's balance at Airtm is {available} cents")
        return available, pending

    # -- what the enterprise asks for ----------------------------------------------------------------------------

    def create_payin(self, body: PayinBody, tags: Iterable[str] = ()) -> Payin:
        """A new payin, which waits for its payer; `tags` decide how it ends. Raises AirtmRefused."""
        if _by_code(self._payins.values(), body.code) is not None:
            raise AirtmRefused("415029", "A payin with this code already exists", 409)
        now = self._now()
        payin = Payin(
            self._new_id(Payin),
            body.code,
            body.amount,
            body.description,
            body.items,
            body.confirmation_uri,
            body.cancel_uri,
            now,
            now,
            tags=list(tags),
        )
        return self._tell(self._keep(payin), None)

    def withdraw_payin(self, payin: Payin) -> Payin:
        """Cancel a payin that nobody has confirmed. Raises AirtmRefused."""
        if payin.status == "CONFIRMED":
            raise AirtmRefused("415032", "The payin was already completed", 409)
        if payin.status != "CREATED":
            raise AirtmRefused("415030", "The payin can not be confirmed or canceled", 409)
        return self._set_payin(payin, "CANCELED")

    def create_payout(self, body: PayoutBody, tags: Iterable[str] = ()) -> Payout:
        """A new payout; no money moves unless it is committed; `tags` decide how it ends. Raises AirtmRefused."""
        if body.code is not None and _by_code(self._payouts.values(), body.code) is not None:
            raise AirtmRefused("415056", "A payout with this code already exists", 409)
        person = Person(body.email)
        if not person.is_known:
            raise AirtmRefused("415059", "The user was not found", 404)
        if "banned" in person.tags:
            raise AirtmRefused("415010", "The user was deleted or banned")
        if not person.is_active:
            raise AirtmRefused("415008", "The user is not active")
        now = self._now()
        fate = person.tags | set(tags)
        payout = Payout(
            self._new_id(Payout),
            body.code,
            body.email,
            body.amount,
            body.enterprise_fee,
            body.amount // 100 if "fee" in fate else 0,
            body.notes,
            body.internal_note,
            body.require_id_verified,
            now,
            now,
            events=[["CREATED", now]],
            tags=list(tags),
        )
        self._tell(self._keep(payout), None)
        return self.commit_payout(payout) if body.commit else payout

    def commit_payout(self, payout: Payout) -> Payout:
        """Let the money go. Raises AirtmRefused."""
        if payout.status != "CREATED":
            raise AirtmRefused("415027", "The payout was already processed", 409)
        if payout.gross == REFUSED_AMOUNT or payout.amount > self.balance()[0]:
            raise AirtmRefused("415016", "The enterprise does not have enough balance")
        return self._set_payout(payout, "COMMITTED")

    def withdraw_payout(self, payout: Payout) -> Payout:
        """Cancel a payout that is not under way. Raises AirtmRefused."""
        if payout.status not in {"CREATED", "PENDING"}:
            raise AirtmRefused("415055", "The payout can not be canceled", 409)
        return self._set_payout(payout, "CANCELED")

    # -- what happens to it at Airtm -----------------------------------------------------------------------------

    def pay(self, payin: Payin, payer: Person) -> Payin:
        """The payer confirms at the checkout. Raises AirtmRefused when this person cannot."""
        if payin.status != "CREATED":
            raise AirtmRefused("415030", "This payin can not be confirmed any more", 409)
        if not (payer.is_known and payer.is_active):
            raise AirtmRefused("415008", "This account is not active")
        if "us" in payer.tags:
            raise AirtmRefused("415053", "Users of the United States can not make payins")
        if "poor" in payer.tags:
            raise AirtmRefused("415034", "This account does not have enough balance")
        payin.payer = payer.email
        payin.fee = payin.amount // 100 if "fee" in payin.fate else 0
        return self._set_payin(payin, "PROCESSING")

    def move_payin(self, payin: Payin, action: PayinAction, fee: int | None = None) -> Payin:
        """Do to a payin what a control asks for. Raises AirtmRefused when its status does not allow it."""
        target, sources = PAYIN_MOVES[action]
        if payin.status not in sources:
            raise AirtmRefused("415030", f"a payin that is {payin.status} cannot be told to {action}", 409)
        if fee is not None:
            payin.fee = fee
        return self._set_payin(payin, target)

    def move_payout(self, payout: Payout, action: PayoutAction) -> Payout:
        """Do to a payout what a control asks for. Raises AirtmRefused when its status does not allow it."""
        target, sources = PAYOUT_MOVES[action]
        if payout.status not in sources or payout.refunded:
            raise AirtmRefused("415027", f"a payout that is {payout.status} cannot be told to {action}", 409)
        if action == "refund":
            return self._give_back(payout)
        return self._set_payout(payout, target)

    def _advanced_payin(self, payin: Payin) -> Payin:
        age = self._now() - payin.updated_at
        if payin.status == "CREATED" and age >= PAYIN_LIFETIME_SECONDS:
            return self._set_payin(payin, "CANCELED")
        if payin.status == "PROCESSING" and self._settles_after(age, payin.fate):
            return self._set_payin(payin, "FAILED" if "declined" in payin.fate else "CONFIRMED")
        return payin

    def _advanced_payout(self, payout: Payout) -> Payout:
        age, fate = self._now() - payout.updated_at, payout.fate
        if payout.status in PAYOUT_WAITING and age >= self.wait_days * 86_400:
            return self._set_payout(payout, "CANCELED")
        if not self._settles_after(age, fate):
            return payout
        if payout.status == "COMPLETED" and "refunded" in fate and not payout.refunded:
            return self._give_back(payout)
        if payout.status not in {"COMMITTED", "PROCESSING"}:
            return payout
        if fate & {"waiting", "odd"}:
            return self._set_payout(payout, "PENDING_USER_ACTION" if "waiting" in fate else ODD_STATUS)
        return self._set_payout(payout, "FAILED" if "declined" in fate else "COMPLETED")

    def _settles_after(self, age_seconds: int, fate: frozenset[str]) -> bool:
        return self._settle_seconds > 0 and "stuck" not in fate and age_seconds >= self._settle_seconds

    def _give_back(self, payout: Payout) -> Payout:
        payout.refunded = True
        self._keep(Deposit(self._new_id(Deposit), "refunded", payout.amount, self._now(), payout.id))
        return self._keep(payout)

    def _set_payin(self, payin: Payin, status: PayinStatus) -> Payin:
        before = self.body_of(payin)
        payin.status = status
        payin.updated_at = self._now()
        if status == "FAILED":
            payin.failure_reason = "The payment was declined"
        return self._tell(self._keep(payin), before)

    def _set_payout(self, payout: Payout, status: str) -> Payout:
        before = self.body_of(payout)
        payout.status = status
        payout.updated_at = self._now()
        payout.events.append([status, payout.updated_at])
        if status == "FAILED":
            payout.reason_code, payout.reason = "415073", "The payout could not be delivered"
        return self._tell(self._keep(payout), before)

    def _tell(self, thing: Transfer, before: dict[str, Any] | None) -> Transfer:
        """Announce a change that is kept, and see to what will follow from it."""
        self._watch(thing)
        body = payin_json(thing) if isinstance(thing, Payin) else payout_json(thing)
        event = _EVENTS.get((type(thing).__name__.lower(), thing.status))
        hidden_seconds = self.announce(event, body) if event is not None else 0
        if hidden_seconds:
            self._hidden[thing.id] = (self._schedule.clock.now() + hidden_seconds, before)
        return thing

    def _watch(self, thing: Payin | Payout) -> None:
        """Look again at the moment at which something may become of it."""
        age = self._settle_seconds
        if isinstance(thing, Payin) and thing.status == "CREATED":
            age = PAYIN_LIFETIME_SECONDS
        elif thing.status in PAYOUT_WAITING:
            age = self.wait_days * 86_400
        is_over = thing.status in {"CONFIRMED", "CANCELED", "FAILED"}
        if age == 0 or is_over or (thing.status == "COMPLETED" and "refunded" not in thing.fate):
            return

        def due() -> None:
            if isinstance(thing, Payin):
                self._advanced_payin(thing)
            else:
                self._advanced_payout(thing)

        self._schedule.at(thing.updated_at + age, due)

    # -- remembering ---------------------------------------------------------------------------------------------

    def _new_id(self, kind: type) -> str:
        """The next id of this kind: always the same for the same seed and history."""
        number, name = len(self._tables(kind)), kind.__name__.lower()
        return str(uuid.UUID(bytes=self._digest(f"airtm:{name}:{number}")[:16], version=4))

    def _keep(self, thing: Thing) -> Thing:
        self._tables(type(thing))[thing.id] = thing
        if self._log is not None:
            self._log.write({type(thing).__name__: asdict(thing)})
        return thing

    def _recall(self, line: dict[str, Any]) -> None:
        for kind in (Payin, Payout, Deposit):
            if kind.__name__ in line:
                thing = kind(**line[kind.__name__])
                self._tables(kind)[thing.id] = thing

    def _tables(self, kind: type) -> dict[str, Any]:
        tables: dict[type, dict[str, Any]] = {Payin: self._payins, Payout: self._payouts, Deposit: self._deposits}
        return tables[kind]


def _by_code(things: Iterable[Transfer], code: str) -> Transfer | None:
    return next((thing for thing in things if thing.code == code), None)
