-- The log of events: one order for all readers, in which nothing ever appears behind what has been read.
--
-- `events.position` is drawn while a transaction is still open, so a lower one may become visible after a higher one.
-- A place in the log is given after the commit, by one transaction at a time and without a gap: whoever has read up to a
-- place has read everything up to it. A long transaction, here or in another database of the server, delays its own
-- events only.

-- What was committed and has no place yet, written with the event. No foreign keys between these logs: a check would
-- lock each event's row.
CREATE TABLE event_arrivals (
    event  bigint PRIMARY KEY
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE event_log (
    place           bigint PRIMARY KEY CHECK (place > 0),
    -- No event has two places.
    event           bigint NOT NULL UNIQUE,
    marketplace_id  text COLLATE "C" NOT NULL,
    -- When it happened, as readers are told: it rises from place to place within a marketplace, and so is a cursor.
    at              timestamptz(3) NOT NULL,
    CONSTRAINT moments_are_unique UNIQUE (marketplace_id, at)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON event_log FOR EACH ROW EXECUTE FUNCTION refuse_change();

INSERT INTO event_arrivals SELECT position FROM events;
DROP INDEX events_by_marketplace;
-- It was to tell readers how far they may go.
ALTER TABLE events DROP COLUMN written_by;

-- Give places to at most so many events that have none; returns to how many. An aggregate's events keep their order:
-- the later one was written after the earlier one had been committed, or beside it with the higher position.
CREATE FUNCTION sequence_events(p_limit integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_events bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM event_arrivals) THEN
        RETURN 0;
    END IF;
    -- Held until the commit. What follows sees all that the holder before has done: each statement looks anew.
    PERFORM pg_advisory_xact_lock(hashtextextended('event_log', 0));
    WITH arrived AS (
        DELETE FROM event_arrivals
        WHERE event = ANY (ARRAY(SELECT event FROM event_arrivals ORDER BY event LIMIT p_limit))
        RETURNING event
    ), numbered AS (
        SELECT e.position, e.marketplace_id, date_trunc('milliseconds', e.occurred_at) AS at,
            row_number() OVER (ORDER BY e.position) AS number,
            row_number() OVER (PARTITION BY e.marketplace_id ORDER BY e.position) AS nth
        FROM arrived JOIN events e ON e.position = arrived.event
    ), latest AS (
        SELECT m.marketplace_id, (SELECT max(l.at) FROM event_log l WHERE l.marketplace_id = m.marketplace_id) AS at
        FROM (SELECT DISTINCT marketplace_id FROM numbered) AS m
    )
    -- Each moment is its own, or a millisecond after the one before it.
    INSERT INTO event_log (place, event, marketplace_id, at)
    SELECT (SELECT coalesce(max(place), 0) FROM event_log) + n.number, n.position, n.marketplace_id,
        nth * interval '1 millisecond' + greatest(
            latest.at,
            max(n.at - nth * interval '1 millisecond') OVER (PARTITION BY n.marketplace_id ORDER BY n.position)
        )
    FROM numbered n JOIN latest USING (marketplace_id) ORDER BY n.number;
    GET DIAGNOSTICS v_events = ROW_COUNT;
    RETURN v_events;
END $$;

-- As before, and every event arrives.
CREATE OR REPLACE FUNCTION journal(p_marketplace text, p_actor jsonb, p_events jsonb, p_audit jsonb, p_jobs jsonb)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended((item ->> 'aggregate_type') || ' ' || (item ->> 'aggregate_id'), 0) AS key
        FROM jsonb_array_elements(p_events) AS e (item) ORDER BY 1
    ) AS aggregates;

    WITH written AS (
        INSERT INTO events (id, marketplace_id, aggregate_type, aggregate_id, sequence, type, payload, metadata)
        SELECT e.item ->> 'id', p_marketplace, e.item ->> 'aggregate_type', e.item ->> 'aggregate_id',
            coalesce((
                SELECT max(x.sequence) FROM events x
                WHERE x.aggregate_type = e.item ->> 'aggregate_type' AND x.aggregate_id = e.item ->> 'aggregate_id'
            ), 0) + row_number() OVER (
                PARTITION BY e.item ->> 'aggregate_type', e.item ->> 'aggregate_id' ORDER BY e.place),
            e.item ->> 'type', e.item -> 'payload', e.item -> 'metadata'
        FROM jsonb_array_elements(p_events) WITH ORDINALITY AS e (item, place)
        ORDER BY e.place
        RETURNING position
    )
    INSERT INTO event_arrivals SELECT position FROM written;

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
