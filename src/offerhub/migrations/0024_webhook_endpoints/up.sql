-- Webhooks out: where marketplaces want their events sent, what was sent, and what came back.

CREATE TABLE webhook_endpoints (
    id               text COLLATE "C" PRIMARY KEY CHECK (id ~ '^whe_[0-9A-Za-z]{32}$'),
    marketplace_id   text COLLATE "C" NOT NULL REFERENCES marketplaces,
    -- PUSH: we call it. PULL: it fetches its deliveries (`offerhub listen`).
    kind             text NOT NULL CHECK (kind IN ('PUSH', 'PULL')),
    url              text CHECK (length(url) BETWEEN 1 AND 2000),
    description      text CHECK (length(description) <= 500),
    event_types      text[] NOT NULL CHECK (cardinality(event_types) BETWEEN 1 AND 50),
    status           text NOT NULL DEFAULT 'ENABLED',
    disabled_reason  text CHECK (disabled_reason IN ('manual', 'gone', 'failing')),
    -- Events from before are not sent by themselves.
    enabled_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (marketplace_id, id),
    CHECK ((kind = 'PUSH') = (url IS NOT NULL)),
    CHECK ((status = 'DISABLED') = (disabled_reason IS NOT NULL))
);
CREATE TRIGGER states BEFORE UPDATE ON webhook_endpoints FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE INDEX webhook_endpoints_that_stand ON webhook_endpoints (marketplace_id, id) WHERE status <> 'DELETED';
CREATE INDEX webhook_endpoints_that_take ON webhook_endpoints (id) WHERE status = 'ENABLED';

-- Sealed under the wallets' keys and bound to its row. The newest signs, beside those whose time is not over.
CREATE TABLE webhook_secrets (
    endpoint_id  text COLLATE "C" NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    number       integer NOT NULL CHECK (number > 0),
    key_version  smallint NOT NULL CHECK (key_version > 0),
    sealed       bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    PRIMARY KEY (endpoint_id, number)
);
CREATE INDEX webhook_secrets_by_key_version ON webhook_secrets (key_version, endpoint_id, number);

-- What whoever sends knows of an endpoint. Its row is the lock under which the lines of deliveries change.
CREATE TABLE webhook_senders (
    endpoint_id    text COLLATE "C" PRIMARY KEY REFERENCES webhook_endpoints ON DELETE CASCADE,
    -- One sender at a time; its term is the proof.
    lease_until    timestamptz NOT NULL DEFAULT '-infinity',
    term           bigint NOT NULL DEFAULT 0,
    -- A job is on its way until then.
    queued_until   timestamptz NOT NULL DEFAULT '-infinity',
    -- Nothing is tried before: the endpoint asked for that, or has failed so many times in a row (`failures`).
    resting_until  timestamptz NOT NULL DEFAULT '-infinity',
    failures       integer NOT NULL DEFAULT 0,
    failing_since  timestamptz,
    warned_at      timestamptz,
    -- When an endpoint that fetches last did.
    fetched_at     timestamptz
);

CREATE TABLE webhook_deliveries (
    id              text COLLATE "C" PRIMARY KEY CHECK (id ~ '^whd_[0-9A-Za-z]{32}$'),
    marketplace_id  text COLLATE "C" NOT NULL,
    endpoint_id     text COLLATE "C" NOT NULL,
    event_id        text COLLATE "C" NOT NULL REFERENCES events (id),
    event_type      text COLLATE "C" NOT NULL,
    aggregate_type  text COLLATE "C" NOT NULL,
    aggregate_id    text COLLATE "C" NOT NULL,
    sequence        integer NOT NULL,
    status          text NOT NULL DEFAULT 'PENDING',
    -- `attempts` counts all, `tries` those of the present round of retries.
    attempts        integer NOT NULL DEFAULT 0,
    tries           integer NOT NULL DEFAULT 0,
    -- Only the head of a line has one: the first of an endpoint's pending deliveries for one aggregate.
    due_at          timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    UNIQUE (endpoint_id, event_id),
    FOREIGN KEY (marketplace_id, endpoint_id) REFERENCES webhook_endpoints (marketplace_id, id),
    CHECK (due_at IS NULL OR status = 'PENDING'),
    CHECK ((status = 'PENDING') = (ended_at IS NULL))
);
CREATE TRIGGER states BEFORE UPDATE ON webhook_deliveries FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE UNIQUE INDEX one_head_of_a_line ON webhook_deliveries (endpoint_id, aggregate_type, aggregate_id)
    WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_in_line ON webhook_deliveries (endpoint_id, aggregate_type, aggregate_id, sequence)
    WHERE status = 'PENDING';
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, id DESC);
CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (event_id);

-- Every attempt, from before it is made. SENDING becomes UNKNOWN when whoever made it never told what came of it.
CREATE TABLE webhook_attempts (
    delivery_id       text COLLATE "C" NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    number            integer NOT NULL CHECK (number > 0),
    outcome           text NOT NULL DEFAULT 'SENDING' CHECK (outcome IN ('SENDING', 'DELIVERED', 'FAILED', 'UNKNOWN')),
    started_at        timestamptz NOT NULL,
    url               text,
    request_headers   jsonb,
    response_status   integer,
    response_headers  jsonb,
    response_body     text,
    is_cut            boolean NOT NULL DEFAULT false,
    duration_ms       integer,
    error             text,
    PRIMARY KEY (delivery_id, number)
);

INSERT INTO state_moves VALUES
    ('webhook_endpoints.status', 'ENABLED', 'DISABLED'),
    ('webhook_endpoints.status', 'ENABLED', 'DELETED'),
    ('webhook_endpoints.status', 'DISABLED', 'ENABLED'),
    ('webhook_endpoints.status', 'DISABLED', 'DELETED'),
    ('webhook_deliveries.status', 'PENDING', 'DELIVERED'),
    ('webhook_deliveries.status', 'PENDING', 'FAILED'),
    ('webhook_deliveries.status', 'PENDING', 'CANCELED'),
    ('webhook_deliveries.status', 'DELIVERED', 'PENDING'),
    ('webhook_deliveries.status', 'FAILED', 'PENDING'),
    ('webhook_deliveries.status', 'CANCELED', 'PENDING');

-- Whoever follows the log of events for webhooks begins here: before this nobody could want any.
INSERT INTO cursors (name, position)
SELECT 'webhook-deliveries', coalesce(max(place), 0)::text FROM event_log;
