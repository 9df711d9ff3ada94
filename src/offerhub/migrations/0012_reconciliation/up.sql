-- Reconciliation: what the books say beside what Airtm, Trustless Work and the chain say.

-- One row per run of a job. A run that is queued or running keeps every other run of its job out.
CREATE TABLE reconciliation_runs (
    id             text COLLATE "C" PRIMARY KEY CHECK (id ~ '^run_[0-9A-Za-z]{32}$'),
    job            text COLLATE "C" NOT NULL,
    trigger        text NOT NULL CHECK (trigger IN ('schedule', 'manual')),
    status         text NOT NULL,
    requested_by   text COLLATE "C",
    checked        integer NOT NULL DEFAULT 0,
    changed        integer NOT NULL DEFAULT 0,
    discrepancies  integer NOT NULL DEFAULT 0,
    errors         integer NOT NULL DEFAULT 0,
    failure        text,
    lease_until    timestamptz NOT NULL DEFAULT '-infinity',
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at     timestamptz,
    ended_at       timestamptz,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((trigger = 'manual') = (requested_by IS NOT NULL)),
    CHECK ((status IN ('QUEUED', 'RUNNING')) = (ended_at IS NULL))
);
CREATE TRIGGER states BEFORE UPDATE ON reconciliation_runs FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE UNIQUE INDEX one_open_run ON reconciliation_runs (job) WHERE status IN ('QUEUED', 'RUNNING');
CREATE INDEX reconciliation_runs_by_job ON reconciliation_runs (job, id DESC);
INSERT INTO state_moves VALUES
    ('reconciliation_runs.status', 'QUEUED', 'RUNNING'),
    ('reconciliation_runs.status', 'QUEUED', 'ABANDONED'),
    ('reconciliation_runs.status', 'RUNNING', 'SUCCEEDED'),
    ('reconciliation_runs.status', 'RUNNING', 'FAILED'),
    ('reconciliation_runs.status', 'RUNNING', 'ABANDONED'),
    ('reconciliation_runs.status', 'FAILED', 'RUNNING');

-- What was found to differ: reported once for each kind and state of a resource, however often it is seen.
CREATE TABLE discrepancies (
    resource_type   text COLLATE "C" NOT NULL,
    resource_id     text COLLATE "C" NOT NULL,
    kind            text COLLATE "C" NOT NULL,
    state           text COLLATE "C" NOT NULL,
    marketplace_id  text COLLATE "C" NOT NULL REFERENCES marketplaces,
    facts           jsonb NOT NULL,
    -- The same moment in the statement that finds it, which is how a new one is told from a known one.
    found_at        timestamptz NOT NULL DEFAULT statement_timestamp(),
    seen_at         timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (resource_id, kind, state)
);

-- When something was last compared: tables of their own, as a look is not a change of the escrow or the wallet.
CREATE TABLE escrow_checks (
    escrow_id   text COLLATE "C" PRIMARY KEY REFERENCES escrows ON DELETE CASCADE,
    checked_at  timestamptz NOT NULL
);
CREATE TABLE wallet_checks (
    wallet_id   text COLLATE "C" PRIMARY KEY REFERENCES wallets ON DELETE CASCADE,
    checked_at  timestamptz NOT NULL
);
