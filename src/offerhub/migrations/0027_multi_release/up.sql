-- Multi-release orders: each milestone of the contract pays out by itself.

ALTER TABLE orders ADD COLUMN escrow_type text COLLATE "C" NOT NULL DEFAULT 'single-release'
    CHECK (escrow_type IN ('single-release', 'multi-release'));

-- A multi-release contract's milestones, by their index in it. An escrow of the other type has none. Shares are what
-- was decided before fees, nets what the chain paid.
CREATE TABLE escrow_milestones (
    escrow_id          text COLLATE "C" NOT NULL REFERENCES escrows ON DELETE CASCADE,
    position           integer NOT NULL CHECK (position >= 0),
    marketplace_id     text COLLATE "C" NOT NULL REFERENCES marketplaces,
    milestone_id       text COLLATE "C" NOT NULL UNIQUE REFERENCES milestones,
    amount             bigint NOT NULL CHECK (amount > 0 AND amount % 100000 = 0),
    status             text NOT NULL DEFAULT 'UNPAID',
    -- What the contract already knows, so that a second try repeats no step that it would refuse.
    marked_on_chain    boolean NOT NULL DEFAULT false,
    approved_on_chain  boolean NOT NULL DEFAULT false,
    disputed_on_chain  boolean NOT NULL DEFAULT false,
    seller_share       bigint NOT NULL DEFAULT 0 CHECK (seller_share >= 0),
    buyer_share        bigint NOT NULL DEFAULT 0 CHECK (buyer_share >= 0),
    seller_net         bigint NOT NULL DEFAULT 0 CHECK (seller_net >= 0),
    buyer_net          bigint NOT NULL DEFAULT 0 CHECK (buyer_net >= 0),
    platform_fee       bigint NOT NULL DEFAULT 0 CHECK (platform_fee >= 0),
    protocol_fee       bigint NOT NULL DEFAULT 0 CHECK (protocol_fee >= 0),
    tx_hash            text COLLATE "C",
    paid_at            timestamptz,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (escrow_id, position),
    CHECK ((status IN ('RELEASED', 'REFUNDED', 'SPLIT')) = (paid_at IS NOT NULL)),
    CHECK (paid_at IS NULL OR seller_share + buyer_share = amount),
    CHECK (paid_at IS NULL OR status = CASE WHEN buyer_share = 0 THEN 'RELEASED' WHEN seller_share = 0 THEN 'REFUNDED'
        ELSE 'SPLIT' END)
);
CREATE TRIGGER states BEFORE UPDATE ON escrow_milestones FOR EACH ROW EXECUTE FUNCTION guard_state();
INSERT INTO state_moves VALUES
    ('escrow_milestones.status', 'UNPAID', 'PAYING'),
    ('escrow_milestones.status', 'PAYING', 'UNPAID'),
    ('escrow_milestones.status', 'PAYING', 'RELEASED'),
    ('escrow_milestones.status', 'PAYING', 'REFUNDED'),
    ('escrow_milestones.status', 'PAYING', 'SPLIT'),
    -- The last milestone ends its order, however the others have ended.
    ('orders.status', 'IN_PROGRESS', 'RELEASED'),
    ('orders.status', 'IN_PROGRESS', 'REFUNDED'),
    ('orders.status', 'REFUND_REQUESTED', 'RELEASED'),
    ('escrows.status', 'FUNDED', 'RELEASED'),
    ('escrows.status', 'FUNDED', 'REFUNDED'),
    ('escrows.status', 'REFUNDING', 'RELEASED');

-- The two types of contract are made by deployers of their own.
ALTER TABLE pinned_deployers ADD COLUMN escrow_type text COLLATE "C" NOT NULL DEFAULT 'single-release'
    CHECK (escrow_type IN ('single-release', 'multi-release'));
ALTER TABLE pinned_deployers DROP CONSTRAINT pinned_deployers_pkey;
ALTER TABLE pinned_deployers ADD PRIMARY KEY (network, escrow_type);
