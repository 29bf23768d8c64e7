SELECT t.session, t.turn_no, t.is_job, t.state, t.worker_id FROM turn t
WHERE t.state NOT IN ('completed', 'failed', 'cancelled')
