-- Channel accounts lend their sequence numbers, so that one account may have several transactions under way at once.

ALTER TABLE wallets DROP CONSTRAINT wallets_purpose_check;
ALTER TABLE wallets ADD CONSTRAINT wallets_purpose_check
    CHECK (purpose IN ('user', 'platform', 'resolver', 'channel'));

DROP INDEX one_system_wallet;
CREATE UNIQUE INDEX one_system_wallet ON wallets (purpose) WHERE purpose NOT IN ('user', 'channel') AND is_active;
CREATE INDEX channel_wallets ON wallets (public_key) WHERE purpose = 'channel' AND is_active;
