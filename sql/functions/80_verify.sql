-- What auditors read to check the chains, and the check in SQL. The program's own (`hansard audit verify`) reads the same
-- views and has the bytes put together and hashed by other code.
--
-- The chain's order within a conversation is created_at, turn_no, position.

SET LOCAL ROLE hansard_owner;

CREATE OR REPLACE VIEW hansard_audit.chain_headers AS
SELECT c.conversation_id, c.session_key, c.user_id, c.session_id, c.created_at,
       (SELECT s.chain_head FROM hansard.sessions s
        WHERE s.session_key = c.session_key AND s.conversation_id = c.conversation_id) AS session_head,
       EXISTS (SELECT FROM hansard.erasures e WHERE e.conversation_id = c.conversation_id) AS is_being_erased
FROM hansard.conversations c;
COMMENT ON VIEW hansard_audit.chain_headers IS 'What the first hash of each chain is made of, and its last as the session knows it.';
COMMENT ON COLUMN hansard_audit.chain_headers.conversation_id IS 'Conversation.';
COMMENT ON COLUMN hansard_audit.chain_headers.session_key IS 'SHA-256 of owner and session id.';
COMMENT ON COLUMN hansard_audit.chain_headers.user_id IS 'Owner; NULL: anonymous.';
COMMENT ON COLUMN hansard_audit.chain_headers.session_id IS 'As the caller named it; NULL once erased.';
COMMENT ON COLUMN hansard_audit.chain_headers.created_at IS 'When it began.';
COMMENT ON COLUMN hansard_audit.chain_headers.session_head IS 'Chain hash of its newest message by its session; NULL: it is not the current conversation of one.';
COMMENT ON COLUMN hansard_audit.chain_headers.is_being_erased IS 'It is erased in steps, and words are left.';
GRANT SELECT ON hansard_audit.chain_headers TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.chain_turns AS
SELECT t.conversation_id, t.turn_no, t.state = 'completed' AS is_completed, t.fingerprint = '' AS is_blanked
FROM hansard.turns t;
COMMENT ON VIEW hansard_audit.chain_turns IS 'Turns, for the shape of a chain.';
COMMENT ON COLUMN hansard_audit.chain_turns.conversation_id IS 'Conversation.';
COMMENT ON COLUMN hansard_audit.chain_turns.turn_no IS 'Place in the conversation: 1, 2, 3 … without a gap.';
COMMENT ON COLUMN hansard_audit.chain_turns.is_completed IS 'It has an answer.';
COMMENT ON COLUMN hansard_audit.chain_turns.is_blanked IS
    'Erasure or retention has taken its words: it has no fingerprint. Its messages have neither text nor salt, then.';
GRANT SELECT ON hansard_audit.chain_turns TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.chain AS
SELECT m.conversation_id, m.created_at, m.turn_no, m.position, m.role, m.text, m.salt, m.text_hash, m.chain_hash
FROM hansard.messages m;
COMMENT ON VIEW hansard_audit.chain IS 'Messages with all that their hashes are made of. Order: created_at, turn_no, position.';
COMMENT ON COLUMN hansard_audit.chain.conversation_id IS 'Conversation.';
COMMENT ON COLUMN hansard_audit.chain.created_at IS 'When it was committed.';
COMMENT ON COLUMN hansard_audit.chain.turn_no IS 'Turn.';
COMMENT ON COLUMN hansard_audit.chain.position IS 'Place in the turn: 1 the user''s words, 2 the answer.';
COMMENT ON COLUMN hansard_audit.chain.role IS 'Who speaks.';
COMMENT ON COLUMN hansard_audit.chain.text IS 'The words; NULL once erased.';
COMMENT ON COLUMN hansard_audit.chain.salt IS '16 random bytes; NULL once erased.';
COMMENT ON COLUMN hansard_audit.chain.text_hash IS 'SHA-256 of salt and text.';
COMMENT ON COLUMN hansard_audit.chain.chain_hash IS 'SHA-256 over the hash before it and this row.';
GRANT SELECT ON hansard_audit.chain TO hansard_auditor;

-- The seam to retention: who drops a partition writes an event that names it, in the same transaction. No functions of
-- ours: those of a view run as whoever reads it.
CREATE OR REPLACE VIEW hansard_audit.dropped_months AS
SELECT d.month,
       encode(substring(int8send((extract(epoch FROM d.begins) * 1000)::bigint) FROM 3) || '\x00000000000000000000'::bytea,
              'hex')::uuid AS least_id,
       encode(substring(int8send((extract(epoch FROM d.ends) * 1000)::bigint) FROM 3) || '\x00000000000000000000'::bytea,
              'hex')::uuid AS beyond_id
FROM (SELECT n.month, to_date(n.month, 'YYYYMM')::timestamp AT TIME ZONE 'UTC' AS begins,
             (to_date(n.month, 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' AS ends
      FROM (SELECT DISTINCT e.detail ->> 'month' AS month
            FROM hansard.audit_events e
            WHERE e.kind = 'partition_dropped' AND e.detail ->> 'month' ~ '^2[0-9]{3}(0[1-9]|1[0-2])$') AS n
     ) AS d
WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
                  WHERE s.nspname = 'hansard' AND c.relname = 'messages_' || d.month);
COMMENT ON VIEW hansard_audit.dropped_months IS
    'Months that retention has dropped: their partition of messages is not there, and an audit event partition_dropped '
    'says {"month": "YYYYMM"}.';
COMMENT ON COLUMN hansard_audit.dropped_months.month IS 'YYYYMM.';
COMMENT ON COLUMN hansard_audit.dropped_months.least_id IS 'Conversations from this id on …';
COMMENT ON COLUMN hansard_audit.dropped_months.beyond_id IS '… and before this one were in it.';
GRANT SELECT ON hansard_audit.dropped_months TO hansard_auditor;

CREATE OR REPLACE VIEW hansard_audit.seal_heads AS
SELECT h.conversation_id, h.seal_no, h.messages, h.head,
       EXISTS (SELECT FROM hansard_audit.dropped_months d
               WHERE h.conversation_id >= d.least_id AND h.conversation_id < d.beyond_id) AS is_dropped,
       s.from_at
FROM hansard.seal_heads h
LEFT JOIN hansard.seals s ON s.seal_no = h.seal_no;
COMMENT ON VIEW hansard_audit.seal_heads IS 'Leaves of the seals: what a conversation had come to.';
COMMENT ON COLUMN hansard_audit.seal_heads.conversation_id IS 'Conversation.';
COMMENT ON COLUMN hansard_audit.seal_heads.seal_no IS 'Seal it is a leaf of.';
COMMENT ON COLUMN hansard_audit.seal_heads.messages IS 'Messages it had then.';
COMMENT ON COLUMN hansard_audit.seal_heads.head IS 'Chain hash of the last of them.';
COMMENT ON COLUMN hansard_audit.seal_heads.is_dropped IS 'Retention has dropped its partition.';
COMMENT ON COLUMN hansard_audit.seal_heads.from_at IS 'The seal holds what was said after this moment; NULL: there is no such seal.';
GRANT SELECT ON hansard_audit.seal_heads TO hansard_auditor;

-- Few have no header; only these are looked for elsewhere, one by one: else all messages would be read.
CREATE OR REPLACE VIEW hansard_audit.chain_strays AS
SELECT l.conversation_id
FROM (SELECT s.conversation_id FROM hansard.sessions s
      WHERE NOT EXISTS (SELECT FROM hansard.conversations c WHERE c.conversation_id = s.conversation_id)
      OFFSET 0) AS l
CROSS JOIN LATERAL (
    SELECT count(*) AS rows
    FROM (SELECT FROM (SELECT FROM hansard.messages m WHERE m.conversation_id = l.conversation_id LIMIT 1) AS m
          UNION ALL
          SELECT FROM (SELECT FROM hansard.turns t WHERE t.conversation_id = l.conversation_id LIMIT 1) AS t
          UNION ALL
          SELECT FROM (SELECT FROM hansard.seal_heads h WHERE h.conversation_id = l.conversation_id LIMIT 1) AS h) AS u
) AS left_over
WHERE left_over.rows = 0
  AND NOT EXISTS (SELECT FROM hansard_audit.dropped_months d
                  WHERE l.conversation_id >= d.least_id AND l.conversation_id < d.beyond_id);
COMMENT ON VIEW hansard_audit.chain_strays IS 'Conversations of which nothing is left but that a session speaks of them. None, if nobody has taken one away.';
COMMENT ON COLUMN hansard_audit.chain_strays.conversation_id IS 'Conversation.';
GRANT SELECT ON hansard_audit.chain_strays TO hansard_auditor;

CREATE OR REPLACE FUNCTION hansard_audit.verify(conversation_id uuid)
RETURNS TABLE (status text, turn_no integer, "position" smallint, problem text,
               turns bigint, messages bigint, erased bigint, seals bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    wanted ALIAS FOR conversation_id;
    is_there boolean;
    dropped  boolean;
    claimed  boolean;
    part     text := 'messages_' || hansard.uuid_month(conversation_id);
BEGIN
    is_there := EXISTS (SELECT FROM hansard.conversations c WHERE c.conversation_id = wanted)
             OR EXISTS (SELECT FROM hansard.turns t WHERE t.conversation_id = wanted)
             OR EXISTS (SELECT FROM hansard.messages m WHERE m.conversation_id = wanted);
    IF NOT is_there THEN
        dropped := EXISTS (SELECT FROM hansard_audit.dropped_months d WHERE wanted >= d.least_id AND wanted < d.beyond_id);
        claimed := EXISTS (SELECT FROM hansard.seal_heads h WHERE h.conversation_id = wanted)
                OR EXISTS (SELECT FROM hansard.sessions s WHERE s.conversation_id = wanted);
        -- Of the catalog a snapshot sees what was; of a table's partitions everybody sees what is.
        IF claimed AND NOT dropped AND to_regclass(format('hansard.%I', part)) IS NULL
           AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'hansard'::regnamespace AND c.relname = part) THEN
            RAISE EXCEPTION 'a month was dropped since this snapshot was taken: ask again, in a new transaction'
                USING ERRCODE = 'serialization_failure';
        END IF;
        RETURN QUERY SELECT CASE WHEN dropped THEN 'gone' WHEN claimed THEN 'broken' ELSE 'unknown' END,
                            NULL::integer, NULL::smallint,
                            CASE WHEN NOT dropped THEN 'conversation missing' END, 0::bigint, 0::bigint, 0::bigint,
                            (SELECT count(*) FROM hansard.seal_heads h WHERE h.conversation_id = wanted);
        RETURN;
    END IF;

    RETURN QUERY
    WITH header AS MATERIALIZED (
        SELECT c.*, s.chain_head, EXISTS (SELECT FROM hansard.erasures e WHERE e.conversation_id = wanted) AS is_being_erased
        FROM hansard.conversations c
        LEFT JOIN hansard.sessions s ON s.session_key = c.session_key AND s.conversation_id = c.conversation_id
        WHERE c.conversation_id = wanted
    ), turned AS MATERIALIZED (
        SELECT t.turn_no, t.state, t.fingerprint = '' AS is_blanked,
               lag(t.turn_no, 1, 0) OVER (ORDER BY t.turn_no) + 1 AS expected
        FROM hansard.turns t WHERE t.conversation_id = wanted
    ), said AS MATERIALIZED (
        SELECT m.turn_no, m.position, m.role, m.created_at, m.text_hash, m.chain_hash,
               m.text IS NULL AND m.salt IS NULL AS is_erased,
               hansard.text_hash(m.salt, m.text) = m.text_hash AND octet_length(m.salt) = 16 AS fits,
               row_number() OVER w AS n, lag(m.chain_hash) OVER w AS before
        FROM hansard.messages m WHERE m.conversation_id = wanted
        WINDOW w AS (ORDER BY m.created_at, m.turn_no, m.position)
    ), sealed AS MATERIALIZED (
        SELECT e.seal_no, e.messages, e.head, z.from_at,
               lag(e.messages, 1, 0) OVER (ORDER BY e.messages, e.seal_no) AS before
        FROM hansard.seal_heads e LEFT JOIN hansard.seals z ON z.seal_no = e.seal_no
        WHERE e.conversation_id = wanted
    ), problems (class, n, turn_no, "position", problem) AS (
        SELECT 1, 0::bigint, NULL::integer, NULL::smallint, 'header missing'
        WHERE NOT EXISTS (SELECT FROM header)
        UNION ALL
        SELECT 1, 0, NULL, NULL, 'owner or session id changed'
        FROM header h
        WHERE h.session_id IS NOT NULL AND hansard.session_key(h.user_id, h.session_id) <> h.session_key
        UNION ALL
        -- The shape, which says most when a row was taken away.
        SELECT 2, f.turn_no, f.turn_no, f.position, f.problem
        FROM (SELECT expected AS turn_no, NULL::smallint AS position, 'turn missing' AS problem
              FROM turned WHERE turn_no <> expected
              UNION ALL
              SELECT 1, NULL, 'turn missing' WHERE NOT EXISTS (SELECT FROM turned)
              UNION ALL
              SELECT t.turn_no, 1::smallint, 'question missing' FROM turned t
              WHERE NOT EXISTS (SELECT FROM said s WHERE s.turn_no = t.turn_no AND s.position = 1)
              UNION ALL
              SELECT t.turn_no, 2::smallint, 'answer missing' FROM turned t
              WHERE t.state = 'completed' AND NOT EXISTS (SELECT FROM said s WHERE s.turn_no = t.turn_no AND s.position = 2)
             ) AS f
        UNION ALL
        SELECT 3, r.n, r.turn_no, r.position, r.problem
        FROM (SELECT s.n, s.turn_no, s.position,
                     CASE WHEN NOT s.is_erased AND s.fits IS NOT TRUE THEN 'words changed'
                          WHEN s.is_erased AND t.is_blanked IS NOT TRUE
                              THEN 'words taken away, but not by erasing the conversation'
                          WHEN NOT s.is_erased AND h.conversation_id IS NOT NULL AND h.session_id IS NULL AND NOT h.is_being_erased
                              THEN 'session id taken away, but not by erasing the conversation'
                          WHEN NOT s.is_erased AND t.is_blanked THEN 'words left in a turn that was blanked'
                          WHEN NOT isfinite(s.created_at) OR (s.n = 1 AND NOT isfinite(h.created_at)) THEN 'chain broken'
                          WHEN hansard.chain_hash(
                                   CASE WHEN s.n > 1 THEN s.before
                                        ELSE hansard.chain_start(wanted, h.session_key, h.created_at) END,
                                   wanted, s.turn_no, s.position, s.role::text, s.created_at, s.text_hash) <> s.chain_hash
                              THEN 'chain broken'
                          WHEN t.turn_no IS NULL THEN 'turn missing'
                          WHEN (s.position, s.role) NOT IN ((1, 'user'), (2, 'assistant')) THEN 'role out of place'
                     END AS problem
              FROM said s LEFT JOIN header h ON true LEFT JOIN turned t ON t.turn_no = s.turn_no) AS r
        WHERE r.problem IS NOT NULL
        UNION ALL
        SELECT 4, 0, NULL, NULL, 'newest message missing'
        FROM header h
        WHERE h.chain_head IS NOT NULL
          AND h.chain_head IS DISTINCT FROM (SELECT s.chain_hash FROM said s ORDER BY s.n DESC LIMIT 1)
        UNION ALL
        SELECT 5, e.seal_no, s.turn_no, s.position, format('not what seal %s holds', e.seal_no)
        FROM sealed e
        LEFT JOIN said s ON s.n = e.messages
        WHERE e.head IS DISTINCT FROM s.chain_hash
        UNION ALL
        -- The first message that a seal holds and the one before it does not, and the first that none holds.
        SELECT 6, s.n, s.turn_no, s.position, format('said before seal %s, but not in it', e.no_before)
        FROM (SELECT e.before + 1 AS n, e.seal_no - 1 AS no_before, e.from_at AS until_at FROM sealed e
              WHERE e.seal_no > 1
              UNION ALL
              SELECT (SELECT coalesce(max(e.messages), 0) FROM sealed e) + 1, z.seal_no, z.to_at
              FROM (SELECT z.seal_no, z.to_at FROM hansard.seals z ORDER BY z.seal_no DESC LIMIT 1) AS z) AS e
        JOIN said s ON s.n = e.n
        WHERE s.created_at <= e.until_at
    ), counts AS (
        SELECT (SELECT count(*) FROM turned) AS turns, count(*) AS messages, count(*) FILTER (WHERE s.is_erased) AS erased,
               (SELECT count(*) FROM sealed) AS seals
        FROM said s
    )
    SELECT CASE WHEN p.problem IS NULL THEN 'ok' ELSE 'broken' END, p.turn_no, p.position, p.problem,
           c.turns, c.messages, c.erased, c.seals
    FROM counts c LEFT JOIN problems p ON true
    ORDER BY p.class, p.n, p.position NULLS FIRST;
END
$$;
COMMENT ON FUNCTION hansard_audit.verify(uuid) IS
    'Checks a conversation: words against their hashes, the chain from header to head, the shape of turns, what seals hold, '
    'and that they hold all that says it is older. One row "ok" with counts (erased: messages whose words erasure or retention '
    'has taken; the hashes of these are checked all the same), or '
    'what is wrong, a row each, first the one that tells most: "broken". "gone": retention has dropped it. "unknown": nothing speaks '
    'of such a conversation.';
GRANT EXECUTE ON FUNCTION hansard_audit.verify(uuid) TO hansard_auditor;

RESET ROLE;
