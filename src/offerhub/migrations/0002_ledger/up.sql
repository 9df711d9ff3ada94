-- The books: double entry in whole units of 10^-7, append-only, written by one function.

CREATE SCHEMA ledger;

CREATE TABLE ledger.chart (
    kind     text PRIMARY KEY,
    floored  boolean NOT NULL,
    meaning  text NOT NULL
);
INSERT INTO ledger.chart VALUES
    ('available',          true,  'what a user may spend or withdraw'),
    ('reserved',           true,  'a user''s money set aside for an order'),
    ('withdrawing',        true,  'a user''s money on its way out, until the chain has decided'),
    ('escrow',             true,  'an order''s money inside its contract'),
    ('world:stellar',      false, 'the other side of deposits and withdrawals on the chain'),
    ('world:airtm',        false, 'the other side of top-ups and payouts through Airtm'),
    ('world:manual',       false, 'the other side of credits and debits made by hand through the API'),
    ('fees:platform',      false, 'platform fees that the contracts paid out'),
    ('fees:trustless_work', false, 'protocol fees that the contracts paid out');

-- A balance is kept on accounts with a floor only; the others are insert-only, so that no hot row serialises the business.
CREATE TABLE ledger.accounts (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    marketplace_id  text COLLATE "C" NOT NULL REFERENCES marketplaces,
    owner           text COLLATE "C" NOT NULL,
    kind            text COLLATE "C" NOT NULL REFERENCES ledger.chart,
    asset           text COLLATE "C" NOT NULL DEFAULT 'USD',
    floored         boolean NOT NULL,
    balance         bigint NOT NULL DEFAULT 0,
    version         bigint NOT NULL DEFAULT 0,
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (marketplace_id, owner, kind, asset),
    CONSTRAINT floor_holds CHECK (NOT floored OR balance >= 0),
    CONSTRAINT unfloored_keep_no_balance CHECK (floored OR (balance = 0 AND version = 0))
) WITH (fillfactor = 70);

-- No foreign keys to marketplaces and accounts here: each would lock one row that every post of a marketplace shares.
-- The function below writes both tables, and `offerhub prove` looks for orphans.
CREATE TABLE ledger.transactions (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    marketplace_id  text COLLATE "C" NOT NULL,
    business_key    text COLLATE "C" NOT NULL,
    kind            text NOT NULL,
    subject         text COLLATE "C" NOT NULL,
    reason          text,
    actor           text NOT NULL,
    posted_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT one_effect_per_intent UNIQUE (marketplace_id, business_key)
);
CREATE INDEX transactions_by_subject ON ledger.transactions (subject);

CREATE TABLE ledger.postings (
    transaction_id   bigint NOT NULL REFERENCES ledger.transactions,
    position         smallint NOT NULL,
    account_id       bigint NOT NULL,
    amount           bigint NOT NULL CHECK (amount <> 0),
    account_version  bigint,
    balance_after    bigint,
    PRIMARY KEY (transaction_id, position),
    CONSTRAINT versions_are_gap_free UNIQUE (account_id, account_version)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.transactions FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON ledger.transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.postings FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON ledger.postings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER accounts_stay BEFORE DELETE ON ledger.accounts FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Whoever inserts postings, by the function or by hand, inserts a balanced set or nothing. There is one asset so far;
-- `offerhub prove` sums by asset.
CREATE FUNCTION ledger.check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inserted GROUP BY transaction_id HAVING sum(amount) <> 0) THEN
        RAISE EXCEPTION 'postings do not balance' USING ERRCODE = 'OH002';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER balanced AFTER INSERT ON ledger.postings
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_balanced();

-- Post one balanced transaction: leg i moves p_amounts[i] units into (p_owners[i], p_kinds[i]); owners and kinds are
-- distinct pairs. Accounts are locked in the order of owner and kind, so two posts never deadlock on them. Returns the
-- legs with the balances around them (null for accounts without a floor).
-- Raises OH001 when a floor would be broken (DETAIL is JSON), OH002 when the legs do not balance or the chart lacks a
-- kind, 23505 one_effect_per_intent when this business key has been posted before.
-- Each account is looked up by its whole key, one by one: a join with the legs is planned as a scan of all accounts.
CREATE FUNCTION ledger.post(
    p_marketplace text, p_business_key text, p_kind text, p_subject text, p_reason text, p_actor text,
    p_owners text[], p_kinds text[], p_amounts bigint[]
) RETURNS TABLE (owner text, kind text, balance_before bigint, balance_after bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_transaction bigint;
    v_leg record;
    v_account record;
    v_after bigint;
    v_version bigint;
    v_accounts bigint[] := '{}';
    v_moved bigint[] := '{}';
    v_versions bigint[] := '{}';
    v_afters bigint[] := '{}';
BEGIN
    INSERT INTO ledger.transactions (marketplace_id, business_key, kind, subject, reason, actor)
    VALUES (p_marketplace, p_business_key, p_kind, p_subject, p_reason, p_actor)
    RETURNING id INTO v_transaction;

    FOR v_leg IN
        SELECT leg.owner COLLATE "C" AS owner, leg.kind COLLATE "C" AS kind, leg.amount
        FROM unnest(p_owners, p_kinds, p_amounts) AS leg (owner, kind, amount) ORDER BY 1, 2
    LOOP
        SELECT a.id, a.floored INTO v_account FROM ledger.accounts a
        WHERE a.marketplace_id = p_marketplace AND a.owner = v_leg.owner AND a.kind = v_leg.kind AND a.asset = 'USD';
        IF NOT FOUND THEN
            INSERT INTO ledger.accounts (marketplace_id, owner, kind, floored)
            SELECT p_marketplace, v_leg.owner, c.kind, c.floored FROM ledger.chart c WHERE c.kind = v_leg.kind
            ON CONFLICT DO NOTHING;
            SELECT a.id, a.floored INTO v_account FROM ledger.accounts a
            WHERE a.marketplace_id = p_marketplace AND a.owner = v_leg.owner AND a.kind = v_leg.kind
                AND a.asset = 'USD';
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the chart has no account kind %', v_leg.kind USING ERRCODE = 'OH002';
            END IF;
        END IF;
        v_after := NULL;
        v_version := NULL;
        IF v_account.floored THEN
            UPDATE ledger.accounts a
            SET balance = a.balance + v_leg.amount, version = a.version + 1, updated_at = clock_timestamp()
            WHERE a.id = v_account.id AND a.balance + v_leg.amount >= 0
            RETURNING a.balance, a.version INTO v_after, v_version;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the balance does not cover this' USING ERRCODE = 'OH001', DETAIL = json_build_object(
                    'owner', v_leg.owner, 'kind', v_leg.kind, 'requested', -v_leg.amount,
                    'balance', (SELECT a.balance FROM ledger.accounts a WHERE a.id = v_account.id))::text;
            END IF;
        END IF;
        v_accounts := v_accounts || v_account.id;
        v_moved := v_moved || v_leg.amount;
        v_versions := v_versions || v_version;
        v_afters := v_afters || v_after;
        owner := v_leg.owner;
        kind := v_leg.kind;
        balance_before := v_after - v_leg.amount;
        balance_after := v_after;
        RETURN NEXT;
    END LOOP;

    INSERT INTO ledger.postings (transaction_id, position, account_id, amount, account_version, balance_after)
    SELECT v_transaction, (leg.position - 1)::smallint, leg.account, leg.amount, leg.version, leg.after
    FROM unnest(v_accounts, v_moved, v_versions, v_afters) WITH ORDINALITY AS leg (account, amount, version, after, position);
END $$;

-- What each reservation still holds: a user's reserved balance, told apart by what it was set aside for.
CREATE TABLE ledger.holds (
    marketplace_id  text COLLATE "C" NOT NULL REFERENCES marketplaces,
    user_id         text COLLATE "C" NOT NULL,
    source          text COLLATE "C" NOT NULL CHECK (source IN ('api', 'order')),
    reference       text COLLATE "C" NOT NULL CHECK (length(reference) BETWEEN 1 AND 255),
    amount          bigint NOT NULL CHECK (amount >= 0),
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (marketplace_id, user_id, source, reference)
);
