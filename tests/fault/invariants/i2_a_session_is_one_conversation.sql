SELECT c.session FROM conversation c GROUP BY 1 HAVING count(*) > 1
