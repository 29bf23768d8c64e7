-- A turn begins when those before have ended: a live turn when it is accepted, a job when it is claimed for the last time.
SELECT * FROM (
    SELECT t.session, t.turn_no, t.is_job, CASE WHEN t.is_job THEN t.started_at ELSE t.accepted_at END AS began_at,
           max(t.finished_at) OVER (PARTITION BY t.conversation_id ORDER BY t.turn_no
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM turn t) AS x
WHERE x.began_at < x.before
