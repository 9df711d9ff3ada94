-- The life of everything that reaches outside: planned, attempted, then settled, refused or unknown until evidence.

CREATE TABLE sagas (
    id               text COLLATE "C" PRIMARY KEY CHECK (id ~ '^sga_[0-9A-Za-z]{32}$'),
    marketplace_id   text COLLATE "C" NOT NULL REFERENCES marketplaces,
    kind             text COLLATE "C" NOT NULL,
    subject_id       text COLLATE "C" NOT NULL,
    status           text NOT NULL DEFAULT 'RUNNING',
    input            jsonb NOT NULL,
    refusal          jsonb,
    correlation_id   text,
    lease_holder     text,
    lease_until      timestamptz NOT NULL DEFAULT '-infinity',
    next_attempt_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((status = 'REFUSED') = (refusal IS NOT NULL))
);
CREATE TRIGGER states BEFORE UPDATE ON sagas FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE UNIQUE INDEX one_running_saga ON sagas (kind, subject_id) WHERE status = 'RUNNING';
CREATE INDEX sagas_running ON sagas (next_attempt_at) WHERE status = 'RUNNING';
INSERT INTO state_moves VALUES
    ('sagas.status', 'RUNNING', 'SUCCEEDED'),
    ('sagas.status', 'RUNNING', 'REFUSED');

CREATE TABLE saga_steps (
    saga_id     text COLLATE "C" NOT NULL REFERENCES sagas,
    position    integer NOT NULL CHECK (position >= 0),
    name        text NOT NULL,
    status      text NOT NULL DEFAULT 'PLANNED',
    attempts    integer NOT NULL DEFAULT 0,
    outcome     jsonb,
    last_error  text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (saga_id, position)
);
CREATE TRIGGER states BEFORE UPDATE ON saga_steps FOR EACH ROW EXECUTE FUNCTION guard_state();
INSERT INTO state_moves VALUES
    ('saga_steps.status', 'PLANNED', 'ATTEMPTED'),
    ('saga_steps.status', 'ATTEMPTED', 'SETTLED'),
    ('saga_steps.status', 'ATTEMPTED', 'REFUSED'),
    ('saga_steps.status', 'ATTEMPTED', 'UNKNOWN'),
    ('saga_steps.status', 'UNKNOWN', 'SETTLED'),
    ('saga_steps.status', 'UNKNOWN', 'REFUSED');

-- A signed envelope is stored here, whole, before it is first sent; a retry sends these bytes.
CREATE TABLE envelopes (
    hash            text COLLATE "C" PRIMARY KEY CHECK (hash ~ '^[0-9a-f]{64}$'),
    saga_id         text COLLATE "C" NOT NULL,
    position        integer NOT NULL,
    source_account  text COLLATE "C" NOT NULL,
    sequence        bigint NOT NULL,
    xdr             text NOT NULL,
    valid_until     timestamptz NOT NULL,
    status          text NOT NULL DEFAULT 'SIGNED',
    submissions     integer NOT NULL DEFAULT 0,
    ledger          bigint,
    result          jsonb,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (saga_id, position) REFERENCES saga_steps (saga_id, position)
);
CREATE TRIGGER states BEFORE UPDATE ON envelopes FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE TRIGGER envelopes_stay BEFORE DELETE ON envelopes FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- A sequence number is used by one envelope. Only one that the chain has proven absent for ever gives it back.
CREATE UNIQUE INDEX one_envelope_per_sequence ON envelopes (source_account, sequence) WHERE status <> 'EXPIRED';
CREATE UNIQUE INDEX one_open_envelope_per_step ON envelopes (saga_id, position) WHERE status IN ('SIGNED', 'SUBMITTED');
INSERT INTO state_moves VALUES
    ('envelopes.status', 'SIGNED', 'SUBMITTED'),
    ('envelopes.status', 'SIGNED', 'EXPIRED'),
    ('envelopes.status', 'SUBMITTED', 'SUCCEEDED'),
    ('envelopes.status', 'SUBMITTED', 'FAILED'),
    ('envelopes.status', 'SUBMITTED', 'EXPIRED');

-- One transaction per source account at a time: the step that holds the lane may build, sign and send for it.
CREATE TABLE signer_lanes (
    account   text COLLATE "C" PRIMARY KEY,
    saga_id   text COLLATE "C" NOT NULL,
    position  integer NOT NULL,
    taken_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (saga_id, position) REFERENCES saga_steps (saga_id, position)
);
