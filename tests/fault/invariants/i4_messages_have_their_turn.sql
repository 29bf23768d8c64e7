SELECT m.session, m.turn_no FROM message m LEFT JOIN turn t USING (conversation_id, turn_no) WHERE t.turn_no IS NULL
