"""Record: what the database holds of a session, read past the service."""

_TURNS = """
SELECT t.*, t.conversation_id::text AS conversation, c.user_id::text AS owner,
       (SELECT array_agg(m.text ORDER BY m.position) FROM hansard.messages m
        WHERE m.conversation_id = t.conversation_id AND m.turn_no = t.turn_no) AS said
FROM hansard.turns t
JOIN hansard.conversations c USING (conversation_id)
WHERE c.session_id = %s
ORDER BY t.conversation_id, t.turn_no
"""
_COUNTS = """
SELECT (SELECT count(*) FROM hansard.conversations) AS conversations, (SELECT count(*) FROM hansard.turns) AS turns,
       (SELECT count(*) FROM hansard.messages) AS messages, (SELECT count(*) FROM hansard.sessions) AS sessions
"""


class Record:
    def __init__(self, stack):
        self._stack = stack

    def turns(self, session):
        """Rows of hansard.turns, oldest first; also conversation, owner and what was said, in order."""
        return self._stack.sql(_TURNS, session)

    def states(self, session):
        return [row.state for row in self.turns(session)]

    def is_running(self, session):
        """Is the newest turn of the session being answered?"""
        return self.states(session)[-1:] == ["running"]

    def messages(self, session):
        """(role, text) of every message, oldest first."""
        return [
            pair
            for row in self.turns(session)
            for pair in zip(("user", "assistant"), row.said, strict=False)  # a failed turn has no answer
        ]

    def let_rest(self, session, interval):
        """As if nothing had been said in the session for so much longer."""
        self._stack.sql(
            "UPDATE hansard.sessions SET last_activity = last_activity - %s::interval WHERE session_id = %s",
            interval,
            session,
        )

    def counts(self):
        """Rows of conversations, turns, messages and sessions."""
        return self._stack.sql(_COUNTS)
