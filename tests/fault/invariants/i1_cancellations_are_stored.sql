SELECT p.* FROM promise p
WHERE p.fate = 'cancelled' AND NOT EXISTS (
    SELECT FROM turn t
    WHERE t.session = p.session AND t.idempotency_key = p.key AND t.turn_no = p.turn AND t.state = 'cancelled')
