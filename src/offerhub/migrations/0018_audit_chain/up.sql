-- The audit trail as a chain: every entry is hashed together with the one before it, so that an edited, removed or
-- reordered row is found. Sealed in batches after the fact (reliability I10), so that no request waits for the chain.

ALTER TABLE audit_entries ADD COLUMN position bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX audit_entries_by_position ON audit_entries (position);

CREATE TABLE audit_chain (
    sequence  bigint PRIMARY KEY CHECK (sequence > 0),
    entry_id  text COLLATE "C" NOT NULL UNIQUE,
    hash      bytea NOT NULL CHECK (length(hash) = 32)
);

-- The end of each batch under a key that the database does not know: whoever rewrites the chain cannot seal it.
CREATE TABLE audit_seals (
    last_sequence  bigint PRIMARY KEY,
    sealed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    key_version    integer NOT NULL,
    seal           bytea NOT NULL
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_chain FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_seals FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- How far the sealer has got. Nothing will appear at or below `settled` any more; `pending` becomes that once every
-- transaction that ran when it was noted has ended, which is when the oldest running one is not below `pending_until`.
CREATE TABLE audit_sealing (
    singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    settled        bigint NOT NULL DEFAULT 0,
    pending        bigint NOT NULL DEFAULT 0,
    pending_until  bigint NOT NULL DEFAULT 0
);
INSERT INTO audit_sealing DEFAULT VALUES;
