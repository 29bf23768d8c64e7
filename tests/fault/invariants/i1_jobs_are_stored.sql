-- A question that was acknowledged as a job is stored, under its key and number; as a job, unless it was also asked live.
SELECT p.* FROM promise p
WHERE p.fate IN ('queued', 'cancelled') AND NOT EXISTS (
    SELECT FROM turn t
    WHERE t.session = p.session AND t.idempotency_key = p.key AND t.turn_no = p.turn
      AND t.is_job IS NOT DISTINCT FROM coalesce(p.is_job, t.is_job))
