-- What the model is shown: the newest whole turns that fit into a number of messages and of bytes.
BEGIN;
SELECT plan(39);
SELECT help.worker('w');
SELECT help.turn('w', 's', 'q' || i, 'answer ' || i) FROM generate_series(1, 5) AS i; -- 2 + 8 bytes a turn

CREATE FUNCTION pg_temp.shown(messages integer, bytes integer, session text DEFAULT 's') RETURNS text
LANGUAGE sql
AS $$
    -- The same request again and again: the answer depends on the limits alone.
    SELECT coalesce(array_to_string(history, ','), 'nothing')
    FROM help.ask('w', jsonb_build_object('session', session, 'key', 'now', 'request', 'now'), messages, bytes)
$$;

SELECT is(pg_temp.shown(20, 65536), 'q1,answer 1,q2,answer 2,q3,answer 3,q4,answer 4,q5,answer 5',
          'all of it when it fits, oldest first');
SELECT is(pg_temp.shown(10, 65536), 'q1,answer 1,q2,answer 2,q3,answer 3,q4,answer 4,q5,answer 5', '... just');
SELECT is(pg_temp.shown(8, 65536), 'q2,answer 2,q3,answer 3,q4,answer 4,q5,answer 5', 'the newest messages');
SELECT is(pg_temp.shown(9, 65536), 'q2,answer 2,q3,answer 3,q4,answer 4,q5,answer 5', '... whole turns only');
SELECT is(pg_temp.shown(2, 65536), 'q5,answer 5', 'one turn');
SELECT is(pg_temp.shown(3, 65536), 'q5,answer 5', '... even where half of another would fit');
SELECT is(pg_temp.shown(1, 65536), 'nothing', 'half a turn is none');
SELECT is(pg_temp.shown(0, 65536), 'nothing', 'no message, no turn');
SELECT is(pg_temp.shown(2147483647, 2147483647), 'q1,answer 1,q2,answer 2,q3,answer 3,q4,answer 4,q5,answer 5',
          'as many as there can be');

SELECT is(pg_temp.shown(20, 50), 'q1,answer 1,q2,answer 2,q3,answer 3,q4,answer 4,q5,answer 5',
          'all bytes when they fit');
SELECT is(pg_temp.shown(20, 49), 'q2,answer 2,q3,answer 3,q4,answer 4,q5,answer 5',
          'the newest bytes, whole turns only');
SELECT is(pg_temp.shown(20, 40), 'q2,answer 2,q3,answer 3,q4,answer 4,q5,answer 5', '... just');
SELECT is(pg_temp.shown(20, 39), 'q3,answer 3,q4,answer 4,q5,answer 5', '... not quite');
SELECT is(pg_temp.shown(20, 10), 'q5,answer 5', 'one turn');
SELECT is(pg_temp.shown(20, 9), 'nothing', 'a turn that does not fit is not cut');
SELECT is(pg_temp.shown(20, 0), 'nothing', 'no byte, no turn');
SELECT is(pg_temp.shown(4, 19), 'q5,answer 5', 'both limits at once: bytes');
SELECT is(pg_temp.shown(4, 45), 'q4,answer 4,q5,answer 5', '... messages');
SELECT help.finishes('{"state": "failed"}');

-- Unanswered turns are left out, and take no room from the others.
SELECT is(help.outcomes('w', '{"words": "never answered", "key": "n"}'), 'accepted', 'the next turn is opened');
SELECT is(help.finishes('{"state": "failed"}'), 'finished', '... and fails');
SELECT help.turn('w', 's', 'q8', 'answer 8');
UPDATE hansard.turns SET idempotency_key = 'then' WHERE idempotency_key = 'now';
SELECT is(pg_temp.shown(20, 65536), 'q1,answer 1,q2,answer 2,q3,answer 3,q4,answer 4,q5,answer 5,q8,answer 8',
          'unanswered words are not shown');
SELECT is(pg_temp.shown(4, 65536), 'q5,answer 5,q8,answer 8', '... and not counted');
SELECT is(pg_temp.shown(5, 65536), 'q5,answer 5,q8,answer 8', '... odd or even');
SELECT is(pg_temp.shown(20, 20), 'q5,answer 5,q8,answer 8', '... nor are their bytes');
SELECT is(pg_temp.shown(20, 19), 'q8,answer 8', '... one less');
SELECT is(pg_temp.shown(1, 65536), 'nothing', 'half a turn is none here, too');
SELECT is(pg_temp.shown(0, 0), 'nothing', 'no room, no turn');

-- Nothing but unanswered turns.
SELECT help.turn('w', 'u', 'why?', NULL);
SELECT help.turn('w', 'u', 'hello?', NULL);
SELECT is(pg_temp.shown(20, 65536, 'u'), 'nothing', 'a conversation without an answer has no history');

-- Large texts, and bytes that are not characters.
SELECT help.turn('w', 'large', 'first', 'small');
SELECT help.turn('w', 'large', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 10000) AS i),
                 'that was long');
SELECT help.turn('w', 'large', 'last', repeat('ö', 1000));
SELECT is(length(pg_temp.shown(20, 400000, 'large')), 5 + 5 + 320000 + 13 + 4 + 1000 + 5,
          'a large text is shown when it fits');
SELECT is(left(pg_temp.shown(20, 400000, 'large'), 50), 'first,small,c4ca4238a0b923820dcc509a6f75849bc81e72',
          '... in its place');
SELECT is(pg_temp.shown(20, 320000, 'large'), 'last,' || repeat('ö', 1000),
          'when it does not fit, nothing before it is shown either');
SELECT is(pg_temp.shown(20, 2004, 'large'), 'last,' || repeat('ö', 1000), 'ö has two bytes');
SELECT is(pg_temp.shown(20, 2003, 'large'), 'nothing', '... each of which counts');
SELECT is(length(pg_temp.shown(20, 320000 + 13 + 2004, 'large')), 320000 + 13 + 4 + 1000 + 3,
          'the large turn fits exactly');
SELECT is(pg_temp.shown(20, 320000 + 13 + 2003, 'large'), 'last,' || repeat('ö', 1000), '... or not at all');

-- An empty answer is an answer; texts that look like something else are texts.
SELECT help.turn('w', 'odd', 'say nothing', '');
SELECT help.turn('w', 'odd', 'NULL', '{"a,b",\N}');
SELECT is(history, ARRAY['say nothing', '', 'NULL', '{"a,b",\N}'], 'texts come as they are')
FROM help.ask('w', '{"session": "odd"}');

-- In a batch each has its own.
SELECT help.turn('w', 'a', 'one', 'two');
SELECT help.turn('w', 'b', 'three', 'four');
SELECT help.turn('w', 'b', 'five', NULL);
SELECT results_eq(
    $$SELECT history FROM help.ask('w', '[{"session": "b"}, {"session": "new"}, {"session": "a"}]')$$,
    $$VALUES ('{three,four}'::text[]), (NULL), ('{one,two}')$$, 'in a batch each has its own history');
SELECT is(help.finishes('[{"session": "a"}, {"session": "b"}]'), 'finished finished', 'both are answered');
SELECT results_eq(
    $$SELECT history FROM help.ask('w', '[{"session": "b"}, {"session": "a"}]', 2)$$,
    $$VALUES ('{hello,"hi there"}'::text[]), ('{hello,"hi there"}')$$, '... within the limits');

SELECT * FROM finish();
ROLLBACK;
