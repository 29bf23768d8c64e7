-- A turn in a conversation of two thousand costs what one in a conversation of two costs: nothing old is read.
--
-- Plans are kept, and the first ones here are made for tables that were empty. They have to give way when ANALYZE, which
-- autovacuum runs, has seen what has become of them.
BEGIN;
SELECT plan(16);
SELECT help.worker('w');
SELECT help.turn('w', 's', 'hello', 'hi there');
SELECT help.turn('w', 's', 'trouble', NULL);
SELECT help.turn('w', 's', 'more', 'of it');
SELECT help.finishes('{}') FROM help.ask('w', '{}', 1);
SELECT hansard_api.read_conversation(NULL, 's', 0, 2, 65536);

INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, attempt,
                           accepted_at, finished_at)
SELECT conversation_id, i, 'completed', 'key ' || i, help.hash('hello'), help.id('r'), 1, now(), now()
FROM hansard.sessions, generate_series(5, 2000) AS i;
INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash, chain_hash)
SELECT conversation_id, i, p, (ARRAY['user', 'assistant'])[p]::hansard.message_role, 'text ' || i, now(), '', '', ''
FROM hansard.sessions, generate_series(5, 2000) AS i, generate_series(1, 2) AS p;
UPDATE hansard.sessions SET next_turn = 2001, unanswered = 0;
SELECT format('ANALYZE %s', inhrelid::regclass) FROM pg_inherits
WHERE inhparent IN ('hansard.messages'::regclass, 'hansard.turns'::regclass)
\gexec

CREATE FUNCTION pg_temp.rows_read() RETURNS bigint
LANGUAGE sql
AS $$
    SELECT sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::bigint FROM pg_stat_xact_user_tables
    WHERE relid IN (SELECT inhrelid FROM pg_inherits
                    WHERE inhparent IN ('hansard.messages'::regclass, 'hansard.turns'::regclass))
$$;
CREATE TEMP TABLE mark (rows bigint);
CREATE FUNCTION pg_temp.mark() RETURNS void
LANGUAGE sql
AS $$ DELETE FROM mark; INSERT INTO mark SELECT pg_temp.rows_read() $$;

SELECT pg_temp.mark();
SELECT is(history, '{text 1999,text 1999,text 2000,text 2000}', 'a turn is accepted, with the newest history')
FROM help.ask('w', '{"key": "k"}', 4);
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 6::bigint, '... for which little is read') FROM mark;
SELECT pg_temp.mark();
SELECT is(help.finishes('{"state": "failed"}'), 'finished', 'the turn fails');
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 4::bigint, '... for which little is read') FROM mark;
SELECT pg_temp.mark();
SELECT is(history, '{text 1999,text 1999,text 2000,text 2000}',
          'after an unanswered turn the next is accepted, with the same history')
FROM help.ask('w', '{"words": "hello"}', 4);
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 16::bigint, '... for which little more is read') FROM mark;
SELECT pg_temp.mark();
SELECT is(help.finishes('{}'), 'finished', 'it is answered');
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 4::bigint, '... for which little is read') FROM mark;
SELECT pg_temp.mark();
SELECT is(history, '{text 2000,text 2000,hello,"hi there"}', 'when bytes are short, the newest that fit are shown')
FROM help.ask('w', '{"key": "last", "request": "last"}', 6, 40);
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 24::bigint,
              '... for which no more is read than the messages that might be') FROM mark;
SELECT pg_temp.mark();
SELECT is(help.outcomes('w', '[{"key": "key 1000"}, {"key": "key 1001"}]'), 'replayed replayed', 'an old key is found');
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 12::bigint, '... by itself') FROM mark;
SELECT pg_temp.mark();
SELECT is(json_array_length(hansard_api.read_conversation(NULL, 's', 1000, 10, 65536)::json -> 'turns'), 10,
          'a page is read from the middle');
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 80::bigint, '... and little besides') FROM mark;
SELECT pg_temp.mark();
SELECT is(json_array_length(hansard_api.read_conversation(NULL, 's', 0, 100, 65536)::json -> 'turns'), 100,
          'a large page is read');
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 800::bigint, '... in proportion') FROM mark;

SELECT * FROM finish();
ROLLBACK;
