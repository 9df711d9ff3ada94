-- Dead letters and the history of failed attempts are kept here: Redis may be emptied at any moment.

-- `priority` is BullMQ's own number: 0 goes first, a larger number later. `dead_at` marks a row whose job has used up
-- its attempts: nothing hands it over again until an operator has decided.
ALTER TABLE outbox ADD COLUMN priority integer NOT NULL DEFAULT 0 CHECK (priority BETWEEN 0 AND 2097152);
ALTER TABLE outbox ADD COLUMN dead_at timestamptz;
DROP INDEX outbox_by_due;
DROP INDEX outbox_by_enqueued;
CREATE INDEX outbox_by_due ON outbox (due_at) WHERE enqueued_at IS NULL AND dead_at IS NULL AND priority = 0;
CREATE INDEX outbox_by_due_later ON outbox (due_at) WHERE enqueued_at IS NULL AND dead_at IS NULL AND priority > 0;
CREATE INDEX outbox_by_enqueued ON outbox (enqueued_at) WHERE enqueued_at IS NOT NULL AND dead_at IS NULL;

-- One row per attempt that failed. `job_key` names a job over all its hand-overs: `outbox-17`, or its own id in the queue.
CREATE TABLE job_failures (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue      text COLLATE "C" NOT NULL,
    job_key    text COLLATE "C" NOT NULL,
    job_id     text COLLATE "C" NOT NULL,
    attempt    integer NOT NULL CHECK (attempt > 0),
    reason     text NOT NULL,
    trace      text NOT NULL,
    worker     text NOT NULL,
    failed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX job_failures_by_job ON job_failures (queue, job_key, id DESC);
CREATE INDEX job_failures_by_time ON job_failures (failed_at);

-- A job that failed at every attempt, until somebody retries or discards it. No foreign key to outbox: what runs by the
-- clock has no row there.
CREATE TABLE dead_letters (
    id          text COLLATE "C" PRIMARY KEY,
    queue       text COLLATE "C" NOT NULL,
    job_key     text COLLATE "C" NOT NULL,
    job_id      text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    payload     jsonb NOT NULL,
    outbox_id   bigint UNIQUE,
    attempts    integer NOT NULL,
    reason      text NOT NULL,
    trace       text NOT NULL,
    created_at  timestamptz NOT NULL,
    failed_at   timestamptz NOT NULL,
    CHECK (id = queue || '.' || job_key)
);
CREATE INDEX dead_letters_by_time ON dead_letters (failed_at DESC, id DESC);

CREATE OR REPLACE FUNCTION journal(p_marketplace text, p_actor jsonb, p_events jsonb, p_audit jsonb, p_jobs jsonb)
RETURNS void LANGUAGE plpgsql AS $$
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

    INSERT INTO outbox (queue, name, payload, due_at, priority)
    SELECT j.queue, j.name, j.payload, clock_timestamp() + make_interval(secs => coalesce(j.delay_seconds, 0)),
        coalesce(j.priority, 0)
    FROM jsonb_to_recordset(p_jobs) AS j (queue text, name text, payload jsonb, delay_seconds double precision,
        priority integer);
END $$;
