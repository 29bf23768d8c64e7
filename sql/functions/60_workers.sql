-- Workers: who is alive, and what becomes of the turns of those who are not.
--
-- A turn is open only while its worker lives, so there is no lease a turn to renew: one heartbeat a worker is all. The
-- turns of the dead are closed by whoever comes first: the next turn of the conversation (accept_turns), or the reaper.

SET LOCAL ROLE hansard_owner;

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

CREATE OR REPLACE FUNCTION hansard.bury_worker(dead uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    keys      bytea[];
    closed_at timestamptz := clock_timestamp();
    closed    integer := 0;
BEGIN
    -- A look through all sessions: no index, so that the hot row stays cheap for the turns that end well.
    SELECT array_agg(s.session_key ORDER BY s.session_key) INTO keys FROM hansard.sessions s WHERE s.open_worker = dead;
    IF keys IS NOT NULL THEN
        -- What somebody else has locked is being seen to; else it is found next time.
        keys := ARRAY(SELECT s.session_key FROM hansard.sessions s
                      WHERE s.session_key = ANY (keys) AND s.open_worker = dead
                      ORDER BY s.session_key FOR UPDATE SKIP LOCKED);
        UPDATE hansard.turns t
        SET state = 'failed', error_code = 'worker_lost', finished_at = closed_at
        FROM hansard.sessions s
        WHERE s.session_key = ANY (keys) AND t.conversation_id = s.conversation_id AND t.turn_no = s.open_turn
          AND t.state = 'running';
        UPDATE hansard.sessions s
        SET open_turn = NULL, open_worker = NULL, unanswered = s.unanswered + 1, last_activity = closed_at
        WHERE s.session_key = ANY (keys);
        GET DIAGNOSTICS closed = ROW_COUNT;
    END IF;
    IF NOT EXISTS (SELECT FROM hansard.sessions s WHERE s.open_worker = dead) THEN
        DELETE FROM hansard.workers w WHERE w.worker_id = dead;
    END IF;
    RETURN closed;
END
$$;
COMMENT ON FUNCTION hansard.bury_worker(uuid) IS
    'Closes the turns a worker left open, as failed: worker_lost, and forgets it when none is left. The number closed.';

CREATE OR REPLACE FUNCTION hansard_api.leave(worker uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE hansard.workers w SET lost_at = clock_timestamp() WHERE w.worker_id = leave.worker AND w.lost_at IS NULL;
    RETURN hansard.bury_worker(worker);
END
$$;
COMMENT ON FUNCTION hansard_api.leave(uuid) IS 'A worker stops: what it leaves open is closed. The number closed.';
GRANT EXECUTE ON FUNCTION hansard_api.leave(uuid) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.reap_workers() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    looked_at timestamptz := clock_timestamp();
    closed    integer := 0;
    dead      uuid;
BEGIN
    UPDATE hansard.workers w
    SET lost_at = looked_at
    WHERE w.worker_id = ANY (ARRAY(SELECT v.worker_id FROM hansard.workers v
                                   WHERE v.lost_at IS NULL AND v.heartbeat_at < looked_at - hansard.worker_patience()
                                   ORDER BY v.worker_id FOR UPDATE SKIP LOCKED));
    -- Some time for callers to repeat their requests and so take turns over. It is also longer than any statement of
    -- the dead worker that was under way when it was declared lost.
    FOR dead IN
        SELECT w.worker_id FROM hansard.workers w
        WHERE w.lost_at < looked_at - interval '10 seconds'
        ORDER BY w.worker_id FOR UPDATE SKIP LOCKED
    LOOP
        closed := closed + hansard.bury_worker(dead);
    END LOOP;
    RETURN closed;
END
$$;
COMMENT ON FUNCTION hansard_api.reap_workers() IS
    'Declares workers lost that were silent for longer than hansard.worker_patience(), and 10 seconds later closes the turns '
    'they left open that nobody took over. The number of turns closed. Any worker may call it at any time.';
GRANT EXECUTE ON FUNCTION hansard_api.reap_workers() TO hansard_app;

RESET ROLE;
