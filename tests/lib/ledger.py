"""Ledger: what callers asked and were told, and whether the database holds it: invariants in SQL that give no row."""

import collections
import dataclasses
import threading

from psycopg2.extras import NamedTupleCursor, execute_values

# What became of a question, as far as its caller knows.
OPEN, ANSWERED, FAILED = "open", "answered", "failed"
SHOWN_ROWS = 5

_BEGIN = """
CREATE TEMP TABLE promise (session text, key text, words text, fate text, turn integer, reply text,
                           PRIMARY KEY (session, key));
CREATE TEMP TABLE session AS SELECT DISTINCT ''::text AS session LIMIT 0;
CREATE TEMP VIEW conversation AS
    SELECT c.session_id AS session, c.* FROM hansard.conversations c JOIN session ON session.session = c.session_id;
CREATE TEMP VIEW turn AS
    SELECT c.session, t.* FROM hansard.turns t JOIN conversation c USING (conversation_id);
CREATE TEMP VIEW message AS
    SELECT c.session, m.* FROM hansard.messages m JOIN conversation c USING (conversation_id);
"""
_FILLED = "INSERT INTO session SELECT DISTINCT session FROM promise; ANALYZE promise; ANALYZE session"

INVARIANTS = {
    "I1: an answer that a caller got is stored, under its key and number": """
        SELECT p.* FROM promise p WHERE p.fate = 'answered' AND NOT EXISTS (
            SELECT FROM turn t JOIN message m USING (conversation_id, turn_no)
            WHERE t.session = p.session AND t.idempotency_key = p.key AND t.turn_no = p.turn AND t.state = 'completed'
              AND m.position = 2 AND m.text = p.reply)""",
    "a failure that a caller was told of is stored": """
        SELECT p.* FROM promise p WHERE p.fate = 'failed' AND NOT EXISTS (
            SELECT FROM turn t WHERE t.session = p.session AND t.idempotency_key = p.key AND t.turn_no = p.turn
                                 AND t.state = 'failed' AND t.error_code = 'worker_lost')""",
    "I2: one key is one turn": """
        SELECT t.session, t.idempotency_key FROM turn t GROUP BY 1, 2 HAVING count(*) > 1""",
    "every turn is a question that was asked, in its words": """
        SELECT t.session, t.turn_no, m.text, p.words
        FROM turn t
        LEFT JOIN message m ON m.conversation_id = t.conversation_id AND m.turn_no = t.turn_no AND m.position = 1
        LEFT JOIN promise p ON p.session = t.session AND p.key = t.idempotency_key
        WHERE m.text IS DISTINCT FROM p.words OR p.words IS NULL""",
    "a session is one conversation": """
        SELECT c.session FROM conversation c GROUP BY 1 HAVING count(*) > 1""",
    "I3: turns are numbered from 1 without a gap": """
        SELECT t.session, min(t.turn_no), max(t.turn_no), count(*) FROM turn t GROUP BY t.session, t.conversation_id
        HAVING min(t.turn_no) <> 1 OR max(t.turn_no) <> count(*)""",
    "I3: a turn begins when the one before has ended": """
        SELECT * FROM (SELECT t.session, t.turn_no, t.accepted_at,
                              lag(t.finished_at) OVER (PARTITION BY t.conversation_id ORDER BY t.turn_no) AS before
                       FROM turn t) AS x
        WHERE x.accepted_at < x.before""",
    "I4: a turn has one question, and one answer if it is completed, else none": """
        SELECT t.session, t.turn_no, t.state, string_agg(m.position || m.role::text, ' ' ORDER BY m.position)
        FROM turn t LEFT JOIN message m USING (conversation_id, turn_no)
        GROUP BY t.session, t.conversation_id, t.turn_no, t.state
        HAVING string_agg(m.position || m.role::text, ' ' ORDER BY m.position)
               IS DISTINCT FROM CASE t.state WHEN 'completed' THEN '1user 2assistant' ELSE '1user' END""",
    "I4: a message belongs to a turn": """
        SELECT m.session, m.turn_no FROM message m LEFT JOIN turn t USING (conversation_id, turn_no)
        WHERE t.turn_no IS NULL""",
    "I4: no turn is left running": """
        SELECT t.session, t.turn_no, t.state, t.worker_id FROM turn t WHERE t.state NOT IN ('completed', 'failed')""",
    "a session's row says what its turns say": """
        SELECT s.session_id, s.open_turn, s.next_turn, s.unanswered, t.turns, t.failed
        FROM session JOIN hansard.sessions s ON s.session_id = session.session
        JOIN (SELECT t.conversation_id, count(*) AS turns, count(*) FILTER (WHERE t.state = 'failed') AS failed
              FROM turn t GROUP BY 1) AS t USING (conversation_id)
        WHERE s.open_turn IS NOT NULL OR s.open_worker IS NOT NULL OR s.next_turn <> t.turns + 1
           OR s.unanswered <> t.failed""",
    "I6: every chain hash follows from the one before": """
        SELECT * FROM (
            SELECT m.session, m.turn_no, m.position, m.chain_hash AS kept, hansard.chain_hash(
                       lag(m.chain_hash, 1, hansard.chain_start(m.conversation_id, c.session_key, c.created_at))
                           OVER (PARTITION BY m.conversation_id ORDER BY m.turn_no, m.position),
                       m.conversation_id, m.turn_no, m.position, m.role::text, m.created_at,
                       hansard.text_hash(m.salt, m.text)) AS computed
            FROM message m JOIN conversation c USING (conversation_id)) AS x
        WHERE x.kept <> x.computed""",
    "I6: the head of the chain is its last hash": """
        SELECT s.session_id FROM session JOIN hansard.sessions s ON s.session_id = session.session
        WHERE s.chain_head <> (SELECT m.chain_hash FROM message m WHERE m.conversation_id = s.conversation_id
                               ORDER BY m.turn_no DESC, m.position DESC LIMIT 1)""",
    # demo-llm says how many messages it was shown: the newest answered turns, 40 messages at most, and the question.
    "the model saw the turns before, and nothing else": """
        SELECT t.session, t.turn_no, m.text, t.answered_before
        FROM (SELECT t.*, count(*) FILTER (WHERE t.state = 'completed')
                              OVER (PARTITION BY t.conversation_id ORDER BY t.turn_no) - 1 AS answered_before
              FROM turn t) AS t
        JOIN message m USING (conversation_id, turn_no)
        WHERE m.position = 2
          AND m.text NOT LIKE 'echo ' || 1 + 2 * least(t.answered_before, 20) || ': %'""",
}


@dataclasses.dataclass
class Promise:
    session: str
    key: str
    words: str
    fate: str = OPEN
    turn: int = None
    reply: str = None


class Ledger:
    def __init__(self):
        self._lock = threading.Lock()
        self._promises = []
        self.strange = []  # what no caller should ever be told, or not be told at all

    def ask(self, session, key, words):
        """Written down before the question is sent."""
        promise = Promise(session, key, words)
        with self._lock:
            self._promises.append(promise)
        return promise

    def answered(self, promise, answer):
        promise.fate, promise.turn, promise.reply = ANSWERED, answer.turn, answer.text

    def failed(self, promise, answer):
        promise.fate, promise.turn = FAILED, answer.json["turn"]

    def found_strange(self, promise, what):
        with self._lock:
            self.strange.append((promise, what))

    def counts(self):
        """Promises by fate."""
        with self._lock:
            return collections.Counter(promise.fate for promise in self._promises)

    def running(self, stack):
        """Turns of these sessions that are not closed."""
        with self._lock:
            sessions = list({promise.session for promise in self._promises})
        return stack.value(
            "SELECT count(*) FROM hansard.turns t JOIN hansard.conversations c USING (conversation_id) "
            "WHERE c.session_id = ANY (%s) AND t.state NOT IN ('completed', 'failed')",
            sessions,
        )

    def violations(self, stack):
        """{invariant: rows that break it}; when nobody asks any more."""
        connection = stack.connect()
        try:
            with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
                cursor.execute(_BEGIN)
                rows = [dataclasses.astuple(promise) for promise in self._promises]
                execute_values(cursor, "INSERT INTO promise VALUES %s", rows, page_size=1000)
                cursor.execute(_FILLED)
                found = {}
                for invariant, query in INVARIANTS.items():
                    cursor.execute(query)
                    if cursor.rowcount:
                        found[invariant] = (cursor.rowcount, cursor.fetchmany(SHOWN_ROWS))
                return found
        finally:
            connection.close()

    def check(self, stack):
        found = self.violations(stack)
        if self.strange:
            found["nobody is told what is not in the book"] = (len(self.strange), self.strange[:SHOWN_ROWS])
        assert not found, found
