-- Sealing: whose turn it is, and who was still writing when somebody last looked; and the dropped months, found by an index.

SET LOCAL ROLE hansard_owner;

CREATE TABLE hansard.sealing (
    is_sealing boolean PRIMARY KEY CHECK (is_sealing),
    looked_at  timestamptz,
    writers    text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE hansard.sealing IS
    'One row: whoever seals locks it, so there is one at a time. Whoever writes messages has a lock on the table meanwhile, which is '
    'in nobody''s way. What was written before a look is committed when all who were writing at that look have ended.';
COMMENT ON COLUMN hansard.sealing.is_sealing IS 'Always true: there is one row.';
COMMENT ON COLUMN hansard.sealing.looked_at IS 'When somebody last looked who is writing, and found all of the look before ended; NULL: never.';
COMMENT ON COLUMN hansard.sealing.writers IS 'Transactions that were writing messages then.';
INSERT INTO hansard.sealing (is_sealing) VALUES (true);

-- Looked up for each sealed conversation that is gone; events are many, and few of these.
CREATE INDEX audit_events_dropped ON hansard.audit_events ((detail ->> 'month')) WHERE kind = 'partition_dropped';
ALTER INDEX hansard.audit_events_dropped ALTER COLUMN 1 SET STATISTICS 0;

RESET ROLE;
