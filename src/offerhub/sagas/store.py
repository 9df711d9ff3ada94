"""All SQL of the saga engine."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from offerhub.runtime.database import Row, Tx
from offerhub.runtime.redaction import scrub
from offerhub.sagas.model import Envelope, FeeBump, Inclusion, LeaseLost, Saga

XDR_CHARACTERS_MAX: Final = 200_000
"""What is kept of a refused transaction; the decoder reads no longer one either."""

_COLUMNS = "id, marketplace_id, kind, subject_id, status, input, correlation_id, refusal, lease_holder"


def _saga(row: Row) -> Saga:
    return Saga(
        row["id"],
        row["marketplace_id"],
        row["kind"],
        row["subject_id"],
        row["status"],
        row["input"],
        row["correlation_id"],
        row["refusal"],
        row["lease_holder"] or "",
    )


async def insert(tx: Tx, saga: Saga, steps: list[str]) -> None:
    """Record a saga and its planned steps."""
    await tx.execute(
        """
        WITH saga AS (
            INSERT INTO sagas (id, marketplace_id, kind, subject_id, input, correlation_id)
            VALUES ($1, $2, $3, $4, $5, $6)
        )
        INSERT INTO saga_steps (saga_id, position, name)
        SELECT $1, place - 1, name FROM unnest($7::text[]) WITH ORDINALITY AS step (name, place)
        """,
        saga.id,
        saga.marketplace_id,
        saga.kind,
        saga.subject_id,
        dict(saga.input),
        saga.correlation_id,
        steps,
    )


async def get(tx: Tx, saga_id: str) -> Saga | None:
    """The saga as it stands."""
    row = await tx.row(f"SELECT {_COLUMNS} FROM sagas WHERE id = $1", saga_id)
    return None if row is None else _saga(row)


async def running(tx: Tx, kind: str, subject_id: str) -> str | None:
    """The id of the running saga of this kind and subject, or None."""
    found: str | None = await tx.value(
        "SELECT id FROM sagas WHERE kind = $1 AND subject_id = $2 AND status = 'RUNNING'", kind, subject_id
    )
    return found


async def running_of(tx: Tx, subject_id: str) -> dict[str, bool]:
    """The running sagas of a subject, whatever their kind, and whether each is due and driven by nobody."""
    rows = await tx.rows(
        """
        SELECT id, next_attempt_at <= clock_timestamp() AND lease_until < clock_timestamp() AS due FROM sagas
        WHERE subject_id = $1 AND status = 'RUNNING'
        """,
        subject_id,
    )
    return {row["id"]: row["due"] for row in rows}


async def claim(tx: Tx, saga_id: str, kinds: Sequence[str], holder: str, seconds: float) -> Saga | None:
    """Take the saga's lease, under a name that no lease had before.

    None when it has ended, is of another kind, is not due, or somebody drives it.
    """
    row = await tx.row(
        f"""
        UPDATE sagas SET lease_holder = $2, lease_until = clock_timestamp() + make_interval(secs => $3)
        WHERE id = $1 AND status = 'RUNNING' AND kind = ANY($4::text[])
            AND lease_until < clock_timestamp() AND next_attempt_at <= clock_timestamp()
        RETURNING {_COLUMNS}
        """,
        saga_id,
        holder,
        seconds,
        list(kinds),
    )
    return None if row is None else _saga(row)


async def renew(tx: Tx, saga_id: str, holder: str, seconds: float) -> bool:
    """Keep the lease for longer; False once somebody else has had it, or the saga has ended."""
    renewed = await tx.execute(
        """
        UPDATE sagas SET lease_until = clock_timestamp() + make_interval(secs => $3)
        WHERE id = $1 AND lease_holder = $2 AND status = 'RUNNING'
        """,
        saga_id,
        holder,
        seconds,
    )
    return renewed == 1


async def hand_back(tx: Tx, saga_id: str, holder: str, delay_seconds: float) -> None:
    """Give up the lease; the saga is due again after the delay."""
    await tx.execute(
        """
        UPDATE sagas SET lease_holder = NULL, lease_until = '-infinity',
            next_attempt_at = clock_timestamp() + make_interval(secs => $3)
        WHERE id = $1 AND lease_holder = $2 AND status = 'RUNNING'
        """,
        saga_id,
        holder,
        delay_seconds,
    )


async def fence(tx: Tx, saga: Saga) -> None:
    """Lock the saga, in front of what only its driver may write.

    Raises LeaseLost when the saga has ended or somebody else has taken it: a driver that slept past its lease learns
    it here.
    """
    row = await tx.row("SELECT lease_holder FROM sagas WHERE id = $1 AND status = 'RUNNING' FOR UPDATE", saga.id)
    if row is None or row["lease_holder"] != saga.driver:
        raise LeaseLost(saga.id)


async def due(tx: Tx, kinds: Sequence[str], limit: int) -> list[str]:
    """Running sagas of these kinds that nobody drives and whose time has come."""
    rows = await tx.rows(
        """
        SELECT id FROM sagas
        WHERE status = 'RUNNING' AND kind = ANY($1::text[]) AND next_attempt_at <= clock_timestamp()
            AND lease_until < clock_timestamp()
        ORDER BY next_attempt_at LIMIT $2
        """,
        list(kinds),
        limit,
    )
    return [row["id"] for row in rows]


async def steps(tx: Tx, saga_id: str) -> list[Row]:
    """The steps in order: position, name, status, attempts, outcome."""
    return await tx.rows(
        "SELECT position, name, status, attempts, outcome FROM saga_steps WHERE saga_id = $1 ORDER BY position",
        saga_id,
    )


async def mark_attempt(tx: Tx, saga_id: str, position: int) -> None:
    """Record that the step is about to be tried."""
    await tx.execute(
        """
        UPDATE saga_steps
        SET status = CASE status WHEN 'PLANNED' THEN 'ATTEMPTED' ELSE status END, attempts = attempts + 1
        WHERE saga_id = $1 AND position = $2
        """,
        saga_id,
        position,
    )


async def mark_unknown(tx: Tx, saga_id: str, position: int, reason: str) -> None:
    """Record that nobody can say yet what became of the step."""
    await tx.execute(
        """
        UPDATE saga_steps SET status = 'UNKNOWN', last_error = $3
        WHERE saga_id = $1 AND position = $2 AND status IN ('ATTEMPTED', 'UNKNOWN')
        """,
        saga_id,
        position,
        reason[:500],
    )


async def note_error(tx: Tx, saga_id: str, position: int, reason: str) -> None:
    """Keep the last reason why a step has not been done yet."""
    await tx.execute(
        "UPDATE saga_steps SET last_error = $3 WHERE saga_id = $1 AND position = $2", saga_id, position, reason[:500]
    )


async def mark_done(tx: Tx, saga_id: str, position: int, status: str, outcome: dict[str, Any]) -> None:
    """Settle or refuse a step, and free the lanes that it held."""
    await tx.execute(
        "UPDATE saga_steps SET status = $3, outcome = $4 WHERE saga_id = $1 AND position = $2",
        saga_id,
        position,
        status,
        outcome,
    )
    await tx.execute("DELETE FROM signer_lanes WHERE saga_id = $1", saga_id)


async def finish(tx: Tx, saga_id: str, status: str, refusal: dict[str, Any] | None) -> None:
    """End the saga."""
    await tx.execute(
        """
        UPDATE sagas SET status = $2, refusal = $3, lease_holder = NULL, lease_until = '-infinity' WHERE id = $1
        """,
        saga_id,
        status,
        refusal,
    )


# -- envelopes and lanes -----------------------------------------------------------------------------------------


async def take_lane(tx: Tx, accounts: Sequence[str], saga_id: str, position: int) -> str | None:
    """Take the lane of one of these accounts for this step; None while others hold all of them.

    A lane that the saga has already comes first; who begins with which of the others is spread by the saga's id.
    """
    row = await tx.row(
        """
        INSERT INTO signer_lanes (account, saga_id, position)
        SELECT wanted.account, $2, $3 FROM unnest($1::text[]) AS wanted (account)
        LEFT JOIN signer_lanes held ON held.account = wanted.account
        WHERE held.account IS NULL OR held.saga_id = $2
        ORDER BY held.saga_id NULLS LAST, md5(wanted.account || $2) LIMIT 1
        ON CONFLICT (account) DO UPDATE SET position = excluded.position WHERE signer_lanes.saga_id = excluded.saga_id
        RETURNING account
        """,
        list(accounts),
        saga_id,
        position,
    )
    return None if row is None else str(row["account"])


async def open_envelope(tx: Tx, saga_id: str, position: int) -> Envelope | None:
    """The step's envelope whose fate is not known yet."""
    row = await tx.row(
        """
        SELECT hash, source_account, sequence, xdr, valid_until, status, last_code, superseded_at FROM envelopes
        WHERE saga_id = $1 AND position = $2 AND status IN ('SIGNED', 'SUBMITTED')
        """,
        saga_id,
        position,
    )
    if row is None:
        return None
    return Envelope(
        row["hash"],
        row["source_account"],
        row["sequence"],
        row["xdr"],
        row["valid_until"],
        row["status"],
        row["last_code"],
        row["superseded_at"],
    )


async def insert_envelope(tx: Tx, saga_id: str, position: int, envelope: Envelope) -> None:
    """Store a signed envelope; the database refuses a sequence number that an open one uses."""
    await tx.execute(
        """
        INSERT INTO envelopes (hash, saga_id, position, source_account, sequence, xdr, valid_until)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        envelope.hash,
        saga_id,
        position,
        envelope.source_account,
        envelope.sequence,
        envelope.xdr,
        envelope.valid_until,
    )


async def keep_refused_envelope(tx: Tx, saga: Saga, step: str, details: Mapping[str, Any], xdr: str) -> bool:
    """Keep an unsigned transaction that was not what was asked for; False when it is a repetition, then counted."""
    row = await tx.one(
        """
        INSERT INTO refused_envelopes (subject_id, step, field, marketplace_id, saga_id, expected, found, xdr)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (subject_id, step, field)
            DO UPDATE SET times = refused_envelopes.times + 1, last_at = clock_timestamp()
        RETURNING times
        """,
        saga.subject_id,
        step,
        str(details.get("field"))[:100],
        saga.marketplace_id,
        saga.id,
        _text(details.get("expected")),
        _text(details.get("found")),
        _storable(xdr)[:XDR_CHARACTERS_MAX],
    )
    return bool(row["times"] == 1)


def _text(value: Any) -> str | None:
    return None if value is None else _storable(scrub(str(value)))[:500]


def _storable(text: str) -> str:
    """A text from outside as PostgreSQL keeps it: whatever is not printable ASCII is escaped, NUL as well."""
    return text if text.isascii() and text.isprintable() else ascii(text)


async def newest_bump(tx: Tx, envelope_hash: str) -> FeeBump | None:
    """The fee bump of an envelope with the highest bid."""
    row = await tx.row(
        """
        SELECT hash, inner_hash, fee_source, bid, xdr FROM fee_bumps
        WHERE inner_hash = $1 ORDER BY bid DESC LIMIT 1
        """,
        envelope_hash,
    )
    if row is None:
        return None
    return FeeBump(row["hash"], row["inner_hash"], row["fee_source"], row["bid"], row["xdr"])


async def insert_bump(tx: Tx, bump: FeeBump) -> None:
    """Store a fee bump; what was said of the last one says nothing of it."""
    await tx.execute(
        """
        INSERT INTO fee_bumps (hash, inner_hash, fee_source, bid, xdr) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        """,
        bump.hash,
        bump.inner_hash,
        bump.fee_source,
        bump.bid,
        bump.xdr,
    )
    await tx.execute("UPDATE envelopes SET last_code = NULL WHERE hash = $1", bump.inner_hash)


async def note_code(tx: Tx, envelope_hash: str, code: str) -> None:
    """Record why the network would not take the envelope."""
    await tx.execute("UPDATE envelopes SET last_code = $2 WHERE hash = $1", envelope_hash, code)


async def note_superseded(tx: Tx, envelope_hash: str, seen_at: datetime) -> None:
    """Record the ledger time at which the envelope's sequence number was seen used up without it."""
    await tx.execute(
        "UPDATE envelopes SET superseded_at = $2 WHERE hash = $1 AND superseded_at IS NULL", envelope_hash, seen_at
    )


async def count_submission(tx: Tx, envelope_hash: str) -> None:
    """Record that the envelope is about to be sent."""
    await tx.execute(
        "UPDATE envelopes SET status = 'SUBMITTED', submissions = submissions + 1 WHERE hash = $1", envelope_hash
    )


async def expire_envelope(tx: Tx, envelope_hash: str, seen_at: datetime) -> None:
    """The chain has proven that this envelope will never be in a ledger."""
    await tx.execute(
        "UPDATE envelopes SET status = 'EXPIRED', result = $2 WHERE hash = $1",
        envelope_hash,
        {"absentAt": seen_at.isoformat()},
    )


async def close_envelope(tx: Tx, inclusion: Inclusion, result: dict[str, Any]) -> None:
    """Record in which ledger the envelope ended, and how."""
    await tx.execute(
        "UPDATE envelopes SET status = $2, ledger = $3, result = $4, included_as = $5 WHERE hash = $1",
        inclusion.hash,
        "SUCCEEDED" if inclusion.succeeded else "FAILED",
        inclusion.ledger,
        result,
        inclusion.included_as,
    )
