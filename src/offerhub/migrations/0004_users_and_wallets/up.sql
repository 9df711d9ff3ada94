-- Users and their custodial Stellar wallets; system wallets (platform, resolver) have no user.

CREATE TABLE users (
    id                text COLLATE "C" PRIMARY KEY CHECK (id ~ '^usr_[0-9A-Za-z]{32}$'),
    marketplace_id    text COLLATE "C" NOT NULL REFERENCES marketplaces,
    external_user_id  text NOT NULL CHECK (length(external_user_id) BETWEEN 1 AND 255),
    email             text,
    type              text NOT NULL CHECK (type IN ('BUYER', 'SELLER', 'BOTH')),
    status            text NOT NULL DEFAULT 'ACTIVE',
    metadata          jsonb,
    airtm_user_id     text,
    airtm_email       text,
    airtm_linked_at   timestamptz,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (marketplace_id, external_user_id),
    UNIQUE (marketplace_id, id)
);
CREATE TRIGGER states BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE INDEX users_by_marketplace ON users (marketplace_id, id DESC);
INSERT INTO state_moves VALUES
    ('users.status', 'PENDING_VERIFICATION', 'ACTIVE'),
    ('users.status', 'PENDING_VERIFICATION', 'SUSPENDED'),
    ('users.status', 'ACTIVE', 'SUSPENDED'),
    ('users.status', 'SUSPENDED', 'ACTIVE');

ALTER TABLE api_keys ADD FOREIGN KEY (marketplace_id, user_id) REFERENCES users (marketplace_id, id);
ALTER TABLE ledger.holds ADD FOREIGN KEY (marketplace_id, user_id) REFERENCES users (marketplace_id, id);

CREATE TABLE wallets (
    id              text COLLATE "C" PRIMARY KEY CHECK (id ~ '^wal_[0-9A-Za-z]{32}$'),
    marketplace_id  text COLLATE "C" NOT NULL REFERENCES marketplaces,
    user_id         text COLLATE "C",
    purpose         text COLLATE "C" NOT NULL CHECK (purpose IN ('user', 'platform', 'resolver')),
    public_key      text COLLATE "C" NOT NULL UNIQUE CHECK (public_key ~ '^G[A-Z2-7]{55}$'),
    secret_blob     bytea NOT NULL,
    key_version     integer NOT NULL,
    status          text NOT NULL DEFAULT 'PENDING',
    type            text NOT NULL DEFAULT 'INVISIBLE' CHECK (type IN ('INVISIBLE', 'EXTERNAL')),
    is_primary      boolean NOT NULL DEFAULT true,
    is_active       boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((purpose = 'user') = (user_id IS NOT NULL)),
    FOREIGN KEY (marketplace_id, user_id) REFERENCES users (marketplace_id, id)
);
CREATE TRIGGER states BEFORE UPDATE ON wallets FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE UNIQUE INDEX one_primary_wallet ON wallets (user_id) WHERE is_active AND is_primary;
CREATE UNIQUE INDEX one_system_wallet ON wallets (purpose) WHERE purpose <> 'user' AND is_active;
INSERT INTO state_moves VALUES ('wallets.status', 'PENDING', 'READY');
