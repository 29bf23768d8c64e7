-- What was queued has ended: nothing waits in the queue, or is on its way.
SELECT c.session, j.* FROM hansard.jobs j JOIN conversation c USING (conversation_id)
