-- The inbox: what providers have told us, each once. A row is written with its job, before the provider is answered.

CREATE TABLE webhook_events (
    provider      text COLLATE "C" NOT NULL CHECK (provider IN ('AIRTM', 'TRUSTLESS_WORK')),
    event_id      text COLLATE "C" NOT NULL CHECK (length(event_id) BETWEEN 1 AND 255),
    event_type    text NOT NULL,
    subject       text COLLATE "C",
    payload       jsonb,
    status        text NOT NULL DEFAULT 'RECEIVED',
    outcome       text,
    deliveries    integer NOT NULL DEFAULT 1,
    received_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    processed_at  timestamptz,
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (provider, event_id),
    CHECK ((status IN ('PROCESSED', 'IGNORED')) = (processed_at IS NOT NULL))
);
CREATE TRIGGER states BEFORE UPDATE ON webhook_events FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE INDEX webhook_events_by_arrival ON webhook_events (received_at);
INSERT INTO state_moves VALUES
    ('webhook_events.status', 'RECEIVED', 'PROCESSED'),
    ('webhook_events.status', 'RECEIVED', 'IGNORED'),
    ('webhook_events.status', 'RECEIVED', 'FAILED'),
    ('webhook_events.status', 'FAILED', 'PROCESSED'),
    ('webhook_events.status', 'FAILED', 'IGNORED');
