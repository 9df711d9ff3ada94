"""A finding, inside and on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, cast

from msgspec import Meta

from offerhub.findings.kinds import KINDS, require_known
from offerhub.kernel.clock import to_wire
from offerhub.kernel.money import format_amount
from offerhub.runtime.paging import PageQuery
from offerhub.runtime.routes import Body, Shape
from offerhub.runtime.vocabulary import SHOWN, MarketplaceId, SignedSum, Timestamp

FindingStatus = Literal["OPEN", "ACKNOWLEDGED", "RESOLVED"]
FindingId = Annotated[
    str,
    Meta(
        description="The id of a finding.",
        examples=["fnd_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"],
        extra_json_schema={"pattern": "^fnd_[0-9A-Za-z]{32}$"},
    ),
]
FindingKind = Annotated[
    str,
    Meta(
        description="What differs.",
        examples=["MONEY_MISSING"],
        extra_json_schema={
            "enum": sorted(KINDS),
            "x-enumDescriptions": {name: kind.means for name, kind in sorted(KINDS.items())},
        },
    ),
]
SubjectType = Annotated[str, Meta(description="What kind of thing it is about.", examples=["Escrow"])]
SubjectId = Annotated[str, Meta(description="What it is about.", examples=["esc_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"])]


@dataclass(frozen=True, slots=True)
class Found:
    """Something that differs. One `kind` of one subject is one finding, however often it is seen.

    `amount` is in units: what there is outside less what the books say, None where no money differs. `evidence` is
    JSON, redacted on the way in. What belongs to no marketplace is kept with the default one.
    """

    marketplace_id: str
    kind: str
    subject_type: str
    subject_id: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    amount: int | None = None

    def __post_init__(self) -> None:
        require_known(self.kind)


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as stored; `age_seconds` is how long it has stood, or stood until it was resolved."""

    id: str
    marketplace_id: str
    kind: str
    subject_type: str
    subject_id: str
    status: str
    amount: int | None
    evidence: Mapping[str, Any]
    times_seen: int
    first_seen_at: datetime
    last_seen_at: datetime
    age_seconds: int
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: Mapping[str, Any] | None

    def wire(self) -> "FindingAnswer":
        """The finding as it is answered."""
        kind = KINDS.get(self.kind)
        return FindingAnswer(
            id=self.id,
            kind=self.kind,
            status=cast("FindingStatus", self.status),
            marketplaceId=self.marketplace_id,
            subjectType=self.subject_type,
            subjectId=self.subject_id,
            amount=None if self.amount is None else format_amount(self.amount),
            amountUnits=self.amount,
            evidence=dict(self.evidence),
            nextAction="" if kind is None or self.status == "RESOLVED" else kind.next_action,
            timesSeen=self.times_seen,
            firstSeenAt=to_wire(self.first_seen_at),
            lastSeenAt=to_wire(self.last_seen_at),
            ageSeconds=self.age_seconds,
            acknowledgedAt=None if self.acknowledged_at is None else to_wire(self.acknowledged_at),
            acknowledgedBy=self.acknowledged_by,
            note=self.note,
            resolvedAt=None if self.resolved_at is None else to_wire(self.resolved_at),
            resolvedBy=self.resolved_by,
            resolution=None if self.resolution is None else dict(self.resolution),
        )


class FindingAnswer(Shape):
    """Something that was found to differ."""

    id: FindingId
    kind: FindingKind
    status: Annotated[
        FindingStatus,
        Meta(
            description="`OPEN`: a person should look. `ACKNOWLEDGED`: somebody does; it is `OPEN` again when "
            "another amount is seen. `RESOLVED`: it agrees again, or a person has decided."
        ),
    ]
    marketplaceId: MarketplaceId
    subjectType: SubjectType
    subjectId: SubjectId
    amount: Annotated[
        SignedSum | None,
        Meta(description="What there is outside less what the books say; null where no money differs."),
    ]
    amountUnits: Annotated[int | None, Meta(description="The same in units of 10^-7.", examples=[-5000000])]
    evidence: Annotated[
        dict[str, Any],
        Meta(description="What was seen the last time, on each side.", examples=[{"contractBalance": "0.0000000"}]),
    ]
    nextAction: Annotated[str, Meta(description="What a person should do next; empty once it is resolved.")]
    timesSeen: Annotated[int, Meta(ge=1)]
    firstSeenAt: Timestamp
    lastSeenAt: Timestamp
    ageSeconds: Annotated[int, Meta(description="Since it was first seen, until it was resolved.")]
    acknowledgedAt: Timestamp | None
    acknowledgedBy: Annotated[str | None, Meta(description="The credential of whoever looks at it.")]
    note: Annotated[str | None, Meta(description="What that person wrote.")]
    resolvedAt: Timestamp | None
    resolvedBy: Annotated[
        str | None,
        Meta(description="The credential of whoever decided, or the part of the system that saw it."),
    ]
    resolution: Annotated[
        dict[str, Any] | None, Meta(description="The evidence that it agrees again, or the reason that was given.")
    ]


class FindingsQuery(PageQuery):
    """Which findings to list."""

    status: Annotated[FindingStatus | None, Meta(description="Only those in this state.")] = None
    kind: Annotated[str | None, Meta(description="Only those of this kind.", examples=["MONEY_MISSING"])] = None
    subjectType: Annotated[str | None, Meta(description="Only those about such things.", examples=["Escrow"])] = None
    subjectId: Annotated[str | None, Meta(description="Only those about this.")] = None
    marketplaceId: Annotated[str | None, Meta(description="Only those of this marketplace.")] = None


class ReasonBody(Body):
    """Why a person decides so; it stays with the finding and goes into the audit trail."""

    reason: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1000,
            pattern=SHOWN,
            description="What you know about it, or what you have done.",
            examples=["Asked Trustless Work: the index lags since 10:00 UTC."],
        ),
    ]
