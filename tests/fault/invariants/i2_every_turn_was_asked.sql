-- Every turn is a question that somebody asked, in his words.
SELECT t.session, t.turn_no, m.text, p.words
FROM turn t
LEFT JOIN message m ON m.conversation_id = t.conversation_id AND m.turn_no = t.turn_no AND m.position = 1
LEFT JOIN promise p ON p.session = t.session AND p.key = t.idempotency_key
WHERE m.text IS DISTINCT FROM p.words OR p.words IS NULL
