-- A failure that a caller was told of is stored, with its code.
SELECT p.* FROM promise p
WHERE p.fate = 'failed' AND NOT EXISTS (
    SELECT FROM turn t
    WHERE t.session = p.session AND t.idempotency_key = p.key AND t.turn_no = p.turn AND t.state = 'failed'
      AND t.error_code = p.code)
