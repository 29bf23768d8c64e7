-- Forgetting: how long words are kept, where the walk that applies it has come to, and the way from a caller to his
-- conversations.

SET LOCAL ROLE hansard_owner;

ALTER TABLE hansard.tiers ADD COLUMN retention interval CHECK (retention >= interval '0');
COMMENT ON COLUMN hansard.tiers.retention IS
    'How long the words of its callers are kept after a turn has ended; 0: for ever; NULL: HANSARD_RETENTION.';

CREATE TABLE hansard.retention_walk (
    is_walk       boolean PRIMARY KEY CHECK (is_walk),
    began_at      timestamptz,
    ended_at      timestamptz,
    month         date,
    is_mixed      boolean NOT NULL DEFAULT false,
    after_id      uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    conversations bigint NOT NULL DEFAULT 0,
    turns         bigint NOT NULL DEFAULT 0,
    messages      bigint NOT NULL DEFAULT 0,
    heads_hash    bytea NOT NULL DEFAULT '',
    oldest_at     timestamptz,
    events_after  uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
);
COMMENT ON TABLE hansard.retention_walk IS
    'One row: the walk through the record, oldest month first, that drops and blanks what is past its retention. Whoever '
    'takes a step locks it; so there is one walk, whoever walks, and it goes on where it was left.';
COMMENT ON COLUMN hansard.retention_walk.is_walk IS 'Always true: there is one row.';
COMMENT ON COLUMN hansard.retention_walk.began_at IS 'When the walk under way began, or the last one; NULL: there was none.';
COMMENT ON COLUMN hansard.retention_walk.ended_at IS 'When the last walk ended; NULL: it is under way.';
COMMENT ON COLUMN hansard.retention_walk.month IS 'Month of the partitions it is in, or NULL: it has still to begin.';
COMMENT ON COLUMN hansard.retention_walk.is_mixed IS
    'Something of the month is to be kept: it is walked row by row. false: so far nothing was found, and it may be '
    'dropped.';
COMMENT ON COLUMN hansard.retention_walk.after_id IS 'Last conversation it has seen.';
COMMENT ON COLUMN hansard.retention_walk.conversations IS 'Of the month, seen so far.';
COMMENT ON COLUMN hansard.retention_walk.turns IS 'Theirs.';
COMMENT ON COLUMN hansard.retention_walk.messages IS 'Theirs.';
COMMENT ON COLUMN hansard.retention_walk.heads_hash IS 'Over the chain heads of the month, so far: hansard.heads_hash().';
COMMENT ON COLUMN hansard.retention_walk.oldest_at IS 'Time of the oldest words seen on the walk, and in the end of all; NULL: none.';
COMMENT ON COLUMN hansard.retention_walk.events_after IS 'Up to this event, addresses of callers without a key have been taken out.';
INSERT INTO hansard.retention_walk (is_walk) VALUES (true);

-- ANALYZE keeps samples of values, where no erasure reaches them. Not of what callers say or are known by, from now on;
-- what it had kept before goes with the table's month.
DO $$
DECLARE
    part record;
BEGIN
    FOR part IN
        SELECT c.oid::regclass AS name, a.attname
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'hansard'::regnamespace AND c.relkind IN ('r', 'p')
          AND ROW(regexp_replace(c.relname, '_[0-9]{6}$', ''), a.attname) IN (
              ('conversations', 'session_id'), ('turns', 'idempotency_key'), ('turns', 'address'), ('turns', 'fingerprint'),
              ('messages', 'text'), ('messages', 'salt'), ('sessions', 'session_id'), ('users', 'name'))
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', part.name, part.attname);
    END LOOP;
END
$$;

RESET ROLE;
