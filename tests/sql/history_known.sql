-- A worker that has read a conversation lately is told only what came since, when that and the limits allow it.
BEGIN;
SELECT plan(26);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.turn('w', 's', 'q' || i, 'answer ' || i) FROM generate_series(1, 6) AS i; -- 2 + 8 bytes a turn

CREATE FUNCTION pg_temp.current() RETURNS uuid
LANGUAGE sql
AS $$ SELECT conversation_id FROM hansard.sessions WHERE session_id = 's' $$;
-- What is told to a worker that knows a conversation up to a turn: 'after 4: …', or 'all: …'.
-- The same request again and again: the answer depends on what is known and on the limits alone.
CREATE FUNCTION pg_temp.told(known_turn integer, messages integer DEFAULT 20, bytes integer DEFAULT 65536,
                             conversation uuid DEFAULT pg_temp.current()) RETURNS text
LANGUAGE sql
AS $$
    SELECT concat(coalesce('after ' || history_after, 'all'), ': ', array_to_string(history, ','))
    FROM help.ask('w', jsonb_build_object('key', 'now', 'request', 'now', 'known_conversation', conversation,
                                          'known_turn', known_turn), messages, bytes)
$$;
CREATE FUNCTION pg_temp.turns(first integer, last integer) RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(format('q%s,answer %1$s', i), ',' ORDER BY i) FROM generate_series(first, last) AS i $$;

SELECT is(pg_temp.told(NULL), 'all: ' || pg_temp.turns(1, 6), 'who knows nothing is told all');
SELECT is(pg_temp.told(4), 'after 4: ' || pg_temp.turns(5, 6), 'who knows it up to a turn is told the rest');
SELECT is(pg_temp.told(5), 'after 5: ' || pg_temp.turns(6, 6), '... one turn');
SELECT is(pg_temp.told(6), 'after 6: ', '... or nothing, when there is none');
SELECT is(pg_temp.told(1), 'after 1: ' || pg_temp.turns(2, 6), '... or nearly all');
SELECT is(pg_temp.told(0), 'after 0: ' || pg_temp.turns(1, 6), 'to know nothing of it is to be told all of it');
SELECT is(pg_temp.told(4, conversation => '01890000-0000-7000-8000-000000000000'), 'all: ' || pg_temp.turns(1, 6),
          'another conversation is of no use');
SELECT is(pg_temp.told(4, conversation => NULL), 'all: ' || pg_temp.turns(1, 6), '... nor is none');

-- What is known has to reach into what is shown.
SELECT is(pg_temp.told(4, 6), 'after 4: ' || pg_temp.turns(5, 6), 'of three turns shown one is known');
SELECT is(pg_temp.told(3, 6), 'after 3: ' || pg_temp.turns(4, 6),
          'of three turns shown none is known, but what came right before them');
SELECT is(pg_temp.told(2, 6), 'all: ' || pg_temp.turns(4, 6),
          'what was known longer ago is of no use: all that is shown is told');
SELECT is(pg_temp.told(6, 0), 'after 6: ', 'nothing is shown, nothing is told');
SELECT is(pg_temp.told(4, 6, 20), 'after 4: ' || pg_temp.turns(5, 6), 'what is told fits the bytes');
SELECT is(pg_temp.told(4, 6, 19), 'all: ' || pg_temp.turns(6, 6), 'when it does not, all that fits is told anew');
SELECT is(pg_temp.told(4, 6, 0), 'all: ', '... or nothing');

-- Each of a batch, and in the other ways of being accepted.
SELECT is(help.finishes('{}'), 'finished', 'the turn is answered');
SELECT help.turn('w', 't', 'qt', 'at');
SELECT results_eq(
    format($$SELECT outcome, history_after, history FROM help.ask('w', '[
        {"session": "t", "known_conversation": "%1$s", "known_turn": 7},
        {"session": "s", "known_conversation": "%1$s", "known_turn": 7, "key": "k"},
        {"session": "u"}]')$$, pg_temp.current()),
    $$VALUES ('accepted', NULL, '{qt,at}'::text[]), ('accepted', 7, NULL), ('accepted', NULL, NULL)$$,
                  'in a batch each is told what he does not know');
SELECT help.silence('w', '16 seconds');
SELECT is(ROW(outcome, attempt, history_after, history), ROW('accepted'::text, 2, 6, '{hello,"hi there"}'::text[]),
          'whoever takes a turn over, too')
FROM help.ask('v', jsonb_build_object('key', 'k', 'known_turn', 6, 'known_conversation', pg_temp.current()));
SELECT is(ROW(outcome, history_after, history), ROW('waiting'::text, NULL::int, NULL::text[]),
          'who has to wait is told nothing')
FROM help.ask('v', jsonb_build_object('known_turn', 6, 'known_conversation', pg_temp.current()));

-- An unanswered turn: which turns are shown cannot be told from their numbers any more.
SELECT is(help.finishes('{"state": "failed"}'), 'finished', 'the turn fails');
SELECT help.worker('w');
UPDATE hansard.turns SET idempotency_key = 'then' WHERE idempotency_key = 'now';
SELECT is(pg_temp.told(7), 'all: ' || pg_temp.turns(1, 6) || ',hello,hi there', 'after an unanswered turn all is told');
SELECT is(help.finishes('{}'), 'finished', 'the next one is answered');

-- A new conversation of the session.
UPDATE hansard.turns SET idempotency_key = 'then, too' WHERE idempotency_key = 'now';
CREATE TEMP TABLE old AS SELECT pg_temp.current() AS conversation_id;
UPDATE hansard.sessions SET last_activity = now() - interval '2 days' WHERE session_id = 's';
SELECT is(pg_temp.told(9, conversation => conversation_id), 'all: ',
          'of an expired conversation nothing is told, and it does not count as known') FROM old;
SELECT is(help.finishes('{}'), 'finished', 'the turn is answered');
SELECT is(ROW(turn_no, history_after, history), ROW(2, NULL::int, '{hello,"hi there"}'::text[]), '... nor later')
FROM help.ask('w',
              jsonb_build_object('known_turn', 9, 'known_conversation', (SELECT conversation_id FROM old), 'key', 'z',
                                 'request', 'z'));
SELECT is(ROW(turn_no, history_after, history), ROW(2, 1, NULL::text[]), 'the new one does')
FROM help.ask('w',
              jsonb_build_object('known_turn', 1, 'known_conversation', pg_temp.current(), 'key', 'z', 'request', 'z'));

SELECT * FROM finish();
ROLLBACK;
