-- Every hash of the chain is that of its message and of the one before, in the order in which they were said.
SELECT * FROM (
    SELECT m.session, m.turn_no, m.position, m.chain_hash AS kept, hansard.chain_hash(
               lag(m.chain_hash, 1, hansard.chain_start(m.conversation_id, c.session_key, c.created_at))
                   OVER (PARTITION BY m.conversation_id ORDER BY m.created_at, m.turn_no, m.position),
               m.conversation_id, m.turn_no, m.position, m.role::text, m.created_at,
               hansard.text_hash(m.salt, m.text)) AS computed
    FROM message m JOIN conversation c USING (conversation_id)) AS x
WHERE x.kept <> x.computed
