-- What a program with a mistake in it, or a person at a SQL prompt, cannot write: each guard is named after the
-- invariant that it holds (docs/operating/guarantees.md lists them). Most are a condition on a trigger, which costs
-- nothing until it is met.
--
-- Each refusal names its guard as the constraint. OH002: does not balance. OH003: not a move of the table. OH004: is never
-- changed. OH005: does not follow from what is there.

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % refused by %', TG_TABLE_NAME, TG_OP, TG_NAME USING ERRCODE = 'OH004', CONSTRAINT = TG_NAME;
END $$;

CREATE FUNCTION refuse_orphan() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'OH005', CONSTRAINT = TG_NAME;
END $$;

CREATE FUNCTION refuse_birth() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: nothing begins as %', TG_TABLE_NAME, NEW.status USING ERRCODE = 'OH003', CONSTRAINT = TG_NAME;
END $$;

-- I1, I14: one asset so far, so that "each transaction sums to zero" and "each asset does" are the same sentence. I3: an
-- account has the floor of its kind.
ALTER TABLE ledger.chart ADD CONSTRAINT kinds_have_one_floor UNIQUE (kind, floored);
ALTER TABLE ledger.accounts
    ADD CONSTRAINT asset_is_known CHECK (asset = 'USD'),
    DROP CONSTRAINT accounts_kind_fkey,
    ADD CONSTRAINT floor_of_its_kind FOREIGN KEY (kind, floored) REFERENCES ledger.chart (kind, floored);
ALTER TABLE orders ADD CONSTRAINT currency_is_known CHECK (currency IN ('USD', 'USDC')) NOT VALID;
ALTER TABLE topups ADD CONSTRAINT currency_is_known CHECK (currency IN ('USD', 'USDC')) NOT VALID;
ALTER TABLE withdrawals ADD CONSTRAINT currency_is_known CHECK (currency IN ('USD', 'USDC')) NOT VALID;

-- Rows of a statement are looked at one by one, by scalar queries: a join is planned as a scan of the whole table.

-- I1: the postings of a statement balance; each stands on an account of its transaction's marketplace, and tells the
-- balance and the version that the account has.
CREATE OR REPLACE FUNCTION ledger.check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM inserted i GROUP BY i.transaction_id HAVING sum(i.amount) <> 0 OR NOT bool_and(coalesce((
            SELECT a.marketplace_id = (SELECT t.marketplace_id FROM ledger.transactions t WHERE t.id = i.transaction_id)
                AND CASE WHEN a.floored THEN a.version = i.account_version AND a.balance = i.balance_after
                    ELSE num_nonnulls(i.account_version, i.balance_after) = 0 END
            FROM ledger.accounts a WHERE a.id = i.account_id), false))
    ) THEN
        RAISE EXCEPTION 'postings do not balance, or do not follow from their accounts' USING ERRCODE = 'OH002', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

-- I2: a balance begins at zero, and each change of it has its posting, once the transaction ends.
CREATE TRIGGER begins_empty BEFORE INSERT ON ledger.accounts FOR EACH ROW WHEN (NEW.balance <> 0 OR NEW.version <> 0)
    EXECUTE FUNCTION refuse_orphan('an account begins without a balance');
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id, owner, kind, asset, floored ON ledger.accounts
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION ledger.check_posted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version <> OLD.version + 1 OR NOT EXISTS (
        SELECT FROM ledger.postings p
        WHERE p.account_id = NEW.id AND p.account_version = NEW.version AND p.balance_after = NEW.balance
            AND p.amount = NEW.balance - OLD.balance
    ) THEN
        RAISE EXCEPTION 'the balance of account % changed without a posting', NEW.id USING ERRCODE = 'OH005', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER each_change_is_posted AFTER UPDATE ON ledger.accounts DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.balance <> NEW.balance OR OLD.version <> NEW.version)
    EXECUTE FUNCTION ledger.check_posted();

-- I5: what is to be done has its time.
ALTER TABLE outbox ADD CONSTRAINT comes_due CHECK (due_at < 'infinity') NOT VALID;
ALTER TABLE sagas ADD CONSTRAINT comes_due
    CHECK (status <> 'RUNNING' OR (next_attempt_at < 'infinity' AND lease_until < 'infinity')) NOT VALID;

-- I6: everything begins at its beginning. A withdrawal to a Stellar address is on its way from the start.
CREATE TRIGGER beginning BEFORE INSERT ON users FOR EACH ROW
    WHEN (NEW.status <> 'ACTIVE') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON orders FOR EACH ROW
    WHEN (NEW.status <> 'ORDER_CREATED') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON milestones FOR EACH ROW
    WHEN (NEW.status <> 'OPEN') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON escrows FOR EACH ROW
    WHEN (NEW.status <> 'CREATING') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON escrow_milestones FOR EACH ROW
    WHEN (NEW.status <> 'UNPAID') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON disputes FOR EACH ROW
    WHEN (NEW.status <> 'OPEN') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON topups FOR EACH ROW
    WHEN (NEW.status <> 'TOPUP_CREATED') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON withdrawals FOR EACH ROW
    WHEN (NEW.status <> CASE NEW.destination_type WHEN 'crypto' THEN 'WITHDRAWAL_PENDING' ELSE 'WITHDRAWAL_CREATED' END)
    EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON airtm_refunds FOR EACH ROW
    WHEN (NEW.status <> 'OPEN') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON sagas FOR EACH ROW
    WHEN (NEW.status <> 'RUNNING') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON saga_steps FOR EACH ROW
    WHEN (NEW.status <> 'PLANNED') EXECUTE FUNCTION refuse_birth();
CREATE TRIGGER beginning BEFORE INSERT ON envelopes FOR EACH ROW
    WHEN (NEW.status <> 'SIGNED') EXECUTE FUNCTION refuse_birth();

-- I6: and nothing that money depends on disappears. An escrow that the chain has refused to make is the exception, with
-- its milestones.
CREATE TRIGGER stays BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON wallets FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON milestones FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON escrows FOR EACH ROW
    WHEN (OLD.status <> 'CREATING') EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON escrow_milestones FOR EACH ROW
    WHEN (OLD.status <> 'UNPAID') EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON disputes FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON topups FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON withdrawals FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON airtm_refunds FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON sagas FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON saga_steps FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays BEFORE DELETE ON state_moves FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself BEFORE UPDATE ON state_moves FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- I7: an outcome has its evidence, and a saga with a step in doubt has not ended.
ALTER TABLE saga_steps ADD CONSTRAINT ends_with_an_outcome
    CHECK ((status IN ('SETTLED', 'REFUSED')) = (outcome IS NOT NULL)) NOT VALID;
ALTER TABLE envelopes ADD CONSTRAINT ends_with_evidence CHECK (CASE
    WHEN status IN ('SUCCEEDED', 'FAILED') THEN ledger IS NOT NULL AND result IS NOT NULL
    WHEN status = 'EXPIRED' THEN result IS NOT NULL
    ELSE ledger IS NULL END) NOT VALID;

CREATE FUNCTION check_no_doubt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM saga_steps s WHERE s.saga_id = NEW.id AND s.status IN ('ATTEMPTED', 'UNKNOWN')) THEN
        RAISE EXCEPTION 'saga % has a step in doubt', NEW.id USING ERRCODE = 'OH005', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER no_end_in_doubt BEFORE UPDATE OF status ON sagas FOR EACH ROW
    WHEN (OLD.status = 'RUNNING' AND NEW.status <> 'RUNNING') EXECUTE FUNCTION check_no_doubt();

-- I8, I9: an event follows the one before it and waits for its place; places follow one another.
CREATE FUNCTION check_event_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM inserted i
        WHERE (SELECT a.event FROM event_arrivals a WHERE a.event = i.position) IS NULL
            OR (i.sequence <> 1 AND (
                SELECT e.sequence FROM events e WHERE e.aggregate_type = i.aggregate_type
                    AND e.aggregate_id = i.aggregate_id AND e.sequence = i.sequence - 1) IS NULL)
    ) THEN
        RAISE EXCEPTION 'an event has no event before it, or nobody will read it' USING ERRCODE = 'OH005', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER in_order AFTER INSERT ON events
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION check_event_order();

CREATE FUNCTION check_places() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM inserted i
        WHERE (SELECT e.position FROM events e WHERE e.position = i.event) IS NULL
            OR (i.place <> 1 AND (SELECT l.place FROM event_log l WHERE l.place = i.place - 1) IS NULL)
    ) THEN
        RAISE EXCEPTION 'a place in the log follows no other, or holds no event' USING ERRCODE = 'OH005', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER in_order AFTER INSERT ON event_log
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION check_places();

-- I10, I11: what was written once stays, whole tables as well.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON treasury_deposits FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON treasury_deposits EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON deposits EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON events EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON event_log EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON audit_entries EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON audit_chain EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON audit_seals EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON envelopes EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_all BEFORE TRUNCATE ON fee_bumps EXECUTE FUNCTION refuse_change();

-- I12: what an order, an escrow, a top-up or a withdrawal is about, and whose it is, was settled when it began.
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id, buyer_id, seller_id, amount, currency ON orders
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id, order_id, position, amount ON milestones
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id, order_id, amount, platform_fee_bps, treasury ON escrows
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself
    BEFORE UPDATE OF escrow_id, position, marketplace_id, milestone_id, amount ON escrow_milestones
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id, user_id, amount, currency ON topups
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself
    BEFORE UPDATE OF id, marketplace_id, user_id, amount, currency, destination_type, destination_ref ON withdrawals
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- I13: nothing moves into another marketplace, and what belongs together is of one.
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id ON users
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id, user_id, purpose, public_key ON wallets
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id, user_id ON api_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id, order_id ON disputes
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stays_itself BEFORE UPDATE OF id, marketplace_id, kind, subject_id, input ON sagas
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
ALTER TABLE escrows ADD UNIQUE (marketplace_id, id);
ALTER TABLE milestones ADD UNIQUE (marketplace_id, id);
ALTER TABLE escrow_milestones
    DROP CONSTRAINT escrow_milestones_escrow_id_fkey,
    DROP CONSTRAINT escrow_milestones_milestone_id_fkey,
    DROP CONSTRAINT escrow_milestones_marketplace_id_fkey,
    ADD FOREIGN KEY (marketplace_id, escrow_id) REFERENCES escrows (marketplace_id, id) ON DELETE CASCADE,
    ADD FOREIGN KEY (marketplace_id, milestone_id) REFERENCES milestones (marketplace_id, id);

CREATE FUNCTION check_same_marketplace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM inserted d
        WHERE (SELECT e.marketplace_id FROM events e WHERE e.id = d.event_id) IS DISTINCT FROM d.marketplace_id
    ) THEN
        RAISE EXCEPTION 'a delivery tells of another marketplace' USING ERRCODE = 'OH005', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER one_marketplace AFTER INSERT ON webhook_deliveries
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION check_same_marketplace();

-- I17: a sealed secret is longer than it is in clear, by its nonce and its tag.
ALTER TABLE wallets ADD CONSTRAINT secret_is_sealed CHECK (octet_length(secret_blob) >= 60) NOT VALID;
ALTER TABLE webhook_secrets ADD CONSTRAINT secret_is_sealed CHECK (octet_length(sealed) > 28) NOT VALID;

-- I18: an envelope is sent as it was signed.
CREATE TRIGGER stays_itself
    BEFORE UPDATE OF hash, saga_id, position, source_account, sequence, xdr, valid_until ON envelopes
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
