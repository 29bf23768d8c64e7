-- An answer that a caller got is stored, under its key and number.
SELECT p.* FROM promise p
WHERE p.fate = 'answered' AND NOT EXISTS (
    SELECT FROM turn t JOIN message m USING (conversation_id, turn_no)
    WHERE t.session = p.session AND t.idempotency_key = p.key AND t.turn_no = p.turn AND t.state = 'completed'
      AND m.position = 2 AND m.text = p.reply)
