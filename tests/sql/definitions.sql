-- What has to hold for every object of the schema, those to come included.
BEGIN;
SELECT plan(28);

CREATE TEMP VIEW functions AS
SELECT p.oid, p.oid::regprocedure::text AS name, p.prosecdef AS is_definer, p.prosqlbody IS NOT NULL AS is_parsed,
    p.provolatile, p.proowner,
       p.pronamespace::regnamespace::text AS schema,
       (SELECT substr(c, 13) FROM unnest(p.proconfig) AS c WHERE c LIKE 'search\_path=%') AS path
FROM pg_proc p WHERE p.pronamespace::regnamespace::text LIKE 'hansard%';
CREATE TEMP VIEW tables AS
SELECT c.oid::regclass::text AS name, c.oid, c.relname, c.relkind, c.relowner, c.relispartition, c.relpersistence
FROM pg_class c
WHERE c.relnamespace::regnamespace::text LIKE 'hansard%' AND c.relkind IN ('r', 'p', 'v');

-- Functions.
SELECT cmp_ok(count(*), '>=', 25::bigint, 'there are functions') FROM functions;
SELECT is_empty($$SELECT name FROM functions WHERE is_definer AND path IS NULL$$,
                'what runs as its owner has a search path of its own');
SELECT is_empty($$SELECT name FROM functions WHERE NOT is_parsed AND path IS NULL$$,
                '... so has what looks names up when it runs');
SELECT is_empty($$SELECT name, path FROM functions WHERE path !~ '(^|, )pg_temp$'$$, 'pg_temp is the last of each');
SELECT is_empty($$SELECT name, path FROM functions WHERE path !~ '^pg_catalog, '$$, '... and pg_catalog the first');
SELECT is_empty($$SELECT name FROM functions WHERE NOT is_definer
                    AND (schema IN ('hansard_api', 'hansard_admin') OR schema = 'hansard_audit' AND NOT is_parsed)$$,
                'what others call runs as the owner');
SELECT is_empty($$SELECT name FROM functions WHERE schema = 'hansard' AND is_definer$$, '... and nothing else does');
SELECT is_empty($$SELECT f.name FROM functions f JOIN pg_proc p USING (oid), unnest(coalesce(p.proacl, '{=X/postgres}')) AS g
                  WHERE f.is_definer AND (f.path IS NULL OR f.path !~ '^pg_catalog, ([a-z_]+, )*pg_temp$')
                     OR g::text LIKE '=%'$$, 'none of them finds what its caller has put in the way, none is for PUBLIC');
SELECT is_empty($$SELECT name FROM functions WHERE obj_description(oid, 'pg_proc') IS NULL$$,
                'each function has a comment');

-- Owners.
SELECT is_empty($$SELECT name FROM functions WHERE proowner <> 'hansard_owner'::regrole$$,
                'all functions are the owner''s');
SELECT is_empty($$SELECT name FROM tables WHERE relowner <> 'hansard_owner'::regrole$$, '... all tables');
SELECT is_empty($$SELECT typname FROM pg_type
                  WHERE typnamespace::regnamespace::text LIKE 'hansard%' AND typowner <> 'hansard_owner'::regrole$$,
                '... all types');
SELECT is_empty($$SELECT nspname FROM pg_namespace
                  WHERE nspname LIKE 'hansard%' AND nspowner <> 'hansard_owner'::regrole$$, '... all schemas');

-- Tables.
SELECT cmp_ok(count(*), '>=', 20::bigint, 'there are tables') FROM tables;
SELECT is_empty($$SELECT nspname FROM pg_namespace
                  WHERE nspname LIKE 'hansard%' AND obj_description(oid, 'pg_namespace') IS NULL$$,
                'each schema has a comment');
SELECT is_empty($$SELECT name FROM tables WHERE NOT relispartition AND obj_description(oid, 'pg_class') IS NULL$$,
                'each table has a comment');
SELECT is_empty($$SELECT t.name, a.attname FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid
                  WHERE a.attnum > 0 AND NOT a.attisdropped AND col_description(t.oid, a.attnum) IS NULL$$,
                'each column has a comment');
SELECT is_empty($$SELECT t.typname FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
                  WHERE t.typnamespace::regnamespace::text LIKE 'hansard%' AND t.typcategory <> 'A'
                    AND c.relkind IS NOT DISTINCT FROM CASE WHEN t.typtype = 'c' THEN 'c'::"char" END
                    AND obj_description(t.oid, 'pg_type') IS NULL$$, 'each type has a comment');
SELECT is_empty($$SELECT name FROM tables
                  WHERE relkind <> 'v' AND NOT EXISTS (SELECT FROM pg_index
                                                       WHERE indrelid = tables.oid AND indisprimary)$$,
                'each table has a primary key');
SELECT is_empty($$SELECT i.indexrelid::regclass FROM pg_index i JOIN tables t ON t.oid = i.indrelid
                  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
                  WHERE i.indisunique AND (t.relkind = 'p' OR t.relispartition) AND a.attname <> 'conversation_id'$$,
                'unique indexes of large tables lead with the conversation');
SELECT is_empty($$SELECT conrelid::regclass, conname FROM pg_constraint c JOIN tables t ON t.oid = c.conrelid
                  WHERE c.contype = 'f'
                    AND (t.relkind = 'p' OR t.relispartition OR t.relname IN ('sessions', 'rate_limits'))$$,
                'no turn pays for a foreign key');
SELECT set_eq($$SELECT a.attname::text COLLATE "default" FROM pg_index i
                JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                WHERE i.indrelid = 'hansard.sessions'::regclass$$, $$VALUES ('session_key')$$,
              'only the key of a session is indexed, so that it stays in its page');
SELECT is_empty($$SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                  JOIN pg_am a ON a.oid = x.relam JOIN tables t ON t.oid = i.indrelid
                  WHERE t.relname ~ '^(turns|messages)(_[0-9]{6})?$' AND a.amname <> 'brin' AND NOT i.indisunique$$,
                'no turn pays for a reader''s index but those of block ranges');
SELECT is(string_agg(relname, ' ') COLLATE "default", 'rate_limits',
          'the counters of limits are lost in a crash, nothing else is') FROM tables WHERE relpersistence <> 'p';
SELECT is_empty($$SELECT tgrelid::regclass, tgname FROM pg_trigger g JOIN tables t ON t.oid = g.tgrelid
                  WHERE NOT g.tgisinternal$$, 'nothing happens behind a statement''s back');

-- Roles: what a pooler cannot carry per session.
SELECT set_eq($$SELECT unnest(setconfig) COLLATE "default" FROM pg_db_role_setting
                WHERE setrole = 'hansard_app'::regrole AND setdatabase = 0$$,
                  $$VALUES ('idle_in_transaction_session_timeout=10s'), ('jit=off'), ('lock_timeout=2s'),
                    ('statement_timeout=5s'), ('synchronous_commit=on')$$,
                  'a worker''s statements have their limits, and its commits are durable');
SELECT set_eq($$SELECT unnest(setconfig) COLLATE "default" FROM pg_db_role_setting
                WHERE setrole = 'hansard_auditor'::regrole AND setdatabase = 0$$,
                  $$VALUES ('idle_in_transaction_session_timeout=60s'), ('jit=off'), ('lock_timeout=5s'),
                    ('statement_timeout=60s'), ('default_transaction_read_only=on'), ('enable_partitionwise_join=on'),
                    ('enable_partitionwise_aggregate=on'), ('work_mem=64MB')$$,
                  'an auditor''s have theirs, and only read');
SELECT is_empty($$SELECT name FROM functions f JOIN pg_proc p USING (oid), unnest(p.proconfig) AS c
                  WHERE c ~ '^(synchronous_commit|fsync|statement_timeout|lock_timeout|session_replication_role)='
                    AND (p.proname, c) <> ('drop_month', 'lock_timeout=30ms')$$,
                '... which no function changes, but for one that must not make others wait');

SELECT * FROM finish();
ROLLBACK;
