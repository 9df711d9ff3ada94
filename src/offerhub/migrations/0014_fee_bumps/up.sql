-- Another account may pay a stored envelope's fee: the wrapper names a bid, and the sequence number stays the inner one's.

ALTER TABLE envelopes
    ADD COLUMN last_code text,
    ADD COLUMN superseded_at timestamptz,
    ADD COLUMN included_as text COLLATE "C" CHECK (included_as ~ '^[0-9a-f]{64}$');
COMMENT ON COLUMN envelopes.last_code IS 'why the network would not take it when it was last sent';
COMMENT ON COLUMN envelopes.superseded_at IS 'the ledger time at which its sequence number was first seen used up without it';
COMMENT ON COLUMN envelopes.included_as IS 'the hash under which a ledger holds it: its own, or that of its fee bump';

-- A fee bump is stored whole before it is first sent, as its envelope is. However many there are for an envelope, a
-- ledger takes one of them at most, because they share its sequence number.
CREATE TABLE fee_bumps (
    hash        text COLLATE "C" PRIMARY KEY CHECK (hash ~ '^[0-9a-f]{64}$'),
    inner_hash  text COLLATE "C" NOT NULL REFERENCES envelopes,
    fee_source  text COLLATE "C" NOT NULL CHECK (fee_source ~ '^G[A-Z2-7]{55}$'),
    bid         bigint NOT NULL CHECK (bid >= 100),
    xdr         text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (inner_hash, bid)
);
COMMENT ON COLUMN fee_bumps.bid IS 'stroops per operation, of which the wrapper counts as one more';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON fee_bumps FOR EACH ROW EXECUTE FUNCTION refuse_change();
