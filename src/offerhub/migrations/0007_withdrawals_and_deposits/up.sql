-- Money in from the chain, money out to it.

CREATE TABLE withdrawals (
    id                text COLLATE "C" PRIMARY KEY CHECK (id ~ '^wd_[0-9A-Za-z]{32}$'),
    marketplace_id    text COLLATE "C" NOT NULL REFERENCES marketplaces,
    user_id           text COLLATE "C" NOT NULL,
    amount            bigint NOT NULL CHECK (amount > 0),
    fee               bigint NOT NULL DEFAULT 0 CHECK (fee >= 0),
    currency          text NOT NULL,
    status            text NOT NULL DEFAULT 'WITHDRAWAL_CREATED',
    destination_type  text NOT NULL CHECK (destination_type IN ('crypto', 'bank', 'airtm_balance')),
    destination_ref   text NOT NULL,
    memo              text,
    description       text,
    committed         boolean NOT NULL DEFAULT false,
    transaction_hash  text,
    failure_reason    text,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (marketplace_id, id),
    FOREIGN KEY (marketplace_id, user_id) REFERENCES users (marketplace_id, id)
);
CREATE TRIGGER states BEFORE UPDATE ON withdrawals FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE INDEX withdrawals_by_marketplace ON withdrawals (marketplace_id, id DESC);
CREATE INDEX withdrawals_by_user ON withdrawals (user_id, id DESC);
INSERT INTO state_moves VALUES
    ('withdrawals.status', 'WITHDRAWAL_CREATED', 'WITHDRAWAL_COMMITTED'),
    ('withdrawals.status', 'WITHDRAWAL_CREATED', 'WITHDRAWAL_CANCELED'),
    ('withdrawals.status', 'WITHDRAWAL_COMMITTED', 'WITHDRAWAL_PENDING'),
    ('withdrawals.status', 'WITHDRAWAL_COMMITTED', 'WITHDRAWAL_FAILED'),
    ('withdrawals.status', 'WITHDRAWAL_PENDING', 'WITHDRAWAL_PENDING_USER_ACTION'),
    ('withdrawals.status', 'WITHDRAWAL_PENDING', 'WITHDRAWAL_COMPLETED'),
    ('withdrawals.status', 'WITHDRAWAL_PENDING', 'WITHDRAWAL_FAILED'),
    ('withdrawals.status', 'WITHDRAWAL_PENDING_USER_ACTION', 'WITHDRAWAL_PENDING'),
    ('withdrawals.status', 'WITHDRAWAL_PENDING_USER_ACTION', 'WITHDRAWAL_FAILED');

-- One row per credit that the chain reports to a wallet of ours: never two for one (operation, index).
CREATE TABLE deposits (
    operation_id     text COLLATE "C" NOT NULL,
    operation_index  integer NOT NULL,
    marketplace_id   text COLLATE "C" NOT NULL REFERENCES marketplaces,
    user_id          text COLLATE "C" NOT NULL,
    address          text COLLATE "C" NOT NULL,
    sender           text COLLATE "C" NOT NULL,
    amount           bigint NOT NULL CHECK (amount > 0),
    transaction_hash text COLLATE "C" NOT NULL,
    ledger           bigint NOT NULL,
    memo             text,
    credited_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operation_id, operation_index),
    FOREIGN KEY (marketplace_id, user_id) REFERENCES users (marketplace_id, id)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON deposits FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE INDEX deposits_by_user ON deposits (user_id, operation_id DESC);

-- A record that could not be booked waits here for a person, and the cursor moves on.
CREATE TABLE quarantined_records (
    source      text COLLATE "C" NOT NULL,
    record_id   text COLLATE "C" NOT NULL,
    record      jsonb NOT NULL,
    reason      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source, record_id)
);

-- How far each stream has been booked; moved in the transaction that books.
CREATE TABLE cursors (
    name        text PRIMARY KEY,
    position    text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
