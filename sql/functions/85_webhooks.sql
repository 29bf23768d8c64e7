-- Webhooks: messages about jobs that have ended, delivered at least once.
--
-- A row is due, or taken: then next_at lies ahead by the lease, and its worker has to end it by then. Nobody waits for a
-- taken row, and a worker that dies needs no burial: the row becomes due by itself. The number of the attempt fences what
-- comes late.
--
-- Rows are looked up by next_at or by the whole key, whatever size the tables had when a plan was made: hence the settings.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.webhook_attempts() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 8;
COMMENT ON FUNCTION hansard.webhook_attempts() IS 'So often a message is sent before it is given up.';

CREATE OR REPLACE FUNCTION hansard.queue_webhook(conversation uuid, turn integer, url text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    ended_at timestamptz := clock_timestamp();
BEGIN
    INSERT INTO hansard.webhooks (conversation_id, turn_no, url, attempts, next_at, created_at)
    VALUES (conversation, turn, queue_webhook.url, 0, ended_at, ended_at);
END
$$;
COMMENT ON FUNCTION hansard.queue_webhook(uuid, integer, text) IS
    'A job has ended and somebody wants to be told: called once, within the transaction that ends it. Due at once.';

CREATE OR REPLACE FUNCTION hansard.webhook_payload(conversation uuid, turn integer) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    RETURN (
        SELECT row_to_json(event)
        FROM hansard.turns t
        CROSS JOIN LATERAL (SELECT c.session_id FROM hansard.conversations c
                            WHERE c.conversation_id = t.conversation_id AND c.session_id IS NOT NULL
                            LIMIT 1) AS c
        CROSS JOIN LATERAL (
            SELECT t.conversation_id || '-' || t.turn_no AS job_id, c.session_id, t.turn_no AS turn, t.state AS status,
                   (SELECT m.text FROM hansard.messages m
                    WHERE m.conversation_id = t.conversation_id AND m.turn_no = t.turn_no AND m.position = 2) AS response,
                   t.model,
                   (SELECT row_to_json(u)
                    FROM (SELECT t.prompt_tokens, t.completion_tokens,
                                 t.prompt_tokens::bigint + t.completion_tokens AS total_tokens) AS u
                    WHERE u.total_tokens IS NOT NULL) AS usage,
                   t.error_code AS error
        ) AS data
        CROSS JOIN LATERAL (
            SELECT 'job.' || t.state::text AS type, hansard.iso_time(t.finished_at) AS "timestamp", row_to_json(data) AS data
        ) AS event
        WHERE t.conversation_id = webhook_payload.conversation AND t.turn_no = webhook_payload.turn AND t.finished_at IS NOT NULL
        LIMIT 1
    );
END
$$;
COMMENT ON FUNCTION hansard.webhook_payload(uuid, integer) IS
    'What is sent about a job that has ended, as JSON. NULL: its conversation was erased, or there is no such turn.';

CREATE OR REPLACE FUNCTION hansard.note_webhook_given_up(conversation uuid, turn integer, url text, attempts integer)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    noted_at timestamptz := clock_timestamp();
BEGIN
    INSERT INTO hansard.audit_events (event_id, happened_at, kind, user_id, detail)
    SELECT hansard.uuid_v7(noted_at), noted_at, 'webhook_given_up',
           (SELECT c.user_id FROM hansard.conversations c WHERE c.conversation_id = conversation),
           jsonb_build_object('job_id', conversation || '-' || turn, 'attempts', note_webhook_given_up.attempts,
                              'host', substring(note_webhook_given_up.url FROM '(?i)^https://([^/?#]+)'));
END
$$;
COMMENT ON FUNCTION hansard.note_webhook_given_up(uuid, integer, text, integer) IS
    'A message will not be sent any more, though it was never delivered. Of the URL only the host is noted: the rest may '
    'hold a secret of its owner.';

CREATE OR REPLACE FUNCTION hansard_api.claim_webhooks(worker uuid, most integer) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    claimed_at timestamptz := clock_timestamp();
    due        hansard.webhooks;
    payload    text;
    claims     json[] := '{}';
BEGIN
    IF NOT hansard.is_alive(worker, claimed_at) THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'HS503';
    END IF;
    FOR due IN
        SELECT w.* FROM hansard.webhooks w
        WHERE w.next_at <= claimed_at
        ORDER BY w.next_at
        LIMIT least(most, 64)
        FOR UPDATE SKIP LOCKED
    LOOP
        payload := hansard.webhook_payload(due.conversation_id, due.turn_no);
        IF payload IS NULL THEN
            DELETE FROM hansard.webhooks w WHERE w.conversation_id = due.conversation_id AND w.turn_no = due.turn_no;
        ELSIF due.attempts >= hansard.webhook_attempts() THEN
            -- Whoever had it last has told nobody what became of it.
            DELETE FROM hansard.webhooks w WHERE w.conversation_id = due.conversation_id AND w.turn_no = due.turn_no;
            PERFORM hansard.note_webhook_given_up(due.conversation_id, due.turn_no, due.url, due.attempts);
        ELSE
            UPDATE hansard.webhooks w
            SET attempts = w.attempts + 1, next_at = claimed_at + interval '60 seconds'
            WHERE w.conversation_id = due.conversation_id AND w.turn_no = due.turn_no;
            claims := claims || (SELECT row_to_json(claim)
                                 FROM (SELECT due.conversation_id AS conversation, due.turn_no AS turn, due.url,
                                              due.attempts + 1 AS attempts, payload) AS claim);
        END IF;
    END LOOP;
    RETURN (SELECT row_to_json(claimed) FROM (SELECT array_to_json(claims) AS claims) AS claimed);
END
$$;
COMMENT ON FUNCTION hansard_api.claim_webhooks(uuid, integer) IS
    'Takes messages that are due, at most so many, for 60 seconds: by then each has to be ended, or somebody else may send it. '
    'JSON: claims, each with conversation, turn, url, attempts and payload, a text of JSON. What was erased meanwhile is '
    'dropped, and what nobody has ended after hansard.webhook_attempts() is given up. HS503: this worker is not registered.';
GRANT EXECUTE ON FUNCTION hansard_api.claim_webhooks(uuid, integer) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.end_webhook(conversation uuid, turn integer, attempts integer, is_delivered boolean,
                                                   retry_ms bigint) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    ended_at timestamptz := clock_timestamp();
    sent_to  text;
BEGIN
    IF NOT is_delivered AND retry_ms IS NOT NULL AND end_webhook.attempts < hansard.webhook_attempts() THEN
        UPDATE hansard.webhooks w
        SET next_at = ended_at + retry_ms * interval '1 ms'
        WHERE w.conversation_id = conversation AND w.turn_no = turn AND w.attempts = end_webhook.attempts;
        RETURN CASE WHEN FOUND THEN 'retried' END;
    END IF;
    DELETE FROM hansard.webhooks w
    WHERE w.conversation_id = conversation AND w.turn_no = turn AND w.attempts = end_webhook.attempts
    RETURNING w.url INTO sent_to;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF is_delivered THEN
        RETURN 'delivered';
    END IF;
    PERFORM hansard.note_webhook_given_up(conversation, turn, sent_to, end_webhook.attempts);
    RETURN 'given_up';
END
$$;
COMMENT ON FUNCTION hansard_api.end_webhook(uuid, integer, integer, boolean, bigint) IS
    'What became of a message that was claimed, by the number of the attempt: delivered, or to be sent again in so many '
    'milliseconds (NULL: never). Says delivered, retried or given_up (also after hansard.webhook_attempts()); NULL: this '
    'attempt''s time was over and the message is somebody else''s by now, or it has been ended or erased.';
GRANT EXECUTE ON FUNCTION hansard_api.end_webhook(uuid, integer, integer, boolean, bigint) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.give_back_webhook(conversation uuid, turn integer, attempts integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    given_at timestamptz := clock_timestamp();
BEGIN
    UPDATE hansard.webhooks w
    SET attempts = w.attempts - 1, next_at = given_at + interval '500 ms'
    WHERE w.conversation_id = conversation AND w.turn_no = turn AND w.attempts = give_back_webhook.attempts;
END
$$;
COMMENT ON FUNCTION hansard_api.give_back_webhook(uuid, integer, integer) IS
    'A message that was claimed, by the number of the attempt, was not sent to its end: for no fault of its receiver''s, so that '
    'was no attempt, and somebody else may send it at once.';
GRANT EXECUTE ON FUNCTION hansard_api.give_back_webhook(uuid, integer, integer) TO hansard_app;

RESET ROLE;
