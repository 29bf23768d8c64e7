-- Jobs are limited as live turns are, from the moment they are queued; and there is a limit of how many are.
BEGIN;
SELECT plan(47);
SELECT help.worker('w');
SELECT help.capped('two', 2);
SELECT help.capped('tokens', NULL, 1000, 300);
SELECT help.capped('rated', NULL, NULL, 1000, 60, 2);
SELECT help.caller('ann', 'paid');
SELECT help.caller('bob', 'paid');

-- How many a caller may have.
SELECT is(help.outcomes('w', '[{"caller": "ann", "session": "a", "job": true, "most_jobs": 2},
                              {"caller": "ann", "session": "b", "job": true},
                              {"caller": "bob", "session": "a", "job": true},
                              {"caller": "ann", "session": "c", "job": true}]'), 'queued queued queued HS432',
          'a caller may have so many jobs, in one batch');
SELECT is(help.outcomes('w', '{"caller": "ann", "session": "c", "job": true, "most_jobs": 2}'), 'HS432', '... and in all');
SELECT is(help.outcomes('w', '{"caller": "ann", "session": "a", "job": true, "most_jobs": 2}'), 'HS432',
          '... whatever the session');
SELECT is(ROW(status, retry_after_ms, quota_remaining), ROW(NULL::text, 1000, 118), 'it is told when to ask again, and pays nothing')
FROM help.ask('w', '{"caller": "ann", "session": "c", "job": true, "most_jobs": 2}');
SELECT is(count(*), 3::bigint, 'nothing is stored of it') FROM hansard.turns;
SELECT is(help.outcomes('w', '{"caller": "ann", "session": "c", "most_jobs": 2}'), 'accepted', 'a live turn is no job');
SELECT is(help.outcomes('w', '{"caller": "bob", "session": "b", "job": true, "most_jobs": 2}'), 'queued', 'others may have theirs');
SELECT is(help.claim('w', 1), 'a 1 1 hello', 'one is claimed');
SELECT is(help.outcomes('w', '{"caller": "ann", "session": "d", "job": true, "most_jobs": 2}'), 'HS432', '... and counts as before');
SELECT is(help.finishes('{"caller": "ann", "session": "a"}'), 'finished', 'it ends');
SELECT is(help.outcomes('w', '{"caller": "ann", "session": "d", "job": true, "most_jobs": 2, "key": "k"}'), 'queued',
          '... and makes room for another');
SELECT is(help.outcomes('w', '{"caller": "ann", "session": "d", "job": true, "most_jobs": 2, "key": "k"}'), 'known',
          'what is known is told, though there is no room');
SELECT is(help.outcomes('w', '{"session": "d", "address": "192.0.2.1", "job": true, "most_jobs": 1}'), 'queued',
          'who has no key is counted by his address');
SELECT is(help.outcomes('w', '{"session": "e", "address": "192.0.2.1", "job": true, "most_jobs": 1}'), 'HS432', '... and refused by it');
SELECT is(help.outcomes('w', '{"session": "e", "address": "192.0.2.2", "job": true, "most_jobs": 1}'), 'queued',
          '... and by no other');

-- No room in all.
SELECT is(help.outcomes('w', '[{"session": "f", "job": true, "has_room": false}, {"session": "g"}, {"session": "d", "key": "k",
                              "caller": "ann", "job": true}]'), 'HS433 accepted known',
          'when there is no room, jobs are refused, live turns are not, and what is known is told');
SELECT is(ROW(retry_after_ms, quota_remaining, status), ROW(1000, 10, NULL::text), 'it is told when to ask again, and pays nothing')
FROM help.ask('w', '{"session": "f", "job": true, "has_room": false}');
SELECT is_empty($$SELECT FROM hansard.sessions WHERE session_id = 'f'$$, 'nothing is stored of it');

-- Turns open at once: queued ones count.
SELECT is(help.outcomes('w', '[{"caller": "two", "session": "a", "job": true}, {"caller": "two", "session": "b"},
                              {"caller": "two", "session": "c", "job": true}]'), 'queued accepted HS430',
          'queued jobs and live turns count together');
SELECT is(help.outcomes('w', '{"caller": "two", "session": "c"}'), 'HS430', '... for live turns, too');
SELECT is(split_part(help.counted('two'), ',', 1), '2', 'so much is held');
SELECT is(h.worker_id, hansard.nobody(), 'the job''s hold is no worker''s') FROM hansard.holds h JOIN hansard.jobs USING (conversation_id, turn_no);
SELECT is(help.claim('w', 10) LIKE '%a 1 1 hello%', true, 'jobs are claimed');
SELECT is(help.outcomes('w', '{"caller": "two", "session": "c", "job": true}'), 'HS430', 'running ones count');
SELECT help.silence('w', '13 seconds');
SELECT help.worker('v');
SELECT is(help.outcomes('v', '[{"caller": "two", "session": "c", "job": true}, {"caller": "two", "session": "d", "job": true}]'), 'queued HS430',
          'when their worker dies, the live turn counts no more, but the job does');
SELECT help.worker('w');
SELECT is(help.finishes('[{"caller": "two", "session": "a"}, {"caller": "two", "session": "b"}]'), 'finished finished', 'they end after all');
SELECT is(split_part(help.counted('two'), ',', 1), '1', '... and are not held any more');
SELECT is(help.outcomes('w', '{"caller": "two", "session": "d", "job": true}'), 'queued', '... which makes room');

-- Tokens are reserved at once.
SELECT is(help.outcomes('w', '{"caller": "tokens", "session": "a", "job": true, "words": "12345678"}'), 'queued', 'a job is queued');
SELECT is(help.counted('tokens'), '1, 302, 0', 'its tokens are reserved');
SELECT is(help.outcomes('w', '[{"caller": "tokens", "session": "a", "job": true, "words": "12345678"}, {"caller": "tokens", "session": "b"},
                              {"caller": "tokens", "session": "c", "job": true}]'), 'queued accepted HS431', 'so many may be');
SELECT is(ROW(outcome, tokens_limit, tokens_remaining, retry_after_ms), ROW('HS431'::text, 1000::bigint, 95::bigint, 1000),
          'who is refused is told what is left') FROM help.ask('w', '{"caller": "tokens", "session": "c", "job": true}');
SELECT is(ROW(outcome, tokens_remaining), ROW('HS432'::text, 95::bigint), '... and so is who has too many jobs')
FROM help.ask('w', '{"caller": "tokens", "session": "c", "job": true, "most_jobs": 1}');
SELECT is(help.claim('w', 10) LIKE '%a 1 1 12345678%', true, 'it is claimed');
SELECT is(help.finishes('{"caller": "tokens", "session": "a", "prompt_tokens": 7, "completion_tokens": 3}'), 'finished', 'it ends');
SELECT is(help.counted('tokens'), '2, 603, 10', 'what it used is spent, and its reservation gone');
SELECT is(tokens_remaining, 387::bigint, '... as whoever asks is told') FROM help.ask('w', '{"caller": "tokens", "session": "b"}');

-- The rate, and quota that was taken before.
CREATE FUNCTION pg_temp.left_over() RETURNS integer
LANGUAGE sql
AS $$ SELECT quota_remaining FROM help.ask('w', '{"caller": "rated", "session": "a", "job": true, "key": "k"}') $$;
SELECT is(help.outcomes('w', '{"caller": "rated", "session": "a", "job": true, "key": "k", "request": "r"}'), 'queued', 'a job is queued');
SELECT is(pg_temp.left_over(), 1, '... and costs quota');
SELECT is(hansard_api.take_quota_for(help.hash('rated'), '', 1), '{1,0,0}', 'quota is taken before');
SELECT is(help.outcomes('w', '{"caller": "rated", "session": "b", "job": true, "key": "l", "request": "s", "paid": true}'), 'queued',
          'a job is queued that is paid for');
SELECT is(pg_temp.left_over(), 0, '... and costs no more');
SELECT is(help.outcomes('w', '{"caller": "rated", "session": "b", "job": true, "key": "l", "request": "s", "paid": true}'), 'queued',
          'the same call once more');
SELECT is(pg_temp.left_over(), 0, '... gives nothing back: the job was paid for by it');
SELECT is(help.outcomes('w', '{"caller": "rated", "session": "c", "job": true}'), 'HS429', 'there is no quota for another');
SELECT is(help.outcomes('w', '{"caller": "rated", "session": "b", "job": true, "key": "l", "request": "t", "paid": true}'), 'known',
          'a repeat that was paid for');
SELECT is(pg_temp.left_over(), 1, '... is given it back');

SELECT * FROM finish();
ROLLBACK;
