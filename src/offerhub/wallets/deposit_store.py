"""All SQL of deposits: who owns an address, what was credited, how far each stream is, what was put aside."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from offerhub.providers.stellar.records import Transfer
from offerhub.runtime.database import Row, Tx


async def owners(tx: Tx, addresses: Sequence[str]) -> dict[str, Row]:
    """Address to (marketplace_id, user_id) for those addresses that are users' wallets."""
    rows = await tx.rows(
        """
        SELECT public_key, marketplace_id, user_id FROM wallets
        WHERE public_key = ANY($1::text[]) AND purpose = 'user'
        """,
        list(addresses),
    )
    return {row["public_key"]: row for row in rows}


async def treasury_owners(tx: Tx, addresses: Sequence[str]) -> dict[str, str]:
    """Address to marketplace_id for those addresses that are the treasury's."""
    rows = await tx.rows(
        "SELECT public_key, marketplace_id FROM wallets WHERE public_key = ANY($1::text[]) AND purpose = 'treasury'",
        list(addresses),
    )
    return {row["public_key"]: row["marketplace_id"] for row in rows}


async def insert_treasury_deposits(tx: Tx, arrived: Sequence[tuple[Transfer, str, str]]) -> set[str]:
    """Claim for booking what the operator has paid into the treasury: (transfer, marketplace, business key).

    Returns the names of those that have not been booked before.
    """
    rows = await tx.rows(
        """
        INSERT INTO treasury_deposits (operation_id, operation_index, address, sender, amount, transaction_hash,
            ledger, marketplace_id, business_key)
        SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::text[],
            $7::bigint[], $8::text[], $9::text[])
        ON CONFLICT DO NOTHING RETURNING operation_id || ':' || address || ':' || operation_index AS name
        """,
        *_columns([moved for moved, _, _ in arrived]),
        [marketplace_id for _, marketplace_id, _ in arrived],
        [business_key for _, _, business_key in arrived],
    )
    return {row["name"] for row in rows}


def _columns(transfers: Sequence[Transfer]) -> list[list[Any]]:
    return [
        [moved.operation_id for moved in transfers],
        [moved.index for moved in transfers],
        [moved.to_address for moved in transfers],
        [moved.from_address for moved in transfers],
        [moved.amount for moved in transfers],
        [moved.transaction_hash for moved in transfers],
        [moved.ledger for moved in transfers],
    ]


async def escrow_contracts(tx: Tx, addresses: Sequence[str]) -> set[str]:
    """Those addresses that are escrow contracts of ours."""
    rows = await tx.rows("SELECT contract_id FROM escrows WHERE contract_id = ANY($1::text[])", list(addresses))
    return {row["contract_id"] for row in rows}


async def cursor(tx: Tx, name: str) -> str | None:
    """How far a stream has been booked."""
    found = await tx.value("SELECT position FROM cursors WHERE name = $1", name)
    return None if found is None else str(found)


async def cursors(tx: Tx, names: Sequence[str]) -> dict[str, str]:
    """How far each of these streams has been booked, of those that ever were."""
    rows = await tx.rows("SELECT name, position FROM cursors WHERE name = ANY($1::text[])", list(names))
    return {row["name"]: row["position"] for row in rows}


async def move_cursor(tx: Tx, name: str, before: str | None, after: str, caught_up_with: int | None = None) -> bool:
    """Move a stream's cursor; False when somebody else has moved it meanwhile.

    `caught_up_with` is the ledger up to which there is nothing more to book, None while there is more.
    """
    if before is None:
        return (
            await tx.execute(
                "INSERT INTO cursors (name, position) VALUES ($1, $2) ON CONFLICT DO NOTHING", name, after
            )
            == 1
        )
    moved = await tx.execute(
        """
        UPDATE cursors SET position = $3, updated_at = clock_timestamp(), ledger = coalesce($4, ledger),
            caught_up_at = CASE WHEN $4::bigint IS NULL THEN caught_up_at ELSE clock_timestamp() END
        WHERE name = $1 AND position = $2
        """,
        name,
        before,
        after,
        caught_up_with,
    )
    return moved == 1


async def set_cursor(tx: Tx, name: str, position: str) -> None:
    """Put a cursor somewhere, wherever it was."""
    await tx.execute(
        """
        INSERT INTO cursors (name, position) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET position = excluded.position, updated_at = clock_timestamp()
        """,
        name,
        position,
    )


async def progress(tx: Tx, name: str) -> Row | None:
    """How far behind a stream is: ledger, seconds (each None before it has ever caught up)."""
    return await tx.row(
        """
        SELECT ledger, extract(epoch FROM clock_timestamp() - caught_up_at)::float8 AS seconds
        FROM cursors WHERE name = $1
        """,
        name,
    )


async def insert_gap(tx: Tx, source: str, first_ledger: int, last_ledger: int) -> None:
    """Remember ledgers that a stream has missed."""
    await tx.execute(
        "INSERT INTO deposit_gaps (source, first_ledger, last_ledger) VALUES ($1, $2, $3)",
        source,
        first_ledger,
        last_ledger,
    )


async def open_gaps(tx: Tx) -> list[Row]:
    """Ledgers that were missed and are not filled: id, source, first_ledger, last_ledger, position."""
    return await tx.rows(
        "SELECT id, source, first_ledger, last_ledger, position FROM deposit_gaps WHERE filled_at IS NULL ORDER BY id"
    )


async def gap_to_try(tx: Tx, retry_seconds: float) -> Row | None:
    """The open gap to be filled next: one whose last attempt failed rests for a while."""
    return await tx.row(
        """
        SELECT id, source, first_ledger, last_ledger, position FROM deposit_gaps
        WHERE filled_at IS NULL AND (tried_at IS NULL OR tried_at < clock_timestamp() - make_interval(secs => $1))
        ORDER BY id LIMIT 1
        """,
        retry_seconds,
    )


async def rest(tx: Tx, gap_id: int) -> None:
    """Leave a gap alone for a while."""
    await tx.execute("UPDATE deposit_gaps SET tried_at = clock_timestamp() WHERE id = $1", gap_id)


async def move_in_gap(tx: Tx, gap_id: int, before: str | None, after: str) -> bool:
    """How far the filling of a gap is; False when somebody else is at it."""
    moved = await tx.execute(
        "UPDATE deposit_gaps SET position = $3 WHERE id = $1 AND position IS NOT DISTINCT FROM $2",
        gap_id,
        before,
        after,
    )
    return moved == 1


async def gap_filled(tx: Tx, gap_id: int, by: str) -> None:
    """Every credit of these ledgers is booked."""
    await tx.execute(
        "UPDATE deposit_gaps SET filled_at = clock_timestamp(), filled_by = $2 WHERE id = $1", gap_id, by
    )


async def gap_not_filled(tx: Tx, gap_id: int, still_missing: int) -> None:
    """Nobody has these ledgers any more, up to `still_missing`: they wait for a person."""
    await tx.execute(
        """
        UPDATE deposit_gaps SET tried_at = clock_timestamp(), last_ledger = least(last_ledger, $2), position = NULL
        WHERE id = $1
        """,
        gap_id,
        still_missing,
    )


async def wallets_after(tx: Tx, address: str, limit: int) -> list[Row]:
    """Wallets that deposits may come to, by address: id, public_key."""
    return await tx.rows(
        """
        SELECT id, public_key FROM wallets
        WHERE purpose IN ('user', 'treasury') AND status = 'READY' AND public_key > $1
        ORDER BY public_key LIMIT $2
        """,
        address,
        limit,
    )


async def insert_deposits(tx: Tx, arrived: Sequence[tuple[Transfer, str, str, str]]) -> set[str]:
    """Claim credits of the chain for booking: (transfer, marketplace, user, business key).

    Returns the names of those that have not been booked before.
    """
    rows = await tx.rows(
        """
        INSERT INTO deposits (operation_id, operation_index, address, sender, amount, transaction_hash, ledger,
            marketplace_id, user_id, business_key, memo)
        SELECT * FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::text[],
            $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[])
        ON CONFLICT DO NOTHING RETURNING operation_id || ':' || address || ':' || operation_index AS name
        """,
        *_columns([moved for moved, _, _, _ in arrived]),
        [marketplace_id for _, marketplace_id, _, _ in arrived],
        [user_id for _, _, user_id, _ in arrived],
        [business_key for _, _, _, business_key in arrived],
        [moved.memo for moved, _, _, _ in arrived],
    )
    return {row["name"] for row in rows}


async def quarantine(tx: Tx, source: str, record_id: str, record: Any, reason: str) -> int:
    """Put a record aside that could not be booked; a person decides. 0 when it lies there already."""
    return await tx.execute(
        """
        INSERT INTO quarantined_records (source, record_id, record, reason) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        """,
        source,
        record_id,
        record,
        reason[:500],
    )


async def quarantined(tx: Tx, source: str, record_ids: Sequence[str]) -> set[str]:
    """Those records that were put aside."""
    rows = await tx.rows(
        "SELECT record_id FROM quarantined_records WHERE source = $1 AND record_id = ANY($2::text[])",
        source,
        list(record_ids),
    )
    return {row["record_id"] for row in rows}


async def least_lately_checked(tx: Tx, limit: int, lookback_seconds: float, overlap_seconds: float) -> list[Row]:
    """Users' wallets, the ones never or longest ago checked first: id, public_key, since, now.

    `since` is how far to look back: to before the last check (the first one looks at everything), and in any case as
    far as `lookback_seconds`.
    """
    return await tx.rows(
        """
        SELECT w.id, w.public_key, clock_timestamp() AS now, least(
            clock_timestamp() - make_interval(secs => $2),
            coalesce(c.checked_at, w.created_at) - make_interval(secs => $3)) AS since
        FROM wallets w LEFT JOIN wallet_checks c ON c.wallet_id = w.id
        WHERE w.purpose IN ('user', 'treasury') AND w.status = 'READY'
        ORDER BY c.checked_at NULLS FIRST, w.id LIMIT $1
        """,
        limit,
        lookback_seconds,
        overlap_seconds,
    )


async def checked(tx: Tx, wallet_id: str, at: datetime) -> None:
    """Every deposit that the chain showed at this moment is accounted for."""
    await tx.execute(
        """
        INSERT INTO wallet_checks (wallet_id, checked_at) VALUES ($1, $2)
        ON CONFLICT (wallet_id) DO UPDATE SET checked_at = excluded.checked_at
        """,
        wallet_id,
        at,
    )


async def deposits_of(tx: Tx, marketplace_id: str, user_id: str, limit: int) -> list[Row]:
    """The newest deposits of a user, for answers while the chain cannot be read."""
    return await tx.rows(
        """
        SELECT operation_id, sender, address, amount, transaction_hash, credited_at FROM deposits
        WHERE marketplace_id = $1 AND user_id = $2 ORDER BY operation_id DESC LIMIT $3
        """,
        marketplace_id,
        user_id,
        limit,
    )
