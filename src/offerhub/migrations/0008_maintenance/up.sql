-- Maintenance: one row for the whole installation, read by every process.

CREATE TABLE maintenance (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    message     text CHECK (length(message) BETWEEN 1 AND 500),
    enabled_at  timestamptz,
    enabled_by  text COLLATE "C",
    CONSTRAINT on_or_off CHECK (
        (enabled_at IS NULL) = (message IS NULL) AND (enabled_at IS NULL) = (enabled_by IS NULL))
);
INSERT INTO maintenance DEFAULT VALUES;

-- The audit trail is asked about one user, and about a span of time. Entries arrive in the order of time, so the
-- second index is a few pages however long the trail is.
CREATE INDEX audit_entries_by_user ON audit_entries (user_id, id DESC) WHERE user_id IS NOT NULL;
CREATE INDEX audit_entries_by_time ON audit_entries USING brin (occurred_at);
