SELECT s.session_id, s.open_turn, s.next_turn, s.unanswered, s.jobs, t.turns, t.unanswered AS without_answer
FROM session JOIN hansard.sessions s ON s.session_id = session.session
JOIN (SELECT t.conversation_id, count(*) AS turns, count(*) FILTER (WHERE t.state IN ('failed', 'cancelled')) AS unanswered
      FROM turn t GROUP BY 1) AS t USING (conversation_id)
WHERE s.open_turn IS NOT NULL OR s.open_worker IS NOT NULL OR s.jobs <> 0 OR s.next_turn <> t.turns + 1
   OR s.unanswered <> t.unanswered
