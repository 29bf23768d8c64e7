-- Monthly partitions by the time in the UUIDv7: this month and the next two, without a gap.
BEGIN;
SELECT plan(20);

CREATE FUNCTION pg_temp.month(ahead integer) RETURNS timestamptz
LANGUAGE sql
RETURN (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)) AT TIME ZONE 'UTC';
-- The least UUIDv7 of a moment, put together by hand.
CREATE FUNCTION pg_temp.least_id(at timestamptz) RETURNS text
LANGUAGE sql
RETURN rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid::text;
CREATE TEMP VIEW ranges AS
SELECT p.relname::text AS parent, c.oid::regclass AS name, c.relname::text AS relname, r[1] AS begins, r[2] AS ends
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent,
     regexp_match(pg_get_expr(c.relpartbound, c.oid), $$FROM \('(.*)'\) TO \('(.*)'\)$$) AS r
WHERE p.relnamespace = 'hansard'::regnamespace AND p.relkind = 'p';

-- What a migration has left.
CREATE TEMP VIEW wanted AS
SELECT parent, format('%s_%s', parent, to_char(pg_temp.month(ahead) AT TIME ZONE 'UTC', 'YYYYMM')) AS relname,
       pg_temp.least_id(pg_temp.month(ahead)) AS begins, pg_temp.least_id(pg_temp.month(ahead + 1)) AS ends
FROM unnest('{conversations,turns,messages}'::text[]) AS parent, generate_series(0, 2) AS ahead;
SELECT is_empty('SELECT parent, relname, begins, ends FROM wanted EXCEPT SELECT parent, relname, begins, ends
                 FROM ranges',
                'there are partitions of this month and the next two, each of its whole month in UTC');
SELECT is_empty($$SELECT * FROM ranges r WHERE ends IS DISTINCT
                  FROM (SELECT min(n.begins) FROM ranges n WHERE n.parent = r.parent AND n.begins > r.begins)
                  AND begins <> (SELECT max(begins) FROM ranges n WHERE n.parent = r.parent)$$,
                'one begins where the other ends');
SELECT is_empty($$SELECT FROM pg_partitioned_table
                  WHERE partdefid <> 0 AND partrelid::regclass::text LIKE 'hansard.%'$$,
                'there is no partition for everything else: what has no month is an error');
SELECT is(hansard_api.make_partitions(), 0, 'what is there is not made again');

-- What is missing is made.
SELECT format('DROP TABLE %s', name) FROM ranges
WHERE (parent, begins) IN (SELECT parent, max(begins) FROM wanted GROUP BY parent) OR
    relname = 'turns_' || to_char(pg_temp.month(0) AT TIME ZONE 'UTC', 'YYYYMM')
\gexec
SELECT is(count(*), 4::bigint, 'some are missing')
FROM (SELECT parent, relname FROM wanted EXCEPT SELECT parent, relname FROM ranges) AS missing;
SET LOCAL timezone = 'America/New_York';
SET LOCAL datestyle = 'SQL, DMY';
SELECT is(hansard_api.make_partitions(), 4, 'they are made, whatever the caller''s time zone');
SELECT is_empty('SELECT parent, relname, begins, ends FROM wanted EXCEPT SELECT parent, relname, begins, ends
                 FROM ranges', '... as they were');
SET LOCAL ROLE hansard_owner;
SELECT hansard.make_partition('turns', '2031-12-01') AS is_made \gset
RESET ROLE;
SELECT is(:'is_made'::boolean, true, 'one of a far December');
RESET timezone;
RESET datestyle;
SELECT is(ROW(begins::uuid, ends::uuid),
          ROW('01c6ea82-e800-0000-0000-000000000000'::uuid, '01c78a28-0c00-0000-0000-000000000000'::uuid),
          '... ends with the year') FROM ranges WHERE relname = 'turns_203112';
SELECT is(hansard.make_partition('turns', '2031-12-01'), false, '... and is there then');

-- A partition is like its parent.
SELECT is_empty($$SELECT r.name FROM ranges r
                  WHERE (SELECT count(*) FROM pg_index WHERE indrelid = r.name)
                     <> (SELECT count(*) FROM pg_index WHERE indrelid = format('hansard.%I', r.parent)::regclass)$$,
                'with all indexes');
SELECT is_empty($$SELECT r.name FROM ranges r JOIN pg_index x ON x.indrelid = r.name
                  WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = x.indexrelid)$$,
                '... each attached to that of its parent');
SELECT is_empty($$SELECT r.name, a.attname FROM ranges r JOIN pg_attribute a ON a.attrelid = r.name AND a.attnum > 0
                  LEFT JOIN pg_attribute p ON p.attrelid = format('hansard.%I', r.parent)::regclass
                    AND p.attname = a.attname
                  WHERE (a.atttypid, a.attnotnull, a.attcompression, a.attnum) IS DISTINCT
                  FROM (p.atttypid, p.attnotnull, p.attcompression, p.attnum)$$,
                'with the same columns');
SELECT is_empty($$SELECT r.name FROM ranges r
                  WHERE (SELECT count(*) FROM pg_constraint WHERE conrelid = r.name AND contype = 'c')
                     <> (SELECT count(*) FROM pg_constraint
                         WHERE conrelid = format('hansard.%I', r.parent)::regclass AND contype = 'c')$$,
                'with the same checks');
SELECT is_empty($$SELECT r.name FROM ranges r JOIN pg_class c ON c.oid = r.name
                  WHERE c.relowner <> 'hansard_owner'::regrole OR c.relacl IS NOT NULL$$,
                'of the same owner, granted to nobody');
SELECT is_empty($$SELECT r.name FROM ranges r JOIN pg_class c ON c.oid = r.name
                  WHERE r.parent = 'turns' AND c.reloptions IS DISTINCT FROM '{fillfactor=70}'$$,
                'partitions of turns have room for the end of a turn');

-- Rows go where their time says.
INSERT INTO hansard.conversations (conversation_id, session_key, created_at)
VALUES (hansard.uuid_v7(pg_temp.month(1) - interval '1 millisecond'), '\x', now()),
    (pg_temp.least_id(pg_temp.month(1))::uuid, '\x', now()),
       (hansard.uuid_v7(pg_temp.month(1)), '\x', now());
SELECT is(array_agg(right(tableoid::regclass::text, 6) ORDER BY conversation_id),
          ARRAY(SELECT to_char(pg_temp.month(ahead) AT TIME ZONE 'UTC', 'YYYYMM')
                FROM unnest('{0,1,1}'::int[]) AS ahead),
          'the last millisecond of a month is in one partition, the first of the next in the other')
FROM hansard.conversations;
SELECT throws_ok($$INSERT INTO hansard.conversations (conversation_id, session_key, created_at)
                   VALUES (hansard.uuid_v7(pg_temp.month(4)), '\x', now())$$,
                 '23514', NULL, 'a month that was not made ahead is an error');
SELECT help.worker('w');
SELECT is(help.outcomes('w', '{}') || help.finishes('{}'), 'acceptedfinished', 'a turn of now');
SELECT is(array_agg(DISTINCT regexp_replace(tableoid::regclass::text, '.*_', '')),
          ARRAY[to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')], '... is in the partitions of now')
FROM (SELECT tableoid, conversation_id FROM hansard.conversations UNION ALL SELECT tableoid, conversation_id
      FROM hansard.turns
      UNION ALL SELECT tableoid, conversation_id FROM hansard.messages) AS r
      JOIN hansard.sessions USING (conversation_id);

SELECT * FROM finish();
ROLLBACK;
