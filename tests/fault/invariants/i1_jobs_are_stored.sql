-- A question that was acknowledged as a job is stored, under its key and id; as a job, unless it was also asked live.
SELECT p.* FROM promise p
WHERE p.job_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM turn t
    WHERE t.session = p.session AND t.idempotency_key = p.key AND t.turn_no = p.turn
      AND t.conversation_id || '-' || t.turn_no = p.job_id AND t.is_job = coalesce(p.is_job, t.is_job))
