-- Tenants, credentials, idempotent requests, leases, and the guard that holds every state machine.

CREATE TABLE marketplaces (
    id          text COLLATE "C" PRIMARY KEY CHECK (id ~ '^mkt_[0-9A-Za-z]{32}$'),
    name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Keys made without naming a marketplace belong to this one, so a single-tenant installation never meets the word.
INSERT INTO marketplaces (id, name) VALUES ('mkt_00000000000000000000000000000000', 'default');

CREATE TABLE api_keys (
    id              text COLLATE "C" PRIMARY KEY CHECK (id ~ '^key_[0-9A-Za-z]{32}$'),
    marketplace_id  text COLLATE "C" NOT NULL REFERENCES marketplaces,
    name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    secret_hash     bytea NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
    last4           text NOT NULL,
    scopes          text[] NOT NULL,
    user_id         text COLLATE "C",
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at    timestamptz,
    expires_at      timestamptz,
    revoked_at      timestamptz
);
CREATE INDEX api_keys_by_marketplace ON api_keys (marketplace_id, id DESC);

-- One row per Idempotency-Key and credential. The row, the effect and the stored answer commit together;
-- a request that started a saga keeps its id, so that a crash in between is answered from the saga.
CREATE TABLE idempotent_requests (
    credential_id   text COLLATE "C" NOT NULL,
    key             text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    marketplace_id  text COLLATE "C" NOT NULL,
    method          text NOT NULL,
    path            text NOT NULL,
    fingerprint     bytea NOT NULL,
    saga_id         text COLLATE "C",
    status          integer,
    body            bytea,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at    timestamptz,
    expires_at      timestamptz NOT NULL,
    PRIMARY KEY (credential_id, key),
    CHECK ((status IS NULL) = (body IS NULL))
);
CREATE INDEX idempotent_requests_by_expiry ON idempotent_requests (expires_at);

-- Singletons (deposit watcher, sweeper) run where the lease is; the token fences off a holder that woke up late.
CREATE TABLE leases (
    name        text PRIMARY KEY,
    holder      text NOT NULL,
    token       bigint NOT NULL DEFAULT 1,
    held_until  timestamptz NOT NULL
);

-- The moves of every state machine, the same rows as in the code (a test compares them).
CREATE TABLE state_moves (
    machine  text NOT NULL,
    source   text NOT NULL,
    target   text NOT NULL,
    PRIMARY KEY (machine, source, target)
);

CREATE FUNCTION guard_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status IS DISTINCT FROM OLD.status AND NOT EXISTS (
        SELECT FROM state_moves
        WHERE machine = TG_TABLE_NAME || '.status' AND source = OLD.status AND target = NEW.status
    ) THEN
        RAISE EXCEPTION '%: % may not become %', TG_TABLE_NAME, OLD.status, NEW.status USING ERRCODE = 'OH003';
    END IF;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'OH004';
END $$;
