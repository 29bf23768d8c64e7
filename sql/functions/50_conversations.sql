-- Reading and erasing a conversation, for whoever may.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE FUNCTION hansard.owner_of(of_key bytea) RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner uuid;
BEGIN
    IF of_key IS NOT NULL THEN
        SELECT k.user_id INTO owner FROM hansard.api_keys k WHERE k.key_hash = of_key AND k.revoked_at IS NULL;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'unknown or revoked key' USING ERRCODE = 'HS401';
        END IF;
    END IF;
    RETURN owner;
END
$$;
COMMENT ON FUNCTION hansard.owner_of(bytea) IS 'User with this API key''s hash; NULL: anonymous. HS401: no such key.';

CREATE OR REPLACE FUNCTION hansard.session_key_of(of_key bytea, session_id text) RETURNS bytea
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT hansard.session_key(hansard.owner_of(of_key), session_id) $$;
COMMENT ON FUNCTION hansard.session_key_of(bytea, text) IS
    'Key of a session of the caller with this API key''s hash (NULL: anonymous). HS401: no such key.';

CREATE OR REPLACE FUNCTION hansard.iso_time(at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
COMMENT ON FUNCTION hansard.iso_time(timestamptz) IS 'RFC 3339 in UTC with milliseconds, whatever the settings.';

CREATE OR REPLACE FUNCTION hansard_api.read_conversation(of_key bytea, session text, after_turn integer, most_turns integer,
                                                         most_bytes integer) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    of_session bytea := hansard.session_key_of(of_key, session);
    found_id   uuid;
    page       json;
    last_turn  integer;
    has_more   boolean;
BEGIN
    SELECT s.conversation_id INTO found_id FROM hansard.sessions s WHERE s.session_key = of_session;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such session' USING ERRCODE = 'HS404';
    END IF;
    -- Sizes first, so that no more text is read than is shown. One turn always fits.
    SELECT json_agg(row_to_json(shown) ORDER BY shown.turn), max(shown.turn)
    INTO page, last_turn
    FROM (
        SELECT t.turn_no AS turn, t.state AS status, t.error_code AS error, t.model,
               hansard.iso_time(t.accepted_at) AS accepted_at, hansard.iso_time(t.finished_at) AS finished_at,
               (SELECT row_to_json(u)
                FROM (SELECT t.prompt_tokens, t.completion_tokens,
                             t.prompt_tokens::bigint + t.completion_tokens AS total_tokens) AS u
                WHERE u.total_tokens IS NOT NULL) AS usage,
               (SELECT json_agg(row_to_json(w) ORDER BY w.position)
                FROM (SELECT m.position, m.role, m.text AS content
                      FROM hansard.messages m
                      WHERE m.conversation_id = found_id AND m.turn_no = t.turn_no) AS w) AS messages
        FROM (
            SELECT n.turn_no, row_number() OVER w AS place,
                   sum((SELECT sum(octet_length(m.text)) FROM hansard.messages m
                        WHERE m.conversation_id = found_id AND m.turn_no = n.turn_no)) OVER w AS bytes
            FROM (SELECT t.turn_no
                  FROM hansard.turns t
                  WHERE t.conversation_id = found_id AND t.turn_no > after_turn
                  ORDER BY t.turn_no
                  LIMIT most_turns) AS n
            WINDOW w AS (ORDER BY n.turn_no)
        ) AS sized
        JOIN hansard.turns t ON t.conversation_id = found_id AND t.turn_no = sized.turn_no
        WHERE sized.place = 1 OR sized.bytes <= most_bytes
    ) AS shown;

    has_more := EXISTS (SELECT FROM hansard.turns t WHERE t.conversation_id = found_id AND t.turn_no > last_turn);
    RETURN (SELECT row_to_json(answer)
            FROM (SELECT session AS session_id, found_id AS conversation_id, coalesce(page, '[]') AS turns,
                         CASE WHEN has_more THEN last_turn END AS next_after) AS answer);
END
$$;
COMMENT ON FUNCTION hansard_api.read_conversation(bytea, text, integer, integer, integer) IS
    'One page of a session''s current conversation as JSON: the turns after a number, at most so many, of at most so many '
    'bytes of text (one turn always fits); next_after is NULL on the last page. HS401: unknown or revoked key. '
    'HS404: no such session of this caller.';
GRANT EXECUTE ON FUNCTION hansard_api.read_conversation(bytea, text, integer, integer, integer) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.erase_conversation(of_key bytea, session text, request text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    of_session bytea := hansard.session_key_of(of_key, session);
    owner      uuid;
    ids        uuid[];
    erased_at  timestamptz;
    open_turns integer;
    turns      integer;
    messages   integer;
    counts     jsonb;
    held       text[]; -- limit keys of open turns that have caps
    used       bigint[];
BEGIN
    PERFORM FROM hansard.sessions s WHERE s.session_key = of_session FOR UPDATE;
    SELECT array_agg(c.conversation_id ORDER BY c.conversation_id), min(c.user_id::text)::uuid
    INTO ids, owner
    FROM hansard.conversations c
    WHERE c.session_key = of_session AND c.session_id IS NOT NULL;
    IF ids IS NULL THEN
        RAISE EXCEPTION 'no such session' USING ERRCODE = 'HS404';
    END IF;
    erased_at := clock_timestamp();

    DELETE FROM hansard.sessions s WHERE s.session_key = of_session;
    UPDATE hansard.conversations c SET session_id = NULL WHERE c.conversation_id = ANY (ids);
    UPDATE hansard.turns t
    SET state = 'cancelled', error_code = 'turn_cancelled', finished_at = erased_at
    WHERE t.conversation_id = ANY (ids) AND t.state IN ('queued', 'running');
    GET DIAGNOSTICS open_turns = ROW_COUNT;
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
    UPDATE hansard.workers w
    SET cancels = w.cancels + 1
    WHERE w.worker_id = (SELECT j.worker_id FROM hansard.jobs j WHERE j.conversation_id = ANY (ids) AND j.worker_id IS NOT NULL);
    DELETE FROM hansard.jobs j WHERE j.conversation_id = ANY (ids);
    DELETE FROM hansard.webhooks w WHERE w.conversation_id = ANY (ids);
    -- The fingerprint is a hash without salt: it would tell whether certain words were asked.
    UPDATE hansard.turns t SET address = NULL, fingerprint = '' WHERE t.conversation_id = ANY (ids);
    GET DIAGNOSTICS turns = ROW_COUNT;
    UPDATE hansard.messages m SET text = NULL, salt = NULL WHERE m.conversation_id = ANY (ids) AND m.salt IS NOT NULL;
    GET DIAGNOSTICS messages = ROW_COUNT;

    counts := jsonb_build_object('conversations', cardinality(ids), 'turns', turns, 'messages', messages,
                                 'cancelled', open_turns);
    INSERT INTO hansard.audit_events (event_id, happened_at, kind, user_id, request_id, detail)
    VALUES (hansard.uuid_v7(erased_at), erased_at, 'conversation_erased', owner, request::uuid,
            counts || jsonb_build_object('conversation_ids', ids));
    RETURN (SELECT row_to_json(answer) FROM (SELECT session AS session_id, counts AS erased) AS answer);
END
$$;
COMMENT ON FUNCTION hansard_api.erase_conversation(bytea, text, text) IS
    'Takes the words, salts, fingerprints and addresses of all conversations of a session out of the record; rows and hashes stay. A turn '
    'that is open is cancelled. Says how many rows of each kind, as JSON. HS401: unknown or revoked key. HS404: no such '
    'session of this caller.';
GRANT EXECUTE ON FUNCTION hansard_api.erase_conversation(bytea, text, text) TO hansard_app;

RESET ROLE;
