SELECT t.session, t.idempotency_key FROM turn t GROUP BY 1, 2 HAVING count(*) > 1
