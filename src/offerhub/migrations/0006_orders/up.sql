-- Orders, milestones, escrows, disputes.

CREATE TABLE orders (
    id                text COLLATE "C" PRIMARY KEY CHECK (id ~ '^ord_[0-9A-Za-z]{32}$'),
    marketplace_id    text COLLATE "C" NOT NULL REFERENCES marketplaces,
    client_order_ref  text CHECK (length(client_order_ref) BETWEEN 1 AND 255),
    buyer_id          text COLLATE "C" NOT NULL,
    seller_id         text COLLATE "C" NOT NULL,
    amount            bigint NOT NULL CHECK (amount > 0 AND amount % 100000 = 0),
    currency          text NOT NULL,
    status            text NOT NULL DEFAULT 'ORDER_CREATED',
    title             text NOT NULL,
    description       text,
    metadata          jsonb,
    final_status      text CHECK (final_status IN ('RELEASED', 'REFUNDED', 'CANCELED')),
    closed_at         timestamptz,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (marketplace_id, client_order_ref),
    UNIQUE (marketplace_id, id),
    CHECK (buyer_id <> seller_id),
    CHECK ((status = 'CLOSED') = (closed_at IS NOT NULL)),
    FOREIGN KEY (marketplace_id, buyer_id) REFERENCES users (marketplace_id, id),
    FOREIGN KEY (marketplace_id, seller_id) REFERENCES users (marketplace_id, id)
);
CREATE TRIGGER states BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE INDEX orders_by_marketplace ON orders (marketplace_id, id DESC);
CREATE INDEX orders_by_buyer ON orders (buyer_id, id DESC);
CREATE INDEX orders_by_seller ON orders (seller_id, id DESC);
INSERT INTO state_moves VALUES
    ('orders.status', 'ORDER_CREATED', 'FUNDS_RESERVED'),
    ('orders.status', 'ORDER_CREATED', 'CLOSED'),
    ('orders.status', 'FUNDS_RESERVED', 'ESCROW_CREATING'),
    ('orders.status', 'FUNDS_RESERVED', 'CLOSED'),
    ('orders.status', 'ESCROW_CREATING', 'ESCROW_FUNDING'),
    ('orders.status', 'ESCROW_CREATING', 'FUNDS_RESERVED'),
    ('orders.status', 'ESCROW_FUNDING', 'ESCROW_FUNDED'),
    ('orders.status', 'ESCROW_FUNDING', 'CLOSED'),
    ('orders.status', 'ESCROW_FUNDED', 'IN_PROGRESS'),
    ('orders.status', 'IN_PROGRESS', 'RELEASE_REQUESTED'),
    ('orders.status', 'IN_PROGRESS', 'REFUND_REQUESTED'),
    ('orders.status', 'IN_PROGRESS', 'DISPUTED'),
    ('orders.status', 'RELEASE_REQUESTED', 'RELEASED'),
    ('orders.status', 'RELEASE_REQUESTED', 'IN_PROGRESS'),
    ('orders.status', 'RELEASE_REQUESTED', 'DISPUTED'),
    ('orders.status', 'REFUND_REQUESTED', 'REFUNDED'),
    ('orders.status', 'REFUND_REQUESTED', 'IN_PROGRESS'),
    ('orders.status', 'REFUND_REQUESTED', 'DISPUTED'),
    ('orders.status', 'DISPUTED', 'RELEASE_REQUESTED'),
    ('orders.status', 'DISPUTED', 'REFUND_REQUESTED'),
    ('orders.status', 'RELEASED', 'CLOSED'),
    ('orders.status', 'REFUNDED', 'CLOSED');

CREATE TABLE milestones (
    id               text COLLATE "C" PRIMARY KEY CHECK (id ~ '^mst_[0-9A-Za-z]{32}$'),
    marketplace_id   text COLLATE "C" NOT NULL REFERENCES marketplaces,
    order_id         text COLLATE "C" NOT NULL,
    position         integer NOT NULL CHECK (position >= 0),
    milestone_ref    text NOT NULL CHECK (length(milestone_ref) BETWEEN 1 AND 100),
    title            text NOT NULL,
    amount           bigint NOT NULL CHECK (amount > 0 AND amount % 100000 = 0),
    status           text NOT NULL DEFAULT 'OPEN',
    completed_at     timestamptz,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (order_id, milestone_ref),
    UNIQUE (order_id, position),
    CHECK ((status = 'COMPLETED') = (completed_at IS NOT NULL)),
    FOREIGN KEY (marketplace_id, order_id) REFERENCES orders (marketplace_id, id)
);
CREATE TRIGGER states BEFORE UPDATE ON milestones FOR EACH ROW EXECUTE FUNCTION guard_state();
INSERT INTO state_moves VALUES ('milestones.status', 'OPEN', 'COMPLETED');

CREATE TABLE escrows (
    id                text COLLATE "C" PRIMARY KEY CHECK (id ~ '^esc_[0-9A-Za-z]{32}$'),
    marketplace_id    text COLLATE "C" NOT NULL REFERENCES marketplaces,
    order_id          text COLLATE "C" NOT NULL UNIQUE,
    contract_id       text COLLATE "C" UNIQUE,
    status            text NOT NULL DEFAULT 'CREATING',
    amount            bigint NOT NULL CHECK (amount > 0 AND amount % 100000 = 0),
    platform_fee_bps  integer NOT NULL CHECK (platform_fee_bps BETWEEN 0 AND 5000),
    terms             jsonb,
    roles             jsonb NOT NULL,
    -- What the contract already knows, so that a second try repeats no step that it would refuse.
    marked_on_chain   integer NOT NULL DEFAULT 0,
    approved_on_chain integer NOT NULL DEFAULT 0,
    disputed_on_chain boolean NOT NULL DEFAULT false,
    tx_hash           text,
    funded_at         timestamptz,
    released_at       timestamptz,
    refunded_at       timestamptz,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (contract_id IS NOT NULL OR status = 'CREATING'),
    FOREIGN KEY (marketplace_id, order_id) REFERENCES orders (marketplace_id, id)
);
CREATE TRIGGER states BEFORE UPDATE ON escrows FOR EACH ROW EXECUTE FUNCTION guard_state();
INSERT INTO state_moves VALUES
    ('escrows.status', 'CREATING', 'CREATED'),
    ('escrows.status', 'CREATED', 'FUNDING'),
    ('escrows.status', 'FUNDING', 'FUNDED'),
    ('escrows.status', 'FUNDING', 'CREATED'),
    ('escrows.status', 'FUNDED', 'RELEASING'),
    ('escrows.status', 'FUNDED', 'REFUNDING'),
    ('escrows.status', 'FUNDED', 'DISPUTED'),
    ('escrows.status', 'RELEASING', 'RELEASED'),
    ('escrows.status', 'RELEASING', 'FUNDED'),
    ('escrows.status', 'RELEASING', 'DISPUTED'),
    ('escrows.status', 'REFUNDING', 'REFUNDED'),
    ('escrows.status', 'REFUNDING', 'FUNDED'),
    ('escrows.status', 'REFUNDING', 'DISPUTED'),
    ('escrows.status', 'DISPUTED', 'RELEASING'),
    ('escrows.status', 'DISPUTED', 'REFUNDING');

CREATE TABLE disputes (
    id                   text COLLATE "C" PRIMARY KEY CHECK (id ~ '^dsp_[0-9A-Za-z]{32}$'),
    marketplace_id       text COLLATE "C" NOT NULL REFERENCES marketplaces,
    order_id             text COLLATE "C" NOT NULL UNIQUE,
    opened_by            text NOT NULL CHECK (opened_by IN ('BUYER', 'SELLER')),
    reason               text NOT NULL CHECK (reason IN ('NOT_DELIVERED', 'QUALITY_ISSUE', 'OTHER')),
    evidence             jsonb,
    status               text NOT NULL DEFAULT 'OPEN',
    assigned_to          text,
    resolution_decision  text CHECK (resolution_decision IN ('FULL_RELEASE', 'FULL_REFUND', 'SPLIT')),
    decision_note        text,
    release_amount       bigint,
    refund_amount        bigint,
    resolved_at          timestamptz,
    created_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((status = 'RESOLVED') = (resolved_at IS NOT NULL)),
    CHECK (status <> 'RESOLVED' OR resolution_decision IS NOT NULL),
    FOREIGN KEY (marketplace_id, order_id) REFERENCES orders (marketplace_id, id)
);
CREATE TRIGGER states BEFORE UPDATE ON disputes FOR EACH ROW EXECUTE FUNCTION guard_state();
CREATE INDEX disputes_by_marketplace ON disputes (marketplace_id, id DESC);
INSERT INTO state_moves VALUES
    ('disputes.status', 'OPEN', 'UNDER_REVIEW'),
    ('disputes.status', 'UNDER_REVIEW', 'RESOLVED');
