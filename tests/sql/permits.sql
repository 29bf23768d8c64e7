-- Permits for model calls: leased to workers from one cap, withheld while a silent worker's calls may last, never too many.
BEGIN;
SELECT plan(71);
CREATE FUNCTION pg_temp.row_of(worker text) RETURNS hansard.workers
LANGUAGE sql
AS $$ SELECT * FROM hansard.workers WHERE worker_id = help.id(worker) $$;

-- The first heartbeat.
SELECT is(hansard_api.lease_permits(help.id('a'), '127.0.0.1:8081', 'v1', 1, NULL, 0, 3, 8, 10, 5000, 8000),
          ARRAY[(SELECT max(version) FROM hansard.schema_migrations), 8, 8],
          'the schema''s version, and what the worker takes at most: nobody else wants any');
SELECT is(ROW(w.name, w.version, w.permits, w.beat_no, w.wanted, w.most, w.lost_at, w.buried_at),
          ROW('127.0.0.1:8081'::text, 'v1'::text, 8, 1, 3, 8, NULL::timestamptz, NULL::timestamptz), 'it is registered')
FROM pg_temp.row_of('a') w;
SELECT is(count(*), 1::bigint, 'one at a time')
FROM pg_locks l
WHERE l.pid = pg_backend_pid() AND l.relation = 'hansard.workers'::regclass AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted;
SELECT is_empty($$SELECT FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'advisory'$$,
                '... by no lock that others could take and keep');
SELECT is(w.started_at, w.heartbeat_at, '... which is its first heartbeat') FROM pg_temp.row_of('a') w;
SELECT is(ROW(w.leased_until - w.heartbeat_at, w.permits_until - w.heartbeat_at), ROW('5 s'::interval, '15 s'::interval),
          'its lease; and the time in which the last call ends that it may begin, and 2 s') FROM pg_temp.row_of('a') w;
SELECT help.pass('1 s');
SELECT is(help.lease('a', '{"wanted": 1, "most": 9}'), '9', 'the next heartbeat');
SELECT ok(w.started_at < w.heartbeat_at AND w.heartbeat_at >= now() AND w.leased_until > clock_timestamp() + interval '4 s'
          AND w.permits_until > clock_timestamp() + interval '14 s', '... keeps the start and lengthens the lease')
FROM pg_temp.row_of('a') w;
SELECT is(ROW(w.permits, w.beat_no, w.wanted, w.most), ROW(9, 2, 1, 9), '... and takes what it says') FROM pg_temp.row_of('a') w;
SELECT is(help.lease('a', '{"most": 100}'), '10', 'nobody gets more than the cap');
SELECT is(help.outcomes('a', '{}') || ' ' || help.finishes('{}'), 'accepted finished', 'who leases may accept turns');

-- A second worker: what the first has, is taken from nobody.
SELECT is(help.lease('b'), '0', 'a second worker gets nothing while the first has all');
SELECT is(help.permits_out(), 10::bigint, '... and nothing is promised twice');
SELECT is(help.lease('a'), '10 down to 5', 'the first is asked to come down, and keeps all until it does');
SELECT is(help.lease('b'), '0', 'so the second still has nothing');
SELECT is(help.lease('a', '{"holding": 7}'), '7 down to 5', 'it comes down as its calls end');
SELECT is(help.lease('b'), '3', '... and what it gave back goes to the second');
SELECT is(help.lease('a', '{"holding": 2}'), '5', 'it may go up to its share again');
SELECT is(help.lease('b'), '5', '... as may the second');
SELECT is(help.permits_out(), 10::bigint, 'all are given out');
SELECT is(help.lease('a', '{"wanted": 2, "holding": 2}') || ' ' || help.lease('b'), '2 8', 'who wants less leaves it to others');
SELECT is(help.lease('b', '{"wanted": 2, "holding": 2}') || ' ' || help.lease('a', '{"wanted": 2}'), '5 5',
          '... and what nobody wants is shared');
SELECT is(help.lease('a', '{"wanted": 2, "most": 2, "holding": 2}') || ' ' || help.lease('b'), '2 8',
          '... unless he takes no more');

-- Replies that are lost, heartbeats that come twice, or late.
SELECT is(help.lease('a', '{"beat": 20, "holding": 2, "wanted": 2}'), '2', 'a heartbeat');
SELECT is(help.lease('b', '{"beat": 20, "holding": 1, "wanted": 1, "most": 1}'), '1', 'another takes less');
SELECT is(help.lease('a', '{"beat": 20, "holding": 2}'), '9', 'the same heartbeat once more may grant more');
SELECT is(help.lease('b', '{"beat": 21, "holding": 1}'), '1', '(somebody else wants his share)');
SELECT is(help.lease('a', '{"beat": 20, "holding": 2}'), '5', 'and once more, less');
SELECT is((pg_temp.row_of('a')).permits, 9, '... but it may have the larger reply, so that is what counts');
SELECT is(help.lease('b', '{"beat": 22, "holding": 1}'), '1', '... for everybody');
SELECT is(help.lease('a', '{"beat": 21, "holding": 5}'), '5', 'with the next heartbeat it is known what it went by');
SELECT is(help.lease('b', '{"beat": 23, "holding": 1}'), '5', '... and the rest is free');
CREATE TEMP TABLE before AS SELECT * FROM hansard.workers;
SELECT throws_ok($$SELECT help.lease('a', '{"beat": 20, "holding": 0}')$$, 'HS409', NULL,
                 'a heartbeat that comes after a later one is refused');
SELECT set_eq('SELECT * FROM hansard.workers', 'SELECT * FROM before', '... and changes nothing');
SELECT is(help.lease('a', '{"beat": 21, "holding": 5}'), '5', 'the number of the last one is not older');

-- Silence.
SELECT help.pass('4 s');
SELECT is(help.lease('b'), '5', 'a lease of 5 s is in force after 4 s: both have their half');
SELECT help.pass('1.5 s');
SELECT is(help.lease('b'), '5', 'after it what the silent one had is withheld');
SELECT is(help.lease('c'), '0', '... from newcomers, too');
SELECT is(help.lease('b'), '5 down to 3', 'so that the others share what is left');
SELECT is(help.lease('b', '{"holding": 3}') || ' ' || help.lease('c'), '3 2', '... between them');
SELECT help.pass('4 s');
SELECT is(help.lease('b') || ' ' || help.lease('c'), '3 2', 'so it is while its last call may last');
SELECT help.lease('b'), help.lease('c');
SELECT help.pass('4 s');
SELECT is(help.lease('b') || ' ' || help.lease('c'), '3 2', '... up to the end');
SELECT help.pass('2 s');
SELECT is(help.lease('c') || ' ' || help.lease('b'), '5 5', 'then its permits are free');
SELECT is(help.lease('a', '{"holding": 0}'), '0', 'when it comes back it begins with nothing');
SELECT is(help.lease('b', '{"holding": 3}') || ' ' || help.lease('c', '{"holding": 3}') || ' ' || help.lease('a'), '4 3 3',
          '... and has its share again when the others have come down');

-- Declared lost.
UPDATE hansard.workers SET lost_at = clock_timestamp() WHERE worker_id = help.id('a');
CREATE TEMP TABLE lost AS SELECT w.* FROM pg_temp.row_of('a') w;
SELECT throws_ok($$SELECT help.lease('a')$$, 'HS503', NULL, 'a lost worker gets no lease');
SELECT set_eq('SELECT * FROM hansard.workers WHERE lost_at IS NOT NULL', 'SELECT * FROM lost', '... and stays as it was');
SELECT is(help.lease('b') || ' ' || help.lease('c'), '4 3', 'what it had is withheld, though its lease is in force');
SELECT throws_ok($$SELECT help.lease('a', '{"before": "b"}')$$, 'HS503', NULL, 'nor does it give back anything');
SELECT is(help.permits_out(), 10::bigint, '... of others');
SELECT is(help.lease('a2', '{"before": "a", "holding": 3}'), '3', 'under a new id it goes on with what it has');
SELECT is(ROW((pg_temp.row_of('a')).permits, help.permits_out()), ROW(0, 10::bigint), '... which is not counted twice');
SELECT is(help.lease('a2', '{"before": "a", "holding": 3}'), '3', 'saying so twice does no harm');
UPDATE hansard.workers SET lost_at = clock_timestamp() - interval '11 s' WHERE worker_id = help.id('a2');
SELECT is(hansard_api.reap_workers(), 0, 'it is buried');
SELECT ok(w.buried_at >= now() AND w.permits = 3, '... and remembered, for its calls may last') FROM pg_temp.row_of('a2') w;
SELECT is(help.lease('b') || ' ' || help.lease('c'), '4 3', '... so that its permits are withheld');
SELECT help.pass('15.1 s');
SELECT is(hansard_api.reap_workers(), 0, 'the reaper comes after that time');
SELECT is(pg_temp.row_of('a2'), NULL, '... and it is forgotten');

-- Leaving.
DELETE FROM hansard.workers;
SELECT is(help.lease('b', '{"most": 6}') || ' ' || help.lease('c'), '6 4', 'two share');
SELECT is(hansard_api.leave(help.id('b')), 0, 'one leaves');
SELECT is(help.lease('c'), '10', '... and its permits are free at once');

-- The cap.
SELECT is(help.lease('c', '{"cap": 4}'), '4', 'a cap that was lowered holds at once for new calls');
SELECT is((pg_temp.row_of('c')).permits, 10, '... while those under way count until it says that they have ended');
SELECT is(help.lease('d', '{"cap": 4}') || ' ' || help.lease('c', '{"cap": 4, "holding": 2}') || ' ' || help.lease('d', '{"cap": 4}'),
          '0 2 2', '... and then for all');
SELECT is(help.lease('c', '{"cap": 0}'), '10', 'without a cap everybody has what he takes at most');
SELECT is(ROW(w.permits, w.leased_until, w.permits_until), ROW(10, NULL::timestamptz, NULL::timestamptz), '... without end')
FROM pg_temp.row_of('c') w;

-- Workers of the release before know no leases: what they may call is withheld while they live, and some time after.
DELETE FROM hansard.workers;
SELECT FROM hansard_api.heartbeat(help.id('old'), '127.0.0.1:8080', 'old', 7);
SELECT is(help.lease('a'), '3', 'one of the release before counts with all it has');
SELECT help.silence('old', '20 s');
UPDATE hansard.workers SET lost_at = clock_timestamp() - interval '11 s' WHERE worker_id = help.id('old');
SELECT hansard_api.reap_workers();
SELECT is(help.lease('a'), '3', '... also when it was declared lost and buried, while its calls may last');
SELECT help.pass('5.1 s');
SELECT is(help.lease('a'), '10', '... and no longer');
SELECT hansard_api.reap_workers();
SELECT is_empty($$SELECT FROM hansard.workers WHERE name = 'old'$$, '... when it is forgotten, too');
DELETE FROM hansard.workers;
SELECT FROM hansard_api.heartbeat(help.id('old'), '127.0.0.1:8080', 'old', 7);
UPDATE hansard.workers SET lost_at = clock_timestamp() - interval '11 s';
SELECT hansard_api.reap_workers();
SELECT is_empty($$SELECT FROM hansard.workers$$, 'where nobody has leases it is forgotten with its turns');

SELECT * FROM finish();
ROLLBACK;
