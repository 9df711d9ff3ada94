-- A transaction has its id before it draws a position of the audit trail. The sealer tells from ids which transactions
-- have ended: one that drew a position first, and got its id later, was taken for ended while it ran, and its honest
-- entry for one that had been slipped in.
CREATE FUNCTION take_transaction_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_current_xact_id();
    RETURN NULL;
END $$;
CREATE TRIGGER id_before_position BEFORE INSERT ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION take_transaction_id();

-- What was noted before may wait for too low an id: it is noted anew.
UPDATE audit_sealing SET pending = settled;
