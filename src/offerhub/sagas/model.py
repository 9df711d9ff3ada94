"""The words of a saga: plans, steps and the outcomes an attempt can have (design 4).

    planned → attempted → settled | refused | unknown → (evidence) → settled | refused

Unknown is a value: after it the money stays where it is held until the chain or the provider has been asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from offerhub.errors import Refusal
from offerhub.kernel.states import machine
from offerhub.runtime.actor import Actor, system
from offerhub.runtime.database import Tx

Facts = Mapping[str, Any]
"""What a settled step has learnt, as JSON."""

SAGA = machine(
    "saga", "sagas.status", "RUNNING", {"RUNNING": {"SUCCEEDED", "REFUSED"}, "SUCCEEDED": set(), "REFUSED": set()}
)
STEP = machine(
    "saga step",
    "saga_steps.status",
    "PLANNED",
    {
        "PLANNED": {"ATTEMPTED"},
        "ATTEMPTED": {"SETTLED", "REFUSED", "UNKNOWN"},
        "UNKNOWN": {"SETTLED", "REFUSED"},
        "SETTLED": set(),
        "REFUSED": set(),
    },
)
ENVELOPE = machine(
    "envelope",
    "envelopes.status",
    "SIGNED",
    {
        "SIGNED": {"SUBMITTED", "EXPIRED"},
        "SUBMITTED": {"SUCCEEDED", "FAILED", "EXPIRED"},
        "SUCCEEDED": set(),
        "FAILED": set(),
        "EXPIRED": set(),
    },
)


class LeaseLost(Exception):
    """Another driver may have taken this saga over; whatever this one was about to write or send is void."""


@dataclass(frozen=True, slots=True)
class Saga:
    """One run of a plan for one subject, such as the release of an order. `input` never changes."""

    id: str
    marketplace_id: str
    kind: str
    subject_id: str
    status: Literal["RUNNING", "SUCCEEDED", "REFUSED"]
    input: Mapping[str, Any]
    correlation_id: str | None = None
    refusal: Mapping[str, Any] | None = None
    driver: str = ""
    """The lease under which it was read: one driver's, from its claim to its end, and nobody else's ever."""

    @property
    def actor(self) -> Actor:
        """Who acts when the saga settles: the system, under the correlation id of the request that began it."""
        return system(self.marketplace_id, "sagas", self.correlation_id, cause=self.id)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed Stellar transaction, stored whole before it is first sent.

    `last_code` is why the network would not take it when it was last sent. `superseded_at` is the ledger time at
    which its sequence number was first seen used up while no ledger held it.
    """

    hash: str
    source_account: str
    sequence: int
    xdr: str
    valid_until: datetime
    status: Literal["SIGNED", "SUBMITTED", "SUCCEEDED", "FAILED", "EXPIRED"] = "SIGNED"
    last_code: str | None = None
    superseded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FeeBump:
    """A signed wrapper of an envelope, with which `fee_source` pays its fee. `bid` is stroops per operation."""

    hash: str
    inner_hash: str
    fee_source: str
    bid: int
    xdr: str


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What the chain said about an envelope: the ledger that holds it and how it ended there.

    `hash` is the envelope's, `included_as` the one that the ledger lists: that of a fee bump, where one was taken.
    """

    hash: str
    ledger: int
    succeeded: bool
    included_as: str


@dataclass(frozen=True, slots=True)
class Settled:
    """It happened, and this is the evidence."""

    facts: Facts = field(default_factory=dict)
    inclusion: Inclusion | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It certainly did not happen and will not.

    `unsigned` is the transaction (base64) that our own comparison refused, kept as evidence; it was never signed.
    """

    refusal: Refusal
    inclusion: Inclusion | None = None
    unsigned: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have happened: ask again before doing anything else."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """Nothing was tried; come back in a moment."""

    reason: str
    seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nothing can have happened, because a provider could not be reached: try again, for ever when `patient`.

    Otherwise a saga that has done nothing outside yet gives up with this refusal after some attempts.
    """

    refusal: Refusal
    patient: bool = False


Outcome = Settled | Refused | Unknown | NotYet | Unavailable


class Step(Protocol):
    """One action outside. After a crash `attempt` runs again and must look for evidence first."""

    @property
    def name(self) -> str:
        """What the step does, such as `release_funds`."""
        ...

    @property
    def is_look(self) -> bool:
        """True when the step only reads: a saga that has done nothing else may still be given up."""
        ...

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Try it, or find out what became of the last try. Raises nothing but programming errors."""
        ...

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Write down what the step has done, in the transaction that settles it."""
        ...


class Plan(Protocol):
    """What a kind of saga does, in order, and how the books follow."""

    @property
    def kind(self) -> str:
        """The kind of saga, such as `order.release`."""
        ...

    def steps(self, saga: Saga) -> Sequence[Step]:
        """The steps, derived from the saga's input alone: the same ones after every restart."""
        ...

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """All steps are settled: move the states and the money, in the transaction that ends the saga."""
        ...

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """A step was refused: give back what was held, in the transaction that ends the saga."""
        ...
