-- Money in from users of Airtm. One row is one payin there, whose code is the row's id.

CREATE TABLE topups (
    id                text COLLATE "C" PRIMARY KEY CHECK (id ~ '^topup_[0-9A-Za-z]{32}$'),
    marketplace_id    text COLLATE "C" NOT NULL REFERENCES marketplaces,
    user_id           text COLLATE "C" NOT NULL,
    airtm_user_id     text NOT NULL,
    amount            bigint NOT NULL CHECK (amount > 0),
    net_amount        bigint CHECK (net_amount > 0),
    fee               bigint CHECK (fee >= 0),
    currency          text NOT NULL,
    description       text,
    status            text NOT NULL DEFAULT 'TOPUP_CREATED',
    airtm_payin_id    text COLLATE "C" UNIQUE,
    airtm_status      text,
    confirmation_uri  text,
    failure_reason    text,
    fault             text,
    expires_at        timestamptz,
    checked_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (marketplace_id, id),
    FOREIGN KEY (marketplace_id, user_id) REFERENCES users (marketplace_id, id),
    CONSTRAINT succeeded_with_what_arrived CHECK (
        CASE status WHEN 'TOPUP_SUCCEEDED' THEN net_amount IS NOT NULL AND fee IS NOT NULL AND net_amount + fee = amount
        ELSE net_amount IS NULL AND fee IS NULL END),
    CONSTRAINT payin_known CHECK (status IN ('TOPUP_CREATED', 'TOPUP_FAILED') OR airtm_payin_id IS NOT NULL),
    CONSTRAINT user_knows_where_to_pay CHECK (
        status <> 'TOPUP_AWAITING_USER_CONFIRMATION' OR confirmation_uri IS NOT NULL)
);
-- A look at Airtm that finds nothing new is no change of the top-up: `updated_at` stays.
CREATE TRIGGER states BEFORE UPDATE ON topups FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION guard_state();
CREATE INDEX topups_by_marketplace ON topups (marketplace_id, id DESC);
CREATE INDEX topups_by_user ON topups (user_id, id DESC);
CREATE INDEX topups_to_look_after ON topups (checked_at) WHERE airtm_payin_id IS NOT NULL
    AND status IN ('TOPUP_CREATED', 'TOPUP_AWAITING_USER_CONFIRMATION', 'TOPUP_PROCESSING');
INSERT INTO state_moves VALUES
    ('topups.status', 'TOPUP_CREATED', 'TOPUP_AWAITING_USER_CONFIRMATION'),
    ('topups.status', 'TOPUP_CREATED', 'TOPUP_PROCESSING'),
    ('topups.status', 'TOPUP_CREATED', 'TOPUP_SUCCEEDED'),
    ('topups.status', 'TOPUP_CREATED', 'TOPUP_FAILED'),
    ('topups.status', 'TOPUP_CREATED', 'TOPUP_CANCELED'),
    ('topups.status', 'TOPUP_AWAITING_USER_CONFIRMATION', 'TOPUP_PROCESSING'),
    ('topups.status', 'TOPUP_AWAITING_USER_CONFIRMATION', 'TOPUP_SUCCEEDED'),
    ('topups.status', 'TOPUP_AWAITING_USER_CONFIRMATION', 'TOPUP_FAILED'),
    ('topups.status', 'TOPUP_AWAITING_USER_CONFIRMATION', 'TOPUP_CANCELED'),
    ('topups.status', 'TOPUP_PROCESSING', 'TOPUP_SUCCEEDED'),
    ('topups.status', 'TOPUP_PROCESSING', 'TOPUP_FAILED'),
    ('topups.status', 'TOPUP_PROCESSING', 'TOPUP_CANCELED');
