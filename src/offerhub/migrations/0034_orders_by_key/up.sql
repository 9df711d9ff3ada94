-- An order that is to be reserved is found by its id alone. A statement that also asked for its state or its marketplace was
-- planned, while the table was small, as a walk through all orders of that state or marketplace, for as long as the plan
-- was kept. IS NOT DISTINCT FROM is a condition that no index answers.

-- Set the buyer's money aside for an order that is there. `events`, `audit` and `answer` have places: available before and
-- after, reserved before and after, and when the order was changed.
-- Raises OH014 when the order is in another state than the first (DETAIL is JSON), what `require_user` does, and what
-- posting raises.
CREATE OR REPLACE FUNCTION effect_of_reserve_order(p jsonb, OUT answer text, OUT tells jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_order jsonb := p -> 'order';
    v_post jsonb := p -> 'post';
    v_status text;
    v_moved timestamptz;
    v_leg record;
    v_places text[];
BEGIN
    SELECT o.status INTO v_status FROM orders o
    WHERE o.id = v_order ->> 'id' AND o.marketplace_id IS NOT DISTINCT FROM p ->> 'marketplace' FOR NO KEY UPDATE;
    IF v_status IS DISTINCT FROM 'ORDER_CREATED' THEN
        RAISE EXCEPTION 'the order is in another state' USING ERRCODE = 'OH014', DETAIL = json_build_object(
            'status', v_status)::text;
    END IF;
    UPDATE orders SET status = 'FUNDS_RESERVED' WHERE id = v_order ->> 'id' RETURNING updated_at INTO v_moved;
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
