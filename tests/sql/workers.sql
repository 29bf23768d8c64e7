-- Who is alive: heartbeats, the reaper, leaving.
BEGIN;
SELECT plan(41);

CREATE FUNCTION pg_temp.beat(worker text, name text DEFAULT '127.0.0.1:8080',
                             permits integer DEFAULT 10) RETURNS integer
LANGUAGE sql
AS $$ SELECT hansard_api.heartbeat(help.id(worker), name, 'test', permits) $$;

-- Heartbeats.
SELECT is(pg_temp.beat('w'), (SELECT max(version) FROM hansard.schema_migrations),
          'a heartbeat tells the version of the schema');
SELECT is(ROW(name, version, permits, lost_at), ROW('127.0.0.1:8080'::text, 'test'::text, 10, NULL::timestamptz),
          'the first one registers the worker')
FROM hansard.workers WHERE worker_id = help.id('w');
SELECT is(started_at, heartbeat_at, '... which starts with it') FROM hansard.workers;
SELECT ok(heartbeat_at BETWEEN now() AND clock_timestamp(), '... now') FROM hansard.workers;
UPDATE hansard.workers SET started_at = '2026-01-01', heartbeat_at = now() - interval '10 seconds';
SELECT lives_ok($$SELECT pg_temp.beat('w', permits => 20)$$, 'the next one');
SELECT is(ROW(started_at, permits), ROW('2026-01-01'::timestamptz, 20), '... keeps the start and takes the permits')
FROM hansard.workers;
SELECT ok(heartbeat_at >= now(), '... and the time') FROM hansard.workers;
SELECT is(count(*), 1::bigint, '... in one row') FROM hansard.workers;

-- The reaper: silence, then some time, then burial.
SELECT help.worker('v');
SELECT is(help.outcomes('w', '[{"session": "a"}, {"session": "b"}]'), 'accepted accepted', 'two turns are open');
SELECT is(help.outcomes('v', '{"session": "c"}'), 'accepted', 'and one elsewhere');
SELECT help.silence('w', '11 seconds');
SELECT is(hansard_api.reap_workers(), 0, 'after 11 s of silence nothing is closed');
SELECT is(lost_at, NULL, '... and nobody is lost') FROM hansard.workers WHERE worker_id = help.id('w');
SELECT help.silence('w', '16 seconds');
SELECT is(hansard_api.reap_workers(), 0, 'after 16 s nothing is closed yet');
SELECT ok(lost_at BETWEEN now() AND clock_timestamp(), '... but the worker is declared lost') FROM hansard.workers
WHERE worker_id = help.id('w');
SELECT is(lost_at, NULL, '... and only that one') FROM hansard.workers WHERE worker_id = help.id('v');
SELECT throws_ok($$SELECT pg_temp.beat('w')$$, 'HS503', NULL, 'a lost worker cannot come back under its id');
SELECT ok(lost_at IS NOT NULL AND heartbeat_at < now(), '... and stays lost') FROM hansard.workers
WHERE worker_id = help.id('w');
CREATE TEMP TABLE before AS SELECT help.content();
UPDATE hansard.workers SET lost_at = clock_timestamp() - interval '9 seconds' WHERE worker_id = help.id('w');
SELECT is(hansard_api.reap_workers(), 0, '9 s later its turns can still be taken over');
SELECT is(help.content(), content, '... they are as they were') FROM before;
UPDATE hansard.workers SET lost_at = clock_timestamp() - interval '11 seconds' WHERE worker_id = help.id('w');
SELECT is(hansard_api.reap_workers(), 2, '11 s later they are closed');
SELECT is_empty($$SELECT FROM hansard.workers WHERE worker_id = help.id('w')$$, '... and the worker is forgotten');
SELECT is(string_agg(s.session_id || t.state || coalesce(t.error_code, ''), ' ' ORDER BY s.session_id),
          'afailedworker_lost bfailedworker_lost crunning', 'its turns have failed as lost, the other runs')
FROM hansard.sessions s JOIN hansard.turns t USING (conversation_id);
SELECT is(hansard_api.reap_workers(), 0, 'there is nothing left to do');
SELECT help.silence('v', '1 hour');
SELECT is(hansard_api.reap_workers(), 0, 'however long the silence, being declared lost comes first');
SELECT is(count(*), 1::bigint, '... and burial later') FROM hansard.workers WHERE lost_at IS NOT NULL;

-- Several at once, one of them with nothing open.
SELECT help.worker(w) FROM unnest('{x,y,z}'::text[]) AS w;
SELECT is(help.outcomes('x', '{"session": "x"}') || help.outcomes('y', '[{"session": "y1"}, {"session": "y2"}]'),
          'acceptedaccepted accepted', 'three more turns are open');
UPDATE hansard.workers SET lost_at = clock_timestamp() - interval '1 minute'
WHERE worker_id IN (help.id('x'), help.id('y'), help.id('z'));
SELECT is(hansard_api.reap_workers(), 3, 'all of them are closed');
SELECT set_eq('SELECT worker_id FROM hansard.workers', $$SELECT help.id('v')$$,
              '... and all of their workers forgotten');

-- Leaving.
SELECT help.worker('l');
SELECT is(help.outcomes('l', '{"session": "l"}'), 'accepted', 'a turn is open');
SELECT is(hansard_api.leave(help.id('l')), 1, 'a worker that leaves closes it');
SELECT ok(has_left AND lost_at BETWEEN now() AND clock_timestamp() AND permits_until <= clock_timestamp() AND buried_at IS NULL,
          '... is remembered for a while') FROM hansard.workers WHERE worker_id = help.id('l');
SELECT is(hansard_api.leave(help.id('l')) + hansard_api.leave(help.id('stranger')), 0,
          'leaving again, or without having been there, closes nothing');
SELECT throws_ok($$SELECT pg_temp.beat('l')$$, 'HS503', NULL, 'it cannot come back under its id');
SELECT throws_ok($$SELECT help.outcomes('l', '{"session": "m"}')$$, 'HS503', NULL, '... nor open anything');
SELECT ok(count(*) FILTER (WHERE has_left) = 1, 'who is declared lost has not left') FROM hansard.workers;

-- What was opened all the same, by a call that was under way: its turn is closed after those 10 s, as if it had been there.
UPDATE hansard.workers SET lost_at = NULL WHERE worker_id = help.id('l');
SELECT is(help.outcomes('l', '{"session": "l"}'), 'accepted', 'a call that was under way opens a turn');
UPDATE hansard.workers SET lost_at = clock_timestamp() - interval '9 seconds' WHERE worker_id = help.id('l');
SELECT is(hansard_api.reap_workers(), 0, 'whoever looks leaves it for a while');
SELECT help.worker('n');
SELECT is(help.outcomes('n', '{"session": "l", "job": true}'), 'queued', 'a job waits for it');
UPDATE hansard.workers SET lost_at = clock_timestamp() - interval '11 seconds' WHERE worker_id = help.id('l');
SELECT is(hansard_api.reap_workers(), 1, 'then it is closed');
SELECT is(help.jobs(), 'l 3 (ready)', '... and the job is next');
SELECT is_empty($$SELECT FROM hansard.workers WHERE worker_id = help.id('l')$$, 'who left is forgotten');

SELECT * FROM finish();
ROLLBACK;
