-- Deposits are read through Horizon or through Stellar RPC, and both must know a credit by the same key: the operation,
-- the wallet, and the how manieth credit of that wallet in that operation it is. Until now the index counted all changes
-- of an operation, which only Horizon can see.

ALTER TABLE deposits DISABLE TRIGGER append_only;
ALTER TABLE deposits ADD COLUMN business_key text COLLATE "C";
UPDATE deposits SET business_key = 'deposit:' || operation_id || ':' || operation_index;
ALTER TABLE deposits DROP CONSTRAINT deposits_pkey;

ALTER TABLE treasury_deposits ADD COLUMN business_key text COLLATE "C";
UPDATE treasury_deposits SET business_key = 'treasury:deposit:' || operation_id || ':' || operation_index;
ALTER TABLE treasury_deposits DROP CONSTRAINT treasury_deposits_pkey;

CREATE TEMPORARY TABLE placed ON COMMIT DROP AS
SELECT operation_id, address, operation_index,
    (row_number() OVER (PARTITION BY operation_id, address ORDER BY operation_index) - 1)::integer AS place
FROM (
    SELECT operation_id, address, operation_index FROM deposits
    UNION ALL
    SELECT operation_id, address, operation_index FROM treasury_deposits
    UNION ALL
    SELECT split_part(record_id, ':', 1), record ->> 'to', split_part(record_id, ':', 2)::integer
    FROM quarantined_records WHERE source = 'deposits:horizon' AND record_id ~ '^[0-9]+:[0-9]+$'
) known;

UPDATE deposits d SET operation_index = p.place FROM placed p
WHERE d.operation_id = p.operation_id AND d.address = p.address AND d.operation_index = p.operation_index;
UPDATE treasury_deposits d SET operation_index = p.place FROM placed p
WHERE d.operation_id = p.operation_id AND d.address = p.address AND d.operation_index = p.operation_index;
UPDATE quarantined_records q SET record_id = p.operation_id || ':' || p.address || ':' || p.place FROM placed p
WHERE q.source = 'deposits:horizon' AND q.record_id = p.operation_id || ':' || p.operation_index;
UPDATE quarantined_records SET source = 'deposits' WHERE source = 'deposits:horizon';

ALTER TABLE deposits ADD PRIMARY KEY (operation_id, address, operation_index);
ALTER TABLE deposits ENABLE TRIGGER append_only;
ALTER TABLE treasury_deposits ADD PRIMARY KEY (operation_id, address, operation_index);

-- How far behind a stream is: the ledger that it is booked up to, and when there was last nothing more to book.
ALTER TABLE cursors ADD COLUMN ledger bigint;
ALTER TABLE cursors ADD COLUMN caught_up_at timestamptz;

-- Ledgers that a stream has missed because its provider had forgotten them. Filled from elsewhere, or by a person.
CREATE TABLE deposit_gaps (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source        text NOT NULL,
    first_ledger  bigint NOT NULL,
    last_ledger   bigint NOT NULL CHECK (last_ledger >= first_ledger),
    position      text COLLATE "C",
    found_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    tried_at      timestamptz,
    filled_at     timestamptz,
    filled_by     text
);
CREATE INDEX deposit_gaps_open ON deposit_gaps (id) WHERE filled_at IS NULL;
