-- What a batch holds of one kind is performed as a set: a few statements over all of them, not many for each (decision 0067).

-- I1: as before, and postings of one statement may follow one another on an account: each is followed by the next, and the
-- last one tells the balance and the version that the account has. That a posting's transaction is there is looked at here
-- as well, so the foreign key, which locked a row for each posting, goes.
CREATE OR REPLACE FUNCTION ledger.check_balanced() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM inserted i GROUP BY i.transaction_id HAVING sum(i.amount) <> 0 OR NOT bool_and(coalesce((
            SELECT a.marketplace_id = (SELECT t.marketplace_id FROM ledger.transactions t WHERE t.id = i.transaction_id)
                AND CASE
                    WHEN NOT a.floored THEN num_nonnulls(i.account_version, i.balance_after) = 0
                    WHEN a.version = i.account_version THEN a.balance = i.balance_after
                    ELSE (SELECT n.balance_after - n.amount FROM ledger.postings n
                        WHERE n.account_id = i.account_id AND n.account_version = i.account_version + 1
                    ) = i.balance_after END
            FROM ledger.accounts a WHERE a.id = i.account_id), false))
    ) THEN
        RAISE EXCEPTION 'postings do not balance, or do not follow from their accounts' USING ERRCODE = 'OH002', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
ALTER TABLE ledger.postings DROP CONSTRAINT postings_transaction_id_fkey;

-- I2: as before, and several postings may be one change of the balance.
CREATE OR REPLACE FUNCTION ledger.check_posted() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF NEW.version <= OLD.version OR (
        SELECT count(*) = NEW.version - OLD.version AND sum(p.amount) = NEW.balance - OLD.balance
            AND bool_or(p.account_version = NEW.version AND p.balance_after = NEW.balance)
        FROM ledger.postings p
        WHERE p.account_id = NEW.id AND p.account_version > OLD.version AND p.account_version <= NEW.version
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'the balance of account % changed without a posting', NEW.id USING ERRCODE = 'OH005', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

-- What the wire shows of a user whose available balance was moved to p_after by p_amount: eight places, as
-- `effect_of_balance_operation` has them.
CREATE FUNCTION places_of_move(p_marketplace text, p_user text, p_amount bigint, p_after bigint)
RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY[wire_amount(p_after - p_amount), wire_amount(p_after), wire_amount(o.held), wire_amount(o.held),
        wire_amount(o.reserved), wire_amount(o.reserved), wire_amount(p_after + o.reserved), wire_time(o.updated_at)]
    FROM (
        SELECT coalesce(sum(a.balance) FILTER (WHERE a.kind = 'reserved'), 0)::bigint AS held,
            coalesce(sum(a.balance) FILTER (WHERE a.kind IN ('reserved', 'withdrawing')), 0)::bigint AS reserved,
            max(a.updated_at) AS updated_at
        FROM ledger.accounts a WHERE a.marketplace_id = p_marketplace AND a.owner = p_user
    ) o
$$;

-- A credit (`amount` above zero) or a debit (below) by hand of `user`'s available balance, against `world:manual`.
-- `events`, `audit` and `answer` are JSON texts for `format` with the places of `places_of_move`.
-- Raises what `require_user` does, and what posting raises.
CREATE FUNCTION effect_of_move_by_hand(p jsonb, OUT answer text, OUT tells jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_marketplace text := p ->> 'marketplace';
    v_user text := p ->> 'user';
    v_amount bigint := (p ->> 'amount')::bigint;
    v_after bigint;
    v_places text[];
BEGIN
    PERFORM require_user(v_marketplace, v_user, true);
    SELECT l.balance_after INTO v_after
    FROM ledger.post(v_marketplace, p ->> 'key', p ->> 'kind', v_user, p ->> 'reason', p ->> 'by',
        ARRAY[v_marketplace, v_user], ARRAY['world:manual', 'available'], ARRAY[-v_amount, v_amount]) AS l
    WHERE l.kind = 'available';
    v_places := places_of_move(v_marketplace, v_user, v_amount, v_after);
    answer := format(p ->> 'answer', VARIADIC v_places);
    tells := told(p, format(p ->> 'events', VARIADIC v_places)::jsonb,
        format(p ->> 'audit', VARIADIC v_places)::jsonb, '[]');
END $$;

-- Requests of one use case, all at once: what each answers and tells, in their order. Whatever is out of the ordinary with
-- one of them (its user is not there or may not move money, an account is still to be made, a balance does not cover it,
-- what it is to make is there already) raises an error, or leaves an answer out: they are then to be performed one by one.

-- Accounts are locked in the order of their owners, as one by one.
CREATE FUNCTION move_by_hand_all(p jsonb, OUT answers text[], OUT tells jsonb[])
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_moved integer;
    v_least bigint;
    v_afters bigint[];
BEGIN
    WITH asked AS MATERIALIZED (
        SELECT r.place, r.one #>> '{request,marketplace}' AS marketplace, r.one #>> '{request,user}' AS user_id,
            (r.one #>> '{request,amount}')::bigint AS amount, r.one #>> '{request,key}' AS key,
            r.one -> 'request' AS request
        FROM jsonb_array_elements(p) WITH ORDINALITY AS r (one, place)
    ), ready AS MATERIALIZED (
        SELECT q.*,
            (SELECT a.id FROM ledger.accounts a WHERE a.marketplace_id = q.marketplace AND a.owner = q.user_id
                AND a.kind = 'available' AND a.asset = 'USD') AS account,
            (SELECT a.id FROM ledger.accounts a WHERE a.marketplace_id = q.marketplace AND a.owner = q.marketplace
                AND a.kind = 'world:manual' AND a.asset = 'USD') AS world
        FROM asked q
        WHERE (SELECT u.status FROM users u WHERE u.marketplace_id = q.marketplace AND u.id = q.user_id) = 'ACTIVE'
    ), moved AS (
        UPDATE ledger.accounts a
        SET balance = a.balance + s.amount, version = a.version + s.posts, updated_at = clock_timestamp()
        FROM (
            SELECT r.account, sum(r.amount)::bigint AS amount, count(*) AS posts
            FROM ready r GROUP BY r.account, r.user_id ORDER BY r.user_id COLLATE "C"
        ) s
        WHERE a.id = s.account
        RETURNING a.id, a.balance - s.amount AS balance, a.version - s.posts AS version
    ), posted AS (
        INSERT INTO ledger.transactions (marketplace_id, business_key, kind, subject, reason, actor)
        SELECT r.marketplace, r.key, r.request ->> 'kind', r.user_id, r.request ->> 'reason', r.request ->> 'by'
        FROM ready r ORDER BY r.place
        RETURNING id, business_key
    ), steps AS MATERIALIZED (
        SELECT r.place, r.account, r.world, r.amount, t.id AS transaction_id,
            (m.balance + sum(r.amount) OVER w)::bigint AS after, m.version + row_number() OVER w AS version
        FROM ready r JOIN moved m ON m.id = r.account JOIN posted t ON t.business_key = r.key
        WINDOW w AS (PARTITION BY r.account ORDER BY r.place)
    ), written AS (
        INSERT INTO ledger.postings (transaction_id, position, account_id, amount, account_version, balance_after)
        SELECT s.transaction_id, l.position, l.account, l.amount, l.version, l.after
        FROM steps s CROSS JOIN LATERAL (VALUES
            (0::smallint, s.world, -s.amount, NULL::bigint, NULL::bigint),
            (1::smallint, s.account, s.amount, s.version, s.after)
        ) AS l (position, account, amount, version, after)
    )
    SELECT count(*), min(s.after), array_agg(s.after ORDER BY s.place) INTO v_moved, v_least, v_afters FROM steps s;
    IF v_moved <> jsonb_array_length(p) OR v_least < 0 THEN
        RAISE EXCEPTION 'not all of them at once' USING ERRCODE = 'OH015';
    END IF;

    -- A statement of its own: it sees what others have committed while this one waited for its accounts.
    SELECT array_agg(format(d.request ->> 'answer', VARIADIC d.places) ORDER BY d.place),
        array_agg(told(d.request, format(d.request ->> 'events', VARIADIC d.places)::jsonb,
            format(d.request ->> 'audit', VARIADIC d.places)::jsonb, '[]') ORDER BY d.place)
    INTO answers, tells
    FROM (
        SELECT r.place, r.one -> 'request' AS request, places_of_move(r.one #>> '{request,marketplace}',
            r.one #>> '{request,user}', (r.one #>> '{request,amount}')::bigint, v_afters[r.place]) AS places
        FROM jsonb_array_elements(p) WITH ORDINALITY AS r (one, place)
        OFFSET 0
    ) AS d;
END $$;

CREATE FUNCTION create_user_all(p jsonb, OUT answers text[], OUT tells jsonb[]) LANGUAGE plpgsql AS $$
BEGIN
    WITH asked AS MATERIALIZED (
        SELECT r.place, r.one -> 'request' AS q, r.one #> '{request,user}' AS u, r.one #> '{request,wallet}' AS w,
            r.one #> '{request,saga}' AS g, r.one #>> '{request,marketplace}' AS marketplace
        FROM jsonb_array_elements(p) WITH ORDINALITY AS r (one, place)
    ), made AS (
        INSERT INTO users (id, marketplace_id, external_user_id, email, type, metadata)
        SELECT u ->> 'id', marketplace, u ->> 'external_id', u ->> 'email', u ->> 'type', nullif(u -> 'metadata', 'null')
        FROM asked ORDER BY place
        ON CONFLICT (marketplace_id, external_user_id) DO NOTHING RETURNING id, created_at, updated_at
    ), with_wallets AS (
        INSERT INTO wallets (id, marketplace_id, user_id, purpose, public_key, secret_blob, key_version)
        SELECT w ->> 'id', marketplace, u ->> 'id', 'user', w ->> 'address', decode(w ->> 'sealed', 'hex'),
            (w ->> 'key_version')::integer
        FROM asked ORDER BY place
    ), with_sagas AS (
        INSERT INTO sagas (id, marketplace_id, kind, subject_id, input, correlation_id)
        SELECT g ->> 'id', marketplace, g ->> 'kind', g ->> 'subject', g -> 'input', g ->> 'correlation'
        FROM asked ORDER BY place
    ), with_steps AS (
        INSERT INTO saga_steps (saga_id, position, name)
        SELECT asked.g ->> 'id', step.place - 1, step.name
        FROM asked, jsonb_array_elements_text(asked.g -> 'steps') WITH ORDINALITY AS step (name, place)
    )
    SELECT array_agg(format(q ->> 'answer', wire_time(made.created_at), wire_time(made.updated_at)) ORDER BY place),
        array_agg(told(q, q -> 'events', q -> 'audit', q -> 'jobs') ORDER BY place)
    INTO answers, tells FROM asked JOIN made ON made.id = u ->> 'id';
END $$;

-- Those without milestones.
CREATE FUNCTION create_order_all(p jsonb, OUT answers text[], OUT tells jsonb[]) LANGUAGE plpgsql AS $$
BEGIN
    WITH asked AS MATERIALIZED (
        SELECT r.place, r.one -> 'request' AS q, r.one #> '{request,order}' AS o,
            r.one #>> '{request,marketplace}' AS marketplace
        FROM jsonb_array_elements(p) WITH ORDINALITY AS r (one, place)
    ), made AS (
        INSERT INTO orders (id, marketplace_id, client_order_ref, buyer_id, seller_id, amount, currency, title,
            description, metadata, escrow_type)
        SELECT o ->> 'id', marketplace, o ->> 'reference', o ->> 'buyer', o ->> 'seller', (o ->> 'amount')::bigint,
            o ->> 'currency', o ->> 'title', o ->> 'description', nullif(o -> 'metadata', 'null'), o ->> 'escrow_type'
        FROM asked
        WHERE (SELECT u.status FROM users u WHERE u.marketplace_id = marketplace AND u.id = o ->> 'buyer') = 'ACTIVE'
            AND (SELECT u.status FROM users u WHERE u.marketplace_id = marketplace AND u.id = o ->> 'seller') = 'ACTIVE'
        ORDER BY place
        ON CONFLICT (marketplace_id, client_order_ref) DO NOTHING RETURNING id, created_at, updated_at
    )
    SELECT array_agg(format(q ->> 'answer', wire_time(made.created_at), wire_time(made.updated_at)) ORDER BY place),
        array_agg(told(q, q -> 'events', q -> 'audit', '[]') ORDER BY place)
    INTO answers, tells FROM asked JOIN made ON made.id = o ->> 'id';
END $$;

-- The same webhook twice raises 21000: one statement changes a row once.
CREATE FUNCTION keep_webhook_all(p jsonb, OUT answers text[], OUT tells jsonb[]) LANGUAGE plpgsql AS $$
BEGIN
    WITH asked AS MATERIALIZED (
        SELECT r.place, r.one -> 'request' AS q, r.one #> '{request,news}' AS n
        FROM jsonb_array_elements(p) WITH ORDINALITY AS r (one, place)
    ), kept AS (
        INSERT INTO webhook_events AS e (provider, event_id, event_type, subject, payload, status, outcome, processed_at)
        SELECT n ->> 'provider', n ->> 'event_id', n ->> 'event_type', n ->> 'subject', nullif(n -> 'payload', 'null'),
            n ->> 'status', n ->> 'outcome', CASE WHEN n ->> 'status' = 'IGNORED' THEN clock_timestamp() END
        FROM asked ORDER BY n ->> 'provider', n ->> 'event_id'
        ON CONFLICT (provider, event_id) DO UPDATE SET deliveries = e.deliveries + 1
        RETURNING e.provider, e.event_id, e.deliveries = 1 AS is_new
    )
    SELECT array_agg(is_new::text ORDER BY place),
        array_agg(told(q, '[]', '[]', CASE WHEN is_new THEN q -> 'jobs' ELSE '[]' END) ORDER BY place)
    INTO answers, tells
    FROM asked JOIN kept ON kept.provider = n ->> 'provider' AND kept.event_id = n ->> 'event_id';
END $$;

-- Take the keys of all these requests, until the transaction ends. Raises OH015 when an earlier request has one of them or
-- has had it.
CREATE FUNCTION idempotency_begin_all(p jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (
        SELECT coalesce(bool_and(pg_try_advisory_xact_lock(idempotency_lock(c.credential, c.key))
            AND (SELECT r.key FROM idempotent_requests r
                WHERE r.credential_id = c.credential AND r.key = c.key) IS NULL), true)
            AND count(*) = count(DISTINCT (c.credential, c.key))
        FROM (
            SELECT one #>> '{claim,credential}' AS credential, one #>> '{claim,key}' AS key
            FROM jsonb_array_elements(p) AS r (one) WHERE one ? 'claim'
        ) AS c
    ) THEN
        RAISE EXCEPTION 'a key is taken' USING ERRCODE = 'OH015';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION effect_of(p_use_case text, p jsonb, OUT answer text, OUT tells jsonb) LANGUAGE plpgsql AS $$
BEGIN
    CASE p_use_case
        WHEN 'move_by_hand' THEN SELECT e.* INTO answer, tells FROM effect_of_move_by_hand(p) AS e;
        WHEN 'balance_operation' THEN SELECT e.* INTO answer, tells FROM effect_of_balance_operation(p) AS e;
        WHEN 'create_user' THEN SELECT e.* INTO answer, tells FROM effect_of_create_user(p) AS e;
        WHEN 'create_order' THEN SELECT e.* INTO answer, tells FROM effect_of_create_order(p) AS e;
        WHEN 'reserve_order' THEN SELECT e.* INTO answer, tells FROM effect_of_reserve_order(p) AS e;
        WHEN 'keep_webhook' THEN SELECT e.* INTO answer, tells FROM effect_of_keep_webhook(p) AS e;
    END CASE;
END $$;

-- As before, and first as sets. What locks no account may go before everything else; credits and debits only where nothing
-- else of the batch locks any.
CREATE OR REPLACE FUNCTION perform(p_requests text) RETURNS TABLE (answer text)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    v_requests jsonb := p_requests::jsonb;
    v_count integer := jsonb_array_length(v_requests);
    v_others_lock boolean :=
        v_requests @? '$[*] ? (@.use_case == "balance_operation" || @.use_case == "reserve_order")';
    v_set record;
    v_one record;
    v_claim jsonb;
    v_key text;
    v_answer text;
    v_tells jsonb;
    v_performed text[];
    v_tellings jsonb[];
    v_keys text[] := '{}';
    v_answers text[] := array_fill(NULL::text, ARRAY[v_count]);
    v_told jsonb[] := array_fill(NULL::jsonb, ARRAY[v_count]);
BEGIN
    FOR v_set IN
        SELECT r.one ->> 'use_case' AS use_case, array_agg(r.place ORDER BY r.place) AS places,
            CASE WHEN count(*) = v_count THEN v_requests ELSE jsonb_agg(r.one ORDER BY r.place) END AS requests
        FROM jsonb_array_elements(v_requests) WITH ORDINALITY AS r (one, place)
        WHERE v_count > 1 AND CASE r.one ->> 'use_case'
            WHEN 'move_by_hand' THEN NOT v_others_lock
            WHEN 'create_order' THEN r.one #> '{request,milestones}' = '[]'
            ELSE r.one ->> 'use_case' IN ('create_user', 'keep_webhook') END
        GROUP BY 1 HAVING count(*) > 1 ORDER BY r.one ->> 'use_case' = 'move_by_hand'
    LOOP
        BEGIN
            PERFORM idempotency_begin_all(v_set.requests);
            CASE v_set.use_case
                WHEN 'move_by_hand' THEN
                    SELECT s.* INTO v_performed, v_tellings FROM move_by_hand_all(v_set.requests) AS s;
                WHEN 'create_user' THEN
                    SELECT s.* INTO v_performed, v_tellings FROM create_user_all(v_set.requests) AS s;
                WHEN 'create_order' THEN
                    SELECT s.* INTO v_performed, v_tellings FROM create_order_all(v_set.requests) AS s;
                WHEN 'keep_webhook' THEN
                    SELECT s.* INTO v_performed, v_tellings FROM keep_webhook_all(v_set.requests) AS s;
            END CASE;
            IF cardinality(v_performed) IS DISTINCT FROM cardinality(v_set.places) THEN
                RAISE EXCEPTION 'not all of them at once' USING ERRCODE = 'OH015';
            END IF;
            FOR v_number IN 1..cardinality(v_set.places) LOOP
                v_answers[v_set.places[v_number]] := v_performed[v_number];
                v_told[v_set.places[v_number]] := v_tellings[v_number];
            END LOOP;
        EXCEPTION
            WHEN serialization_failure OR deadlock_detected THEN RAISE;
            WHEN OTHERS THEN NULL;  -- one by one
        END;
    END LOOP;

    FOR v_one IN
        SELECT r.one, r.place FROM jsonb_array_elements(v_requests) WITH ORDINALITY AS r (one, place)
        WHERE v_answers[r.place] IS NULL
    LOOP
        v_claim := v_one.one -> 'claim';
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
                FROM effect_of(v_one.one ->> 'use_case', v_one.one -> 'request') AS e;
            END IF;
        EXCEPTION
            WHEN serialization_failure OR deadlock_detected THEN RAISE;
            WHEN OTHERS THEN v_answer := NULL;
        END;
        IF v_answer IS NOT NULL THEN
            v_answers[v_one.place] := v_answer;
            v_told[v_one.place] := v_tells;
            IF v_claim IS NOT NULL THEN
                v_keys := array_append(v_keys, v_key);
            END IF;
        END IF;
    END LOOP;

    PERFORM journal_all(array_remove(v_told, NULL));
    INSERT INTO idempotent_requests (credential_id, key, marketplace_id, method, path, fingerprint, status, body,
        completed_at, expires_at)
    SELECT c.one ->> 'credential', c.one ->> 'key', c.one ->> 'marketplace', c.one ->> 'method', c.one ->> 'path',
        decode(c.one ->> 'fingerprint', 'hex'), (c.one ->> 'status')::integer, convert_to(c.body, 'UTF8'),
        clock_timestamp(), clock_timestamp() + make_interval(secs => (c.one ->> 'seconds')::double precision)
    FROM (
        SELECT r.one -> 'claim' AS one, v_answers[r.place] AS body
        FROM jsonb_array_elements(v_requests) WITH ORDINALITY AS r (one, place)
        WHERE r.one ? 'claim' AND v_answers[r.place] IS NOT NULL
    ) AS c;
    RETURN QUERY SELECT a.answer FROM unnest(v_answers) AS a (answer);
END $$;
