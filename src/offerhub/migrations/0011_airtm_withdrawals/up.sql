-- Withdrawals through Airtm: what the payout is called there, and when we last asked about it.
ALTER TABLE withdrawals
    ADD COLUMN airtm_payout_id text UNIQUE,
    ADD COLUMN checked_at timestamptz,
    ADD CHECK (airtm_payout_id IS NULL OR destination_type <> 'crypto');
CREATE INDEX withdrawals_unsettled ON withdrawals (checked_at NULLS FIRST)
    WHERE airtm_payout_id IS NOT NULL
        AND status NOT IN ('WITHDRAWAL_COMPLETED', 'WITHDRAWAL_FAILED', 'WITHDRAWAL_CANCELED');

-- Airtm tells only where a payout has got to, so steps in between may be skipped; an end is never left.
INSERT INTO state_moves VALUES
    ('withdrawals.status', 'WITHDRAWAL_CREATED', 'WITHDRAWAL_PENDING'),
    ('withdrawals.status', 'WITHDRAWAL_CREATED', 'WITHDRAWAL_PENDING_USER_ACTION'),
    ('withdrawals.status', 'WITHDRAWAL_CREATED', 'WITHDRAWAL_COMPLETED'),
    ('withdrawals.status', 'WITHDRAWAL_CREATED', 'WITHDRAWAL_FAILED'),
    ('withdrawals.status', 'WITHDRAWAL_COMMITTED', 'WITHDRAWAL_PENDING_USER_ACTION'),
    ('withdrawals.status', 'WITHDRAWAL_COMMITTED', 'WITHDRAWAL_COMPLETED'),
    ('withdrawals.status', 'WITHDRAWAL_COMMITTED', 'WITHDRAWAL_CANCELED'),
    ('withdrawals.status', 'WITHDRAWAL_PENDING', 'WITHDRAWAL_CANCELED'),
    ('withdrawals.status', 'WITHDRAWAL_PENDING_USER_ACTION', 'WITHDRAWAL_COMPLETED'),
    ('withdrawals.status', 'WITHDRAWAL_PENDING_USER_ACTION', 'WITHDRAWAL_CANCELED');

-- Having asked is no change of the withdrawal: `updated_at` stays as it is.
DROP TRIGGER states ON withdrawals;
CREATE TRIGGER states
    BEFORE UPDATE OF status, fee, committed, transaction_hash, failure_reason, airtm_payout_id ON withdrawals
    FOR EACH ROW EXECUTE FUNCTION guard_state();
