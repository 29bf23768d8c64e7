-- Forgetting: takes words out of the record, and whatever else a caller has said or is known by. Rows, times and hashes
-- stay, so the chain can be checked as before.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.blank_turns(ids uuid[], before timestamptz[]) RETURNS integer[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    gone_ids uuid[];
    gone_nos integer[];
    messages integer;
BEGIN
    -- The fingerprint is a hash without salt: it would tell whether certain words were asked. The key is the caller's own
    -- text; what is put in its place no caller can choose, since keys are ASCII.
    WITH gone AS (
        UPDATE hansard.turns t
        SET address = NULL, fingerprint = '', idempotency_key = 'erased·' || t.turn_no
        FROM unnest(ids, before) AS w (conversation_id, before)
        WHERE t.conversation_id = w.conversation_id AND t.finished_at < w.before AND t.fingerprint <> ''
        RETURNING t.conversation_id, t.turn_no
    )
    SELECT array_agg(g.conversation_id), array_agg(g.turn_no) INTO gone_ids, gone_nos FROM gone g;
    UPDATE hansard.messages m
    SET text = NULL, salt = NULL
    FROM unnest(gone_ids, gone_nos) AS g (conversation_id, turn_no)
    WHERE m.conversation_id = g.conversation_id AND m.turn_no = g.turn_no AND m.salt IS NOT NULL;
    GET DIAGNOSTICS messages = ROW_COUNT;
    RETURN ARRAY[coalesce(cardinality(gone_ids), 0), messages];
END
$$;
COMMENT ON FUNCTION hansard.blank_turns(uuid[], timestamptz[]) IS
    'Takes texts, salts, addresses, fingerprints and idempotency keys out of the turns of these conversations that ended '
    'before the time given for each. How many turns, and how many messages. The caller has locked their sessions.';

CREATE OR REPLACE FUNCTION hansard.erase_conversations(session_keys bytea[], wanted uuid[]) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    ids       uuid[];
    erased_at timestamptz;
    cancelled integer;
    blanked   integer[];
    runners   uuid[]; -- workers that run a job of theirs
    held      text[]; -- limit keys of open turns that have caps
    used      bigint[];
BEGIN
    PERFORM FROM hansard.sessions s WHERE s.session_key = ANY (session_keys) ORDER BY s.session_key FOR UPDATE;
    erased_at := clock_timestamp();
    -- In a statement of its own, which sees what was begun or erased while we waited.
    SELECT array_agg(c.conversation_id ORDER BY c.conversation_id)
    INTO ids
    FROM hansard.conversations c
    WHERE c.session_key = ANY (session_keys) AND c.session_id IS NOT NULL
      AND (wanted IS NULL OR c.conversation_id = ANY (wanted));
    IF ids IS NULL THEN
        RETURN NULL;
    END IF;

    DELETE FROM hansard.sessions s WHERE s.session_key = ANY (session_keys) AND s.conversation_id = ANY (ids);
    UPDATE hansard.conversations c SET session_id = NULL WHERE c.conversation_id = ANY (ids);
    UPDATE hansard.turns t
    SET state = 'cancelled', error_code = 'turn_cancelled', finished_at = erased_at
    WHERE t.conversation_id = ANY (ids) AND t.state IN ('queued', 'running');
    GET DIAGNOSTICS cancelled = ROW_COUNT;
    -- Its model goes on and tells nobody, so it costs what was reserved: who erases spends no less than who waits. A job that
    -- is queued costs nothing.
    WITH released AS (
        DELETE FROM hansard.holds h
        WHERE h.conversation_id = ANY (ids)
        RETURNING h.limit_key,
                  CASE WHEN hansard.is_alive(coalesce((SELECT j.worker_id FROM hansard.jobs j
                                                       WHERE j.conversation_id = h.conversation_id AND j.turn_no = h.turn_no),
                                                      h.worker_id), erased_at)
                       THEN h.tokens ELSE 0 END AS tokens
    )
    SELECT array_agg(r.limit_key), array_agg(r.tokens) INTO held, used FROM released r;
    IF held IS NOT NULL THEN
        PERFORM hansard.settle_holds(held, used);
    END IF;
    runners := ARRAY(SELECT DISTINCT j.worker_id FROM hansard.jobs j WHERE j.conversation_id = ANY (ids) AND j.worker_id IS NOT NULL);
    DELETE FROM hansard.jobs j WHERE j.conversation_id = ANY (ids);
    DELETE FROM hansard.webhooks w WHERE w.conversation_id = ANY (ids);
    blanked := hansard.blank_turns(ids, array_fill('infinity'::timestamptz, ARRAY[cardinality(ids)]));
    -- Last, and for a moment: their heartbeats want these rows.
    PERFORM FROM hansard.workers w WHERE w.worker_id = ANY (runners) ORDER BY w.worker_id FOR UPDATE;
    UPDATE hansard.workers w SET cancels = w.cancels + 1 WHERE w.worker_id = ANY (runners);
    RETURN jsonb_build_object('conversations', cardinality(ids), 'turns', blanked[1], 'messages', blanked[2],
                              'cancelled', cancelled, 'conversation_ids', ids);
END
$$;
COMMENT ON FUNCTION hansard.erase_conversations(bytea[], uuid[]) IS
    'Erases conversations of these sessions: those named, or all of them (NULL). Locks the sessions, cancels turns that '
    'are open, deletes the sessions whose current conversation it was, blanks turns and messages. How many rows of each '
    'kind, and which conversations; NULL: there was nothing to erase. Whoever calls it notes the event.';

CREATE OR REPLACE FUNCTION hansard_api.erase_conversation(of_key bytea, session text, request text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    erased   jsonb := hansard.erase_conversations(ARRAY[hansard.session_key_of(of_key, session)], NULL);
    noted_at timestamptz := clock_timestamp();
BEGIN
    IF erased IS NULL THEN
        RAISE EXCEPTION 'no such session' USING ERRCODE = 'HS404';
    END IF;
    INSERT INTO hansard.audit_events (event_id, happened_at, kind, user_id, request_id, detail)
    SELECT hansard.uuid_v7(noted_at), noted_at, 'conversation_erased', c.user_id, request::uuid, erased
    FROM hansard.conversations c
    WHERE c.conversation_id = (erased -> 'conversation_ids' ->> 0)::uuid;
    RETURN (SELECT row_to_json(answer)
            FROM (SELECT session AS session_id, erased - 'conversation_ids' AS erased) AS answer);
END
$$;
COMMENT ON FUNCTION hansard_api.erase_conversation(bytea, text, text) IS
    'Takes the words of all conversations of a session out of the record: hansard.erase_conversations. Says how many '
    'rows of each kind, as JSON. HS401: unknown or revoked key. HS404: no such session of this caller.';
GRANT EXECUTE ON FUNCTION hansard_api.erase_conversation(bytea, text, text) TO hansard_app;

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
    ids    uuid[];
    keys   bytea[];
    erased jsonb;
BEGIN
    -- Oldest first, so many turns together: a conversation's turns are 1, 2, 3 …; one conversation always fits.
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
    erased := hansard.erase_conversations(keys, ids);
    IF erased IS NOT NULL THEN
        PERFORM hansard.note_event('conversation_erased', of_user, erased || jsonb_build_object('by', session_user));
    END IF;
    RETURN QUERY
    SELECT coalesce((erased ->> 'conversations')::integer, 0), coalesce((erased ->> 'turns')::integer, 0),
           coalesce((erased ->> 'messages')::integer, 0), coalesce((erased ->> 'cancelled')::integer, 0),
           NOT EXISTS (SELECT FROM hansard.conversations c
                       WHERE c.session_id IS NOT NULL
                         AND (c.session_key = of_session OR (of_session IS NULL AND c.user_id = of_user)));
END
$$;
COMMENT ON FUNCTION hansard.erase_some(uuid, bytea, integer) IS
    'Erases the oldest conversations of a session, or of all sessions of a user (NULL), of about so many turns together, '
    'and notes it. How many rows of each kind, and whether nothing is left.';

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
    RETURN QUERY SELECT * FROM hansard.erase_some(owner, of_session, most) e WHERE e.conversations > 0;
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
