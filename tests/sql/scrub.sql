-- What has to be rewritten so that erased bytes are not in the files any more.
BEGIN;
SELECT plan(12);
SELECT help.worker('w');
CREATE FUNCTION pg_temp.months() RETURNS text[]
LANGUAGE sql
AS $$ SELECT array_agg(DISTINCT month ORDER BY month) FROM hansard_admin.list_unscrubbed() $$;
CREATE FUNCTION pg_temp.this_month() RETURNS text
LANGUAGE sql
RETURN to_char(now() AT TIME ZONE 'UTC', 'YYYYMM');

SELECT is(hansard.uuid_month('019c167f-cbff-7000-8000-000000000000'), '202601', 'the last millisecond of a month');
SELECT is(hansard.uuid_month('019c167f-cc00-7000-8000-000000000000'), '202602', '... and the first');

SELECT is(pg_temp.months(), NULL, 'nothing was erased, nothing is to be rewritten');
SELECT help.turn('w', 's', 'hello', 'hi'), help.turn('w', 't', 'hello', 'hi');
SELECT lives_ok($$SELECT hansard_api.erase_conversation(NULL, 's', help.id('r')::text)$$, 'a session is erased');
SELECT is(pg_temp.months(), ARRAY[pg_temp.this_month(), 'all'], 'its month is to be rewritten, and what has no month');
SELECT is((SELECT string_agg(table_name, ', ') FROM hansard_admin.list_unscrubbed() WHERE month <> 'all'),
          format('hansard.conversations_%s, hansard.messages_%1$s, hansard.turns_%1$s', pg_temp.this_month()), 'all of its tables');
SELECT lives_ok($$SELECT hansard_admin.note_scrub(month, since) FROM (SELECT month, max(since) AS since FROM hansard_admin.list_unscrubbed() GROUP BY 1) m$$, 'that is done');
SELECT is(pg_temp.months(), NULL, 'nothing is to be rewritten any more');
SELECT is((SELECT detail ->> 'by' FROM hansard.audit_events WHERE kind = 'scrubbed' LIMIT 1), session_user::text, 'it is noted by whom');
SELECT hansard_api.erase_conversation(NULL, 't', help.id('r')::text);
SELECT is(pg_temp.months(), ARRAY[pg_temp.this_month(), 'all'], 'what is erased after that is another matter');
INSERT INTO hansard.audit_events VALUES (help.id('e'), clock_timestamp(), 'retention_applied', NULL, NULL, '{"month": "199901"}');
SELECT is(pg_temp.months(), ARRAY[pg_temp.this_month(), 'all'], 'a month that was dropped meanwhile needs nothing');
SELECT hansard.make_partition(p, '1999-01-01') FROM unnest('{conversations,turns,messages}'::text[]) p;
SELECT is(pg_temp.months(), ARRAY['199901', pg_temp.this_month(), 'all'], 'one from which retention took something does');

SELECT * FROM finish();
ROLLBACK;
