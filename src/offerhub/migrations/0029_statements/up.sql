-- Use cases that one statement performs whole: key, effect, journal and answer in a single round trip, and several
-- requests in a single transaction (decision 0051).

-- Units of 10^-7 as the wire shows them: two decimals, floored towards zero, as `format_amount` does.
CREATE FUNCTION wire_amount(p_units bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_units <= -100000 THEN '-' ELSE '' END || abs(p_units) / 10000000 || '.'
        || lpad((abs(p_units) / 100000 % 100)::text, 2, '0')
$$;

-- A moment as the wire shows it: UTC with milliseconds, the rest cut off.
CREATE FUNCTION wire_time(p_moment timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT to_char(p_moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- Set money aside under a reference (p_change above zero) or take it from there (below), and post the legs that go with
-- it, as `ledger.post` does. The hold's row is locked before the accounts, so two of them never wait for each other.
-- Raises OH012 when the reference holds less than is taken (DETAIL is JSON), and what `ledger.post` raises.
CREATE FUNCTION ledger.post_held(
    p_user text, p_source text, p_reference text, p_change bigint,
    p_marketplace text, p_business_key text, p_kind text, p_subject text, p_reason text, p_actor text,
    p_owners text[], p_kinds text[], p_amounts bigint[]
) RETURNS TABLE (owner text, kind text, balance_before bigint, balance_after bigint)
LANGUAGE plpgsql AS $$
BEGIN
    IF p_change > 0 THEN
        INSERT INTO ledger.holds AS h (marketplace_id, user_id, source, reference, amount)
        VALUES (p_marketplace, p_user, p_source, p_reference, p_change)
        ON CONFLICT (marketplace_id, user_id, source, reference)
        DO UPDATE SET amount = h.amount + excluded.amount, updated_at = clock_timestamp();
    ELSE
        UPDATE ledger.holds h SET amount = h.amount + p_change, updated_at = clock_timestamp()
        WHERE h.marketplace_id = p_marketplace AND h.user_id = p_user AND h.source = p_source
            AND h.reference = p_reference AND h.amount + p_change >= 0;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the reference does not hold this' USING ERRCODE = 'OH012', DETAIL = json_build_object(
                'requested', -p_change, 'held', coalesce((
                    SELECT h.amount FROM ledger.holds h
                    WHERE h.marketplace_id = p_marketplace AND h.user_id = p_user AND h.source = p_source
                        AND h.reference = p_reference), 0))::text;
        END IF;
    END IF;
    RETURN QUERY SELECT * FROM ledger.post(p_marketplace, p_business_key, p_kind, p_subject, p_reason, p_actor,
        p_owners, p_kinds, p_amounts);
END $$;

-- A manual operation on balances. `users` are whose balances the answer and the events tell of, each with what the
-- operation adds to its available, held and reserved amounts; `hold` is what is set aside or taken, `post` the legs.
-- `events`, `audit` and `answer` are JSON texts for `format`, whose places are filled eight to a user: available before
-- and after, held before and after, reserved (held and on its way out) before and after, the total, and its time.
-- Raises OH010 for an unknown user and OH011 for one who may not move money (DETAIL is JSON), and what posting raises.
CREATE FUNCTION balance_operation(p jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_marketplace text := p ->> 'marketplace';
    v_post jsonb := p -> 'post';
    v_hold jsonb := p -> 'hold';
    v_owners text[] := ARRAY(SELECT jsonb_array_elements_text(v_post -> 'owners'));
    v_kinds text[] := ARRAY(SELECT jsonb_array_elements_text(v_post -> 'kinds'));
    v_amounts bigint[] := ARRAY(SELECT jsonb_array_elements_text(v_post -> 'amounts')::bigint);
    v_user jsonb;
    v_status text;
    v_now record;
    v_places text[] := '{}';
BEGIN
    FOR v_user IN SELECT value FROM jsonb_array_elements(p -> 'users') LOOP
        SELECT u.status INTO v_status FROM users u WHERE u.marketplace_id = v_marketplace AND u.id = v_user ->> 'id';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no such user' USING ERRCODE = 'OH010',
                DETAIL = json_build_object('user', v_user ->> 'id')::text;
        ELSIF v_status <> 'ACTIVE' AND (v_user ->> 'active')::boolean THEN
            RAISE EXCEPTION 'the user may not move money' USING ERRCODE = 'OH011',
                DETAIL = json_build_object('user', v_user ->> 'id', 'status', v_status)::text;
        END IF;
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

    PERFORM journal(v_marketplace, p -> 'actor', format(p ->> 'events', VARIADIC v_places)::jsonb,
        format(p ->> 'audit', VARIADIC v_places)::jsonb, '[]'::jsonb);
    RETURN format(p ->> 'answer', VARIADIC v_places);
END $$;

-- The lock that stands for a key while a request with it is being worked on.
CREATE FUNCTION idempotency_lock(p_credential text, p_key text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashtextextended('idempotency' || chr(10) || p_credential || chr(10) || p_key, 0)
$$;

-- Perform one request: its key, when it has one, the effect, and the answer kept for the key. Null when an earlier request
-- has the key or has had it: then nothing was done.
CREATE FUNCTION perform_one(p jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_claim jsonb := p -> 'claim';
    v_answer text;
BEGIN
    IF v_claim IS NOT NULL THEN
        IF NOT pg_try_advisory_xact_lock(idempotency_lock(v_claim ->> 'credential', v_claim ->> 'key')) THEN
            RETURN NULL;
        END IF;
        IF EXISTS (
            SELECT FROM idempotent_requests r
            WHERE r.credential_id = v_claim ->> 'credential' AND r.key = v_claim ->> 'key'
        ) THEN
            RETURN NULL;
        END IF;
    END IF;

    CASE p ->> 'use_case'
        WHEN 'balance_operation' THEN v_answer := balance_operation(p -> 'request');
    END CASE;

    IF v_claim IS NOT NULL THEN
        INSERT INTO idempotent_requests (credential_id, key, marketplace_id, method, path, fingerprint, status, body,
            completed_at, expires_at)
        VALUES (v_claim ->> 'credential', v_claim ->> 'key', v_claim ->> 'marketplace', v_claim ->> 'method',
            v_claim ->> 'path', decode(v_claim ->> 'fingerprint', 'hex'), (v_claim ->> 'status')::integer,
            convert_to(v_answer, 'UTF8'), clock_timestamp(),
            clock_timestamp() + make_interval(secs => (v_claim ->> 'seconds')::double precision));
    END IF;
    RETURN v_answer;
END $$;

-- Perform requests one after the other; the answer of each, or null where it came to nothing and left nothing: whoever
-- asked then finds out why, alone. Only what would meet every request again, a deadlock or a conflict, ends them all.
CREATE FUNCTION perform(p_requests text) RETURNS TABLE (answer text) LANGUAGE plpgsql AS $$
DECLARE
    v_request jsonb;
BEGIN
    FOR v_request IN SELECT value FROM jsonb_array_elements(p_requests::jsonb) LOOP
        BEGIN
            answer := perform_one(v_request);
        EXCEPTION
            WHEN serialization_failure OR deadlock_detected THEN RAISE;
            WHEN OTHERS THEN answer := NULL;
        END;
        RETURN NEXT;
    END LOOP;
END $$;
