SELECT t.session, t.turn_no, t.state, t.worker_id FROM turn t WHERE t.state NOT IN ('completed', 'failed')
