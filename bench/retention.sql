-- The sessions of a month's conversations, as they rest since their last turns. Variable of psql: month (its first day).

\set ON_ERROR_STOP on
SET synchronous_commit = off;

INSERT INTO hansard.sessions (session_key, user_id, session_id, conversation_id, next_turn, unanswered, chain_head,
                              last_activity)
SELECT c.session_key, c.user_id, c.session_id, c.conversation_id, m.turn_no + 1, 0, m.chain_hash, m.created_at
FROM hansard.conversations c
CROSS JOIN LATERAL (SELECT m.* FROM hansard.messages m WHERE m.conversation_id = c.conversation_id
                    ORDER BY m.turn_no DESC, m.position DESC LIMIT 1) AS m
WHERE c.conversation_id >= hansard.uuid_floor(:'month'::timestamp AT TIME ZONE 'UTC')
  AND c.conversation_id < hansard.uuid_floor((:'month'::timestamp + interval '1 month') AT TIME ZONE 'UTC')
ORDER BY c.conversation_id;
