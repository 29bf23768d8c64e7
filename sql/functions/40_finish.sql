-- FINISH: closes turns with what the model said. One call writes a batch in one transaction.

SET LOCAL ROLE hansard_owner;

-- It returns more than in the release before. Who calls it names the columns he wants.
DROP FUNCTION IF EXISTS hansard_api.finish_turns(uuid[], bytea[], uuid[], integer[], integer[], text[], text[], text[],
                                                 integer[], integer[], text[], integer[], integer[]);

CREATE OR REPLACE FUNCTION hansard_api.finish_turns(
    workers uuid[], session_keys bytea[], conversation_ids uuid[], turn_nos integer[], attempts integer[],
    states text[], answers text[], models text[], prompt_counts integer[], completion_counts integer[],
    error_codes text[], first_bytes_ms integer[], call_counts integer[])
RETURNS TABLE (item integer, outcome text, has_next boolean, has_webhook boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    decided_at timestamptz;
    written    integer[];
    held       text[]; -- limit keys of those that have caps
    used       bigint[];
    jobs       integer[]; -- items of turns that are jobs
    waiting    bytea[]; -- sessions in which a job may be next
    told       uuid[]; -- conversations whose job's end somebody wants to know
BEGIN
    PERFORM FROM hansard.sessions s WHERE s.session_key = ANY (session_keys) ORDER BY s.session_key FOR UPDATE;
    LOCK TABLE ONLY hansard.sealing IN ROW EXCLUSIVE MODE; -- writing, from before the time is taken until all is committed
    decided_at := clock_timestamp();
    IF 'queued' = ANY (states) THEN
        written := hansard.hand_back(workers, session_keys, conversation_ids, turn_nos, attempts, states, error_codes);
    END IF;

    -- Open, as far as the session knows; the turn's own row has the last word.
    WITH closing AS MATERIALIZED (
        SELECT f.item::integer, f.session_key, f.conversation_id, f.turn_no, f.attempt, f.state,
               salted.salt, hashed.text_hash, s.said_at,
               CASE f.state
                   WHEN 'completed' THEN hansard.chain_hash(s.chain_head, f.conversation_id, f.turn_no, 2::smallint,
                                                            'assistant', s.said_at, hashed.text_hash)
                   ELSE s.chain_head
               END AS new_head
        FROM unnest(workers, session_keys, conversation_ids, turn_nos, attempts, states)
             WITH ORDINALITY AS f (worker, session_key, conversation_id, turn_no, attempt, state, item)
        CROSS JOIN LATERAL (
            -- Later than all that was said before, and than the last seal, whatever the clock says.
            SELECT s.chain_head, greatest(decided_at, s.last_activity + interval '1 microsecond',
                                          (SELECT z.to_at + interval '1 microsecond' FROM hansard.seals z
                                           ORDER BY z.seal_no DESC LIMIT 1)) AS said_at
            FROM hansard.sessions s
            WHERE f.state <> 'queued' AND s.session_key = f.session_key AND s.open_turn = f.turn_no AND s.open_worker = f.worker
              AND s.conversation_id = f.conversation_id
            LIMIT 1
        ) AS s
        CROSS JOIN LATERAL (SELECT uuid_send(gen_random_uuid()) AS salt WHERE f.item > 0) AS salted
        CROSS JOIN LATERAL (SELECT hansard.text_hash(salted.salt, answers[f.item]) AS text_hash OFFSET 0) AS hashed
    ), turned AS (
        UPDATE hansard.turns t
        SET state = c.state::hansard.turn_state, finished_at = decided_at, model = models[c.item],
            first_byte_at = coalesce(t.started_at, t.accepted_at) + first_bytes_ms[c.item] * interval '1 ms',
            model_attempts = call_counts[c.item], prompt_tokens = prompt_counts[c.item],
            completion_tokens = completion_counts[c.item], error_code = error_codes[c.item]
        FROM closing c
        WHERE t.conversation_id = c.conversation_id AND t.turn_no = c.turn_no AND t.attempt = c.attempt
          AND t.state = 'running'
        RETURNING c.*, t.is_job
    ), answered AS (
        INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash,
                                      chain_hash)
        SELECT c.conversation_id, c.turn_no, 2, 'assistant', answers[c.item], c.said_at, c.salt, c.text_hash, c.new_head
        FROM turned c
        WHERE c.state = 'completed'
    ), freed AS (
        UPDATE hansard.sessions s
        SET open_turn = NULL, open_worker = NULL, chain_head = c.new_head, last_activity = c.said_at,
            unanswered = s.unanswered + (c.state <> 'completed')::integer, jobs = s.jobs - c.is_job::integer
        FROM turned c
        WHERE s.session_key = c.session_key
        RETURNING s.session_key, s.jobs
    ), released AS (
        DELETE FROM hansard.holds h
        USING turned c
        WHERE h.conversation_id = c.conversation_id AND h.turn_no = c.turn_no
        -- A model that does not tell costs what was reserved; one that failed without a word, nothing.
        RETURNING h.limit_key, coalesce(prompt_counts[c.item] + completion_counts[c.item]::bigint,
                                        CASE c.state WHEN 'completed' THEN h.tokens ELSE 0 END) AS tokens
    )
    SELECT written || array_agg(c.item), (SELECT array_agg(r.limit_key) FROM released r),
           (SELECT array_agg(r.tokens) FROM released r), array_agg(c.item) FILTER (WHERE c.is_job),
           (SELECT array_agg(f.session_key) FROM freed f WHERE f.jobs > 0)
    INTO written, held, used, jobs, waiting
    FROM turned c;
    IF held IS NOT NULL THEN
        PERFORM hansard.settle_holds(held, used);
    END IF;

    IF jobs IS NOT NULL THEN
        told := hansard.forget_jobs(ARRAY(SELECT conversation_ids[i] FROM unnest(jobs) WITH ORDINALITY AS j (i, n) ORDER BY n),
                                    ARRAY(SELECT turn_nos[i] FROM unnest(jobs) WITH ORDINALITY AS j (i, n) ORDER BY n));
    END IF;
    IF waiting IS NOT NULL THEN
        PERFORM hansard.make_ready(waiting);
    END IF;

    RETURN QUERY SELECT i, 'finished', coalesce(session_keys[i] = ANY (waiting), false),
                        coalesce(conversation_ids[i] = ANY (told), false)
    FROM unnest(written) i;
    IF cardinality(written) = cardinality(workers) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT f.item::integer,
           -- By the code, too: as failed it may have been closed for this worker, which was taken for dead.
           CASE WHEN coalesce(t.worker_id, f.worker) = f.worker AND t.attempt = f.attempt
                     AND t.state = f.state::hansard.turn_state
                     AND (f.state = 'queued' OR t.error_code IS NOT DISTINCT FROM error_codes[f.item]) THEN 'finished'
                WHEN t.state = 'cancelled' THEN 'HS499'
                ELSE 'HS503' END,
           false, false
    FROM unnest(workers, conversation_ids, turn_nos, attempts, states)
         WITH ORDINALITY AS f (worker, conversation_id, turn_no, attempt, state, item)
    LEFT JOIN LATERAL (SELECT t.* FROM hansard.turns t
                       WHERE t.conversation_id = f.conversation_id AND t.turn_no = f.turn_no LIMIT 1) AS t ON true
    WHERE f.item <> ALL (coalesce(written, '{}'));
END
$$;
COMMENT ON FUNCTION hansard_api.finish_turns(uuid[], bytea[], uuid[], integer[], integer[], text[], text[], text[],
                                             integer[], integer[], text[], integer[], integer[]) IS
    'Closes turns: one element of each array is one turn. Arguments: worker, session key, conversation, turn and attempt '
    'as accept_turns or claim_jobs gave them; completed, failed, or queued (a job that is handed back); the answer (completed); '
    'model, tokens (NULL: not known); error code (failed; queued: of a call that failed, which is counted); milliseconds from accept or claim to first byte; calls to the model. '
    'Outcomes: finished (written, now or by an earlier call; has_next: the next job of its conversation may be claimed now; '
    'has_webhook: a message about its end is due), '
    'HS499 (it was cancelled meanwhile), HS503 (it is not this worker''s any more). All but finished write nothing.';
GRANT EXECUTE ON FUNCTION hansard_api.finish_turns(uuid[], bytea[], uuid[], integer[], integer[], text[], text[], text[],
                                                   integer[], integer[], text[], integer[], integer[]) TO hansard_app;

RESET ROLE;
