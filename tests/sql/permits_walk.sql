-- The promise of the cap, tried at random: however heartbeats and replies are lost, doubled or late, whoever falls silent,
-- dies, leaves, restarts or is declared lost, the calls that may be under way are never more than the cap.
--
-- A model of the fleet beside the database. A process goes by the last reply it has got until its lease ends, counted
-- from before it sent that heartbeat; it has one heartbeat under way at a time, which is sent again until a reply comes or
-- the process gives it up; and every copy on its way is done sooner, later, or never. Calls of a process that dies last on.
BEGIN;
SELECT plan(15);

CREATE TEMP TABLE process (
    name text PRIMARY KEY, id uuid, before uuid, beat_no integer DEFAULT 0, is_alive boolean DEFAULT true,
    cap integer, wanted integer DEFAULT 5, most integer DEFAULT 10,
    lim integer DEFAULT 0, target integer DEFAULT 0, lease_end timestamptz DEFAULT '-infinity',
    is_waiting boolean DEFAULT false, sent_at timestamptz, holding integer
);
CREATE TEMP TABLE calls (process text, ends_at timestamptz);
CREATE TEMP TABLE copies (n serial, process text, id uuid, beat_no integer, before uuid, holding integer, wanted integer,
                          most integer, cap integer);
CREATE TEMP TABLE tally (what text PRIMARY KEY, n bigint);
CREATE FUNCTION pg_temp.count_one(of_what text) RETURNS void
LANGUAGE sql
AS $$ INSERT INTO tally VALUES (of_what, 1) ON CONFLICT (what) DO UPDATE SET n = tally.n + 1 $$;
CREATE FUNCTION pg_temp.dice(below integer) RETURNS integer
LANGUAGE sql
RETURN floor(random() * below)::integer;

CREATE FUNCTION pg_temp.in_use(of_process text) RETURNS integer
LANGUAGE sql
AS $$ SELECT count(*)::integer FROM calls WHERE process = of_process AND ends_at > clock_timestamp() $$;
-- What it may have under way from now on without another reply: its limit while the lease lasts, or what there is.
CREATE FUNCTION pg_temp.may_use() RETURNS bigint
LANGUAGE sql
AS $$
    SELECT coalesce(sum(greatest(CASE WHEN is_alive AND lease_end > clock_timestamp() THEN lim ELSE 0 END,
                                 pg_temp.in_use(name))), 0)
    FROM process
$$;

-- One copy of a heartbeat reaches the database. Its reply reaches the process, if that still waits for it.
CREATE FUNCTION pg_temp.arrive(copy copies, is_told boolean) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    p     process;
    reply integer[];
    state text := 'done';
BEGIN
    BEGIN
        reply := hansard_api.lease_permits(copy.id, copy.process, 'test', copy.beat_no, copy.before, copy.holding,
                                           copy.wanted, copy.most, copy.cap, 5000, 8000);
    EXCEPTION WHEN SQLSTATE 'HS503' OR SQLSTATE 'HS409' THEN
        state := SQLSTATE;
    END;
    PERFORM pg_temp.count_one(state);
    SELECT * INTO p FROM process WHERE name = copy.process;
    IF NOT (p.is_alive AND p.is_waiting AND p.id = copy.id AND p.beat_no = copy.beat_no) THEN
        PERFORM pg_temp.count_one('copies that nobody waited for');
    ELSIF NOT is_told THEN
        PERFORM pg_temp.count_one('replies that were lost');
    ELSIF state = 'HS503' THEN
        UPDATE process SET id = md5(random()::text)::uuid, before = id, beat_no = 0, is_waiting = false WHERE name = p.name;
    ELSIF state = 'done' THEN
        UPDATE process
        SET lim = reply[2], target = reply[3], lease_end = p.sent_at + interval '5 s', is_waiting = false, before = NULL
        WHERE name = p.name;
    END IF;
END
$$;

-- It says what it limits itself to, or has in use if that is more; and asks once more when no reply has come.
CREATE FUNCTION pg_temp.send(of_process text) RETURNS copies
LANGUAGE plpgsql
AS $$
DECLARE
    p    process;
    copy copies;
BEGIN
    SELECT * INTO p FROM process WHERE name = of_process;
    IF NOT p.is_waiting OR pg_temp.dice(2) = 0 THEN
        UPDATE process
        SET beat_no = beat_no + 1, is_waiting = true, sent_at = clock_timestamp(),
            holding = greatest(CASE WHEN lease_end > clock_timestamp() THEN lim ELSE 0 END, pg_temp.in_use(name))
        WHERE name = of_process
        RETURNING * INTO p;
    END IF;
    INSERT INTO copies (process, id, beat_no, before, holding, wanted, most, cap)
    VALUES (p.name, p.id, p.beat_no, p.before, p.holding, p.wanted, p.most, p.cap)
    RETURNING * INTO copy;
    RETURN copy;
END
$$;

CREATE FUNCTION pg_temp.pass(span interval) RETURNS void
LANGUAGE sql
AS $$
    SELECT help.pass(span);
    UPDATE process SET lease_end = lease_end - span, sent_at = sent_at - span;
    UPDATE calls SET ends_at = ends_at - span;
    DELETE FROM calls WHERE ends_at < clock_timestamp();
$$;

CREATE FUNCTION pg_temp.step(chance integer, p process) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    copy copies;
BEGIN
    CASE
        WHEN chance < 30 THEN -- a heartbeat, and what becomes of it
            copy := pg_temp.send(p.name);
            IF pg_temp.dice(10) < 8 THEN
                PERFORM pg_temp.arrive(copy, pg_temp.dice(10) < 8);
            END IF;
            IF pg_temp.dice(10) < 6 THEN
                DELETE FROM copies WHERE n = copy.n;
            END IF;
        WHEN chance < 48 THEN -- a copy comes late
            SELECT * INTO copy FROM copies WHERE n > (SELECT max(n) - 15 FROM copies) ORDER BY random() LIMIT 1;
            IF FOUND THEN
                PERFORM pg_temp.arrive(copy, pg_temp.dice(10) < 5);
                IF pg_temp.dice(3) > 0 THEN
                    DELETE FROM copies WHERE n = copy.n;
                END IF;
            END IF;
        WHEN chance < 70 THEN -- it calls the model, as often as it may
            INSERT INTO calls
            SELECT p.name, clock_timestamp() + random() * interval '8 s'
            FROM generate_series(1, least(1 + pg_temp.dice(4), p.lim - pg_temp.in_use(p.name)))
            WHERE p.lease_end > clock_timestamp();
        WHEN chance < 75 THEN -- it comes down
            UPDATE process SET lim = least(lim, target) WHERE name = p.name;
        WHEN chance < 82 THEN
            UPDATE process SET wanted = pg_temp.dice(13), most = 2 + pg_temp.dice(11) WHERE name = p.name;
        WHEN chance < 92 THEN
            PERFORM pg_temp.pass(random() * interval '1.5 s');
        WHEN chance < 93 THEN
            PERFORM pg_temp.pass(random() * interval '25 s');
        WHEN chance < 96 THEN
            PERFORM hansard_api.reap_workers();
        WHEN chance < 97 THEN -- it is declared lost out of the blue
            UPDATE hansard.workers SET lost_at = clock_timestamp() WHERE worker_id = p.id AND lost_at IS NULL;
        WHEN chance < 98 THEN -- it dies
            UPDATE process SET is_alive = false WHERE name = p.name;
        WHEN chance < 99 THEN -- it leaves: it calls the model no more
            IF pg_temp.in_use(p.name) = 0 THEN
                UPDATE process SET is_alive = false WHERE name = p.name;
                PERFORM hansard_api.leave(p.id);
                PERFORM pg_temp.count_one('left');
            END IF;
        ELSE -- the cap is another, from one process to the next
            UPDATE process SET cap = 8 + 2 * pg_temp.dice(5) WHERE name = p.name OR pg_temp.dice(3) > 0;
    END CASE;
END
$$;

CREATE FUNCTION pg_temp.walk(steps integer) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    before bigint := 0;
    used   bigint;
    cap    integer;
    p      process;
BEGIN
    FOR i IN 1..steps LOOP
        -- Six of them; who is gone is replaced by a new one.
        INSERT INTO process (name, id, cap)
        SELECT 'p' || i || '-' || n, md5(random()::text)::uuid, coalesce((SELECT max(o.cap) FROM process o WHERE o.is_alive), 12)
        FROM generate_series(1, 6 - (SELECT count(*) FROM process WHERE is_alive)) AS n;
        SELECT * INTO p FROM process WHERE is_alive ORDER BY random() LIMIT 1;
        PERFORM pg_temp.step(pg_temp.dice(100), p);
        -- A cap that was lowered is reached by calls that end; until then nothing is added.
        used := pg_temp.may_use();
        SELECT max(o.cap) INTO cap FROM process o WHERE o.is_alive;
        IF used > greatest(cap, before) THEN
            PERFORM pg_temp.count_one('too many');
        END IF;
        IF used = cap THEN
            PERFORM pg_temp.count_one('all in use');
        END IF;
        IF pg_temp.in_use(p.name) > 0 AND p.is_alive AND p.lease_end < clock_timestamp() THEN
            PERFORM pg_temp.count_one('calls after a lease');
        END IF;
        before := used;
        DELETE FROM process o WHERE NOT o.is_alive AND pg_temp.in_use(o.name) = 0;
    END LOOP;
END
$$;

SELECT setseed(0.7);
SELECT lives_ok('SELECT pg_temp.walk(2500)', 'two and a half thousand steps');
SELECT is_empty($$SELECT * FROM tally WHERE what = 'too many'$$, 'never are there more calls than the cap allows');
SELECT cmp_ok(n, '>', 20::bigint, 'and yet now and then all that it allows') FROM tally WHERE what = 'all in use';
SELECT cmp_ok(n, '>', least_n::bigint, format('among them: %s', what))
FROM (VALUES ('done', 500), ('HS503', 5), ('HS409', 10), ('replies that were lost', 50), ('copies that nobody waited for', 50),
             ('left', 3), ('calls after a lease', 5)) AS v (what, least_n) LEFT JOIN tally USING (what);

-- After the storm: nothing is left over from it.
SELECT pg_temp.pass('60 s');
DELETE FROM copies;
SELECT hansard_api.reap_workers();
SELECT pg_temp.pass('60 s');
UPDATE process SET cap = 12, wanted = 5, most = 10, is_waiting = false;
CREATE FUNCTION pg_temp.all_beat() RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    p process;
BEGIN
    FOR p IN SELECT * FROM process WHERE is_alive ORDER BY name LOOP
        UPDATE process SET lim = least(lim, target), is_waiting = false WHERE name = p.name;
        PERFORM pg_temp.arrive(pg_temp.send(p.name), true);
    END LOOP;
END
$$;
SELECT lives_ok('SELECT pg_temp.all_beat() FROM generate_series(1, 6)', 'all beat six times, undisturbed');
SELECT is(sum(lim), 12::bigint, 'all permits are given out again') FROM process WHERE is_alive;
SELECT cmp_ok(max(lim) - min(lim), '<=', 1, '... alike') FROM process WHERE is_alive;
SELECT is(help.permits_out(), 12::bigint, '... and the database counts the same');
SELECT hansard_api.reap_workers();
SELECT set_eq('SELECT worker_id FROM hansard.workers', 'SELECT id FROM process WHERE is_alive', 'nobody else is remembered');

SELECT * FROM finish();
ROLLBACK;
