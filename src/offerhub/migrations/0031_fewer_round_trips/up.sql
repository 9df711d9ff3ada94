-- Fewer round trips for whatever writes (decision 0053): a transaction begins with its key; users, orders, reservations and
-- webhooks are statements like operations on balances; and what a batch of them tells is written once, in its end.

-- Take a key for the transaction that has just begun, until it ends. Raises OH013 when an earlier request has the key or
-- has had it.
CREATE FUNCTION idempotency_begin(p_credential text, p_key text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(idempotency_lock(p_credential, p_key)) OR EXISTS (
        SELECT FROM idempotent_requests r
        WHERE r.credential_id = p_credential AND r.key = p_key AND r.expires_at > clock_timestamp()
    ) THEN
        RAISE EXCEPTION 'the key is taken' USING ERRCODE = 'OH013';
    END IF;
END $$;

-- What several changes tell, in their order: `marketplace`, `actor`, and the arrays `events`, `audit` and `jobs` of each. As
-- `journal` does, with one statement for each table.
CREATE FUNCTION journal_all(p_told jsonb[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(p_told) = 0 THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended((e.item ->> 'aggregate_type') || ' ' || (e.item ->> 'aggregate_id'), 0) AS key
        FROM unnest(p_told) AS t (one), jsonb_array_elements(t.one -> 'events') AS e (item) ORDER BY 1
    ) AS aggregates;

    WITH written AS (
        INSERT INTO events (id, marketplace_id, aggregate_type, aggregate_id, sequence, type, payload, metadata)
        SELECT e.item ->> 'id', t.one ->> 'marketplace', e.item ->> 'aggregate_type', e.item ->> 'aggregate_id',
            coalesce((
                SELECT max(x.sequence) FROM events x
                WHERE x.aggregate_type = e.item ->> 'aggregate_type' AND x.aggregate_id = e.item ->> 'aggregate_id'
            ), 0) + row_number() OVER (
                PARTITION BY e.item ->> 'aggregate_type', e.item ->> 'aggregate_id' ORDER BY t.place, e.place),
            e.item ->> 'type', e.item -> 'payload', e.item -> 'metadata'
        FROM unnest(p_told) WITH ORDINALITY AS t (one, place),
            jsonb_array_elements(t.one -> 'events') WITH ORDINALITY AS e (item, place)
        ORDER BY t.place, e.place
        RETURNING position
    )
    INSERT INTO event_arrivals SELECT position FROM written;

    INSERT INTO audit_entries (id, marketplace_id, action, resource_type, resource_id, user_id, payload_before,
        payload_after, actor_type, actor_id, result, correlation_id, idempotency_key, ip, user_agent)
    SELECT a.id, t.one ->> 'marketplace', a.action, a.resource_type, a.resource_id, a.user_id, a.before, a.after,
        t.one #>> '{actor,type}', t.one #>> '{actor,id}', a.result, t.one #>> '{actor,correlation_id}',
        t.one #>> '{actor,idempotency_key}', t.one #>> '{actor,ip}', t.one #>> '{actor,user_agent}'
    FROM unnest(p_told) WITH ORDINALITY AS t (one, place),
        jsonb_to_recordset(t.one -> 'audit') AS a (id text, action text, resource_type text, resource_id text,
            user_id text, before jsonb, after jsonb, result text)
    ORDER BY t.place;

    INSERT INTO outbox (queue, name, payload, due_at, priority)
    SELECT j.queue, j.name, j.payload, clock_timestamp() + make_interval(secs => coalesce(j.delay_seconds, 0)),
        coalesce(j.priority, 0)
    FROM unnest(p_told) WITH ORDINALITY AS t (one, place),
        jsonb_to_recordset(t.one -> 'jobs') AS j (queue text, name text, payload jsonb,
            delay_seconds double precision, priority integer)
    ORDER BY t.place;
END $$;

-- As before: what one change tells.
CREATE OR REPLACE FUNCTION journal(p_marketplace text, p_actor jsonb, p_events jsonb, p_audit jsonb, p_jobs jsonb)
RETURNS void LANGUAGE sql AS $$
    SELECT journal_all(ARRAY[jsonb_build_object(
        'marketplace', p_marketplace, 'actor', p_actor, 'events', p_events, 'audit', p_audit, 'jobs', p_jobs)])
$$;

-- What a use case tells in the end.
CREATE FUNCTION told(p jsonb, p_events jsonb, p_audit jsonb, p_jobs jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('marketplace', p -> 'marketplace', 'actor', p -> 'actor',
        'events', p_events, 'audit', p_audit, 'jobs', p_jobs)
$$;

-- Begin a saga: its row and its planned steps.
CREATE FUNCTION begin_saga(p_marketplace text, p jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sagas (id, marketplace_id, kind, subject_id, input, correlation_id)
    VALUES (p ->> 'id', p_marketplace, p ->> 'kind', p ->> 'subject', p -> 'input', p ->> 'correlation');
    INSERT INTO saga_steps (saga_id, position, name)
    SELECT p ->> 'id', step.place - 1, step.name
    FROM jsonb_array_elements_text(p -> 'steps') WITH ORDINALITY AS step (name, place);
END $$;

-- The use cases. Each has its effect and returns the answer and what is to be told; a null answer means that nothing was
-- done.

-- Raises OH010 for an unknown user and, where it must be active, OH011 for one who may not move money (DETAIL is JSON).
CREATE FUNCTION require_user(p_marketplace text, p_user text, p_active boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_status text;
BEGIN
    SELECT u.status INTO v_status FROM users u WHERE u.marketplace_id = p_marketplace AND u.id = p_user;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such user' USING ERRCODE = 'OH010', DETAIL = json_build_object('user', p_user)::text;
    ELSIF v_status <> 'ACTIVE' AND p_active THEN
        RAISE EXCEPTION 'the user may not move money' USING ERRCODE = 'OH011',
            DETAIL = json_build_object('user', p_user, 'status', v_status)::text;
    END IF;
END $$;

-- A manual operation on balances. `users` are whose balances the answer and the events tell of, each with what the
-- operation adds to its available, held and reserved amounts; `hold` is what is set aside or taken, `post` the legs.
-- `events`, `audit` and `answer` are JSON texts for `format`, whose places are filled eight to a user: available before
-- and after, held before and after, reserved (held and on its way out) before and after, the total, and its time.
-- Raises what `require_user` does, and what posting raises.
CREATE FUNCTION effect_of_balance_operation(p jsonb, OUT answer text, OUT tells jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_marketplace text := p ->> 'marketplace';
    v_post jsonb := p -> 'post';
    v_hold jsonb := p -> 'hold';
    v_owners text[] := ARRAY(SELECT jsonb_array_elements_text(v_post -> 'owners'));
    v_kinds text[] := ARRAY(SELECT jsonb_array_elements_text(v_post -> 'kinds'));
    v_amounts bigint[] := ARRAY(SELECT jsonb_array_elements_text(v_post -> 'amounts')::bigint);
    v_user jsonb;
    v_now record;
    v_places text[] := '{}';
BEGIN
    FOR v_user IN SELECT value FROM jsonb_array_elements(p -> 'users') LOOP
        PERFORM require_user(v_marketplace, v_user ->> 'id', (v_user ->> 'active')::boolean);
    END LOOP;

    IF v_hold IS NULL THEN
        PERFORM ledger.post(v_marketplace, v_post ->> 'key', v_post ->> 'kind', v_post ->> 'subject',
            v_post ->> 'reason', v_post ->> 'actor', v_owners, v_kinds, v_amounts);
    ELSE
        PERFORM ledger.post_held(v_hold ->> 'user', v_hold ->> 'source', v_hold ->> 'reference',
            (v_hold ->> 'change')::bigint, v_marketplace, v_post ->> 'key', v_post ->> 'kind', v_post ->> 'subject',
            v_post ->> 'reason', v_post ->> 'actor', v_owners, v_kinds, v_amounts);
    END IF;

    FOR v_user IN SELECT value FROM jsonb_array_elements(p -> 'users') LOOP
        SELECT coalesce(sum(a.balance) FILTER (WHERE a.kind = 'available'), 0)::bigint AS available,
            coalesce(sum(a.balance) FILTER (WHERE a.kind = 'reserved'), 0)::bigint AS held,
            coalesce(sum(a.balance) FILTER (WHERE a.kind IN ('reserved', 'withdrawing')), 0)::bigint AS reserved,
            max(a.updated_at) AS updated_at
        INTO v_now FROM ledger.accounts a
        WHERE a.marketplace_id = v_marketplace AND a.owner = v_user ->> 'id';
        v_places := v_places || ARRAY[
            wire_amount(v_now.available - (v_user ->> 'available')::bigint), wire_amount(v_now.available),
            wire_amount(v_now.held - (v_user ->> 'held')::bigint), wire_amount(v_now.held),
            wire_amount(v_now.reserved - (v_user ->> 'held')::bigint), wire_amount(v_now.reserved),
            wire_amount(v_now.available + v_now.reserved), wire_time(v_now.updated_at)];
    END LOOP;

    answer := format(p ->> 'answer', VARIADIC v_places);
    tells := told(p, format(p ->> 'events', VARIADIC v_places)::jsonb,
        format(p ->> 'audit', VARIADIC v_places)::jsonb, '[]');
END $$;

-- A new user with its wallet, whose set-up on the chain begins. `answer` has places for two times: made, and changed.
-- Null, and nothing is done, when the marketplace has a user with this external id.
CREATE FUNCTION effect_of_create_user(p jsonb, OUT answer text, OUT tells jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_user jsonb := p -> 'user';
    v_wallet jsonb := p -> 'wallet';
    v_made record;
BEGIN
    INSERT INTO users (id, marketplace_id, external_user_id, email, type, metadata)
    VALUES (v_user ->> 'id', p ->> 'marketplace', v_user ->> 'external_id', v_user ->> 'email', v_user ->> 'type',
        nullif(v_user -> 'metadata', 'null'))
    ON CONFLICT (marketplace_id, external_user_id) DO NOTHING RETURNING created_at, updated_at INTO v_made;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO wallets (id, marketplace_id, user_id, purpose, public_key, secret_blob, key_version)
    VALUES (v_wallet ->> 'id', p ->> 'marketplace', v_user ->> 'id', 'user', v_wallet ->> 'address',
        decode(v_wallet ->> 'sealed', 'hex'), (v_wallet ->> 'key_version')::integer);
    PERFORM begin_saga(p ->> 'marketplace', p -> 'saga');
    answer := format(p ->> 'answer', wire_time(v_made.created_at), wire_time(v_made.updated_at));
    tells := told(p, p -> 'events', p -> 'audit', p -> 'jobs');
END $$;

-- A new order with its milestones. `answer` has two places, made and changed, for the order and for each milestone.
-- Null, and nothing is done, when the marketplace has an order with this reference. Raises what `require_user` does.
CREATE FUNCTION effect_of_create_order(p jsonb, OUT answer text, OUT tells jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_order jsonb := p -> 'order';
    v_made record;
    v_places text[];
BEGIN
    PERFORM require_user(p ->> 'marketplace', v_order ->> 'buyer', true);
    PERFORM require_user(p ->> 'marketplace', v_order ->> 'seller', true);
    INSERT INTO orders (id, marketplace_id, client_order_ref, buyer_id, seller_id, amount, currency, title,
        description, metadata, escrow_type)
    VALUES (v_order ->> 'id', p ->> 'marketplace', v_order ->> 'reference', v_order ->> 'buyer', v_order ->> 'seller',
        (v_order ->> 'amount')::bigint, v_order ->> 'currency', v_order ->> 'title', v_order ->> 'description',
        nullif(v_order -> 'metadata', 'null'), v_order ->> 'escrow_type')
    ON CONFLICT (marketplace_id, client_order_ref) DO NOTHING RETURNING created_at, updated_at INTO v_made;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_places := ARRAY[wire_time(v_made.created_at), wire_time(v_made.updated_at)];
    IF jsonb_array_length(p -> 'milestones') > 0 THEN
        WITH made AS (
            INSERT INTO milestones (id, marketplace_id, order_id, position, milestone_ref, title, amount)
            SELECT m.item ->> 'id', p ->> 'marketplace', v_order ->> 'id', m.place - 1, m.item ->> 'ref',
                m.item ->> 'title', (m.item ->> 'amount')::bigint
            FROM jsonb_array_elements(p -> 'milestones') WITH ORDINALITY AS m (item, place) ORDER BY m.place
            RETURNING position, created_at, updated_at
        )
        SELECT v_places || array_agg(wire_time(t.moment) ORDER BY made.position, t.number) INTO v_places
        FROM made, LATERAL (VALUES (1, made.created_at), (2, made.updated_at)) AS t (number, moment);
    END IF;
    answer := format(p ->> 'answer', VARIADIC v_places);
    tells := told(p, p -> 'events', p -> 'audit', '[]');
END $$;

-- Set the buyer's money aside for an order that is there. `events`, `audit` and `answer` have places: available before and
-- after, reserved before and after, and when the order was changed.
-- Raises OH014 when the order is in another state than the first (DETAIL is JSON), what `require_user` does, and what
-- posting raises.
CREATE FUNCTION effect_of_reserve_order(p jsonb, OUT answer text, OUT tells jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_order jsonb := p -> 'order';
    v_post jsonb := p -> 'post';
    v_moved timestamptz;
    v_leg record;
    v_places text[];
BEGIN
    UPDATE orders SET status = 'FUNDS_RESERVED'
    WHERE marketplace_id = p ->> 'marketplace' AND id = v_order ->> 'id' AND status = 'ORDER_CREATED'
    RETURNING updated_at INTO v_moved;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the order is in another state' USING ERRCODE = 'OH014', DETAIL = json_build_object(
            'status', (SELECT o.status FROM orders o WHERE o.id = v_order ->> 'id'))::text;
    END IF;
    PERFORM require_user(p ->> 'marketplace', v_order ->> 'buyer', true);
    v_places := ARRAY['', '', '', '', wire_time(v_moved)];
    FOR v_leg IN
        SELECT * FROM ledger.post_held(v_order ->> 'buyer', 'order', v_order ->> 'id', (v_order ->> 'amount')::bigint,
            p ->> 'marketplace', v_post ->> 'key', 'hold', v_order ->> 'id', NULL, v_post ->> 'actor',
            ARRAY[v_order ->> 'buyer', v_order ->> 'buyer'], ARRAY['available', 'reserved'],
            ARRAY[-(v_order ->> 'amount')::bigint, (v_order ->> 'amount')::bigint])
    LOOP
        IF v_leg.kind = 'available' THEN
            v_places[1:2] := ARRAY[wire_amount(v_leg.balance_before), wire_amount(v_leg.balance_after)];
        ELSE
            v_places[3:4] := ARRAY[wire_amount(v_leg.balance_before), wire_amount(v_leg.balance_after)];
        END IF;
    END LOOP;
    answer := format(p ->> 'answer', VARIADIC v_places);
    tells := told(p, format(p ->> 'events', VARIADIC v_places)::jsonb,
        format(p ->> 'audit', VARIADIC v_places)::jsonb, '[]');
END $$;

-- Keep what a provider has told, with the job that looks into it; `false` when it has been told before.
CREATE FUNCTION effect_of_keep_webhook(p jsonb, OUT answer text, OUT tells jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_news jsonb := p -> 'news';
    v_is_new boolean;
BEGIN
    INSERT INTO webhook_events AS e (provider, event_id, event_type, subject, payload, status, outcome, processed_at)
    VALUES (v_news ->> 'provider', v_news ->> 'event_id', v_news ->> 'event_type', v_news ->> 'subject',
        nullif(v_news -> 'payload', 'null'), v_news ->> 'status', v_news ->> 'outcome',
        CASE WHEN v_news ->> 'status' = 'IGNORED' THEN clock_timestamp() END)
    ON CONFLICT (provider, event_id) DO UPDATE SET deliveries = e.deliveries + 1
    RETURNING e.deliveries = 1 INTO v_is_new;
    answer := v_is_new::text;
    tells := told(p, '[]', '[]', CASE WHEN v_is_new THEN p -> 'jobs' ELSE '[]' END);
END $$;

CREATE FUNCTION effect_of(p_use_case text, p jsonb, OUT answer text, OUT tells jsonb) LANGUAGE plpgsql AS $$
BEGIN
    CASE p_use_case
        WHEN 'balance_operation' THEN SELECT e.* INTO answer, tells FROM effect_of_balance_operation(p) AS e;
        WHEN 'create_user' THEN SELECT e.* INTO answer, tells FROM effect_of_create_user(p) AS e;
        WHEN 'create_order' THEN SELECT e.* INTO answer, tells FROM effect_of_create_order(p) AS e;
        WHEN 'reserve_order' THEN SELECT e.* INTO answer, tells FROM effect_of_reserve_order(p) AS e;
        WHEN 'keep_webhook' THEN SELECT e.* INTO answer, tells FROM effect_of_keep_webhook(p) AS e;
    END CASE;
END $$;

-- Perform one request in a transaction of the caller's, who keeps the answer; null when it did nothing.
CREATE FUNCTION perform_within(p_use_case text, p jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_answer text;
    v_tells jsonb;
BEGIN
    SELECT e.answer, e.tells INTO v_answer, v_tells FROM effect_of(p_use_case, p) AS e;
    IF v_answer IS NOT NULL THEN
        PERFORM journal_all(ARRAY[v_tells]);
    END IF;
    RETURN v_answer;
END $$;

-- For programs from before this migration.
CREATE OR REPLACE FUNCTION balance_operation(p jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT perform_within('balance_operation', p)
$$;

-- Perform requests one after the other, each a subtransaction; the answer of each, or null where it came to nothing and left
-- nothing: whoever asked then finds out why, alone. A request does nothing when an earlier one has its key or has had it.
-- What they tell, and their answers, are written in the end, for all of them at once: until then nobody sees anything.
-- What would meet every request again, a deadlock or a conflict, or an error of that last part, ends them all.
CREATE OR REPLACE FUNCTION perform(p_requests text) RETURNS TABLE (answer text) LANGUAGE plpgsql AS $$
DECLARE
    v_request jsonb;
    v_claim jsonb;
    v_key text;
    v_answer text;
    v_tells jsonb;
    v_keys text[] := '{}';
    v_claims jsonb[] := '{}';
    v_bodies text[] := '{}';
    v_told jsonb[] := '{}';
    v_answers text[] := '{}';
BEGIN
    FOR v_request IN SELECT value FROM jsonb_array_elements(p_requests::jsonb) LOOP
        v_claim := v_request -> 'claim';
        v_key := (v_claim ->> 'credential') || chr(10) || (v_claim ->> 'key');
        v_answer := NULL;
        BEGIN
            IF v_claim IS NULL OR (
                v_key <> ALL (v_keys)
                AND pg_try_advisory_xact_lock(idempotency_lock(v_claim ->> 'credential', v_claim ->> 'key'))
                AND NOT EXISTS (
                    SELECT FROM idempotent_requests r
                    WHERE r.credential_id = v_claim ->> 'credential' AND r.key = v_claim ->> 'key')
            ) THEN
                SELECT e.answer, e.tells INTO v_answer, v_tells
                FROM effect_of(v_request ->> 'use_case', v_request -> 'request') AS e;
            END IF;
        EXCEPTION
            WHEN serialization_failure OR deadlock_detected THEN RAISE;
            WHEN OTHERS THEN v_answer := NULL;
        END;
        v_answers := array_append(v_answers, v_answer);
        IF v_answer IS NOT NULL THEN
            v_told := array_append(v_told, v_tells);
            IF v_claim IS NOT NULL THEN
                v_keys := array_append(v_keys, v_key);
                v_claims := array_append(v_claims, v_claim);
                v_bodies := array_append(v_bodies, v_answer);
            END IF;
        END IF;
    END LOOP;

    PERFORM journal_all(v_told);
    INSERT INTO idempotent_requests (credential_id, key, marketplace_id, method, path, fingerprint, status, body,
        completed_at, expires_at)
    SELECT c.one ->> 'credential', c.one ->> 'key', c.one ->> 'marketplace', c.one ->> 'method', c.one ->> 'path',
        decode(c.one ->> 'fingerprint', 'hex'), (c.one ->> 'status')::integer, convert_to(c.body, 'UTF8'),
        clock_timestamp(), clock_timestamp() + make_interval(secs => (c.one ->> 'seconds')::double precision)
    FROM unnest(v_claims, v_bodies) AS c (one, body);
    RETURN QUERY SELECT a.answer FROM unnest(v_answers) AS a (answer);
END $$;

-- Whatever these look for they find by its key. A connection keeps the plans of a function: one made while a table was small
-- would scan all of it for as long as the connection lives, however large it has grown.
ALTER FUNCTION perform(text) SET enable_seqscan = off;
ALTER FUNCTION perform_within(text, jsonb) SET enable_seqscan = off;
ALTER FUNCTION journal_all(jsonb[]) SET enable_seqscan = off;
ALTER FUNCTION idempotency_begin(text, text) SET enable_seqscan = off;
ALTER FUNCTION check_event_order() SET enable_seqscan = off;
ALTER FUNCTION ledger.check_balanced() SET enable_seqscan = off;
ALTER FUNCTION ledger.check_posted() SET enable_seqscan = off;
ALTER FUNCTION ledger.post(text, text, text, text, text, text, text[], text[], bigint[]) SET enable_seqscan = off;
ALTER FUNCTION ledger.post_held(text, text, text, bigint, text, text, text, text, text, text, text[], text[], bigint[])
    SET enable_seqscan = off;
