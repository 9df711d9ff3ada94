"""All SQL of orders and milestones."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from offerhub.kernel.clock import EPOCH
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import Units
from offerhub.kernel.pages import Page
from offerhub.orders.model import ListOrders, Milestone, Order
from offerhub.providers.trustless_work.intents import EscrowType
from offerhub.runtime.database import Row, Tx
from offerhub.runtime.paging import fetch

_COLUMNS: Final = """id, marketplace_id, client_order_ref, buyer_id, seller_id, amount, currency, status, title,
    description, metadata, final_status, closed_at, created_at, updated_at, escrow_type"""
_MILESTONE: Final = "id, order_id, milestone_ref, title, amount, status, completed_at, created_at, updated_at"


class NewMilestone(NamedTuple):
    """A milestone to be stored, in the order's sequence."""

    ref: str
    title: str
    amount: int


class NewOrder(NamedTuple):
    """An order to be stored."""

    client_order_ref: str | None
    buyer_id: str
    seller_id: str
    amount: int
    currency: str
    title: str
    description: str | None
    metadata: dict[str, Any] | None
    milestones: tuple[NewMilestone, ...]
    escrow_type: EscrowType = "single-release"

    def made(self, marketplace_id: str) -> tuple[Order, list[Milestone]]:
        """The order and its milestones as they will be; their times are the database's."""
        order = Order(
            new_id("ord"),
            marketplace_id,
            self.client_order_ref,
            self.buyer_id,
            self.seller_id,
            Units(self.amount),
            self.currency,
            "ORDER_CREATED",
            self.title,
            self.description,
            self.metadata,
            None,
            None,
            EPOCH,
            EPOCH,
            self.escrow_type,
        )
        milestones = [
            Milestone(new_id("mst"), order.id, one.ref, one.title, Units(one.amount), "OPEN", None, EPOCH, EPOCH)
            for one in self.milestones
        ]
        return order, milestones


def _order(row: Row) -> Order:
    return Order(
        row["id"],
        row["marketplace_id"],
        row["client_order_ref"],
        row["buyer_id"],
        row["seller_id"],
        Units(row["amount"]),
        row["currency"],
        row["status"],
        row["title"],
        row["description"],
        row["metadata"],
        row["final_status"],
        row["closed_at"],
        row["created_at"],
        row["updated_at"],
        row["escrow_type"],
    )


def _milestone(row: Row) -> Milestone:
    return Milestone(
        row["id"],
        row["order_id"],
        row["milestone_ref"],
        row["title"],
        Units(row["amount"]),
        row["status"],
        row["completed_at"],
        row["created_at"],
        row["updated_at"],
    )


async def before_reservation(tx: Tx, marketplace_id: str, order_id: str) -> tuple[Order, bool] | None:
    """The order, within its marketplace, and whether it has milestones."""
    row = await tx.row(
        f"""
        SELECT {_COLUMNS}, EXISTS (SELECT FROM milestones m WHERE m.order_id = orders.id) AS in_parts
        FROM orders WHERE marketplace_id = $1 AND id = $2
        """,
        marketplace_id,
        order_id,
    )
    return None if row is None else (_order(row), row["in_parts"])


async def by_client_ref(tx: Tx, marketplace_id: str, client_order_ref: str) -> Order:
    """The order with the client's reference; there must be one."""
    return _order(
        await tx.one(
            f"SELECT {_COLUMNS} FROM orders WHERE marketplace_id = $1 AND client_order_ref = $2",
            marketplace_id,
            client_order_ref,
        )
    )


async def get(tx: Tx, marketplace_id: str, order_id: str, *, lock: bool = False) -> Order | None:
    """The order, within its marketplace; locked against other changes until the transaction ends if asked."""
    row = await tx.row(
        f"SELECT {_COLUMNS} FROM orders WHERE marketplace_id = $1 AND id = $2"
        + (" FOR NO KEY UPDATE" if lock else ""),
        marketplace_id,
        order_id,
    )
    return None if row is None else _order(row)


async def find(tx: Tx, order_id: str) -> Order | None:
    """The order of whichever marketplace."""
    row = await tx.row(f"SELECT {_COLUMNS} FROM orders WHERE id = $1", order_id)
    return None if row is None else _order(row)


async def move(
    tx: Tx, order_id: str, to: str, sources: Sequence[str], final_status: str | None = None
) -> Order | None:
    """Move an order to a state; None when it is in none of the sources."""
    row = await tx.row(
        f"""
        UPDATE orders SET status = $2, final_status = coalesce($4, final_status),
            closed_at = CASE WHEN $2 = 'CLOSED' THEN clock_timestamp() ELSE closed_at END
        WHERE id = $1 AND status = ANY($3::text[]) RETURNING {_COLUMNS}
        """,
        order_id,
        to,
        list(sources),
        final_status,
    )
    return None if row is None else _order(row)


async def milestones(tx: Tx, order_ids: Sequence[str]) -> list[Milestone]:
    """The milestones of some orders, in sequence."""
    rows = await tx.rows(
        f"""
        SELECT {_MILESTONE} FROM milestones WHERE order_id = ANY($1::text[]) ORDER BY order_id, position
        """,
        list(order_ids),
    )
    return [_milestone(row) for row in rows]


async def complete_milestone(tx: Tx, order_id: str, ref: str) -> Milestone | None:
    """Mark a milestone as completed; None when it is not open."""
    row = await tx.row(
        f"""
        UPDATE milestones SET status = 'COMPLETED', completed_at = clock_timestamp()
        WHERE order_id = $1 AND milestone_ref = $2 AND status = 'OPEN' RETURNING {_MILESTONE}
        """,
        order_id,
        ref,
    )
    return None if row is None else _milestone(row)


async def page(
    tx: Tx, marketplace_id: str, query: ListOrders, after: datetime | None, before: datetime | None
) -> Page:
    """One page of the orders that were created between two times, which are not included."""
    # The wire shows milliseconds, the database keeps microseconds: an order is compared by the time it shows.
    filters: dict[str, Any] = {
        "status": query.status,
        "date_trunc('milliseconds', created_at) > ?": after,
        "date_trunc('milliseconds', created_at) < ?": before,
    }
    parties = [party for party in (query.buyer_id, query.seller_id) if party is not None]
    if len(parties) == 2:
        filters["(buyer_id = (?::text[])[1] OR seller_id = (?::text[])[2])"] = parties
    else:
        filters |= {"buyer_id": query.buyer_id, "seller_id": query.seller_id}
    found = await fetch(tx, marketplace_id, f"SELECT {_COLUMNS} FROM orders", "orders", filters, query)
    return Page([_order(row) for row in found.items], found.next_cursor)
