-- Search finds phrases by pairs of words, in which an index tells more than the words by themselves; the newest first, however
-- long ago; and the same as by reading, whatever the index is like.
BEGIN;
SELECT plan(40);

-- Pairs are those of the places that a tsvector has.
CREATE TEMP TABLE texts (name, text) AS VALUES
    ('words', 'To be, or not to be: that''s "the" question'), ('other letters', 'Zwölf ΟΔΟΣ Ὀδυσσεύς İstanbul 中文 и так'),
    ('compounds', 'a well-known, state-of-the-art foo_bar-baz e-mail x-1'), ('numbers', '-1.5e3 12:30 3,5 v1.2.3 007 1st'),
    ('addresses', 'see https://a.example.com/b(c)?d=e&f#g, me@example.com or /usr/bin/x'),
    ('markup', 'one <b class="x y">two</b> three &amp; four <!-- five --> six &#8364; seven'),
    ('a word too long', 'before ' || repeat('x', 3000) || ' after ' || repeat('ж', 1023) || ' last ' || repeat('ж', 1024) || ' end'),
    ('more words than are counted', (SELECT string_agg('g' || lpad(to_hex(i), 4, '0'), ' ') FROM generate_series(1, 17000) AS i)),
    ('nothing', ''), ('blanks', ' . '), ('a word', 'word');
CREATE FUNCTION pg_temp.missing_pairs(of_text text) RETURNS SETOF integer
LANGUAGE sql
AS $$
    WITH p AS (SELECT lexeme AS word, place FROM unnest(hansard.words(of_text)) AS w, unnest(positions) AS place)
    SELECT hansard.word_pair(hashtext(p.word), hashtext(n.word)) FROM p JOIN p AS n ON n.place = p.place + 1
    EXCEPT
    SELECT unnest(hansard.word_pairs(of_text))
$$;
SELECT is(ARRAY(SELECT pg_temp.missing_pairs(text)), '{}'::integer[], format('pairs of %s', name)) FROM texts;
SELECT is(hansard.word_pairs('a B  c'), ARRAY[34063, 877978], 'two of three words; as indexes have them, for ever');
SELECT is(hansard.word_pairs(text), NULL, format('none of %L', text)) FROM (VALUES (NULL), (''), ('a')) AS t (text);

-- What an index can tell.
CREATE TEMP VIEW conditions (words, condition) AS VALUES
    ('a -b', $$words(text) @@ '''a'' & !''b'''$$), ('a or b', $$words(text) @@ '''a'' | ''b'''$$), ('-a', NULL), ('a or -b', NULL),
    ('"a b" c -"d e"', $$words(text) @@ '''a'' & ''b'' & ''c''' AND word_pairs(text) @> '{34063}'$$),
    ('"a b c" or d', $$words(text) @@ '''a'' & ''b'' & ''c''' AND word_pairs(text) @> '{34063,877978}' OR words(text) @@ '''d'''$$);
SELECT is(replace(hansard.word_condition(websearch_to_tsquery('simple', words), true), 'hansard.', ''), condition, format('told: %s', words))
FROM conditions;
SELECT is(hansard.word_condition(websearch_to_tsquery('simple', '"a b"'), false), $$hansard.words(text) @@ '''a'' & ''b'''$$,
          '... if it has no pairs');

-- A message each of some minutes, hours and months ago, with an index of all but the first two.
SET LOCAL ROLE hansard_owner;
SELECT hansard.make_partition('messages', (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => ago))::date)
FROM generate_series(1, 4) AS ago;
RESET ROLE;
CREATE FUNCTION pg_temp.say(words text, at timestamptz) RETURNS void
LANGUAGE sql
AS $$ INSERT INTO hansard.messages SELECT hansard.uuid_v7(at), 1, 1, 'user', words, at, '0123456789abcdef', '', '' $$;
CREATE TEMP TABLE said AS
SELECT at, date_trunc('month', now(), 'UTC') - at AS before
FROM unnest(ARRAY[now(), now() - interval '3 hours', now() - interval '2 days', now() - interval '40 days', now() - interval '70 days',
                  now() - interval '100 days']) AS at;
SELECT pg_temp.say('to be or not, not to be', at), pg_temp.say('be not or to', at - interval '1 minute') FROM said;
SELECT count(pg_temp.say('so much to read that an index is worth its while', date_trunc('month', now(), 'UTC') - interval '1 day')) AS messages
FROM generate_series(1, 2000) \gset
SELECT pg_temp.say(text, now() - interval '80 days') FROM texts WHERE length(text) < 1000;

CREATE FUNCTION pg_temp.found(words text, most integer DEFAULT 100) RETURNS timestamptz[]
LANGUAGE sql
AS $$ SELECT array_agg(said_at) FROM hansard_audit.search(words, '-infinity', most => most) $$;
CREATE TEMP TABLE phrases (words, many) AS VALUES
    ('"to be"', 7), ('"to be or not"', 7), ('"not not to"', 6), ('"be to"', 0), ('"be or be"', 0), ('"to be" -"not not"', 1), ('"or to" or "to be"', 13),
    ('"be to" or "or to"', 6), ('"be not"', 6), ('-"to be" be', 6), ('"that''s the question"', 1), ('"état-of"', 0), ('"state-of-the-art"', 1), ('be or -to', 21);
CREATE FUNCTION pg_temp.counts() RETURNS SETOF phrases
LANGUAGE sql
AS $$ SELECT words, coalesce(cardinality(pg_temp.found(words)), 0) FROM phrases $$;
SELECT set_eq('SELECT * FROM phrases', 'SELECT * FROM pg_temp.counts()', 'phrases, read through');

CREATE FUNCTION pg_temp.tonight() RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    statement text;
    made      bigint := 0;
BEGIN
    FOR statement IN SELECT hansard_admin.word_index_statements() LOOP
        EXECUTE replace(statement, 'CONCURRENTLY ', '');
        made := made + (statement LIKE 'CREATE %')::integer;
    END LOOP;
    RETURN made;
END
$$;
SELECT cmp_ok(pg_temp.tonight(), '>=', 4::bigint, 'an index for each month');
-- The first who plans with them is somebody who may not call their functions: for the session, he must not make others of them.
SET LOCAL ROLE hansard_auditor;
DO $$ BEGIN PERFORM count(*) FROM hansard_audit.transcript; END $$;
RESET ROLE;
SELECT set_eq('SELECT * FROM phrases', 'SELECT * FROM pg_temp.counts()', 'phrases, with indexes');
SELECT is(pg_temp.found('"or not not"', most), (SELECT array_agg(at ORDER BY at DESC) FROM (SELECT at FROM said ORDER BY at DESC LIMIT most) AS s),
          format('the newest %s', most))
FROM generate_series(1, 6) AS most;

-- By what the index tells.
SET LOCAL enable_seqscan = off;
CREATE FUNCTION pg_temp.plan_of(words text) RETURNS text
LANGUAGE sql
AS $$
    SELECT string_agg(line, E'\n') FROM hansard.word_indexes() w, help.plan_of(format(
        'SELECT FROM hansard.%I WHERE created_at < %L AND %s', w.partition_name, w.indexed_until,
        hansard.word_condition(websearch_to_tsquery('simple', words), w.has_pairs))) AS line
    WHERE w.ends = date_trunc('month', now(), 'UTC')
$$;
SELECT matches(pg_temp.plan_of('fox'), 'Bitmap Index Scan on messages_[0-9]+_words_', 'words are looked for in the index');
SELECT matches(pg_temp.plan_of('"quick fox"'), 'Index Cond: .*@@.*word_pairs', '... and pairs');

-- Indexes of the release before have no pairs. They are good for search, and are made anew.
CREATE FUNCTION pg_temp.a_release_before() RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    i record;
BEGIN
    FOR i IN SELECT * FROM hansard.word_indexes() AS w WHERE w.index_name IS NOT NULL LOOP
        EXECUTE format('DROP INDEX hansard.%I', i.index_name);
        EXECUTE format('CREATE INDEX %I ON hansard.%I USING gin (hansard.words(text)) WHERE created_at < %L',
                       left(i.index_name, -8) || to_char(i.indexed_until - interval '1 day', 'YYYYMMDD'), i.partition_name,
                       i.indexed_until - interval '1 day');
    END LOOP;
END
$$;
SELECT lives_ok('SELECT pg_temp.a_release_before()', 'indexes without pairs');
SELECT set_eq('SELECT * FROM phrases', 'SELECT * FROM pg_temp.counts()', '... find phrases');
SELECT matches(pg_temp.plan_of('"quick fox"'), 'Bitmap Index Scan on messages_[0-9]+_words_', '... and are used');
SELECT cmp_ok(pg_temp.tonight(), '>=', 4::bigint, '... and made anew');
SELECT is(count(*), 0::bigint, '... all of them') FROM hansard.word_indexes() WHERE NOT has_pairs;
SELECT is(pg_temp.tonight(), 0::bigint, '... once');

-- One that was not finished is as if it were not there.
UPDATE pg_index SET indisvalid = false
WHERE indexrelid = (SELECT ('hansard.' || index_name)::regclass FROM hansard.word_indexes() WHERE index_name IS NOT NULL ORDER BY begins LIMIT 1);
SELECT set_eq('SELECT * FROM phrases', 'SELECT * FROM pg_temp.counts()', 'phrases, with an index that is not valid');

SELECT * FROM finish();
ROLLBACK;
