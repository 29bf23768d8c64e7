-- Messages about jobs that have ended: due, taken, delivered, sent again, given up; and gone with what is erased.
BEGIN;
SELECT plan(87);
SELECT help.worker('w');
SELECT help.worker('v');
SELECT help.caller('ann', 'free');

-- A message about the newest turn of a session.
CREATE FUNCTION pg_temp.queue(session text, url text DEFAULT 'https://hooks.example/a?b=c', caller text DEFAULT NULL) RETURNS void
LANGUAGE sql
AS $$ SELECT hansard.queue_webhook(s.conversation_id, s.next_turn - 1, url) FROM hansard.sessions s
      WHERE s.session_key = help.session_key(session, caller) $$;
CREATE FUNCTION pg_temp.claim(worker text DEFAULT 'w', most integer DEFAULT 4)
RETURNS TABLE (conversation uuid, turn integer, url text, attempts integer, payload text)
LANGUAGE sql
AS $$ SELECT c.* FROM json_to_recordset(hansard_api.claim_webhooks(help.id(worker), most)::json -> 'claims')
      AS c (conversation uuid, turn integer, url text, attempts integer, payload text) $$;
CREATE FUNCTION pg_temp.finish(attempts integer, is_delivered boolean, retry_ms bigint DEFAULT 5000) RETURNS text
LANGUAGE sql
AS $$ SELECT hansard_api.end_webhook(w.conversation_id, w.turn_no, finish.attempts, is_delivered, retry_ms) FROM hansard.webhooks w $$;
-- So much time passes.
CREATE FUNCTION pg_temp.pass(span interval) RETURNS void
LANGUAGE sql
AS $$ UPDATE hansard.webhooks SET next_at = next_at - span $$;

SELECT is(count(*), 0::bigint, 'nothing is due where there is nothing') FROM pg_temp.claim();
SELECT is(hansard_api.claim_webhooks(help.id('w'), 4), '{"claims":[]}', '... which is said as JSON');
SELECT throws_ok($$SELECT pg_temp.claim('stranger')$$, 'HS503', NULL, 'who is not registered takes nothing');
SELECT help.silence('v', '16 seconds');
SELECT throws_ok($$SELECT pg_temp.claim('v')$$, 'HS503', NULL, '... nor who counts as dead');
SELECT help.worker('v');

-- A job that was completed.
SELECT help.turn('w', 's', 'hello', 'hi "there"' || chr(10) || 'ä');
UPDATE hansard.turns SET model = 'demo', prompt_tokens = 3, completion_tokens = 2;
SELECT pg_temp.queue('s');
SELECT is(ROW(url, attempts), ROW('https://hooks.example/a?b=c'::text, 0), 'a message is queued') FROM hansard.webhooks;
SELECT ok(next_at BETWEEN now() AND clock_timestamp() AND created_at = next_at, '... due at once') FROM hansard.webhooks;
SELECT throws_ok($$SELECT pg_temp.queue('s')$$, '23505', NULL, 'a job ends once');
SELECT throws_ok($$SELECT hansard.queue_webhook(help.id('x'), 1, repeat('x', 2001))$$, '23514', NULL, 'a URL has its bounds');

CREATE TEMP TABLE claimed AS SELECT * FROM pg_temp.claim();
SELECT is(ROW(c.conversation, c.turn, c.url, c.attempts), ROW(s.conversation_id, 1, 'https://hooks.example/a?b=c'::text, 1),
          'it is taken, with what its sender needs') FROM claimed c, hansard.sessions s;
SELECT is(payload::jsonb - 'timestamp',
          jsonb_build_object('type', 'job.completed', 'data', jsonb_build_object(
              'job_id', conversation || '-1', 'session_id', 's', 'turn', 1, 'status', 'completed',
              'response', 'hi "there"' || chr(10) || 'ä', 'model', 'demo',
              'usage', '{"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}'::jsonb, 'error', NULL)),
          '... and tells all there is to know of the job') FROM claimed;
SELECT is(payload::jsonb ->> 'timestamp', hansard.iso_time(t.finished_at), '... and when it ended') FROM claimed, hansard.turns t;
SELECT is((SELECT string_agg(k, ' ') FROM json_object_keys(payload::json) AS k), 'type timestamp data', 'in the order of the specification')
FROM claimed;
SELECT unalike(payload, '{ %', 'without blanks that nobody needs') FROM claimed;
SELECT ok(next_at BETWEEN now() + interval '60 s' AND clock_timestamp() + interval '60 s', 'it is its sender''s for a minute')
FROM hansard.webhooks;
SELECT is(attempts, 1, '... and the attempt is counted') FROM hansard.webhooks;
SELECT is_empty('SELECT FROM pg_temp.claim()', 'nobody takes it meanwhile');
SELECT is_empty($$SELECT FROM pg_temp.claim('v')$$, '... whoever it is');

-- Delivered.
SELECT is(pg_temp.finish(0, true), NULL, 'of an attempt before, nothing counts');
SELECT is(pg_temp.finish(2, true), NULL, '... nor of one that has not been');
SELECT is(count(*), 1::bigint, '... and the message is still there') FROM hansard.webhooks;
SELECT is(pg_temp.finish(1, true), 'delivered', 'it was delivered');
SELECT is_empty('SELECT FROM hansard.webhooks', '... and is gone');
SELECT is(hansard_api.end_webhook(conversation, turn, 1, true, NULL), NULL, 'told again, it changes nothing') FROM claimed;
SELECT is(hansard_api.end_webhook(conversation, turn, 1, false, 5000), NULL, '... nor a failure after it') FROM claimed;
SELECT is(hansard_api.end_webhook(conversation, turn, 1, false, NULL), NULL, '... nor giving up') FROM claimed;
SELECT is_empty($$SELECT FROM hansard.audit_events WHERE kind = 'webhook_given_up'$$, 'nothing is noted of all this');

-- Sent again.
SELECT help.turn('w', 's', 'trouble', NULL);
SELECT pg_temp.queue('s');
SELECT is(payload::jsonb - 'timestamp' #- '{data,job_id}',
          '{"type": "job.failed", "data": {"session_id": "s", "turn": 2, "status": "failed", "response": null,
                                           "model": null, "usage": null, "error": "model_failed"}}'::jsonb,
          'a job that failed says why') FROM pg_temp.claim();
SELECT is(pg_temp.finish(1, false), 'retried', 'what was not delivered is sent again');
SELECT is(attempts, 1, '... the attempts stay counted') FROM hansard.webhooks;
SELECT ok(next_at BETWEEN now() + interval '5 s' AND clock_timestamp() + interval '5 s', '... in the time its sender said')
FROM hansard.webhooks;
SELECT is(pg_temp.finish(1, false), 'retried', 'told again, it is the same');
SELECT pg_temp.pass('4 seconds');
SELECT is_empty('SELECT FROM pg_temp.claim()', 'no earlier');
SELECT pg_temp.pass('1 second');
SELECT is(array_agg(attempts), '{2}', '... but then') FROM pg_temp.claim('v');
SELECT is(pg_temp.finish(1, true), NULL, 'the attempt before has nothing to say any more');

-- Somebody who took it and was never heard of again.
SELECT pg_temp.pass('59 seconds');
SELECT is_empty('SELECT FROM pg_temp.claim()', 'a sender has its minute');
SELECT pg_temp.pass('1 second');
SELECT is(array_agg(attempts), '{3}', '... then somebody else sends it') FROM pg_temp.claim();
SELECT is(pg_temp.finish(2, false), NULL, '... and the one before is not listened to');

-- Given back.
CREATE FUNCTION pg_temp.give_back(attempts integer) RETURNS void
LANGUAGE sql
AS $$ SELECT hansard_api.give_back_webhook(w.conversation_id, w.turn_no, give_back.attempts) FROM hansard.webhooks w $$;
SELECT lives_ok('SELECT pg_temp.give_back(2)', 'what somebody else sends by now is not given back');
SELECT is(attempts, 3, '... by who had it before') FROM hansard.webhooks;
SELECT lives_ok('SELECT pg_temp.give_back(3)', 'who stops gives back what he sends');
SELECT is(attempts, 2, '... which was no attempt') FROM hansard.webhooks;
SELECT ok(next_at BETWEEN now() + interval '500 ms' AND clock_timestamp() + interval '500 ms', '... and is due at once') FROM hansard.webhooks;
SELECT lives_ok('SELECT pg_temp.give_back(3)', 'told again, it changes nothing');
SELECT is(attempts, 2, '... of the attempts') FROM hansard.webhooks;
SELECT is(pg_temp.finish(3, true), NULL, 'he has nothing to say of it any more');
SELECT pg_temp.pass('1 second');
SELECT is(array_agg(attempts), '{3}', 'somebody else sends it') FROM pg_temp.claim('v');

-- Given up.
SELECT is(pg_temp.finish(3, false, NULL), 'given_up', 'a receiver who wants no more is told no more');
SELECT is_empty('SELECT FROM hansard.webhooks', '... the message is gone');
SELECT is(ROW(e.user_id, e.request_id, e.detail), ROW(NULL::uuid, NULL::uuid, jsonb_build_object(
              'job_id', s.conversation_id || '-2', 'attempts', 3, 'host', 'hooks.example')),
          '... and it is noted, without what may be a secret in its URL')
FROM hansard.audit_events e, hansard.sessions s WHERE e.kind = 'webhook_given_up';
SELECT ok(happened_at BETWEEN now() AND clock_timestamp(), '... now') FROM hansard.audit_events WHERE kind = 'webhook_given_up';

SELECT is(help.outcomes('w', '{"session": "own", "caller": "ann"}'), 'accepted', 'a caller asks');
SELECT is(help.finishes('{"session": "own", "caller": "ann"}'), 'finished', '... and is answered');
SELECT pg_temp.queue('own', 'HTTPS://hooks.example:8443', 'ann');
UPDATE hansard.webhooks SET attempts = 6;
SELECT is(array_agg(attempts), '{7}', 'the seventh attempt') FROM pg_temp.claim();
SELECT is(pg_temp.finish(7, false), 'retried', '... is not the last');
SELECT pg_temp.pass('5 seconds');
SELECT is(array_agg(attempts), '{8}', 'the eighth') FROM pg_temp.claim();
SELECT is(pg_temp.finish(8, false), 'given_up', '... is');
SELECT is(ROW(e.user_id, detail ->> 'host', detail ->> 'attempts'), ROW(u.user_id, 'hooks.example:8443'::text, '8'::text),
          '... which concerns the owner')
FROM hansard.audit_events e JOIN hansard.users u USING (user_id) WHERE e.kind = 'webhook_given_up';
SELECT pg_temp.queue('own', 'https://hooks.example', 'ann');
UPDATE hansard.webhooks SET attempts = 7;
SELECT is(array_agg(attempts), '{8}', 'the eighth attempt can deliver it, too') FROM pg_temp.claim();
SELECT is(pg_temp.finish(8, true), 'delivered', '... as any');
SELECT pg_temp.queue('own', 'https://hooks.example', 'ann');
UPDATE hansard.webhooks SET attempts = 8;
SELECT is_empty('SELECT FROM pg_temp.claim()', 'when the eighth was never ended, there is no ninth');
SELECT is_empty('SELECT FROM hansard.webhooks', '... the message is gone');
SELECT is(count(*), 3::bigint, '... and it is noted') FROM hansard.audit_events WHERE kind = 'webhook_given_up';

-- Several: the oldest first, as many as wanted.
SELECT help.turn('w', session, 'hello', 'hi') FROM unnest('{a,b,c,d}'::text[]) AS session;
SELECT pg_temp.queue(session) FROM unnest('{a,b,c,d}'::text[]) AS session;
UPDATE hansard.webhooks w SET next_at = now() - CASE s.session_id WHEN 'c' THEN interval '3 s' WHEN 'a' THEN interval '2 s'
                                                                  WHEN 'd' THEN interval '1 s' ELSE interval '-1 hour' END
FROM hansard.sessions s WHERE s.conversation_id = w.conversation_id;
SELECT is(array_agg(payload::json -> 'data' ->> 'session_id'), '{c,a}', 'the longest due are taken first, as many as wanted')
FROM pg_temp.claim('w', 2);
SELECT is(array_agg(payload::json -> 'data' ->> 'session_id'), '{d}', '... then the rest, but not what is not due')
FROM pg_temp.claim('v', 4);
SELECT is_empty('SELECT FROM pg_temp.claim(most => 0)', 'none is wanted, none is taken');
SELECT lives_ok($$SELECT pg_temp.claim(most => NULL)$$, 'NULL has a ceiling');

-- What is erased is not sent.
SELECT pg_temp.pass('1 hour');
SELECT is(hansard_api.erase_conversation(NULL, 'a', help.id('r')::text)::json -> 'erased' ->> 'messages', '2', 'one is erased');
SELECT is(count(*), 3::bigint, '... its message with it, and no other') FROM hansard.webhooks;
UPDATE hansard.conversations c SET session_id = NULL WHERE c.session_key = help.session_key('b');
SELECT set_eq($$SELECT payload::json -> 'data' ->> 'session_id' FROM pg_temp.claim()$$, $$VALUES ('c'), ('d')$$,
              'an erased conversation that had a message all the same is not sent');
SELECT is(count(*), 2::bigint, '... but dropped') FROM hansard.webhooks;
DELETE FROM hansard.webhooks;
SELECT hansard.queue_webhook(help.id('nowhere'), 1, 'https://hooks.example');
SELECT is_empty('SELECT FROM pg_temp.claim()', 'a message about a turn that is not there');
SELECT is_empty('SELECT FROM hansard.webhooks', '... is dropped as well');
SELECT is(count(*), 3::bigint, 'none of this counts as given up') FROM hansard.audit_events WHERE kind = 'webhook_given_up';

-- A job that was cancelled; one that has not ended.
SELECT is(help.outcomes('w', '{"session": "e"}'), 'accepted', 'a turn is open');
SELECT pg_temp.queue('e');
SELECT is_empty('SELECT FROM pg_temp.claim()', 'nobody is told of a job that has not ended');
SELECT pg_temp.queue('e');
UPDATE hansard.turns t SET state = 'cancelled', error_code = 'turn_cancelled', finished_at = now()
FROM hansard.sessions s WHERE s.session_id = 'e' AND t.conversation_id = s.conversation_id;
SELECT is(ROW(payload::json ->> 'type', payload::json -> 'data' ->> 'error'), ROW('job.cancelled'::text, 'turn_cancelled'::text),
          'a job that was cancelled is told of') FROM pg_temp.claim();

-- Among many: plans were made above, when there was next to nothing.
DELETE FROM hansard.webhooks;
INSERT INTO hansard.webhooks (conversation_id, turn_no, url, attempts, next_at, created_at)
SELECT s.conversation_id, n, 'https://hooks.example', 0, now() + n * interval '1 s', now()
FROM generate_series(2, 5000) AS n, hansard.sessions s WHERE s.session_id = 'c';
SELECT pg_temp.queue('c');
CREATE FUNCTION pg_temp.rows_read() RETURNS bigint
LANGUAGE sql
AS $$ SELECT coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0) FROM pg_stat_xact_user_tables
      WHERE relid = 'hansard.webhooks'::regclass $$;
CREATE TEMP TABLE mark AS SELECT pg_temp.rows_read() AS rows;
SELECT is(array_agg(turn), '{1}', 'of five thousand, the one that is due is taken') FROM pg_temp.claim();
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 5::bigint, '... and little else is read') FROM mark;
UPDATE mark SET rows = pg_temp.rows_read();
SELECT is(hansard_api.end_webhook(conversation_id, 1, 1, false, 5000) || hansard_api.end_webhook(conversation_id, 1, 1, true, NULL),
          'retrieddelivered', 'it is ended') FROM hansard.sessions WHERE session_id = 'c';
SELECT cmp_ok(pg_temp.rows_read() - rows, '<=', 5::bigint, '... by its key') FROM mark;

-- Who may.
SELECT is(help.tries('hansard_app', 'SELECT FROM hansard.webhooks'), '42501', 'workers see no message that they did not take');
SELECT is(help.tries('hansard_app', $$SELECT hansard.queue_webhook(gen_random_uuid(), 1, 'https://hooks.example')$$), '42501',
          '... and queue none but with a job''s end');
SELECT is(help.tries('hansard_app', $$SELECT hansard.webhook_payload(gen_random_uuid(), 1)$$), '42501', '... nor read what one would say');
SELECT is(help.tries('hansard_auditor', $$SELECT hansard_api.claim_webhooks(gen_random_uuid(), 1)$$), '42501',
          'auditors take none');
SELECT is(help.tries('hansard_auditor', $$SELECT hansard_api.end_webhook(gen_random_uuid(), 1, 1, true, NULL)$$), '42501',
          '... and end none');
SELECT is(help.tries('hansard_auditor', $$SELECT hansard_api.give_back_webhook(gen_random_uuid(), 1, 1)$$), '42501',
          '... nor give one back');
SELECT is(help.tries('hansard_app', $$SELECT hansard_api.give_back_webhook(gen_random_uuid(), 1, 1)$$), 'done', 'workers do');

SELECT * FROM finish();
ROLLBACK;
