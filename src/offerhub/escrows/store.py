"""All SQL of escrows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offerhub.errors import EscrowInvalidState
from offerhub.escrows.model import Escrow
from offerhub.escrows.states import ESCROW
from offerhub.kernel.ids import new_id
from offerhub.kernel.money import Units
from offerhub.providers.trustless_work.intents import Deployer, EscrowType
from offerhub.runtime.database import Row, Tx

_COLUMNS: Final = """id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps, terms, roles,
    treasury, marked_on_chain, approved_on_chain, disputed_on_chain, tx_hash, funded_at, released_at, refunded_at,
    created_at, updated_at"""


def _escrow(row: Row) -> Escrow:
    return Escrow(
        row["id"],
        row["marketplace_id"],
        row["order_id"],
        row["contract_id"],
        row["status"],
        Units(row["amount"]),
        row["platform_fee_bps"],
        row["terms"],
        row["roles"],
        row["treasury"],
        row["marked_on_chain"],
        row["approved_on_chain"],
        row["disputed_on_chain"],
        row["tx_hash"],
        row["funded_at"],
        row["released_at"],
        row["refunded_at"],
        row["created_at"],
        row["updated_at"],
    )


async def insert(
    tx: Tx,
    marketplace_id: str,
    order_id: str,
    amount: int,
    platform_fee_bps: int,
    terms: dict[str, Any],
    roles: dict[str, str],
    treasury: str | None,
) -> Escrow | None:
    """A new escrow in CREATING; None when the order has one."""
    row = await tx.row(
        f"""
        INSERT INTO escrows (id, marketplace_id, order_id, amount, platform_fee_bps, terms, roles, treasury)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (order_id) DO NOTHING RETURNING {_COLUMNS}
        """,
        new_id("esc"),
        marketplace_id,
        order_id,
        amount,
        platform_fee_bps,
        terms,
        roles,
        treasury,
    )
    return None if row is None else _escrow(row)


async def of_order(tx: Tx, order_id: str) -> Escrow | None:
    """The order's escrow. The order has been read within its marketplace before."""
    row = await tx.row(
        f"SELECT {_COLUMNS} FROM escrows WHERE order_id = $1",
        order_id,
    )
    return None if row is None else _escrow(row)


async def of_orders(tx: Tx, order_ids: Sequence[str]) -> dict[str, Escrow]:
    """Order id to escrow, for those orders that have one."""
    rows = await tx.rows(
        f"SELECT {_COLUMNS} FROM escrows WHERE order_id = ANY($1::text[])",
        list(order_ids),
    )
    return {row["order_id"]: _escrow(row) for row in rows}


async def least_lately_checked(tx: Tx, limit: int, stale_seconds: float) -> list[Escrow]:
    """Escrows without an end that neither changed nor were compared for a while, the longest ago compared first."""
    rows = await tx.rows(
        f"""
        SELECT {_COLUMNS} FROM escrows e LEFT JOIN escrow_checks c ON c.escrow_id = e.id
        WHERE e.status <> ALL($3::text[]) AND e.updated_at <= clock_timestamp() - make_interval(secs => $2)
            AND (c.checked_at IS NULL OR c.checked_at <= clock_timestamp() - make_interval(secs => $2))
        ORDER BY c.checked_at NULLS FIRST, e.id LIMIT $1
        """,
        limit,
        stale_seconds,
        sorted(ESCROW.terminal),
    )
    return [_escrow(row) for row in rows]


async def states_of(tx: Tx, escrow_ids: Sequence[str]) -> dict[str, str]:
    """Escrow id to state, for those that there are."""
    rows = await tx.rows("SELECT id, status FROM escrows WHERE id = ANY($1::text[])", list(escrow_ids))
    return {row["id"]: row["status"] for row in rows}


async def lock_unchanged(tx: Tx, escrow: Escrow) -> bool:
    """True when the escrow still is as it was read; then it stays so until the transaction ends."""
    return bool(
        await tx.rows("SELECT FROM escrows WHERE id = $1 AND updated_at = $2 FOR SHARE", escrow.id, escrow.updated_at)
    )


async def checked(tx: Tx, escrow_id: str) -> None:
    """The escrow has been compared now. Nothing happens when it has been discarded meanwhile."""
    await tx.execute(
        """
        INSERT INTO escrow_checks (escrow_id, checked_at) SELECT id, clock_timestamp() FROM escrows WHERE id = $1
        ON CONFLICT (escrow_id) DO UPDATE SET checked_at = excluded.checked_at
        """,
        escrow_id,
    )


async def move(tx: Tx, escrow_id: str, to: str, sources: Sequence[str] | None = None) -> Escrow:
    """Move an escrow to a state. Raises EscrowInvalidState when it is in none of the states that allow it."""
    allowed = list(sources) if sources is not None else ESCROW.sources_of(to)
    row = await tx.row(
        f"""
        UPDATE escrows SET status = $2,
            funded_at = CASE WHEN $2 = 'FUNDED' AND funded_at IS NULL THEN clock_timestamp() ELSE funded_at END,
            released_at = CASE WHEN $2 = 'RELEASED' THEN clock_timestamp() ELSE released_at END,
            refunded_at = CASE WHEN $2 = 'REFUNDED' THEN clock_timestamp() ELSE refunded_at END
        WHERE id = $1 AND status = ANY($3::text[]) RETURNING {_COLUMNS}
        """,
        escrow_id,
        to,
        allowed,
    )
    if row is None:
        raise EscrowInvalidState(escrowId=escrow_id, allowedStates=allowed)
    return _escrow(row)


async def deployed(tx: Tx, escrow_id: str, contract_id: str, tx_hash: str) -> Escrow:
    """The contract is there."""
    row = await tx.one(
        f"""
        UPDATE escrows SET status = 'CREATED', contract_id = $2, tx_hash = $3
        WHERE id = $1 AND status = 'CREATING' RETURNING {_COLUMNS}
        """,
        escrow_id,
        contract_id,
        tx_hash,
    )
    return _escrow(row)


async def discard(tx: Tx, escrow_id: str) -> None:
    """Forget an escrow whose contract was never deployed; its saga keeps the story."""
    await tx.execute("DELETE FROM escrows WHERE id = $1 AND status = 'CREATING'", escrow_id)


async def note_transaction(tx: Tx, escrow_id: str, tx_hash: str) -> None:
    """Keep the hash of the escrow's latest transaction."""
    await tx.execute("UPDATE escrows SET tx_hash = $2 WHERE id = $1", escrow_id, tx_hash)


async def note_progress(
    tx: Tx, escrow_id: str, *, marked: int = 0, approved: int = 0, disputed: bool = False
) -> None:
    """Keep what the contract knows by now; it never forgets."""
    await tx.execute(
        """
        UPDATE escrows SET marked_on_chain = greatest(marked_on_chain, $2),
            approved_on_chain = greatest(approved_on_chain, $3), disputed_on_chain = disputed_on_chain OR $4
        WHERE id = $1
        """,
        escrow_id,
        marked,
        approved,
        disputed,
    )


async def learn(tx: Tx, escrow_id: str, seen: Mapping[str, Any]) -> Escrow:
    """Take over what the contract has been seen to know: `marked`, `approved` (counts) and `disputed`."""
    row = await tx.one(
        f"""
        UPDATE escrows SET marked_on_chain = $2, approved_on_chain = $3, disputed_on_chain = $4
        WHERE id = $1 RETURNING {_COLUMNS}
        """,
        escrow_id,
        seen["marked"],
        seen["approved"],
        seen["disputed"],
    )
    return _escrow(row)


async def pinned_deployer(tx: Tx, network: str, escrow_type: EscrowType) -> Deployer | None:
    """The contract that made this network's first escrow of ours of this type."""
    row = await tx.row(
        "SELECT contract_id, code_hash FROM pinned_deployers WHERE network = $1 AND escrow_type = $2",
        network,
        escrow_type,
    )
    return None if row is None else Deployer(row["contract_id"], row["code_hash"])


async def pin_deployer(tx: Tx, network: str, escrow_type: EscrowType, deployer: Deployer) -> Deployer:
    """Pin the contract that makes our escrows, unless one is pinned; returns the one that is."""
    await tx.execute(
        """
        INSERT INTO pinned_deployers (network, escrow_type, contract_id, code_hash) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        """,
        network,
        escrow_type,
        deployer.contract,
        deployer.code,
    )
    pinned = await pinned_deployer(tx, network, escrow_type)
    assert pinned is not None
    return pinned
