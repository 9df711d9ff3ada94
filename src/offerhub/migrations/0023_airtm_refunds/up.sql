-- What Airtm gave back of payouts. A withdrawal that was paid stays paid: its reversal is a record of its own.

-- One row per deposit of the type `refunded` in our account at Airtm, written with the cursor of its list.
CREATE TABLE airtm_refunds (
    deposit_id       text COLLATE "C" PRIMARY KEY,
    payout_id        text COLLATE "C",
    amount           bigint NOT NULL CHECK (amount > 0),
    status           text NOT NULL DEFAULT 'OPEN',
    marketplace_id   text COLLATE "C",
    withdrawal_id    text COLLATE "C",
    reason           text,
    looked_at        timestamptz,
    found_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at       timestamptz,
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (marketplace_id, withdrawal_id) REFERENCES withdrawals (marketplace_id, id),
    CHECK ((marketplace_id IS NULL) = (withdrawal_id IS NULL)),
    CHECK ((status = 'OPEN') = (settled_at IS NULL)),
    CHECK (status NOT IN ('REVERSED', 'RETURNED') OR withdrawal_id IS NOT NULL),
    CHECK (status NOT IN ('REVERSED', 'UNEXPLAINED') OR reason IS NOT NULL)
);
CREATE TRIGGER states BEFORE UPDATE ON airtm_refunds FOR EACH ROW EXECUTE FUNCTION guard_state();
-- A withdrawal is reversed once.
CREATE UNIQUE INDEX one_reversal ON airtm_refunds (withdrawal_id) WHERE status = 'REVERSED';
CREATE INDEX airtm_refunds_open ON airtm_refunds (looked_at NULLS FIRST) WHERE status = 'OPEN';
INSERT INTO state_moves VALUES
    ('airtm_refunds.status', 'OPEN', 'REVERSED'),
    ('airtm_refunds.status', 'OPEN', 'RETURNED'),
    ('airtm_refunds.status', 'OPEN', 'UNEXPLAINED');
