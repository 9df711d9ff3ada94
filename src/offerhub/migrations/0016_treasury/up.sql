-- The treasury: the operator's USDC on Stellar that funds escrows while users pay in and out through Airtm.

INSERT INTO ledger.chart VALUES
    ('world:treasury',   false, 'the other side of what the treasury''s own account on the chain holds'),
    ('capital:treasury', false, 'what whoever runs this has put into the treasury');

ALTER TABLE wallets DROP CONSTRAINT wallets_purpose_check;
ALTER TABLE wallets ADD CONSTRAINT wallets_purpose_check
    CHECK (purpose IN ('user', 'platform', 'resolver', 'channel', 'treasury'));

-- Who pays an escrow in and is paid by it, where that is the treasury; without it buyer and seller are.
ALTER TABLE escrows ADD COLUMN treasury text COLLATE "C" CHECK (treasury ~ '^G[A-Z2-7]{55}$');

CREATE TABLE treasury_deposits (
    operation_id      text COLLATE "C" NOT NULL,
    operation_index   integer NOT NULL,
    marketplace_id    text COLLATE "C" NOT NULL REFERENCES marketplaces,
    address           text COLLATE "C" NOT NULL,
    sender            text COLLATE "C" NOT NULL,
    amount            bigint NOT NULL CHECK (amount > 0),
    transaction_hash  text COLLATE "C" NOT NULL,
    ledger            bigint NOT NULL,
    booked_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operation_id, operation_index)
);
