-- A session that has rested for longer than its time to live starts a new conversation; the old one stays in the record.
BEGIN;
SELECT plan(28);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.turn('w', 's', 'hello', 'hi there');
SELECT help.turn('w', 's', 'trouble', NULL);
CREATE TEMP TABLE old AS SELECT * FROM hansard.sessions;

UPDATE hansard.sessions SET last_activity = clock_timestamp() - interval '59 minutes 55 seconds';
SELECT is(ROW(outcome, turn_no), ROW('accepted'::text, 3), 'within the hour a message goes on with the conversation')
FROM help.ask('w', '{"words": "still here"}', ttl => '1 hour');
SELECT is(conversation_id, (SELECT conversation_id FROM old), 'with the same one') FROM hansard.sessions;
SELECT ok(last_activity > now(), 'and begins the hour anew') FROM hansard.sessions;
SELECT is(help.finishes('{}'), 'finished', 'it is answered');
UPDATE hansard.sessions SET last_activity = clock_timestamp() - interval '1 hour 1 second';
CREATE TEMP TABLE before AS SELECT * FROM hansard.messages;

CREATE TEMP TABLE fresh AS SELECT * FROM help.ask('w', '{"words": "good morning", "key": "m"}', ttl => '1 hour');
SELECT is(ROW(outcome, turn_no, attempt), ROW('accepted'::text, 1, 1), 'after the hour a message is turn 1') FROM fresh;
SELECT isnt(f.conversation_id, o.conversation_id, 'of a new conversation') FROM fresh f, old o;
SELECT is(f.session_key, o.session_key, 'of the same session') FROM fresh f, old o;
SELECT is(history, NULL, 'the model is not shown the old one') FROM fresh;
SELECT is(ROW(s.next_turn, s.open_turn, s.open_worker, s.unanswered), ROW(2, 1, help.id('w'), 0),
          'the session counts from the start')
FROM hansard.sessions s JOIN fresh USING (session_key, conversation_id);
SELECT is(count(*), 1::bigint, 'there is still one session') FROM hansard.sessions;
SELECT is(count(*), 2::bigint, 'and two headers') FROM hansard.conversations JOIN fresh USING (session_key);
SELECT is(m.chain_hash,
          hansard.chain_hash(hansard.chain_start(c.conversation_id, c.session_key, c.created_at), c.conversation_id, 1,
                                           1::smallint, 'user', m.created_at, m.text_hash),
          'the new chain starts from its own header')
FROM hansard.messages m JOIN fresh USING (conversation_id)
JOIN hansard.conversations c ON c.conversation_id = m.conversation_id;
SELECT set_eq('SELECT * FROM hansard.messages WHERE conversation_id = (SELECT conversation_id FROM old)',
              'SELECT * FROM before',
              'the old words stay');
SELECT is(help.finishes('{"answer": "good day"}'), 'finished', 'the turn is answered');
SELECT is(history, ARRAY['good morning', 'good day'], 'the next one is shown the new conversation only')
FROM help.ask('w', '{"words": "and then?"}', ttl => '1 hour');

-- An open turn: the session is not at rest, however old.
UPDATE hansard.sessions SET last_activity = clock_timestamp() - interval '2 days';
SELECT is(help.outcomes('v', '{}'), 'waiting', 'a turn that takes longer than the time to live is waited for');
SELECT is(count(*), 2::bigint, '... and no new conversation starts') FROM hansard.conversations;
SELECT is(help.finishes('{"answer": "at last"}'), 'finished', 'it is answered at last');
SELECT is(ROW(outcome, turn_no), ROW('accepted'::text, 3), 'and the conversation goes on, for its rest begins then')
FROM help.ask('v', '{}');
SELECT help.silence('v', '16 seconds');
UPDATE hansard.sessions SET last_activity = now() - interval '2 days';
SELECT is(ROW(a.outcome, a.turn_no, a.attempt, a.conversation_id), ROW('accepted'::text, 3, 2, f.conversation_id),
          'a turn can be taken over after the time to live')
FROM fresh f, help.ask('w',
                       jsonb_build_object('key',
                                          (SELECT idempotency_key FROM hansard.turns
                                           WHERE worker_id = help.id('v')))) a;
SELECT ok(last_activity > now(), '... which is a sign of life') FROM hansard.sessions;

-- An open turn of the dead: closed in the old conversation.
UPDATE hansard.sessions SET last_activity = clock_timestamp() - interval '2 days';
SELECT help.silence('w', '16 seconds');
SELECT help.worker('v');
CREATE TEMP TABLE after_death AS SELECT * FROM help.ask('v', '{"words": "anybody?"}');
SELECT is(ROW(outcome, turn_no), ROW('accepted'::text, 1),
          'after the death of its worker and the time to live a new conversation starts') FROM after_death;
SELECT is(ROW(t.state::text, t.error_code), ROW('failed'::text, 'worker_lost'::text),
          'the lost turn is closed in the old one')
FROM hansard.turns t JOIN fresh USING (conversation_id) WHERE t.turn_no = 3;
SELECT is(ROW(s.unanswered, s.open_turn, s.conversation_id), ROW(0, 1, (SELECT conversation_id FROM after_death)),
          'and does not count in the new one') FROM hansard.sessions s;
SELECT is(help.finishes('{}'), 'finished', 'which is answered');

-- Several in one batch.
SELECT help.turn('v', 't', 'hello', 'hi there');
UPDATE hansard.sessions SET last_activity = clock_timestamp() - interval '2 days' WHERE session_id = 's';
CREATE TEMP TABLE batch AS SELECT * FROM help.ask('v', '[{"session": "s"}, {"session": "t"}, {"session": "s"}]');
SELECT is(string_agg(outcome || ' ' || turn_no, ', ' ORDER BY item) FILTER (WHERE item < 3), 'accepted 1, accepted 2',
          'one has expired, its neighbour has not') FROM batch;
SELECT is(outcome, 'waiting', 'the second message of the expired one waits') FROM batch WHERE item = 3;
SELECT is(count(*), 4::bigint, 'one conversation was started by all that') FROM hansard.conversations
WHERE session_id = 's';

SELECT * FROM finish();
ROLLBACK;
