-- Workers: who is alive, and what becomes of the turns of those who are not.
--
-- A turn is open only while its worker lives, so there is no lease a turn to renew: one heartbeat a worker is all. The
-- turns of the dead are closed by whoever comes first: the next turn of the conversation (accept_turns), or the reaper.

--
-- Permits for calls to the model are leased at the same time, when the fleet has a cap. Overshoot is zero because
--   · what a worker holds is never taken from it: it gives back by limiting itself first and saying so then;
--   · a lease is counted from before its heartbeat was sent, and a worker begins no call after it;
--   · permits of a worker that is not heard of are free only when all calls it may have begun have ended;
--   · of a heartbeat that is done twice, it may be either reply that the worker goes by: the larger one counts.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.fair_shares(total integer, wanted integer[], most integer[]) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shares   integer[] := array_fill(0, ARRAY[cardinality(wanted)]);
    ceilings integer[];
    remaining integer := total;
    left_over integer;
    given     integer;
    i         integer;
BEGIN
    FOREACH ceilings SLICE 1 IN ARRAY ARRAY[wanted, most] LOOP
        left_over := cardinality(wanted);
        -- From the most modest on: each gets what it has use for, or an equal part of what is left.
        FOR i IN SELECT n FROM generate_subscripts(wanted, 1) n ORDER BY least(ceilings[n], most[n]) - shares[n], n LOOP
            given := least(greatest(least(ceilings[i], most[i]) - shares[i], 0), remaining / left_over);
            shares[i] := shares[i] + given;
            remaining := remaining - given;
            left_over := left_over - 1;
        END LOOP;
    END LOOP;
    RETURN shares;
END
$$;
COMMENT ON FUNCTION hansard.fair_shares(integer, integer[], integer[]) IS
    'Max-min fair shares (Bertsekas and Gallager, Data Networks, 6.5.2) of a total in whole numbers: first as far as each wants, '
    'then what is left over, as far as each takes at most.';

CREATE OR REPLACE FUNCTION hansard.shares_in_turn(total integer, wanted integer[], turn bigint) RETURNS integer[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg((w.wants AND mod(w.place + w.size - mod(turn * total, w.size), w.size) < total)::integer ORDER BY w.n)
    FROM (SELECT n, wanted[n] > 0 AS wants, count(*) FILTER (WHERE wanted[n] > 0) OVER (ORDER BY n) - 1 AS place,
                 greatest(count(*) FILTER (WHERE wanted[n] > 0) OVER (), 1) AS size
          FROM generate_subscripts(wanted, 1) AS n) AS w
$$;
COMMENT ON FUNCTION hansard.shares_in_turn(integer, integer[], bigint) IS
    'Shares of a total that is less than the number of those who want some: one each to as many as there are, and to those '
    'after them in the next turn, so that everybody has one from time to time.';

-- It takes one thing more than in the release before.
DROP FUNCTION IF EXISTS hansard_api.lease_permits(uuid, text, text, integer, uuid, integer, integer, integer, integer, integer,
                                                  integer);

CREATE OR REPLACE FUNCTION hansard_api.lease_permits(worker uuid, name text, version text, beat_no integer, before uuid,
                                                     holding integer, wanted integer, most integer, cap integer,
                                                     lease_ms integer, call_ms integer,
                                                     wants_cancels boolean DEFAULT false) RETURNS integer[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    beat     timestamptz;
    own      hansard.workers;
    others   integer; -- permits that are not ours
    withheld integer; -- ... of workers that begin no calls any more, or know no leases
    share    integer := most;
    granted  integer := most;
    turn     bigint; -- changes every 5 s
BEGIN
    IF cap > 0 THEN
        -- One at a time: who registers cannot be seen by who registers at the same moment. This mode is in the way of itself
        -- and of VACUUM, not of rows being written; an advisory lock could be taken, and kept, by whoever may log in.
        LOCK TABLE hansard.workers IN SHARE UPDATE EXCLUSIVE MODE;
    END IF;
    beat := clock_timestamp();
    turn := extract(epoch FROM beat)::bigint / 5;
    UPDATE hansard.workers w SET permits = 0, permits_until = beat WHERE cap > 0 AND w.worker_id = before;
    SELECT * INTO own FROM hansard.workers w WHERE w.worker_id = worker FOR UPDATE;
    IF own.lost_at IS NOT NULL THEN
        RAISE EXCEPTION 'worker % was declared lost', worker USING ERRCODE = 'HS503';
    END IF;
    IF lease_permits.beat_no < own.beat_no THEN
        RAISE EXCEPTION 'a later heartbeat of worker % has come before', worker USING ERRCODE = 'HS409';
    END IF;
    IF cap > 0 THEN
        -- A worker of the release before knows no leases: it may call while it lives, and its calls end some time after.
        SELECT coalesce(sum(w.permits), 0),
               least(coalesce(sum(w.permits) FILTER (WHERE w.lost_at IS NOT NULL OR w.leased_until <= beat OR w.leased_until IS NULL), 0), cap)
        INTO others, withheld
        FROM hansard.workers w
        WHERE w.worker_id <> worker
          AND coalesce(w.permits_until, w.heartbeat_at + hansard.worker_patience() + call_ms * interval '1 ms') > beat;
        SELECT (CASE WHEN f.wanting > cap - withheld THEN hansard.shares_in_turn(cap - withheld, f.wants, turn)
                     ELSE hansard.fair_shares(cap - withheld, f.wants, f.mosts) END)[f.place] INTO share
        FROM (SELECT array_agg(w.wanted ORDER BY w.worker_id) AS wants, array_agg(w.most ORDER BY w.worker_id) AS mosts,
                     count(*) FILTER (WHERE w.wanted > 0) AS wanting, count(*) FILTER (WHERE w.worker_id <= worker) AS place
              FROM (SELECT w.worker_id, w.wanted, w.most
                    FROM hansard.workers w
                    WHERE w.worker_id <> worker AND w.lost_at IS NULL AND w.leased_until > beat
                    UNION ALL
                    SELECT worker, lease_permits.wanted, lease_permits.most) AS w) AS f;
        granted := least(greatest(share, holding), greatest(cap - others, 0));
    END IF;
    INSERT INTO hansard.workers AS w (worker_id, name, version, started_at, heartbeat_at, permits, beat_no, wanted, most,
                                      leased_until, permits_until)
    VALUES (worker, lease_permits.name, lease_permits.version, beat, beat,
            greatest(granted, holding, CASE WHEN own.beat_no = lease_permits.beat_no THEN own.permits END),
            lease_permits.beat_no, lease_permits.wanted, lease_permits.most,
            CASE WHEN cap > 0 THEN beat + lease_ms * interval '1 ms' END,
            CASE WHEN cap > 0 THEN beat + (lease_ms + call_ms::bigint + 2000) * interval '1 ms' END)
    ON CONFLICT (worker_id) DO UPDATE
    SET heartbeat_at = beat, permits = excluded.permits, beat_no = excluded.beat_no, wanted = excluded.wanted,
        most = excluded.most, leased_until = excluded.leased_until, permits_until = excluded.permits_until;
    RETURN ARRAY[(SELECT max(m.version) FROM hansard.schema_migrations m), granted, least(share, granted)]
           || CASE WHEN wants_cancels THEN ARRAY[coalesce(own.cancels, 0)] END;
END
$$;
COMMENT ON FUNCTION hansard_api.lease_permits(uuid, text, text, integer, uuid, integer, integer, integer, integer, integer, integer,
                                           boolean) IS
    'This worker is alive (its first call registers it), and wants permits. Arguments: its id, name and version; number of the '
    'heartbeat, rising; the id it had before it was declared lost (NULL: none), whose permits it gives back; permits it '
    'limits itself to now, or has in use if those are more; permits it has use for; permits it takes at most; the cap of the '
    'fleet (0: none, everybody gets what he takes at most); for how long it will begin calls without a new heartbeat, counted '
    'from before it sent this one; how long a call takes at most; whether it wants to '
    'be told of cancelled jobs. '
    'Gives the schema''s version, the permits leased, those it should come down to, for others want some, and how many of the '
    'jobs it ran were cancelled so far. '
    'HS503: it was declared dead, and has to go on under a new id. HS409: this heartbeat is older than the last.';
GRANT EXECUTE ON FUNCTION hansard_api.lease_permits(uuid, text, text, integer, uuid, integer, integer, integer, integer, integer, integer,
                                                boolean) TO hansard_app;

-- For workers of the release before.
CREATE OR REPLACE FUNCTION hansard_api.heartbeat(worker uuid, name text, version text, permits integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    beat timestamptz := clock_timestamp();
BEGIN
    INSERT INTO hansard.workers AS w (worker_id, name, version, started_at, heartbeat_at, permits)
    VALUES (worker, heartbeat.name, heartbeat.version, beat, beat, heartbeat.permits)
    ON CONFLICT (worker_id) DO UPDATE SET heartbeat_at = beat, permits = excluded.permits
    WHERE w.lost_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % was declared lost', worker USING ERRCODE = 'HS503';
    END IF;
    RETURN (SELECT max(m.version) FROM hansard.schema_migrations m);
END
$$;
COMMENT ON FUNCTION hansard_api.heartbeat(uuid, text, text, integer) IS
    'This worker is alive (its first call registers it); the schema''s version. '
    'HS503: it was declared dead, and has to go on under a new id.';
GRANT EXECUTE ON FUNCTION hansard_api.heartbeat(uuid, text, text, integer) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard.close_turns(dead uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    keys      bytea[];
    closed_at timestamptz := clock_timestamp();
    closed    integer := 0;
BEGIN
    PERFORM hansard.requeue_jobs(dead, false);
    -- A look through all sessions: no index, so that the hot row stays cheap for the turns that end well.
    SELECT array_agg(s.session_key ORDER BY s.session_key) INTO keys FROM hansard.sessions s WHERE s.open_worker = dead;
    IF keys IS NULL THEN
        RETURN 0;
    END IF;
    -- What somebody else has locked is being seen to; else it is found next time.
    keys := ARRAY(SELECT s.session_key FROM hansard.sessions s
                  WHERE s.session_key = ANY (keys) AND s.open_worker = dead
                    -- Jobs are not closed but requeued, as soon as their session is not locked.
                    AND NOT EXISTS (SELECT FROM hansard.jobs j
                                    WHERE j.conversation_id = s.conversation_id AND j.turn_no = s.open_turn)
                  ORDER BY s.session_key FOR UPDATE SKIP LOCKED);
    UPDATE hansard.turns t
    SET state = 'failed', error_code = 'worker_lost', finished_at = closed_at
    FROM hansard.sessions s
    WHERE s.session_key = ANY (keys) AND t.conversation_id = s.conversation_id AND t.turn_no = s.open_turn
      AND t.state = 'running';
    UPDATE hansard.sessions s
    SET open_turn = NULL, open_worker = NULL, unanswered = s.unanswered + 1,
        last_activity = greatest(closed_at, s.last_activity)
    WHERE s.session_key = ANY (keys);
    GET DIAGNOSTICS closed = ROW_COUNT;
    PERFORM hansard.make_ready(keys);
    RETURN closed;
END
$$;
COMMENT ON FUNCTION hansard.close_turns(uuid) IS
    'Closes the turns a worker left open, as failed: worker_lost, and puts its jobs back into the queue. The number closed; some '
    'may be left whose sessions are locked.';

CREATE OR REPLACE FUNCTION hansard.bury_worker(dead uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    closed_at timestamptz := clock_timestamp();
    closed    integer := hansard.close_turns(dead);
BEGIN
    IF NOT EXISTS (SELECT FROM hansard.sessions s WHERE s.open_worker = dead) THEN
        DELETE FROM hansard.holds h WHERE h.worker_id = dead;
        -- One of the release before knew no leases: where others do, it is remembered until its calls have ended, too.
        UPDATE hansard.workers w
        SET permits_until = w.heartbeat_at + hansard.worker_patience()
                            + (SELECT max(v.permits_until - v.leased_until) FROM hansard.workers v WHERE v.lost_at IS NULL)
        WHERE w.worker_id = dead AND w.permits_until IS NULL;
        DELETE FROM hansard.workers w WHERE w.worker_id = dead AND coalesce(w.permits_until <= closed_at, true);
        UPDATE hansard.workers w SET buried_at = closed_at WHERE w.worker_id = dead;
    END IF;
    RETURN closed;
END
$$;
COMMENT ON FUNCTION hansard.bury_worker(uuid) IS
    'Closes the turns a worker left open, and forgets it when none is left and its permits are free. The number closed.';

CREATE OR REPLACE FUNCTION hansard_api.leave(worker uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hansard.lock_jobs(worker); -- what were left would be found later, and count as a death
    UPDATE hansard.workers w
    SET lost_at = clock_timestamp(), permits_until = clock_timestamp(), has_left = true
    WHERE w.worker_id = leave.worker AND w.lost_at IS NULL;
    RETURN hansard.close_turns(worker);
END
$$;
COMMENT ON FUNCTION hansard_api.leave(uuid) IS
    'A worker stops, and calls the model no more: what it leaves open is closed, its permits are free. It is buried later: a '
    'call of its own whose reply was lost may open something yet. The number closed.';
GRANT EXECUTE ON FUNCTION hansard_api.leave(uuid) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.reap_workers() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    looked_at timestamptz := clock_timestamp();
    closed    integer := 0;
    dead      uuid;
    has_left  boolean;
BEGIN
    UPDATE hansard.workers w
    SET lost_at = looked_at
    WHERE w.worker_id = ANY (ARRAY(SELECT v.worker_id FROM hansard.workers v
                                   WHERE v.lost_at IS NULL AND v.heartbeat_at < looked_at - hansard.worker_patience()
                                   ORDER BY v.worker_id FOR UPDATE SKIP LOCKED));
    -- Jobs at once: nobody will repeat them.
    FOR dead, has_left IN
        SELECT w.worker_id, w.has_left FROM hansard.workers w
        WHERE w.lost_at IS NOT NULL AND w.buried_at IS NULL
        ORDER BY w.worker_id
    LOOP
        PERFORM hansard.requeue_jobs(dead, NOT has_left);
    END LOOP;
    -- What a worker claimed whose row is gone: its claim was committed after it had been buried.
    FOR dead IN
        SELECT DISTINCT j.worker_id FROM hansard.jobs j
        WHERE j.worker_id > hansard.nobody() -- so that an index is looked up
          AND NOT EXISTS (SELECT FROM hansard.workers w WHERE w.worker_id = j.worker_id)
    LOOP
        PERFORM hansard.requeue_jobs(dead, false);
    END LOOP;
    -- Some time for callers to repeat their requests and so take turns over. It is also longer than any statement of
    -- the dead worker that was under way when it was declared lost, or left.
    FOR dead IN
        SELECT w.worker_id FROM hansard.workers w
        WHERE w.lost_at < looked_at - interval '10 seconds' AND w.buried_at IS NULL
        ORDER BY w.worker_id FOR UPDATE SKIP LOCKED
    LOOP
        closed := closed + hansard.bury_worker(dead);
    END LOOP;
    DELETE FROM hansard.workers w
    WHERE w.worker_id = ANY (ARRAY(SELECT v.worker_id FROM hansard.workers v
                                   WHERE v.buried_at IS NOT NULL AND v.permits_until < looked_at
                                   ORDER BY v.worker_id FOR UPDATE SKIP LOCKED));
    RETURN closed;
END
$$;
COMMENT ON FUNCTION hansard_api.reap_workers() IS
    'Declares workers lost that were silent for longer than hansard.worker_patience(), puts their jobs back into the queue, and '
    '10 seconds later closes the turns '
    'they left open that nobody took over. The number of turns closed. Any worker may call it at any time.';
GRANT EXECUTE ON FUNCTION hansard_api.reap_workers() TO hansard_app;

RESET ROLE;
