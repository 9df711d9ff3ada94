-- What happened (events), who did it (audit), and what is to be done next (outbox): written with their cause.

-- No foreign keys to marketplaces in these logs, as in the ledger: every request would lock the same row.
CREATE TABLE events (
    position        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              text COLLATE "C" NOT NULL UNIQUE,
    marketplace_id  text COLLATE "C" NOT NULL,
    aggregate_type  text COLLATE "C" NOT NULL,
    aggregate_id    text COLLATE "C" NOT NULL,
    sequence        integer NOT NULL,
    type            text COLLATE "C" NOT NULL,
    payload         jsonb NOT NULL,
    metadata        jsonb NOT NULL,
    occurred_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Readers stop below the oldest running transaction, so positions never appear behind a cursor (design 7).
    written_by      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT sequences_are_gap_free UNIQUE (aggregate_type, aggregate_id, sequence)
);
CREATE INDEX events_by_marketplace ON events (marketplace_id, position);

CREATE TABLE audit_entries (
    id              text COLLATE "C" PRIMARY KEY,
    marketplace_id  text COLLATE "C" NOT NULL,
    occurred_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    action          text COLLATE "C" NOT NULL,
    resource_type   text COLLATE "C" NOT NULL,
    resource_id     text COLLATE "C" NOT NULL,
    user_id         text COLLATE "C",
    payload_before  jsonb,
    payload_after   jsonb,
    actor_type      text NOT NULL,
    actor_id        text NOT NULL,
    result          text NOT NULL CHECK (result IN ('SUCCESS', 'FAILURE', 'DISCREPANCY_FOUND')),
    correlation_id  text,
    idempotency_key text,
    ip              text,
    user_agent      text
);
CREATE INDEX audit_entries_by_marketplace ON audit_entries (marketplace_id, id DESC);
CREATE INDEX audit_entries_by_resource ON audit_entries (resource_id, id DESC);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_entries FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Jobs to be handed to the queue. A row stays until its job has run, so that what Redis loses is handed over again.
CREATE TABLE outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue         text NOT NULL,
    name          text NOT NULL,
    payload       jsonb NOT NULL,
    due_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    enqueued_at   timestamptz,
    enqueued      integer NOT NULL DEFAULT 0
);
CREATE INDEX outbox_by_due ON outbox (due_at) WHERE enqueued_at IS NULL;
CREATE INDEX outbox_by_enqueued ON outbox (enqueued_at) WHERE enqueued_at IS NOT NULL;

-- One round trip for all that goes with a change. Writers of one aggregate queue up on its lock until they commit,
-- which is what makes "highest sequence plus one" safe; the locks are taken in one order.
CREATE FUNCTION journal(p_marketplace text, p_actor jsonb, p_events jsonb, p_audit jsonb, p_jobs jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended((item ->> 'aggregate_type') || ' ' || (item ->> 'aggregate_id'), 0) AS key
        FROM jsonb_array_elements(p_events) AS e (item) ORDER BY 1
    ) AS aggregates;

    INSERT INTO events (id, marketplace_id, aggregate_type, aggregate_id, sequence, type, payload, metadata)
    SELECT e.item ->> 'id', p_marketplace, e.item ->> 'aggregate_type', e.item ->> 'aggregate_id',
        coalesce((
            SELECT max(x.sequence) FROM events x
            WHERE x.aggregate_type = e.item ->> 'aggregate_type' AND x.aggregate_id = e.item ->> 'aggregate_id'
        ), 0) + row_number() OVER (
            PARTITION BY e.item ->> 'aggregate_type', e.item ->> 'aggregate_id' ORDER BY e.place),
        e.item ->> 'type', e.item -> 'payload', e.item -> 'metadata'
    FROM jsonb_array_elements(p_events) WITH ORDINALITY AS e (item, place)
    ORDER BY e.place;

    INSERT INTO audit_entries (id, marketplace_id, action, resource_type, resource_id, user_id, payload_before,
        payload_after, actor_type, actor_id, result, correlation_id, idempotency_key, ip, user_agent)
    SELECT a.id, p_marketplace, a.action, a.resource_type, a.resource_id, a.user_id, a.before, a.after,
        p_actor ->> 'type', p_actor ->> 'id', a.result, p_actor ->> 'correlation_id', p_actor ->> 'idempotency_key',
        p_actor ->> 'ip', p_actor ->> 'user_agent'
    FROM jsonb_to_recordset(p_audit) AS a (id text, action text, resource_type text, resource_id text, user_id text,
        before jsonb, after jsonb, result text);

    INSERT INTO outbox (queue, name, payload, due_at)
    SELECT j.queue, j.name, j.payload, clock_timestamp() + make_interval(secs => coalesce(j.delay_seconds, 0))
    FROM jsonb_to_recordset(p_jobs) AS j (queue text, name text, payload jsonb, delay_seconds double precision);
END $$;
