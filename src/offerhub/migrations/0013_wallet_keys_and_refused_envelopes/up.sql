-- Wallets by the version of the key that seals them: to see which versions are in use, and to seal them anew in batches.
CREATE INDEX wallets_by_key_version ON wallets (key_version, id);

-- Unsigned transactions of a provider that were not what was asked for. Nothing of them was signed or sent; they are
-- kept for whoever looks into the incident. The same refusal of the same subject is counted, not stored again.
CREATE TABLE refused_envelopes (
    subject_id      text COLLATE "C" NOT NULL,
    step            text COLLATE "C" NOT NULL,
    field           text COLLATE "C" NOT NULL CHECK (length(field) <= 100),
    marketplace_id  text COLLATE "C" NOT NULL REFERENCES marketplaces,
    saga_id         text COLLATE "C" NOT NULL REFERENCES sagas,
    expected        text,
    found           text,
    xdr             text NOT NULL,
    times           integer NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subject_id, step, field)
);
CREATE INDEX refused_envelopes_by_time ON refused_envelopes (last_at);

-- The contract that makes our escrows on a network, and the code that it deploys, as first seen there.
CREATE TABLE pinned_deployers (
    network      text COLLATE "C" PRIMARY KEY CHECK (network ~ '^[0-9a-f]{64}$'),
    contract_id  text COLLATE "C" NOT NULL CHECK (contract_id ~ '^C[A-Z2-7]{55}$'),
    code_hash    text COLLATE "C" CHECK (code_hash ~ '^[0-9a-f]{64}$'),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
