-- Seals divide the time: a message is in the first seal that reaches it, or it was not said when it says. Nobody who is honest is
-- accused: neither by a clock that is set back, nor by turns that are under way, nor by what was erased.
BEGIN;
SELECT plan(36);
SELECT help.worker('w');

CREATE FUNCTION pg_temp.conversation(session text) RETURNS uuid
LANGUAGE sql
RETURN (SELECT conversation_id FROM hansard.sessions WHERE session_key = help.session_key(session));
-- Number and heads of the seal that is made, hourly, over what is a minute old.
CREATE FUNCTION pg_temp.seal(every bigint DEFAULT 3600000) RETURNS text
LANGUAGE sql
AS $$ SELECT concat_ws(' ', j ->> 'seal_no', j ->> 'heads') FROM (SELECT hansard_api.seal(every, 60000, 1000)::jsonb AS j) AS s $$;
-- As if the last one had been made so long ago.
CREATE FUNCTION pg_temp.let_rest(before interval) RETURNS void
LANGUAGE sql
AS $$
    UPDATE hansard.seals SET to_at = clock_timestamp() - before, sealed_at = clock_timestamp() - before
    WHERE seal_no = (SELECT max(seal_no) FROM hansard.seals);
    UPDATE hansard.seals SET hash = hansard.seal_hash(seal_no, sealed_at, from_at, to_at, heads, root, previous)
    WHERE seal_no = (SELECT max(seal_no) FROM hansard.seals);
$$;
CREATE FUNCTION pg_temp.found(conversation uuid) RETURNS text
LANGUAGE sql
AS $$ SELECT string_agg(concat_ws(' ', turn_no || '.' || position, problem), ', ') FROM hansard_audit.verify(conversation) $$;
CREATE FUNCTION pg_temp.found(session text) RETURNS text
LANGUAGE sql
RETURN pg_temp.found(pg_temp.conversation(session));

-- Without seals nothing is too old, nor before the first one is made.
SELECT help.said('a', 'one', '5 hours');
SELECT is(pg_temp.found('a'), '', 'before there is a seal, all is in order');
SELECT is(pg_temp.seal(), '1 1', 'the first seal begins with the first words');
SELECT pg_temp.let_rest('4 hours');
SELECT help.said('a', 'two', '3 hours');
SELECT help.said('b', 'one', '3 hours');
SELECT is(pg_temp.found('a') || pg_temp.found('b'), '', 'what is later than the last seal is in order');
SELECT is(pg_temp.seal(), '2 2', 'it is in the next one');
SELECT pg_temp.let_rest('2 hours');
SELECT is(pg_temp.found('a') || pg_temp.found('b'), '', '... and in order');
SELECT is(help.outcomes('w', '[{"session": "live"}, {"session": "b"}]'), 'accepted accepted', 'turns are under way');
SELECT is(pg_temp.found('live') || pg_temp.found('b'), '', '... which is in order');
SELECT is(pg_temp.seal(), '', 'they are not sealed yet');
SELECT is(string_agg(status, ' '), 'ok', 'all seals are fine') FROM hansard_audit.verify_seals();

-- Words that say they are older than a seal, and are not in it.
SELECT help.said('late', 'one', '150 minutes');
SELECT is(pg_temp.found('late'), '1.1 said before seal 2, but not in it', 'a conversation that is put into time that was sealed');
SELECT help.said('older', 'one', '6 hours');
SELECT is(pg_temp.found('older'), '1.1 said before seal 2, but not in it', '... or before the first words that were');
SELECT help.said('a', 'three', '150 minutes');
SELECT is(pg_temp.found('a'), '3.1 said before seal 2, but not in it', 'words that are put behind those of a conversation');
SELECT is(pg_temp.seal(), '', 'no seal takes them up');
SELECT help.said('c', 'one', '1 hour');
SELECT is(pg_temp.seal(), '3 1', '... not even the next');
SELECT pg_temp.let_rest('50 minutes');
SELECT is(pg_temp.found('late'), '1.1 said before seal 3, but not in it', '... which is one more that they are not in');
SELECT help.said('a', 'four', '40 minutes');
SELECT is(pg_temp.seal(0), '4 1', 'the conversation goes on, and is sealed as it is');
SELECT is(messages, 8, '... with what was put in') FROM hansard.seal_heads WHERE seal_no = 4;
SELECT is(pg_temp.found('a'), '3.1 said before seal 3, but not in it', '... which makes it no older');
SELECT is(string_agg(problem, ', '), 'said before seal 3, but not in it', 'an auditor is told the same')
FROM (SELECT pg_temp.conversation('a') AS id) AS a, hansard_audit.verify(a.id);

-- A seal that is not there accuses nobody: it is accused itself.
CREATE TEMP TABLE kept AS SELECT * FROM hansard.seals WHERE seal_no = 2;
DELETE FROM hansard.seals WHERE seal_no = 2;
SELECT is(pg_temp.found('b'), '', 'the heads of a seal that is missing are no proof');
SELECT is(string_agg(problem, ', '), 'seal before missing', '... but it is missed') FROM hansard_audit.verify_seals();
INSERT INTO hansard.seals SELECT * FROM kept;
UPDATE hansard.seals SET from_at = from_at - interval '1 minute' WHERE seal_no = 4;
UPDATE hansard.seals SET hash = hansard.seal_hash(seal_no, sealed_at, from_at, to_at, heads, root, previous) WHERE seal_no = 4;
SELECT is(string_agg(seal_no || ' ' || problem, ', '), '4 not made after the seal before', 'seals do not overlap') FROM hansard_audit.verify_seals();
UPDATE hansard.seals SET from_at = from_at + interval '1 minute' WHERE seal_no = 4;
UPDATE hansard.seals SET hash = hansard.seal_hash(seal_no, sealed_at, from_at, to_at, heads, root, previous) WHERE seal_no = 4;

-- Erased: what was sealed is as it was, and what was not is no better.
CREATE TEMP TABLE erased AS SELECT session_id, conversation_id FROM hansard.sessions;
SELECT is(count(hansard_api.erase_conversation(NULL, session_id, gen_random_uuid()::text)), 3::bigint, 'three are erased')
FROM erased WHERE session_id IN ('b', 'c', 'late');
SELECT is(string_agg(session_id || ' ' || pg_temp.found(conversation_id), ', ' ORDER BY session_id),
          'b , c , late 1.1 said before seal 4, but not in it', 'the two are in order as before, and the third is not')
FROM erased WHERE session_id IN ('b', 'c', 'late');

-- A clock that is set back: as if the last seal had been made ten minutes from now.
SELECT pg_temp.let_rest('-10 minutes');
SELECT help.turn('w', 'begun', 'hello', 'hi');
SELECT help.turn('w', 'begun', 'again', 'hi');
SELECT is(string_agg((extract(epoch FROM m.created_at - z.to_at) * 1000000)::bigint::text, ' ' ORDER BY m.created_at), '1 2 3 4',
          'what is said then is later than the seal, nevertheless')
FROM hansard.seals z, hansard.messages m WHERE z.seal_no = 4 AND m.conversation_id = pg_temp.conversation('begun');
SELECT is(pg_temp.found('begun'), '', '... and in order');
SELECT is(help.finishes('{"session": "live"}'), 'finished', 'a turn that was under way before ends then');
SELECT is(m.created_at > z.to_at, true, '... and its answer is later than the seal')
FROM hansard.seals z, hansard.messages m WHERE z.seal_no = 4 AND m.position = 2 AND m.conversation_id = pg_temp.conversation('live');
DELETE FROM hansard.messages WHERE conversation_id = pg_temp.conversation('live'); -- its question was there before the seal
SELECT is(pg_temp.seal(0), '', 'it is not sealed while the clock is behind');
SELECT is((hansard_api.seal(0, 60000, 1000, true)::jsonb ->> 'age_s')::integer BETWEEN -600 AND -590, true, '... and the seal''s age says why');
UPDATE hansard.seals SET to_at = to_at - interval '20 minutes' WHERE seal_no = 4;
UPDATE hansard.messages SET created_at = created_at - interval '20 minutes' WHERE conversation_id = pg_temp.conversation('begun');
SELECT is(pg_temp.seal(0), '5 1', 'when it has caught up, the next seal begins where the last one ended');

-- How old the last seal is.
SELECT is(hansard_api.seal(0, 60000, 1000), NULL, 'a worker of the release before is told nothing when there is none');
SELECT is((hansard_api.seal(0, 60000, 1000, true)::jsonb ->> 'age_s')::integer, 0, 'one of this release is told how old the last one is');
DELETE FROM hansard.seals;
SELECT is((hansard_api.seal(9000000000000, 60000, 1000, true)::jsonb ->> 'age_s')::integer, -1, '-1: there was none');

-- The row that is locked is nobody's but the owner's.
SELECT is(help.tries('hansard_auditor', 'SELECT FROM hansard.sealing FOR UPDATE'), '42501', 'auditors cannot be in the way');
SELECT is(help.tries('hansard_app', 'SELECT FROM hansard.sealing FOR UPDATE'), '42501', '... nor can workers, but by sealing');

SELECT * FROM finish();
ROLLBACK;
