-- Since when a resource is in its state. `updated_at` also moves with changes that leave the state as it is.

CREATE FUNCTION note_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.state_since := clock_timestamp();
    RETURN NEW;
END $$;

-- A default that is stable, not volatile, adds the column without writing the table anew.
ALTER TABLE orders ADD COLUMN state_since timestamptz NOT NULL DEFAULT statement_timestamp();
ALTER TABLE escrows ADD COLUMN state_since timestamptz NOT NULL DEFAULT statement_timestamp();
ALTER TABLE disputes ADD COLUMN state_since timestamptz NOT NULL DEFAULT statement_timestamp();
ALTER TABLE topups ADD COLUMN state_since timestamptz NOT NULL DEFAULT statement_timestamp();
ALTER TABLE withdrawals ADD COLUMN state_since timestamptz NOT NULL DEFAULT statement_timestamp();

-- Of what has not ended the last change is the best that is known. These updates name no column that a guard watches,
-- but for orders, escrows and disputes, whose guard would move `updated_at`.
ALTER TABLE orders DISABLE TRIGGER states;
ALTER TABLE escrows DISABLE TRIGGER states;
ALTER TABLE disputes DISABLE TRIGGER states;
UPDATE orders SET state_since = updated_at WHERE status <> 'CLOSED';
UPDATE escrows SET state_since = updated_at WHERE status NOT IN ('RELEASED', 'REFUNDED');
UPDATE disputes SET state_since = updated_at WHERE status <> 'RESOLVED';
UPDATE topups SET state_since = updated_at
WHERE status NOT IN ('TOPUP_SUCCEEDED', 'TOPUP_FAILED', 'TOPUP_CANCELED');
UPDATE withdrawals SET state_since = updated_at
WHERE status NOT IN ('WITHDRAWAL_COMPLETED', 'WITHDRAWAL_FAILED', 'WITHDRAWAL_CANCELED');
ALTER TABLE orders ENABLE TRIGGER states;
ALTER TABLE escrows ENABLE TRIGGER states;
ALTER TABLE disputes ENABLE TRIGGER states;

CREATE TRIGGER state_since BEFORE UPDATE OF status ON orders FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_state();
CREATE TRIGGER state_since BEFORE UPDATE OF status ON escrows FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_state();
CREATE TRIGGER state_since BEFORE UPDATE OF status ON disputes FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_state();
CREATE TRIGGER state_since BEFORE UPDATE OF status ON topups FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_state();
CREATE TRIGGER state_since BEFORE UPDATE OF status ON withdrawals FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_state();

-- What has not ended, by state and how long: the radar of what is stuck reads only what is past its time.
CREATE INDEX orders_by_age ON orders (status, state_since) WHERE status <> 'CLOSED';
CREATE INDEX escrows_by_age ON escrows (status, state_since) WHERE status NOT IN ('RELEASED', 'REFUNDED');
CREATE INDEX disputes_by_age ON disputes (status, state_since) WHERE status <> 'RESOLVED';
CREATE INDEX topups_by_age ON topups (status, state_since)
    WHERE status NOT IN ('TOPUP_SUCCEEDED', 'TOPUP_FAILED', 'TOPUP_CANCELED');
CREATE INDEX withdrawals_by_age ON withdrawals (status, state_since)
    WHERE status NOT IN ('WITHDRAWAL_COMPLETED', 'WITHDRAWAL_FAILED', 'WITHDRAWAL_CANCELED');
CREATE INDEX sagas_running_by_subject ON sagas (subject_id) WHERE status = 'RUNNING';
CREATE INDEX sagas_running_by_age ON sagas (created_at) WHERE status = 'RUNNING';
CREATE INDEX webhook_events_by_age ON webhook_events (status, received_at) WHERE status IN ('RECEIVED', 'FAILED');
CREATE INDEX outbox_by_age ON outbox (created_at);
