"""All SQL of the milestones of multi-release escrows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offerhub.escrows.model import EscrowMilestone, MilestonePaid
from offerhub.kernel.money import Units
from offerhub.runtime.database import Row, Tx

_COLUMNS: Final = """escrow_id, position, milestone_id, amount, status, marked_on_chain, approved_on_chain,
    disputed_on_chain, seller_share, buyer_share, seller_net, buyer_net, platform_fee, protocol_fee, tx_hash,
    paid_at"""


def _milestone(row: Row) -> EscrowMilestone:
    return EscrowMilestone(
        row["escrow_id"],
        row["position"],
        row["milestone_id"],
        Units(row["amount"]),
        row["status"],
        row["marked_on_chain"],
        row["approved_on_chain"],
        row["disputed_on_chain"],
        row["seller_share"],
        row["buyer_share"],
        row["seller_net"],
        row["buyer_net"],
        row["platform_fee"],
        row["protocol_fee"],
        row["tx_hash"],
        row["paid_at"],
    )


async def insert_milestones(
    tx: Tx, marketplace_id: str, escrow_id: str, milestones: Sequence[tuple[str, int]]
) -> None:
    """The milestones of a new multi-release escrow, by their place in it: (milestone id, units)."""
    await tx.execute(
        """
        INSERT INTO escrow_milestones (escrow_id, marketplace_id, position, milestone_id, amount)
        SELECT $1, $2, m.place - 1, m.id, m.amount
        FROM unnest($3::text[], $4::bigint[]) WITH ORDINALITY AS m (id, amount, place)
        """,
        escrow_id,
        marketplace_id,
        [milestone_id for milestone_id, _ in milestones],
        [amount for _, amount in milestones],
    )


async def milestones_of(tx: Tx, escrow_ids: Sequence[str]) -> list[EscrowMilestone]:
    """The milestones of some escrows, in their contracts' sequence."""
    rows = await tx.rows(
        f"SELECT {_COLUMNS} FROM escrow_milestones WHERE escrow_id = ANY($1::text[]) ORDER BY escrow_id, position",
        list(escrow_ids),
    )
    return [_milestone(row) for row in rows]


async def begin_paying(tx: Tx, escrow_id: str, positions: Sequence[int]) -> None:
    """These milestones are being paid out. The order is locked, and none of them was before."""
    await tx.execute(
        "UPDATE escrow_milestones SET status = 'PAYING' WHERE escrow_id = $1 AND position = ANY($2::integer[])",
        escrow_id,
        list(positions),
    )


async def stop_paying(tx: Tx, escrow_id: str, positions: Sequence[int]) -> None:
    """Those of these milestones that were not paid stay in the contract."""
    await tx.execute(
        """
        UPDATE escrow_milestones SET status = 'UNPAID'
        WHERE escrow_id = $1 AND position = ANY($2::integer[]) AND status = 'PAYING'
        """,
        escrow_id,
        list(positions),
    )


async def paid(tx: Tx, escrow_id: str, position: int, outcome: MilestonePaid) -> EscrowMilestone:
    """The chain has paid a milestone out."""
    row = await tx.one(
        f"""
        UPDATE escrow_milestones SET status = $3, seller_share = $4, buyer_share = $5, seller_net = $6,
            buyer_net = $7, platform_fee = $8, protocol_fee = $9, tx_hash = $10, paid_at = clock_timestamp()
        WHERE escrow_id = $1 AND position = $2 AND status = 'PAYING' RETURNING {_COLUMNS}
        """,
        escrow_id,
        position,
        outcome.status,
        outcome.seller_share,
        outcome.buyer_share,
        outcome.seller_net,
        outcome.buyer_net,
        outcome.platform_fee,
        outcome.protocol_fee,
        outcome.tx_hash,
    )
    return _milestone(row)


async def note_milestone_progress(
    tx: Tx, escrow_id: str, position: int, *, marked: bool = False, approved: bool = False, disputed: bool = False
) -> None:
    """Keep what the contract knows of a milestone by now; it never forgets."""
    await tx.execute(
        """
        UPDATE escrow_milestones SET marked_on_chain = marked_on_chain OR $3,
            approved_on_chain = approved_on_chain OR $4, disputed_on_chain = disputed_on_chain OR $5
        WHERE escrow_id = $1 AND position = $2
        """,
        escrow_id,
        position,
        marked,
        approved,
        disputed,
    )


async def learn_milestones(tx: Tx, escrow_id: str, seen: Sequence[Mapping[str, Any]]) -> bool:
    """Take over what the contract has been seen to know of its milestones that are not paid, by their place in it.

    True when one of them is disputed that was not before.
    """
    rows = await tx.rows(
        """
        UPDATE escrow_milestones m SET marked_on_chain = s.marked, approved_on_chain = s.approved,
            disputed_on_chain = s.disputed
        FROM (SELECT position, disputed_on_chain FROM escrow_milestones WHERE escrow_id = $1 FOR UPDATE) before,
            unnest($2::boolean[], $3::boolean[], $4::boolean[])
                WITH ORDINALITY AS s (marked, approved, disputed, place)
        WHERE m.escrow_id = $1 AND m.paid_at IS NULL AND m.position = s.place - 1 AND before.position = m.position
        RETURNING s.disputed AND NOT before.disputed_on_chain AS is_new
        """,
        escrow_id,
        [one["marked"] for one in seen],
        [one["approved"] for one in seen],
        [one["disputed"] for one in seen],
    )
    return any(row["is_new"] for row in rows)
