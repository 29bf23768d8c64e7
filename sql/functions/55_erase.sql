-- Forgetting: takes words out of the record, and whatever else a caller has said or is known by. Rows, times and hashes
-- stay, so the chain can be checked as before.
--
-- An erasure closes its conversations at once: nobody finds them any more, and nothing can be added. Then words go, so many
-- turns in a step, each step a transaction. hansard.erasures knows what is left; whoever asked makes the steps, and when he
-- has made none for a while, a worker does.

SET LOCAL ROLE hansard_owner;

DROP FUNCTION IF EXISTS hansard.blank_turns(uuid[], timestamptz[]);

CREATE OR REPLACE FUNCTION hansard.blank_turns(of_conversation uuid, before timestamptz, after_turn integer, most integer)
RETURNS integer[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    due      integer[] := ARRAY(SELECT t.turn_no FROM hansard.turns t
                                WHERE t.conversation_id = of_conversation AND t.turn_no > blank_turns.after_turn
                                  AND t.finished_at < before AND t.fingerprint <> ''
                                ORDER BY t.turn_no LIMIT most + 1);
    is_all   boolean := cardinality(due) <= most;
    gone     integer[];
    jobs     text[]; -- those of them that are
    messages integer;
BEGIN
    -- The fingerprint is a hash without salt: it would tell whether certain words were asked. The key is the caller's own
    -- text; what is put in its place no caller can choose, since keys are ASCII.
    WITH blanked AS (
        UPDATE hansard.turns t
        SET address = NULL, fingerprint = '', idempotency_key = 'erased·' || t.turn_no
        FROM unnest(due[:most]) AS d (turn_no)
        WHERE t.conversation_id = of_conversation AND t.turn_no = d.turn_no AND t.fingerprint <> ''
        RETURNING t.turn_no, t.is_job
    )
    SELECT array_agg(b.turn_no), array_agg(of_conversation || '-' || b.turn_no) FILTER (WHERE b.is_job)
    INTO gone, jobs
    FROM blanked b;
    UPDATE hansard.messages m
    SET text = NULL, salt = NULL
    FROM unnest(gone) AS g (turn_no)
    WHERE m.conversation_id = of_conversation AND m.turn_no = g.turn_no AND m.salt IS NOT NULL;
    GET DIAGNOSTICS messages = ROW_COUNT;
    IF jobs IS NOT NULL THEN
        UPDATE hansard.audit_events e
        SET detail = e.detail - 'host'
        WHERE e.kind = 'webhook_given_up' AND e.detail ? 'host' AND (e.detail ->> 'job_id') COLLATE "C" = ANY (jobs);
    END IF;
    RETURN ARRAY[coalesce(cardinality(gone), 0), messages, CASE WHEN NOT is_all THEN due[most] END];
END
$$;
COMMENT ON FUNCTION hansard.blank_turns(uuid, timestamptz, integer, integer) IS
    'Takes texts, salts, addresses, fingerprints and idempotency keys out of turns of a conversation that ended before a '
    'time, and the hosts of their webhooks out of events: of the turns after a number, so many at most. How many turns, how '
    'many messages, and the turn to go on after; NULL: there are no more.';

DROP FUNCTION IF EXISTS hansard.erase_conversations(bytea[], uuid[]);

CREATE OR REPLACE FUNCTION hansard.close_conversations(session_keys bytea[], ids uuid[], of_request uuid, asked_by text,
                                                       OUT cancelled integer, OUT runners uuid[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    closed_at timestamptz := clock_timestamp();
    open_ids  uuid[]; -- of each turn that was open, its conversation
    held      text[]; -- limit keys of open turns that have caps
    used      bigint[];
BEGIN
    DELETE FROM hansard.sessions s WHERE s.session_key = ANY (session_keys) AND s.conversation_id = ANY (ids);
    UPDATE hansard.conversations c SET session_id = NULL WHERE c.conversation_id = ANY (ids);
    WITH closed AS (
        UPDATE hansard.turns t
        SET state = 'cancelled', error_code = 'turn_cancelled', finished_at = closed_at
        WHERE t.conversation_id = ANY (ids) AND t.state IN ('queued', 'running')
        RETURNING t.conversation_id
    )
    SELECT coalesce(array_agg(c.conversation_id), '{}') INTO open_ids FROM closed c;
    cancelled := cardinality(open_ids);
    -- Its model goes on and tells nobody, so it costs what was reserved: who erases spends no less than who waits. A job that
    -- is queued costs nothing.
    WITH released AS (
        DELETE FROM hansard.holds h
        WHERE h.conversation_id = ANY (ids)
        RETURNING h.limit_key,
                  CASE WHEN hansard.is_alive(coalesce((SELECT j.worker_id FROM hansard.jobs j
                                                       WHERE j.conversation_id = h.conversation_id AND j.turn_no = h.turn_no),
                                                      h.worker_id), closed_at)
                       THEN h.tokens ELSE 0 END AS tokens
    )
    SELECT array_agg(r.limit_key), array_agg(r.tokens) INTO held, used FROM released r;
    IF held IS NOT NULL THEN
        PERFORM hansard.settle_holds(held, used);
    END IF;
    runners := ARRAY(SELECT DISTINCT j.worker_id FROM hansard.jobs j WHERE j.conversation_id = ANY (ids) AND j.worker_id IS NOT NULL);
    DELETE FROM hansard.jobs j WHERE j.conversation_id = ANY (ids);
    DELETE FROM hansard.webhooks w WHERE w.conversation_id = ANY (ids);
    INSERT INTO hansard.erasures (conversation_id, session_key, user_id, request_id, asked_by, cancelled, step_at)
    SELECT c.conversation_id, c.session_key, c.user_id, of_request, close_conversations.asked_by,
           (SELECT count(*) FROM unnest(open_ids) AS o (id) WHERE o.id = c.conversation_id), closed_at
    FROM hansard.conversations c WHERE c.conversation_id = ANY (ids);
END
$$;
COMMENT ON FUNCTION hansard.close_conversations(bytea[], uuid[], uuid, text) IS
    'Takes conversations away from those who may read them: deletes the sessions whose current conversation it was, cancels '
    'turns that are open, and leaves the words to hansard.erase_step. How many turns, and which workers run a job of theirs. '
    'The caller has locked the sessions.';

CREATE OR REPLACE FUNCTION hansard.erase_step(session_keys bytea[], wanted uuid[], most integer, of_request uuid, asked_by text,
                                              OUT conversations integer, OUT turns integer, OUT messages integer,
                                              OUT cancelled integer, OUT total jsonb)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_variable
DECLARE
    ids      uuid[]; -- closed here, or blanked
    runners  uuid[]; -- workers that run a job of theirs
    part     hansard.erasures;
    blanked  integer[];
    noted_at timestamptz;
BEGIN
    conversations := 0;
    turns := 0;
    messages := 0;
    cancelled := 0;
    IF wanted IS DISTINCT FROM '{}' THEN
        PERFORM FROM hansard.sessions s WHERE s.session_key = ANY (session_keys) ORDER BY s.session_key FOR UPDATE;
        -- In a statement of its own, which sees what was begun or erased while we waited.
        ids := ARRAY(SELECT c.conversation_id FROM hansard.conversations c
                     WHERE c.session_key = ANY (session_keys) AND c.session_id IS NOT NULL
                       AND (wanted IS NULL OR c.conversation_id = ANY (wanted)));
        conversations := cardinality(ids);
    END IF;
    IF conversations > 0 THEN
        SELECT c.cancelled, c.runners INTO cancelled, runners
        FROM hansard.close_conversations(session_keys, ids, of_request, asked_by) c;
    END IF;
    FOR part IN
        SELECT e.* FROM hansard.erasures e
        WHERE e.session_key = ANY (session_keys) AND NOT e.is_blank
        ORDER BY e.conversation_id LIMIT most FOR UPDATE
    LOOP
        EXIT WHEN turns >= most;
        blanked := hansard.blank_turns(part.conversation_id, 'infinity', part.after_turn, most - turns);
        turns := turns + blanked[1];
        messages := messages + blanked[2];
        ids := ids || part.conversation_id;
        UPDATE hansard.erasures e
        SET turns = e.turns + blanked[1], messages = e.messages + blanked[2], after_turn = coalesce(blanked[3], e.after_turn),
            is_blank = blanked[3] IS NULL, step_at = clock_timestamp()
        WHERE e.conversation_id = part.conversation_id;
    END LOOP;
    IF part.conversation_id IS NULL THEN
        RETURN;
    END IF;
    noted_at := clock_timestamp();
    INSERT INTO hansard.audit_events (event_id, happened_at, kind, user_id, request_id, detail)
    SELECT hansard.uuid_v7(noted_at), noted_at, 'conversation_erased', part.user_id, part.request_id,
           jsonb_strip_nulls(jsonb_build_object(
               'conversations', conversations, 'turns', turns, 'messages', messages, 'cancelled', cancelled, 'by', part.asked_by,
               'conversation_ids', ARRAY(SELECT DISTINCT i.id FROM unnest(ids) AS i (id) ORDER BY i.id)))
    WHERE conversations > 0 OR turns > 0;
    WITH whole AS (
        DELETE FROM hansard.erasures e
        -- Session by session: a session may have thousands of rows.
        WHERE e.session_key = ANY (ARRAY(SELECT k.key FROM unnest(session_keys) AS k (key)
                                         WHERE NOT EXISTS (SELECT FROM hansard.erasures o
                                                           WHERE o.session_key = k.key AND NOT o.is_blank)))
        RETURNING e.turns, e.messages, e.cancelled
    )
    SELECT jsonb_build_object('conversations', count(*), 'turns', sum(w.turns), 'messages', sum(w.messages),
                              'cancelled', sum(w.cancelled))
    INTO total
    FROM whole w HAVING count(*) > 0;
    IF runners IS NOT NULL THEN
        -- Last, and for a moment: their heartbeats want these rows.
        PERFORM FROM hansard.workers w WHERE w.worker_id = ANY (runners) ORDER BY w.worker_id FOR UPDATE;
        UPDATE hansard.workers w SET cancels = w.cancels + 1 WHERE w.worker_id = ANY (runners);
    END IF;
END
$$;
COMMENT ON FUNCTION hansard.erase_step(bytea[], uuid[], integer, uuid, text) IS
    'A step of the erasure of conversations of these sessions: those named, or all of them (NULL), or none but those that are '
    'being erased already ({}). Locks the sessions, closes what is still open, blanks about so many turns, and notes it. How '
    'many rows of each kind in this step, conversations where they were closed; total: over all steps, once nothing is left. '
    'All 0: there was nothing to erase.';

CREATE OR REPLACE FUNCTION hansard.erasure_step_turns() RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 1000;
COMMENT ON FUNCTION hansard.erasure_step_turns() IS 'Turns that workers blank in a step: a lane is theirs that long.';

-- It takes one thing more than in the release before.
DROP FUNCTION IF EXISTS hansard_api.erase_conversation(bytea, text, text);

CREATE OR REPLACE FUNCTION hansard_api.erase_conversation(of_key bytea, session text, request text, in_steps boolean DEFAULT false)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    step record;
BEGIN
    LOOP
        SELECT * INTO step
        FROM hansard.erase_step(ARRAY[hansard.session_key_of(of_key, session)], NULL, hansard.erasure_step_turns(), request::uuid,
                                NULL);
        EXIT WHEN in_steps OR step.total IS NOT NULL OR step.conversations = 0 AND step.turns = 0;
    END LOOP;
    IF step.conversations = 0 AND step.turns = 0 AND step.total IS NULL THEN
        RAISE EXCEPTION 'no such session' USING ERRCODE = 'HS404';
    END IF;
    RETURN (SELECT row_to_json(answer)
            FROM (SELECT session AS session_id, step.total AS erased) AS answer
            WHERE step.total IS NOT NULL);
END
$$;
COMMENT ON FUNCTION hansard_api.erase_conversation(bytea, text, text, boolean) IS
    'Takes the words of all conversations of a session out of the record. How many rows of each kind, as JSON. in_steps: a step '
    'of it, to be called until it says that; NULL: words are left, which nobody but auditors can read any more. HS401: unknown '
    'or revoked key. HS404: no such session of this caller.';
GRANT EXECUTE ON FUNCTION hansard_api.erase_conversation(bytea, text, text, boolean) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.go_on_erasing(of_session bytea) RETURNS bytea
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    next_key bytea := of_session;
    step     record;
BEGIN
    IF next_key IS NULL THEN
        SELECT e.session_key INTO next_key
        FROM hansard.erasures e
        GROUP BY e.session_key
        HAVING max(e.step_at) < clock_timestamp() - interval '30 seconds'
        ORDER BY max(e.step_at)
        LIMIT 1;
    END IF;
    IF next_key IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT * INTO step FROM hansard.erase_step(ARRAY[next_key], '{}', hansard.erasure_step_turns(), NULL, NULL);
    RETURN CASE WHEN step.turns > 0 AND step.total IS NULL THEN next_key END;
END
$$;
COMMENT ON FUNCTION hansard_api.go_on_erasing(bytea) IS
    'A step of an erasure that somebody has left half-way: of the session that the last call gave, or (NULL) of one that has '
    'been left for 30 seconds. The session to go on with; NULL: none, look again later.';
GRANT EXECUTE ON FUNCTION hansard_api.go_on_erasing(bytea) TO hansard_app;

-- For operators -----------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION hansard.find_user(wanted text) RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_id uuid;
BEGIN
    SELECT u.user_id INTO found_id FROM hansard.users u WHERE u.name = wanted;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no user "%"', wanted USING ERRCODE = 'HS404';
    END IF;
    RETURN found_id;
END
$$;
COMMENT ON FUNCTION hansard.find_user(text) IS 'Id of the user of this name. HS404: there is none.';

CREATE OR REPLACE FUNCTION hansard.erase_some(of_user uuid, of_session bytea, most integer)
RETURNS TABLE (conversations integer, turns integer, messages integer, cancelled integer, is_done boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    ids  uuid[] := '{}';
    keys bytea[] := ARRAY(SELECT DISTINCT e.session_key FROM hansard.erasures e
                          WHERE e.session_key = of_session OR (of_session IS NULL AND e.user_id = of_user));
    step record;
BEGIN
    IF keys = '{}' THEN
        -- Oldest first, so many turns together: a conversation's turns are 1, 2, 3 …
        SELECT array_agg(f.conversation_id), array_agg(DISTINCT f.session_key)
        INTO ids, keys
        FROM (
            SELECT c.conversation_id, c.session_key, row_number() OVER w AS place, sum(n.turns) OVER w AS turns
            FROM (
                SELECT c.conversation_id, c.session_key
                FROM hansard.conversations c
                WHERE c.session_id IS NOT NULL AND (c.session_key = of_session OR (of_session IS NULL AND c.user_id = of_user))
                ORDER BY c.conversation_id
                LIMIT most
            ) AS c
            CROSS JOIN LATERAL (SELECT coalesce(max(t.turn_no), 0) AS turns FROM hansard.turns t
                                WHERE t.conversation_id = c.conversation_id) AS n
            WINDOW w AS (ORDER BY c.conversation_id)
        ) AS f
        WHERE f.place = 1 OR f.turns <= most;
    END IF;
    SELECT * INTO step FROM hansard.erase_step(keys, coalesce(ids, '{}'), most, NULL, session_user);
    RETURN QUERY
    SELECT step.conversations, step.turns, step.messages, step.cancelled,
           NOT EXISTS (SELECT FROM hansard.conversations c
                       WHERE c.session_id IS NOT NULL
                         AND (c.session_key = of_session OR (of_session IS NULL AND c.user_id = of_user)))
           AND NOT EXISTS (SELECT FROM hansard.erasures e
                           WHERE e.session_key = of_session OR (of_session IS NULL AND e.user_id = of_user));
END
$$;
COMMENT ON FUNCTION hansard.erase_some(uuid, bytea, integer) IS
    'Erases the oldest conversations of a session, or of all sessions of a user (NULL), about so many turns of them. How many '
    'rows of each kind, and whether nothing is left.';

CREATE OR REPLACE FUNCTION hansard_admin.erase_session(user_name text, session text, most integer)
RETURNS TABLE (conversations integer, turns integer, messages integer, cancelled integer, is_done boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    owner      uuid := CASE WHEN user_name IS NOT NULL THEN hansard.find_user(user_name) END;
    of_session bytea := hansard.session_key(owner, session);
BEGIN
    RETURN QUERY SELECT * FROM hansard.erase_some(owner, of_session, most) e WHERE e.conversations > 0 OR e.turns > 0;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no session "%" of %', session,
            CASE WHEN user_name IS NULL THEN 'a caller without a key' ELSE format('user "%s"', user_name) END
            USING ERRCODE = 'HS404';
    END IF;
END
$$;
COMMENT ON FUNCTION hansard_admin.erase_session(text, text, integer) IS
    'Erases a session of a user (NULL: of callers without a key), about so many turns a call; to be called until it is '
    'done. HS404: no such user, or nothing of that session to erase.';

CREATE OR REPLACE FUNCTION hansard_admin.erase_user(user_name text, with_account boolean, most integer)
RETURNS TABLE (conversations integer, turns integer, messages integer, cancelled integer, is_done boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    owner   uuid := hansard.find_user(user_name);
    revoked text;
    step    record;
BEGIN
    -- Keys first, in a transaction of its own: nothing new is said by a user who is to be forgotten.
    IF with_account THEN
        FOR revoked IN
            SELECT hansard.key_id(k.key_hash) FROM hansard.api_keys k WHERE k.user_id = owner AND k.revoked_at IS NULL
        LOOP
            PERFORM hansard_admin.revoke_key(revoked);
        END LOOP;
        IF FOUND THEN
            RETURN QUERY SELECT 0, 0, 0, 0, false;
            RETURN;
        END IF;
    END IF;
    SELECT * INTO step FROM hansard.erase_some(owner, NULL, most);
    -- Who was let in before may still be on the way to his session; not for longer than a worker's statement may take.
    step.is_done := step.is_done AND NOT (with_account AND EXISTS (
        SELECT FROM hansard.api_keys k
        WHERE k.user_id = owner AND k.revoked_at > clock_timestamp() - interval '6 seconds'));
    IF step.is_done THEN
        -- The name last, so that an erasure that was interrupted can be begun again by it.
        UPDATE hansard.users u SET name = 'erased-' || u.user_id WHERE u.user_id = owner AND with_account;
        PERFORM hansard.note_event('user_erased', owner, jsonb_build_object(
            'conversations', (SELECT count(*) FROM hansard.conversations c WHERE c.user_id = owner),
            'account', with_account, 'by', session_user));
    END IF;
    RETURN QUERY SELECT step.conversations, step.turns, step.messages, step.cancelled, step.is_done;
END
$$;
COMMENT ON FUNCTION hansard_admin.erase_user(text, boolean, integer) IS
    'Erases all sessions of a user, about so many turns a call; to be called until it is done. With his account: his '
    'keys are revoked at first, and in the end, 6 seconds later at the earliest, his name is replaced by "erased-" and '
    'his id. HS404: no such user.';

RESET ROLE;
