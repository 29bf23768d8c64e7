-- What becomes of one job, for whoever may ask: reading and cancelling it.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.job_place(of_conversation uuid, of_turn integer) RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    since timestamptz;
BEGIN
    SELECT j.queued_at INTO since FROM hansard.jobs j
    WHERE j.conversation_id = of_conversation AND j.turn_no = of_turn AND j.worker_id IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN 1 + (SELECT count(*) FROM (SELECT FROM hansard.jobs j WHERE j.is_ready AND j.queued_at < since LIMIT 10000) AS n)
             + (SELECT count(*) FROM hansard.jobs j
                WHERE j.conversation_id = of_conversation AND j.turn_no < of_turn AND NOT j.is_ready);
END
$$;
COMMENT ON FUNCTION hansard.job_place(uuid, integer) IS
    'Place in line of a queued job: behind those that are ready and came before it (no more than 10,000 are counted), and those of '
    'its own conversation. NULL: it is not queued.';

CREATE OR REPLACE FUNCTION hansard_api.read_job(of_key bytea, of_conversation uuid, of_turn integer) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    owner  uuid := hansard.owner_of(of_key);
    answer json;
BEGIN
    SELECT row_to_json(shown) INTO answer
    FROM (
        SELECT t.state NOT IN ('queued', 'running') AS ended, t.conversation_id || '-' || t.turn_no AS job_id, c.session_id,
               t.turn_no AS turn, t.state AS status, hansard.job_place(t.conversation_id, t.turn_no) AS position,
               t.attempt AS attempts, hansard.iso_time(t.accepted_at) AS queued_at,
               hansard.iso_time(CASE WHEN t.is_job THEN t.started_at ELSE t.accepted_at END) AS started_at,
               hansard.iso_time(t.finished_at) AS finished_at,
               (SELECT m.text FROM hansard.messages m
                WHERE m.conversation_id = t.conversation_id AND m.turn_no = t.turn_no AND m.position = 2) AS response,
               t.model,
               (SELECT row_to_json(u)
                FROM (SELECT t.prompt_tokens, t.completion_tokens,
                             t.prompt_tokens::bigint + t.completion_tokens AS total_tokens) AS u
                WHERE u.total_tokens IS NOT NULL) AS usage,
               t.error_code AS error
        FROM hansard.conversations c
        JOIN hansard.turns t ON t.conversation_id = c.conversation_id AND t.turn_no = of_turn
        WHERE c.conversation_id = of_conversation AND c.user_id IS NOT DISTINCT FROM owner AND c.session_id IS NOT NULL
    ) AS shown;
    IF answer IS NULL THEN
        RAISE EXCEPTION 'no such job' USING ERRCODE = 'HS404';
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION hansard_api.read_job(bytea, uuid, integer) IS
    'State of a turn and what it came to, as JSON; "ended" comes first. HS401: unknown or revoked key. HS404: no such turn of '
    'this caller, or its conversation was erased.';
GRANT EXECUTE ON FUNCTION hansard_api.read_job(bytea, uuid, integer) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.cancel_job(of_key bytea, of_conversation uuid, of_turn integer) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    owner        uuid := hansard.owner_of(of_key);
    key          bytea;
    job          hansard.jobs;
    cancelled_at timestamptz;
    held         text[];
    used         bigint[];
BEGIN
    SELECT c.session_key INTO key
    FROM hansard.conversations c
    JOIN hansard.turns t ON t.conversation_id = c.conversation_id AND t.turn_no = of_turn AND t.is_job
    WHERE c.conversation_id = of_conversation AND c.user_id IS NOT DISTINCT FROM owner AND c.session_id IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such job' USING ERRCODE = 'HS404';
    END IF;
    PERFORM FROM hansard.sessions s WHERE s.session_key = key FOR UPDATE;
    SELECT * INTO job FROM hansard.jobs j WHERE j.conversation_id = of_conversation AND j.turn_no = of_turn;
    IF NOT FOUND THEN
        -- Cancelled already, perhaps by this very call, whose reply was lost.
        IF EXISTS (SELECT FROM hansard.turns t
                   WHERE t.conversation_id = of_conversation AND t.turn_no = of_turn AND t.state = 'cancelled') THEN
            RETURN hansard_api.read_job(of_key, of_conversation, of_turn);
        END IF;
        RAISE EXCEPTION 'the job has ended' USING ERRCODE = 'HS410';
    END IF;
    cancelled_at := clock_timestamp();
    UPDATE hansard.turns t
    SET state = 'cancelled', error_code = 'turn_cancelled', finished_at = cancelled_at
    WHERE t.conversation_id = of_conversation AND t.turn_no = of_turn;
    UPDATE hansard.sessions s
    SET jobs = s.jobs - 1, unanswered = s.unanswered + 1,
        open_turn = CASE WHEN s.open_turn <> of_turn THEN s.open_turn END,
        open_worker = CASE WHEN s.open_turn <> of_turn THEN s.open_worker END
    WHERE s.session_key = key;
    -- One that runs costs what was reserved: its model may have said it all. One that was queued costs nothing, nor does one
    -- whose worker is dead, wherever it ends.
    WITH released AS (
        DELETE FROM hansard.holds h
        WHERE h.conversation_id = of_conversation AND h.turn_no = of_turn
        RETURNING h.limit_key, CASE WHEN hansard.is_alive(job.worker_id, cancelled_at) THEN h.tokens ELSE 0 END AS tokens
    )
    SELECT array_agg(r.limit_key), array_agg(r.tokens) INTO held, used FROM released r;
    IF held IS NOT NULL THEN
        PERFORM hansard.settle_holds(held, used);
    END IF;
    UPDATE hansard.workers w SET cancels = w.cancels + 1 WHERE w.worker_id = job.worker_id;
    PERFORM hansard.forget_jobs(ARRAY[of_conversation], ARRAY[of_turn]);
    PERFORM hansard.make_ready(ARRAY[key]);
    RETURN hansard_api.read_job(of_key, of_conversation, of_turn);
END
$$;
COMMENT ON FUNCTION hansard_api.cancel_job(bytea, uuid, integer) IS
    'Ends a job that is queued or running as cancelled; the worker that runs it is told by its heartbeat. Its state as read_job '
    'gives it. HS401: unknown or revoked key. HS404: no such job of this caller. HS410: it has ended in '
    'another way.';
GRANT EXECUTE ON FUNCTION hansard_api.cancel_job(bytea, uuid, integer) TO hansard_app;

RESET ROLE;
