-- Findings: what was found to differ from what is outside, or from itself, until it agrees again or a person decides.

CREATE TABLE findings (
    id               text COLLATE "C" PRIMARY KEY CHECK (id ~ '^fnd_[0-9A-Za-z]{32}$'),
    marketplace_id   text COLLATE "C" NOT NULL REFERENCES marketplaces,
    kind             text COLLATE "C" NOT NULL,
    subject_type     text COLLATE "C" NOT NULL,
    subject_id       text COLLATE "C" NOT NULL,
    status           text NOT NULL DEFAULT 'OPEN',
    -- Units that are in doubt: negative when outside there is less than in the books; none when no money differs.
    amount           bigint,
    evidence         jsonb NOT NULL,
    times_seen       bigint NOT NULL DEFAULT 1,
    first_seen_at    timestamptz NOT NULL DEFAULT statement_timestamp(),
    -- The same moment in the statement that finds it, or opens it again, which is how news are told from the known.
    opened_at        timestamptz NOT NULL DEFAULT statement_timestamp(),
    last_seen_at     timestamptz NOT NULL DEFAULT statement_timestamp(),
    acknowledged_at  timestamptz,
    acknowledged_by  text COLLATE "C",
    note             text,
    resolved_at      timestamptz,
    resolved_by      text COLLATE "C",
    resolution       jsonb,
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((status = 'RESOLVED') = (resolved_at IS NOT NULL AND resolved_by IS NOT NULL AND resolution IS NOT NULL)),
    CHECK (status <> 'ACKNOWLEDGED' OR (acknowledged_at IS NOT NULL AND note IS NOT NULL))
);
CREATE TRIGGER states BEFORE UPDATE ON findings FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE UNIQUE INDEX one_open_finding ON findings (kind, subject_id) WHERE status <> 'RESOLVED';
CREATE INDEX findings_by_subject ON findings (subject_id, id DESC);
CREATE INDEX findings_by_marketplace ON findings (marketplace_id, id DESC);
CREATE INDEX findings_by_status ON findings (status, id DESC);
INSERT INTO state_moves VALUES
    ('findings.status', 'OPEN', 'ACKNOWLEDGED'),
    ('findings.status', 'OPEN', 'RESOLVED'),
    ('findings.status', 'ACKNOWLEDGED', 'OPEN'),
    ('findings.status', 'ACKNOWLEDGED', 'RESOLVED');

-- What was known before. The old table stays for one release: the program before this one still writes it.
INSERT INTO findings (id, marketplace_id, kind, subject_type, subject_id, evidence, first_seen_at, opened_at, last_seen_at)
SELECT DISTINCT ON (kind, resource_id)
    'fnd_0000000000000000' || substr(md5(resource_id || kind), 1, 16), marketplace_id, kind, resource_type, resource_id,
    facts, found_at, found_at, seen_at
FROM discrepancies ORDER BY kind, resource_id, seen_at DESC;
