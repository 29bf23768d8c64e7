-- Who was answered was claimed; only three deaths end a job; and nothing was tried for ever.
SELECT t.session, t.turn_no, t.is_job, t.state, t.error_code, t.attempt, t.model_attempts
FROM turn t LEFT JOIN fleet f ON true
WHERE t.attempt > f.attempts_most
   OR t.attempt < 1 AND t.state <> 'cancelled'
   OR t.is_job AND t.error_code = 'worker_lost' AND t.attempt < 3
