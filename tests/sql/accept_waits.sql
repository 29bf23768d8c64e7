-- A conversation takes one turn at a time: whoever comes meanwhile waits, and nothing is stored for it.
BEGIN;
SELECT plan(17);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT is(help.outcomes('w', '{"key": "k", "request": "r"}'), 'accepted', 'a turn is open');
CREATE TEMP TABLE before AS SELECT help.content();

SELECT is(help.outcomes('w', '{"key": "other"}'), 'waiting', 'the next message waits');
SELECT is(help.outcomes('v', '{"key": "other"}'), 'waiting', '... at another worker, too');
SELECT is(help.outcomes('w', '{"key": "k", "request": "r2"}'), 'waiting', 'a repeat under the same key waits');
SELECT is(help.outcomes('v', '{"key": "k", "request": "r2"}'), 'waiting', '... at another worker, too');
SELECT is(help.outcomes('v', '{"key": "k", "request": "r"}'), 'waiting', '... even with the request id of the first');
SELECT is(turn_no, 1, 'it waits for the turn of its key') FROM help.ask('v', '{"key": "k"}');
SELECT is(ROW(history, reply, quota_limit, quota_remaining, quota_reset_ms, retry_after_ms),
          ROW(NULL::text[], NULL::text, 10, 10, 0, NULL::int), 'who waits is told nothing else but his quota')
FROM help.ask('w', '{"key": "other"}');
SELECT help.silence('w', '11 seconds');
SELECT is(help.outcomes('v', '{"key": "other"}'), 'waiting', 'a worker silent for 14 s still has its turn');
SELECT is(help.outcomes('v', '{"key": "k"}'), 'waiting', '... which nobody takes over');
SELECT is(help.content(), content, 'nothing was stored, and no quota taken') FROM before;

SELECT is(help.finishes('{}'), 'finished', 'the turn is answered');
SELECT is(ROW(outcome, turn_no), ROW('accepted'::text, 2), 'then the next message has its turn')
FROM help.ask('v', '{"key": "other"}');

-- Within one batch.
SELECT is(help.outcomes('w', '[{"session": "n"}, {"session": "n"}, {"session": "m"}, {"session": "n"}]'),
          'accepted waiting accepted waiting', 'of several messages to one new session, the first is accepted');
SELECT is(help.finishes('[{"session": "n"}, {"session": "m"}]'), 'finished finished', 'both are answered');
SELECT is(help.outcomes('w', '[{"session": "n", "words": "first"}, {"session": "n", "words": "second"}]'),
          'accepted waiting',
          'so it is in a session that is there');
SELECT is(string_agg(text, ' ' ORDER BY turn_no), 'hello first', 'the first in the batch was stored, and only it')
FROM hansard.messages JOIN hansard.sessions s USING (conversation_id) WHERE s.session_id = 'n' AND position = 1;

SELECT * FROM finish();
ROLLBACK;
