-- Search finds the same with an index of words and without, and what the nightly run has to do for it.
BEGIN;
SELECT plan(51);

SELECT help.worker('w');
SELECT help.turn('w', 's', 'The quick brown Fox', 'jumps over the lazy dog: it''s a_b, back\slash');
SELECT help.turn('w', 't', 'a fox, and a dog', NULL);
SELECT help.turn('w', 'u', 'Zwölf Boxkämpfer jagen', 'Viktor quer über den großen Sylter Deich');
SELECT help.turn('w', 'long', repeat('x ', 60000) || 'needle', 'found late');
SELECT help.turn('w', 'erased', 'a fox with a secret', 'kept');
SELECT hansard_api.erase_conversation(NULL, 'erased', help.id('r')::text);

CREATE FUNCTION pg_temp.found(words text, from_at timestamptz DEFAULT '-infinity', to_at timestamptz DEFAULT 'infinity',
                              most integer DEFAULT 100) RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(session_id || turn_no || position, ' ') FROM hansard_audit.search(words, from_at, to_at, most) $$;
CREATE TEMP VIEW asked (words, found) AS VALUES
    ('fox', 't11 s11'), ('FOX', 't11 s11'), ('fox dog', 't11'), ('fox or dog', 't11 s12 s11'), ('fox -dog', 's11'), ('it''s', 's12'), ('back\slash', 's12'), ('a_b', 's12'), ('aXb', NULL), ('-fox -x -found', 'u12 u11 s12'), ('dog -"quick brown"', 't11 s12'),
    ('"quick brown"', 's11'), ('"brown quick"', NULL), ('boxkämpfer', 'u11'), ('ZWÖLF', 'u11'), ('secret', NULL), ('kept', NULL),
    ('needle', NULL), ('late', 'long12'), ('o''clock '' & | ! ( $1 %s', NULL);

SELECT is(pg_temp.found(words), found, format('%s, read through', words)) FROM asked;
SELECT is(pg_temp.found('fox or dog', most => 2), 't11 s12', 'the newest, no more than asked for');
SELECT is(pg_temp.found('fox', to_at => (SELECT said_at FROM hansard_audit.transcript WHERE text ~ 'a fox,')), 's11', 'before a time');
SELECT is(pg_temp.found('fox', (SELECT said_at FROM hansard_audit.transcript WHERE text ~ 'a fox,')), 't11', '... or from one on');
SELECT is(pg_temp.found('fox', '2020-01-01', '2020-02-01'), NULL, 'nothing in a time before all partitions');
SELECT throws_ok(format('SELECT hansard_audit.search(%s)', wrong), 'HS400', NULL, format('refused: %s', wrong))
FROM unnest(ARRAY[$$''$$, 'NULL', $$'a', most => 0$$, $$'a', most => 1001$$, $$'a', most => NULL$$]) AS wrong;

-- The nightly run, in one transaction as it cannot be in earnest. What was said today is left to be read through, so the
-- conversations are moved to last month and the day before yesterday.
CREATE FUNCTION pg_temp.tonight() RETURNS SETOF text
LANGUAGE plpgsql
AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN SELECT hansard_admin.word_index_statements() LOOP
        EXECUTE replace(statement, 'CONCURRENTLY ', '');
        RETURN NEXT regexp_replace(statement, '(CONCURRENTLY|hansard).*', '');
    END LOOP;
END
$$;
SET LOCAL ROLE hansard_owner;
SELECT hansard.make_partition('messages', (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '3 months')::date);
RESET ROLE;
DO $$
DECLARE
    old timestamptz := date_trunc('month', now(), 'UTC') - interval '80 days';
BEGIN
    INSERT INTO hansard.messages
    SELECT hansard.uuid_v7(old), 1, 1, 'user', 'an old fox', at, '0123456789abcdef', '', ''
    FROM unnest(ARRAY[old, clock_timestamp()]) AS at;
END
$$;
SELECT cmp_ok(count(*), '>=', 1::bigint, 'indexes are made') FROM pg_temp.tonight();
SELECT is_empty('SELECT pg_temp.tonight()', '... once');
SELECT isnt(max(index_name), NULL, 'of a month that is over') FROM hansard.word_indexes()
WHERE begins = date_trunc('month', now(), 'UTC') - interval '3 months';
SELECT is(count(*), 2::bigint, 'an index and what came after it are both looked into')
FROM hansard_audit.search('"old fox"', '-infinity');
SELECT is(pg_temp.found('fox -old'), 't11 s11', '... in all partitions');
SET LOCAL enable_seqscan = off;
SELECT ok(bool_or(line ~ 'messages_[0-9]+_words_'), 'the index is what is used') FROM help.plan_of(
    format($$SELECT FROM hansard.messages WHERE created_at < %L AND hansard.words(text) @@ 'fox'$$, date_trunc('day', now(), 'UTC'))) AS line;

-- Erased words are taken out of it the night after.
INSERT INTO hansard.audit_events
SELECT gen_random_uuid(), date_trunc('day', now(), 'UTC') - interval '1 hour', 'conversation_erased', NULL, NULL,
       jsonb_build_object('conversation_ids', ARRAY[conversation_id])
FROM hansard.messages WHERE text = 'an old fox' LIMIT 1;
SELECT is_empty('SELECT pg_temp.tonight()', 'what was erased before an index was made is not in it');

-- ANALYZE takes no samples of words.
CREATE TEMP VIEW sampled AS
SELECT a.attrelid::regclass::text AS name FROM hansard.word_indexes() w
JOIN pg_attribute a ON a.attrelid = to_regclass('hansard.' || w.index_name) AND a.attstattarget <> 0;
SELECT is_empty('SELECT FROM sampled', 'none is sampled');
DO $$
DECLARE
    name text := (SELECT min(index_name) FROM hansard.word_indexes());
BEGIN
    EXECUTE format('ALTER INDEX hansard.%I ALTER COLUMN 1 SET STATISTICS -1, ALTER COLUMN 2 SET STATISTICS -1', name);
END
$$;
ANALYZE hansard.messages;
SELECT results_eq('SELECT pg_temp.tonight()', $$VALUES ('ALTER INDEX '), ('ALTER INDEX ')$$, 'an index that would be is found');
SELECT is_empty('SELECT FROM sampled', '... and is no more');
SELECT is(hansard_admin.count_samples(), 2::bigint, 'what was sampled of it is counted');

CREATE FUNCTION pg_temp.a_day_passes() RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    of_today text := (SELECT min(index_name) FROM hansard.word_indexes());
BEGIN
    EXECUTE format('ALTER INDEX hansard.%I RENAME TO %I', of_today,
                   left(of_today, -8) || to_char((now() AT TIME ZONE 'UTC')::date - 1, 'YYYYMMDD'));
END
$$;
SELECT lives_ok('SELECT pg_temp.a_day_passes()', 'an index of yesterday');
SELECT set_eq('SELECT pg_temp.tonight()', $$VALUES ('CREATE INDEX '), ('ALTER INDEX '), ('DROP INDEX ')$$, '... is made anew');
SELECT is(count(*), 2::bigint, '... and finds what it did') FROM hansard_audit.search('"old fox"', '-infinity');

-- So are words that retention has blanked; it says of which month.
DELETE FROM hansard.audit_events WHERE kind = 'conversation_erased';
SELECT lives_ok('SELECT pg_temp.a_day_passes()', 'once more an index of yesterday');
SELECT is_empty('SELECT pg_temp.tonight()', '... is left alone when nothing was taken away');
CREATE FUNCTION pg_temp.note(kind text, detail jsonb) RETURNS void
LANGUAGE sql
AS $$ INSERT INTO hansard.audit_events
      VALUES (gen_random_uuid(), date_trunc('day', now(), 'UTC') - interval '1 hour', kind, NULL, NULL, detail) $$;
SELECT pg_temp.note('retention_applied', '{"month": "199901", "turns": 1}'), pg_temp.note('user_erased', '{"conversations": 1}');
SELECT is_empty('SELECT pg_temp.tonight()', '... or from another month');
SELECT pg_temp.note('retention_applied', jsonb_build_object('month', to_char(min(begins) AT TIME ZONE 'UTC', 'YYYYMM')))
FROM hansard.word_indexes() WHERE index_name IS NOT NULL;
SELECT set_eq('SELECT pg_temp.tonight()', $$VALUES ('CREATE INDEX '), ('ALTER INDEX '), ('DROP INDEX ')$$, '... and made anew when retention was in its month');
SELECT is_empty('SELECT pg_temp.tonight()', '... once');
SELECT is(count(*), 2::bigint, '... and finds what it did') FROM hansard_audit.search('"old fox"', '-infinity');
DELETE FROM hansard.audit_events WHERE kind = 'retention_applied';
SELECT lives_ok('SELECT pg_temp.a_day_passes()', 'an index of yesterday, and what was blanked just before');
SELECT pg_temp.note('retention_applied', jsonb_build_object('month', to_char(min(begins) AT TIME ZONE 'UTC', 'YYYYMM')))
FROM hansard.word_indexes() WHERE index_name IS NOT NULL;
UPDATE hansard.audit_events SET happened_at = date_trunc('day', now(), 'UTC') - interval '1 day 1 second' WHERE kind = 'retention_applied';
SELECT set_eq('SELECT pg_temp.tonight()', $$VALUES ('CREATE INDEX '), ('ALTER INDEX '), ('DROP INDEX ')$$, '... is made anew');

SELECT * FROM finish();
ROLLBACK;
