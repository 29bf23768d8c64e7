-- Reading conversations, for whoever may.

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

-- It takes one thing more than in the release before.
DROP FUNCTION IF EXISTS hansard_api.read_conversation(bytea, text, integer, integer, integer);

CREATE OR REPLACE FUNCTION hansard_api.read_conversation(of_key bytea, session text, after_turn integer, most_turns integer,
                                                         most_bytes integer, wanted uuid DEFAULT NULL) RETURNS text
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
    IF wanted IS NULL THEN
        SELECT s.conversation_id INTO found_id FROM hansard.sessions s WHERE s.session_key = of_session;
    ELSE
        SELECT c.conversation_id INTO found_id
        FROM hansard.conversations c
        WHERE c.conversation_id = wanted AND c.session_key = of_session AND c.session_id IS NOT NULL;
    END IF;
    IF found_id IS NULL THEN
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
COMMENT ON FUNCTION hansard_api.read_conversation(bytea, text, integer, integer, integer, uuid) IS
    'One page of a session''s current conversation, or of the one named, as JSON: the turns after a number, at most so '
    'many, of at most so many bytes of text (one turn always fits); next_after is NULL on the last page. HS401: unknown '
    'or revoked key. HS404: no such session of this caller.';
GRANT EXECUTE ON FUNCTION hansard_api.read_conversation(bytea, text, integer, integer, integer, uuid) TO hansard_app;

CREATE OR REPLACE FUNCTION hansard_api.list_conversations(of_key bytea, after_id uuid, most integer) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET random_page_cost = 0 -- what counts is how many rows are looked at: only the owner's, not those that lie together
AS $$
DECLARE
    owner   uuid;
    page    json;
    listed  integer;
    last_id uuid;
BEGIN
    SELECT k.user_id INTO owner FROM hansard.api_keys k WHERE k.key_hash = of_key AND k.revoked_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown or revoked key' USING ERRCODE = 'HS401';
    END IF;
    SELECT json_agg(row_to_json(shown) ORDER BY shown.conversation_id), count(*), max(shown.conversation_id::text)::uuid
    INTO page, listed, last_id
    FROM (
        SELECT c.conversation_id, c.session_id,
               EXISTS (SELECT FROM hansard.sessions s
                       WHERE s.session_key = c.session_key AND s.conversation_id = c.conversation_id) AS current,
               hansard.iso_time(c.created_at) AS created_at, hansard.iso_time(t.accepted_at) AS last_turn_at,
               t.turn_no AS turns
        FROM (
            SELECT c.*
            FROM hansard.conversations c
            WHERE c.user_id = owner AND c.conversation_id > after_id AND c.session_id IS NOT NULL
            ORDER BY c.conversation_id
            LIMIT most
        ) AS c
        -- Turns are 1, 2, 3 …: the newest says how many there are.
        CROSS JOIN LATERAL (SELECT t.turn_no, t.accepted_at FROM hansard.turns t
                            WHERE t.conversation_id = c.conversation_id ORDER BY t.turn_no DESC LIMIT 1) AS t
    ) AS shown;
    RETURN (SELECT row_to_json(answer)
            FROM (SELECT coalesce(page, '[]') AS conversations,
                         CASE WHEN listed = most
                                   AND EXISTS (SELECT FROM hansard.conversations c
                                               WHERE c.user_id = owner AND c.conversation_id > last_id
                                                 AND c.session_id IS NOT NULL)
                              THEN last_id END AS next_after) AS answer);
END
$$;
COMMENT ON FUNCTION hansard_api.list_conversations(bytea, uuid, integer) IS
    'One page of a caller''s conversations, past ones too, oldest first, as JSON: those after an id, so many at most; '
    'next_after is NULL on the last page. Erased ones are not there any more. HS401: unknown or revoked key; who has '
    'none has no list.';
GRANT EXECUTE ON FUNCTION hansard_api.list_conversations(bytea, uuid, integer) TO hansard_app;

-- For operators -----------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION hansard_admin.export_user(user_name text, after_id uuid, after_turn integer, most_turns integer,
                                                     most_bytes integer)
RETURNS TABLE (conversation_id uuid, turn_no integer, line text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET random_page_cost = 0 -- what counts is how many rows are looked at: only the owner's, not those that lie together
AS $$
#variable_conflict use_column
DECLARE
    owner uuid := hansard.find_user(user_name);
BEGIN
    -- Sizes first, so that no more text is read than is given. One turn always fits.
    RETURN QUERY
    SELECT t.conversation_id, t.turn_no, (
        SELECT row_to_json(l)::text
        FROM (SELECT t.conversation_id, sized.session_id, t.turn_no AS turn, t.state AS status, t.error_code AS error,
                     t.idempotency_key, t.request_id, t.address, t.model, t.prompt_tokens, t.completion_tokens,
                     hansard.iso_time(t.accepted_at) AS accepted_at, hansard.iso_time(t.finished_at) AS finished_at,
                     (SELECT json_agg(row_to_json(w) ORDER BY w.position)
                      FROM (SELECT m.position, m.role, m.text AS content, hansard.iso_time(m.created_at) AS created_at
                            FROM hansard.messages m
                            WHERE m.conversation_id = t.conversation_id AND m.turn_no = t.turn_no) AS w) AS messages) AS l)
    FROM (
        SELECT n.conversation_id, n.turn_no, n.session_id, row_number() OVER w AS place,
               sum((SELECT sum(octet_length(m.text)) FROM hansard.messages m
                    WHERE m.conversation_id = n.conversation_id AND m.turn_no = n.turn_no)) OVER w AS bytes
        FROM (
            SELECT t.conversation_id, t.turn_no, c.session_id
            FROM hansard.conversations c
            CROSS JOIN LATERAL (
                SELECT t.conversation_id, t.turn_no FROM hansard.turns t
                WHERE t.conversation_id = c.conversation_id
                  AND t.turn_no > CASE WHEN c.conversation_id = after_id THEN after_turn ELSE 0 END
                ORDER BY t.turn_no
                LIMIT most_turns
            ) AS t
            WHERE c.user_id = owner AND c.conversation_id >= after_id AND c.session_id IS NOT NULL
            ORDER BY c.conversation_id, t.turn_no
            LIMIT most_turns
        ) AS n
        WINDOW w AS (ORDER BY n.conversation_id, n.turn_no)
    ) AS sized
    JOIN hansard.turns t ON t.conversation_id = sized.conversation_id AND t.turn_no = sized.turn_no
    WHERE sized.place = 1 OR coalesce(sized.bytes, 0) <= most_bytes
    ORDER BY t.conversation_id, t.turn_no;
END
$$;
COMMENT ON FUNCTION hansard_admin.export_user(text, uuid, integer, integer, integer) IS
    'One page of everything a user said and was answered, a JSON object for each turn, oldest conversation first: the '
    'turns after that one of that conversation, at most so many, of at most so many bytes of text (one turn always '
    'fits). No row: the end. HS404: no such user.';

RESET ROLE;
