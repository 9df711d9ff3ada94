"""What other slices may read of disputes."""

from collections.abc import Sequence

from offerhub.disputes import store
from offerhub.orders.model import DisputeAnswer
from offerhub.runtime.database import Tx


async def dispute_wire_of(tx: Tx, order_ids: Sequence[str]) -> dict[str, DisputeAnswer]:
    """Order id to its dispute as it is shown, for those orders that have one."""
    return {dispute.order_id: dispute.wire() for dispute in await store.of_orders(tx, order_ids)}
