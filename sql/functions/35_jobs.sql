-- Jobs: turns that are answered in the background, by whichever worker has room.
--
-- accept_turns queues them. A job is ready when every earlier turn of its conversation has ended: who ends a turn makes the
-- next one ready (make_ready). claim_jobs opens what is ready, as accept_turns opens live turns; finish_turns closes them.
--
-- Locks: sessions before jobs, as everywhere. Only claim_jobs begins with jobs, and so waits for no session: it skips those
-- that are locked.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.make_ready(session_keys bytea[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
AS $$
BEGIN
    UPDATE hansard.jobs j
    SET is_ready = true
    FROM unnest(session_keys) AS k (session_key)
    CROSS JOIN LATERAL (SELECT s.conversation_id FROM hansard.sessions s
                        WHERE s.session_key = k.session_key AND s.open_turn IS NULL AND s.jobs > 0 LIMIT 1) AS s
    CROSS JOIN LATERAL (SELECT f.turn_no FROM hansard.jobs f
                        WHERE f.conversation_id = s.conversation_id ORDER BY f.turn_no LIMIT 1) AS f
    WHERE j.conversation_id = s.conversation_id AND j.turn_no = f.turn_no AND NOT j.is_ready;
END
$$;
COMMENT ON FUNCTION hansard.make_ready(bytea[]) IS
    'The first job of each of these sessions may be claimed, where no turn is open. The sessions are locked by the caller.';

-- It returned nothing in the release before.
DROP FUNCTION IF EXISTS hansard.forget_jobs(uuid[], integer[]);

CREATE OR REPLACE FUNCTION hansard.forget_jobs(conversation_ids uuid[], turn_nos integer[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
AS $$
DECLARE
    told hansard.jobs[]; -- whose end somebody wants to know
BEGIN
    WITH forgotten AS (
        DELETE FROM hansard.jobs j
        USING unnest(conversation_ids, turn_nos) AS e (conversation_id, turn_no)
        WHERE j.conversation_id = e.conversation_id AND j.turn_no = e.turn_no
        RETURNING j.*
    )
    SELECT array_agg(f::hansard.jobs) INTO told FROM forgotten f WHERE f.webhook IS NOT NULL;
    IF told IS NOT NULL THEN
        PERFORM hansard.queue_webhook(t.conversation_id, t.turn_no, t.webhook) FROM unnest(told) t;
    END IF;
    RETURN ARRAY(SELECT t.conversation_id FROM unnest(told) t);
END
$$;
COMMENT ON FUNCTION hansard.forget_jobs(uuid[], integer[]) IS
    'These jobs have ended: their rows go, and who wants to know is told. The turns say by now what became of them. The '
    'conversations of those for whom a webhook was queued.';

-- It takes one thing more than in the release before, and returns one more.
DROP FUNCTION IF EXISTS hansard_api.claim_jobs(uuid, integer, integer, integer, uuid[]);

CREATE OR REPLACE FUNCTION hansard_api.claim_jobs(worker uuid, most integer, most_messages integer, most_bytes integer,
                                                  known uuid[] DEFAULT NULL, number integer DEFAULT NULL)
RETURNS TABLE (session_key bytea, conversation_id uuid, turn_no integer, attempt integer, words text, history text[],
               limit_key text, request_id uuid, failures integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET work_mem = '64MB'
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    newest     integer; -- number of a claim of this worker
    decided_at timestamptz;
    found_keys bytea[];
    free_keys  bytea[];
BEGIN
    SELECT w.claim_no INTO newest FROM hansard.workers w WHERE w.worker_id = worker AND w.lost_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'HS503';
    END IF;
    IF number < newest THEN
        RETURN;
    END IF;
    IF number > newest OR EXISTS (SELECT FROM hansard.jobs j
                                  WHERE j.worker_id = worker AND j.conversation_id <> ALL (known)) THEN
        -- All of them now, for nobody would look again.
        PERFORM hansard.lock_jobs(worker, known);
        -- A later claim may have come since we looked, and run what is not in known: it is that one's word that counts.
        UPDATE hansard.workers w
        SET claim_no = coalesce(number, w.claim_no)
        WHERE w.worker_id = worker AND w.lost_at IS NULL AND w.claim_no <= coalesce(number, w.claim_no);
        IF NOT FOUND THEN
            RETURN;
        END IF;
        PERFORM hansard.requeue_jobs(worker, false, known);
    END IF;
    -- At most one job of a session is ready.
    found_keys := ARRAY(SELECT j.session_key FROM hansard.jobs j WHERE j.is_ready ORDER BY j.queued_at
                        LIMIT most FOR UPDATE SKIP LOCKED);
    IF found_keys = '{}' THEN
        RETURN;
    END IF;
    free_keys := ARRAY(SELECT s.session_key FROM hansard.sessions s
                       WHERE s.session_key = ANY (found_keys) ORDER BY s.session_key FOR UPDATE SKIP LOCKED);
    decided_at := clock_timestamp();

    RETURN QUERY
    WITH claimed AS (
        UPDATE hansard.jobs j
        SET is_ready = false, worker_id = worker
        FROM unnest(free_keys) AS k (session_key)
        CROSS JOIN LATERAL (SELECT s.conversation_id FROM hansard.sessions s
                            WHERE s.session_key = k.session_key AND s.open_turn IS NULL LIMIT 1) AS s
        -- The first one. Said of j itself, is_ready would have j looked for in the index of all that are ready, by the plan
        -- of a time when there were few.
        CROSS JOIN LATERAL (SELECT f.turn_no, f.is_ready FROM hansard.jobs f
                            WHERE f.conversation_id = s.conversation_id ORDER BY f.turn_no LIMIT 1) AS f
        WHERE f.is_ready AND j.conversation_id = s.conversation_id AND j.turn_no = f.turn_no
        RETURNING j.conversation_id, j.turn_no, j.session_key, j.limit_key, j.queued_at, j.failures
    ), opened AS (
        UPDATE hansard.sessions s
        SET open_turn = c.turn_no, open_worker = worker, last_activity = greatest(decided_at, s.last_activity)
        FROM claimed c
        WHERE s.session_key = c.session_key
    ), turned AS (
        UPDATE hansard.turns t
        SET state = 'running', worker_id = worker, attempt = least(t.attempt + 1, 32767), started_at = decided_at
        FROM claimed c
        WHERE t.conversation_id = c.conversation_id AND t.turn_no = c.turn_no AND t.state = 'queued'
        RETURNING c.*, t.attempt, t.request_id
    )
    SELECT t.session_key, t.conversation_id, t.turn_no, t.attempt::integer, m.text,
           CASE WHEN t.turn_no > 1 THEN hansard.context(t.conversation_id, t.turn_no, most_messages, most_bytes) END,
           t.limit_key, t.request_id, t.failures::integer
    FROM turned t
    CROSS JOIN LATERAL (SELECT m.text FROM hansard.messages m
                        WHERE m.conversation_id = t.conversation_id AND m.turn_no = t.turn_no AND m.position = 1
                        LIMIT 1) AS m
    ORDER BY t.queued_at;
END
$$;
COMMENT ON FUNCTION hansard_api.claim_jobs(uuid, integer, integer, integer, uuid[], integer) IS
    'Opens jobs that are ready, the longest queued first: for a worker, so many at most, with so much of the history as the '
    'model is shown, in messages and bytes. What finish_turns wants to know of each, its words, the history before them, its '
    'caller, the request that queued it, and how often it was handed back because its model failed. known: the conversations '
    'in which the worker runs a job; what it claimed besides, in a call whose reply was lost, goes back into the queue. '
    'number: raised by the worker after such a call, which does nothing when it comes to be done later than this one. Raises '
    'HS503 when the worker is not registered or was declared dead.';
GRANT EXECUTE ON FUNCTION hansard_api.claim_jobs(uuid, integer, integer, integer, uuid[], integer) TO hansard_app;

-- It takes one thing more than in the release before.
DROP FUNCTION IF EXISTS hansard.hand_back(uuid[], bytea[], uuid[], integer[], integer[], text[]);

CREATE OR REPLACE FUNCTION hansard.hand_back(workers uuid[], session_keys bytea[], conversation_ids uuid[], turn_nos integer[],
                                             attempts integer[], states text[], error_codes text[]) RETURNS integer[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    handed integer[];
BEGIN
    WITH open AS MATERIALIZED (
        SELECT b.item::integer, b.session_key, b.conversation_id, b.turn_no, b.attempt, b.error_code IS NOT NULL AS has_failed
        FROM unnest(workers, session_keys, conversation_ids, turn_nos, attempts, states, error_codes) WITH ORDINALITY
             AS b (worker, session_key, conversation_id, turn_no, attempt, state, error_code, item)
        CROSS JOIN LATERAL (SELECT FROM hansard.sessions s
                            WHERE b.state = 'queued' AND s.session_key = b.session_key AND s.open_turn = b.turn_no
                              AND s.open_worker = b.worker AND s.conversation_id = b.conversation_id LIMIT 1) AS s
    ), turned AS (
        UPDATE hansard.turns t
        SET state = 'queued', worker_id = NULL
        FROM open o
        WHERE t.conversation_id = o.conversation_id AND t.turn_no = o.turn_no AND t.attempt = o.attempt
          AND t.state = 'running' AND t.is_job
        RETURNING o.*
    ), queued AS (
        UPDATE hansard.jobs j
        SET is_ready = true, worker_id = NULL, failures = j.failures + o.has_failed::integer
        FROM turned o
        WHERE j.conversation_id = o.conversation_id AND j.turn_no = o.turn_no
    ), freed AS (
        UPDATE hansard.sessions s
        SET open_turn = NULL, open_worker = NULL
        FROM turned o
        WHERE s.session_key = o.session_key
    )
    SELECT array_agg(o.item) INTO handed FROM turned o;
    RETURN handed;
END
$$;
COMMENT ON FUNCTION hansard.hand_back(uuid[], bytea[], uuid[], integer[], integer[], text[], text[]) IS
    'Puts running jobs back into the queue, to the place they had: those elements whose state is queued, if worker and attempt '
    'are theirs; with an error code that is a failure more. The items that were. The sessions are locked by the caller.';

CREATE OR REPLACE FUNCTION hansard.lock_jobs(worker uuid, kept uuid[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
BEGIN
    PERFORM FROM hansard.sessions s
    WHERE s.session_key = ANY (ARRAY(SELECT j.session_key FROM hansard.jobs j
                                     WHERE j.worker_id = worker AND j.conversation_id <> ALL (kept)))
    ORDER BY s.session_key FOR UPDATE;
END
$$;
COMMENT ON FUNCTION hansard.lock_jobs(uuid, uuid[]) IS
    'Waits for the sessions of the jobs that a worker runs, so that requeue_jobs passes none over. To be called before anything '
    'else is locked. Jobs of conversations to be kept do not matter.';

CREATE OR REPLACE FUNCTION hansard.requeue_jobs(dead uuid, is_death boolean, kept uuid[] DEFAULT '{}') RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    ended_at  timestamptz := clock_timestamp();
    keys      bytea[] := ARRAY(SELECT j.session_key FROM hansard.jobs j
                               WHERE j.worker_id = dead AND j.conversation_id <> ALL (kept));
    requeued  integer;
    given_up  uuid[]; -- conversations
    their_nos integer[];
BEGIN
    IF keys = '{}' THEN
        RETURN 0;
    END IF;
    -- What somebody else has locked is found next time.
    keys := ARRAY(SELECT s.session_key FROM hansard.sessions s
                  WHERE s.session_key = ANY (keys) ORDER BY s.session_key FOR UPDATE SKIP LOCKED);
    WITH left_over AS (
        UPDATE hansard.jobs j
        SET deaths = j.deaths + is_death::integer, is_ready = j.deaths + is_death::integer < 3, worker_id = NULL
        WHERE j.worker_id = dead AND j.session_key = ANY (keys)
        RETURNING j.session_key, j.conversation_id, j.turn_no, NOT j.is_ready AS is_over
    ), turned AS (
        UPDATE hansard.turns t
        SET state = CASE WHEN l.is_over THEN 'failed'::hansard.turn_state ELSE 'queued' END,
            worker_id = CASE WHEN l.is_over THEN dead END,
            error_code = CASE WHEN l.is_over THEN 'worker_lost' END,
            finished_at = CASE WHEN l.is_over THEN ended_at END
        FROM left_over l
        WHERE t.conversation_id = l.conversation_id AND t.turn_no = l.turn_no
    ), freed AS (
        UPDATE hansard.sessions s
        SET open_turn = NULL, open_worker = NULL, jobs = s.jobs - l.is_over::integer,
            unanswered = s.unanswered + l.is_over::integer
        FROM left_over l
        WHERE s.session_key = l.session_key
    ), released AS (
        DELETE FROM hansard.holds h
        USING left_over l
        WHERE l.is_over AND h.conversation_id = l.conversation_id AND h.turn_no = l.turn_no
    )
    SELECT count(*), array_agg(l.conversation_id) FILTER (WHERE l.is_over), array_agg(l.turn_no) FILTER (WHERE l.is_over)
    INTO requeued, given_up, their_nos
    FROM left_over l;
    IF given_up IS NOT NULL THEN
        PERFORM hansard.forget_jobs(given_up, their_nos);
        PERFORM hansard.make_ready(keys);
    END IF;
    RETURN requeued;
END
$$;
COMMENT ON FUNCTION hansard.requeue_jobs(uuid, boolean, uuid[]) IS
    'Puts the jobs of a worker that is dead, or leaves, back into the queue, to the places they had. With the third death of a '
    'worker that ran it a job fails: worker_lost. Jobs of conversations to be kept stay as they are. The number of jobs; some '
    'may be left whose sessions are locked.';

CREATE OR REPLACE FUNCTION hansard_api.jobs_lost(worker uuid, conversation_ids uuid[], turn_nos integer[], attempts integer[])
RETURNS integer[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT a.item::integer
        FROM unnest(conversation_ids, turn_nos, attempts) WITH ORDINALITY AS a (conversation_id, turn_no, attempt, item)
        LEFT JOIN LATERAL (SELECT t.* FROM hansard.turns t
                           WHERE t.conversation_id = a.conversation_id AND t.turn_no = a.turn_no LIMIT 1) AS t ON true
        WHERE (t.state = 'running' AND t.worker_id = jobs_lost.worker AND t.attempt = a.attempt) IS NOT TRUE
        ORDER BY a.item);
END
$$;
COMMENT ON FUNCTION hansard_api.jobs_lost(uuid, uuid[], integer[], integer[]) IS
    'Which of the jobs a worker runs are its own no more, by their places (1, 2 …): cancelled, or given to another.';
GRANT EXECUTE ON FUNCTION hansard_api.jobs_lost(uuid, uuid[], integer[], integer[]) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.jobs_ended(conversation_ids uuid[], turn_nos integer[]) RETURNS integer[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT a.item::integer
        FROM unnest(conversation_ids, turn_nos) WITH ORDINALITY AS a (conversation_id, turn_no, item)
        LEFT JOIN LATERAL (SELECT t.state FROM hansard.turns t
                           WHERE t.conversation_id = a.conversation_id AND t.turn_no = a.turn_no LIMIT 1) AS t ON true
        WHERE (t.state IN ('queued', 'running')) IS NOT TRUE
        ORDER BY a.item);
END
$$;
COMMENT ON FUNCTION hansard_api.jobs_ended(uuid[], integer[]) IS
    'Which of these turns have ended, or are not there, by their places (1, 2 …). It tells nothing else, so it asks for no '
    'owner.';
GRANT EXECUTE ON FUNCTION hansard_api.jobs_ended(uuid[], integer[]) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.count_jobs() RETURNS integer[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT ARRAY[count(*) FILTER (WHERE j.worker_id IS NULL), count(*) FILTER (WHERE j.is_ready),
                         (SELECT coalesce(sum(w.most), 0) FROM hansard.workers w WHERE w.lost_at IS NULL)]::integer[]
            FROM hansard.jobs j);
END
$$;
COMMENT ON FUNCTION hansard_api.count_jobs() IS
    'How many jobs are queued, how many of them could be claimed, and how many calls all workers make at once. It reads the '
    'whole table: not to be asked often.';
GRANT EXECUTE ON FUNCTION hansard_api.count_jobs() TO hansard_app;

RESET ROLE;
