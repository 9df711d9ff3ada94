-- Timers as policy: what a marketplace lets happen by itself once a time is over. A rule without a span is off.

CREATE TABLE policies (
    marketplace_id  text COLLATE "C" NOT NULL REFERENCES marketplaces,
    name            text COLLATE "C" NOT NULL
        CHECK (name IN ('autoRelease', 'autoCancelUnfunded', 'disputeDeadline', 'topupExpiry')),
    span_hours      integer CHECK (span_hours BETWEEN 1 AND 8760),
    action          text COLLATE "C" NOT NULL CHECK (action IN ('RELEASE', 'REFUND', 'CANCEL', 'ESCALATE')),
    -- The span of whatever was there before is counted from here.
    changed_at      timestamptz NOT NULL,
    changed_by      text COLLATE "C" NOT NULL,
    PRIMARY KEY (marketplace_id, name)
);

-- What a rule has done: once for each time that its subject entered its state.
CREATE TABLE policy_firings (
    policy          text COLLATE "C" NOT NULL,
    subject_id      text COLLATE "C" NOT NULL,
    state_since     timestamptz NOT NULL,
    marketplace_id  text COLLATE "C" NOT NULL REFERENCES marketplaces,
    due_at          timestamptz NOT NULL,
    outcome         text COLLATE "C" NOT NULL,
    fired_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (policy, subject_id, state_since)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON policy_firings FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE INDEX orders_by_marketplace_age ON orders (marketplace_id, status, state_since) WHERE status <> 'CLOSED';
CREATE INDEX disputes_by_marketplace_age ON disputes (marketplace_id, created_at) WHERE status <> 'RESOLVED';
CREATE INDEX topups_by_marketplace_age ON topups (marketplace_id, state_since)
    WHERE status = 'TOPUP_AWAITING_USER_CONFIRMATION';
