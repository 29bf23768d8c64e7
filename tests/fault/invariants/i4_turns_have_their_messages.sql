-- A turn has one question, and one answer if it is completed, else none.
SELECT t.session, t.turn_no, t.state, string_agg(m.position || m.role::text, ' ' ORDER BY m.position)
FROM turn t LEFT JOIN message m USING (conversation_id, turn_no)
GROUP BY t.session, t.conversation_id, t.turn_no, t.state
HAVING string_agg(m.position || m.role::text, ' ' ORDER BY m.position)
       IS DISTINCT FROM CASE t.state WHEN 'completed' THEN '1user 2assistant' ELSE '1user' END
