-- Every column that could hold words: whether it does, and that what holds them is forgotten everywhere. A column that is new
-- fails here until somebody has thought of it.
BEGIN;
SELECT plan(8);

CREATE TEMP VIEW columns AS
SELECT c.relname::text AS table_name, a.attname::text AS column_name
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relnamespace = 'hansard'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND t.typname NOT IN ('uuid', 'bool', 'int2', 'int4', 'int8', 'numeric', 'date', 'timestamptz', 'interval', 'turn_state', 'message_role');

-- What a caller says or is known by: hansard.callers_own(). What becomes of it:
CREATE TEMP TABLE forgotten (table_name text, column_name text, how text);
INSERT INTO forgotten VALUES
    ('conversations', 'session_id', 'blanked'), ('turns', 'idempotency_key', 'blanked'), ('turns', 'address', 'blanked'),
    ('turns', 'fingerprint', 'blanked'), ('messages', 'text', 'blanked'), ('messages', 'salt', 'blanked'),
    ('sessions', 'session_id', 'its row is deleted'), ('jobs', 'limit_key', 'its row is deleted'),
    ('jobs', 'webhook', 'its row is deleted'), ('webhooks', 'url', 'its row is deleted'), ('holds', 'limit_key', 'its row is deleted'),
    ('users', 'name', 'replaced with the account'),
    ('rate_limits', 'limit_key', 'deleted when the quota is whole again'), ('allowances', 'limit_key', 'deleted the day after next'),
    ('audit_events', 'detail', 'the host of a webhook is taken out with the turn, the address of a caller without a key in time');

-- What is nobody's, or says nothing of him who is forgotten.
CREATE TEMP TABLE nobodys (table_name text, column_name text, why text);
INSERT INTO nobodys VALUES
    ('conversations', 'session_key', 'a hash, which the chain begins with'), ('sessions', 'session_key', 'the same hash'),
    ('jobs', 'session_key', 'the same hash'), ('erasures', 'session_key', 'the same hash'),
    ('erasures', 'asked_by', 'an operator''s role'), ('sessions', 'chain_head', 'a hash over salted hashes'),
    ('messages', 'text_hash', 'a hash with a salt, which is gone'), ('messages', 'chain_hash', 'a hash over salted hashes'),
    ('seal_heads', 'head', 'a hash over salted hashes'), ('seals', 'root', 'a hash of hashes'), ('seals', 'previous', 'a hash of hashes'),
    ('seals', 'hash', 'a hash of hashes'), ('seals', 'signature', 'a worker''s'), ('seals', 'key_id', 'a worker''s'),
    ('retention_walk', 'heads_hash', 'a hash of hashes'), ('api_keys', 'key_hash', 'the hash of random bytes'),
    ('turns', 'model', 'the model server''s word for itself'), ('turns', 'error_code', 'a code of ours'),
    ('audit_events', 'kind', 'a word of ours'), ('workers', 'name', 'a worker''s address'), ('workers', 'version', 'a release'),
    ('tiers', 'tier', 'an operator''s word'), ('users', 'tier', 'an operator''s word'), ('prices', 'model', 'an operator''s word'),
    ('prices', 'currency', 'an operator''s word'), ('sealing', 'writers', 'transactions by their numbers'), ('schema_migrations', 'name', 'a file''s name'),
    ('schema_migrations', 'checksum', 'a file''s hash'), ('schema_functions', 'name', 'a file''s name'),
    ('schema_functions', 'checksum', 'a file''s hash');

SELECT set_eq('SELECT * FROM columns',
              'SELECT table_name, column_name FROM forgotten UNION ALL SELECT table_name, column_name FROM nobodys',
              'of every column that could hold words it is known whether it does');
SELECT set_eq('SELECT * FROM hansard.callers_own()', 'SELECT table_name, column_name FROM forgotten', 'those that do are listed');

-- ANALYZE keeps samples of none of them, nor of what indexes make of them.
CREATE TEMP VIEW sampled AS
SELECT c.relname, a.attname
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget <> 0
WHERE c.relnamespace = 'hansard'::regnamespace;
SELECT is_empty($$SELECT s.* FROM sampled s
                  JOIN hansard.callers_own() o ON o.table_name = regexp_replace(s.relname, '_[0-9]{6}$', '') AND o.column_name = s.attname$$,
                'none of these is sampled, in whatever month');
SELECT hansard.make_partition(p, '1999-01-01') FROM unnest('{conversations,turns,messages}'::text[]) p;
SELECT is_empty($$SELECT s.* FROM sampled s JOIN hansard.callers_own() o ON s.relname = o.table_name || '_199901' AND o.column_name = s.attname$$,
                '... nor in a new one');
SELECT is_empty($$SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid
                  CROSS JOIN LATERAL (SELECT regexp_replace(c.relname, '_[0-9]{6}$', '') AS table_name FROM pg_class c WHERE c.oid = i.indrelid) AS t
                  JOIN hansard.callers_own() o USING (table_name)
                  WHERE i.indkey[a.attnum - 1] = 0 AND a.attstattarget <> 0 AND pg_get_indexdef(i.indexrelid, a.attnum, false) ~ o.column_name$$,
                'no expression over one of these in an index is');

-- A column that a later release adds is taken out as well.
ALTER TABLE hansard.webhooks ALTER COLUMN url SET STATISTICS -1;
ALTER TABLE hansard.messages_199901 ALTER COLUMN text SET STATISTICS 10;
SELECT is(count(*), 2::bigint, 'two are sampled again') FROM sampled s
JOIN hansard.callers_own() o ON o.table_name = regexp_replace(s.relname, '_[0-9]{6}$', '') AND o.column_name = s.attname;
SELECT hansard.keep_out_of_statistics();
SELECT is(count(*), 0::bigint, '... and no more') FROM sampled s
JOIN hansard.callers_own() o ON o.table_name = regexp_replace(s.relname, '_[0-9]{6}$', '') AND o.column_name = s.attname;

-- Scrubbing rewrites all of their tables.
INSERT INTO hansard.audit_events VALUES
    (gen_random_uuid(), clock_timestamp(), 'retention_applied', NULL, NULL, '{"month": "199901"}');
SELECT set_eq($$SELECT regexp_replace(table_name, '^hansard\.|_199901$', '', 'g') FROM hansard_admin.list_unscrubbed()$$,
              'SELECT table_name FROM hansard.callers_own()', 'scrubbing rewrites each table of theirs');

SELECT * FROM finish();
ROLLBACK;
