SELECT s.session_id FROM session JOIN hansard.sessions s ON s.session_id = session.session
WHERE s.chain_head <> (SELECT m.chain_hash FROM message m WHERE m.conversation_id = s.conversation_id
                       ORDER BY m.created_at DESC, m.turn_no DESC, m.position DESC LIMIT 1)
