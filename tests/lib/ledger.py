"""Ledger: what callers asked and were told, and whether the database holds it: tests/fault/invariants, a file each, which
have to give no row.

They read, beside the database: promise, what the ledger holds; conversation, turn, message: rows of hansard's tables that
belong to sessions of the ledger, with session, the session's id; fleet: the cap of the fleet and what was seen of it.
"""

import collections
import dataclasses
import threading
import time

from psycopg2.extras import NamedTupleCursor, execute_values

from lib.program import ROOT

# What became of a question, as far as its caller knows.
OPEN, QUEUED, ANSWERED, FAILED, CANCELLED = "open", "queued", "answered", "failed", "cancelled"
SHOWN_ROWS = 5
INVARIANTS = {file.stem: file.read_text() for file in sorted((ROOT / "tests/fault/invariants").glob("*.sql"))}

_BEGIN = """
CREATE TEMP TABLE promise (session text, key text, words text, asked_at float8, fate text, turn integer, told_at float8,
                           reply text, code text, is_job boolean, job_id text, PRIMARY KEY (session, key));
CREATE TEMP TABLE fleet (cap integer, high_water integer, attempts_most integer, deaths_most integer);
CREATE TEMP TABLE session AS SELECT DISTINCT ''::text AS session LIMIT 0;
CREATE TEMP VIEW conversation AS
    SELECT c.session_id AS session, c.* FROM hansard.conversations c JOIN session ON session.session = c.session_id;
CREATE TEMP VIEW turn AS
    SELECT c.session, t.* FROM hansard.turns t JOIN conversation c USING (conversation_id);
CREATE TEMP VIEW message AS
    SELECT c.session, m.* FROM hansard.messages m JOIN conversation c USING (conversation_id);
"""
_FILLED = "INSERT INTO session SELECT DISTINCT session FROM promise; ANALYZE promise; ANALYZE session"


@dataclasses.dataclass
class Promise:
    session: str
    key: str
    words: str
    asked_at: float
    fate: str = OPEN
    turn: int = None
    told_at: float = None  # when the number of the turn was known
    reply: str = None
    code: str = None  # of the failure
    is_job: bool = False  # None: it was asked live first, and then as a job
    job_id: str = None

    def told(self, fate, turn):
        self.fate, self.turn = fate, turn
        self.told_at = self.told_at or time.monotonic()


@dataclasses.dataclass(frozen=True)
class Fleet:
    cap: int
    high_water: int  # calls that the model had at once
    attempts_most: int  # that anything may take
    deaths_most: int  # that a job in the queue was seen to have


class Ledger:
    def __init__(self):
        self._lock = threading.Lock()
        self._promises = []
        self.strange = []  # what no caller should ever be told, or not be told at all

    def ask(self, session, key, words):
        """Written down before the question is sent."""
        promise = Promise(session, key, words, time.monotonic())
        with self._lock:
            self._promises.append(promise)
        return promise

    def answered(self, promise, answer):
        promise.reply = answer.text
        promise.told(ANSWERED, answer.turn)

    def failed(self, promise, answer):
        promise.code = answer.json["code"]
        promise.told(FAILED, answer.json["turn"])

    def queued(self, promise, answer):
        promise.job_id = answer.json["job_id"]
        promise.told(QUEUED, answer.json["turn"])

    def ended(self, promise, job):
        """job: what a caller was told of it, when it has ended."""
        fate = {"completed": ANSWERED, "failed": FAILED, "cancelled": CANCELLED}[job["status"]]
        promise.reply = job["response"]
        promise.code = job["error"] and job["error"]["code"]
        promise.told(fate, job["turn"])

    def found_strange(self, promise, what):
        with self._lock:
            self.strange.append((promise, what))

    def counts(self):
        """Promises by fate."""
        with self._lock:
            return collections.Counter(promise.fate for promise in self._promises)

    def jobs_answered(self):
        with self._lock:
            return sum(promise.fate == ANSWERED and promise.job_id is not None for promise in self._promises)

    def promises(self):
        """In the order in which they were asked."""
        with self._lock:
            return list(self._promises)

    def sessions(self):
        with self._lock:
            return sorted({promise.session for promise in self._promises})

    def running(self, stack):
        """Turns of these sessions that have not ended."""
        return stack.value(
            "SELECT count(*) FROM hansard.turns t JOIN hansard.conversations c USING (conversation_id) "
            "WHERE c.session_id = ANY (%s) AND t.state IN ('queued', 'running')",
            self.sessions(),
        )

    def violations(self, stack, fleet=None):
        """{invariant: rows that break it}; when nobody asks any more."""
        connection = stack.connect()
        try:
            with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
                cursor.execute(_BEGIN)
                rows = [dataclasses.astuple(promise) for promise in self._promises]
                execute_values(cursor, "INSERT INTO promise VALUES %s", rows, page_size=1000)
                if fleet:
                    execute_values(cursor, "INSERT INTO fleet VALUES %s", [dataclasses.astuple(fleet)])
                cursor.execute(_FILLED)
                found = {}
                for invariant, query in INVARIANTS.items():
                    cursor.execute(query)
                    if cursor.rowcount:
                        found[invariant] = (cursor.rowcount, cursor.fetchmany(SHOWN_ROWS))
                return found
        finally:
            connection.close()

    def check(self, stack, fleet=None):
        found = self.violations(stack, fleet)
        if self.strange:
            found["nobody is told what is not in the book"] = (len(self.strange), self.strange[:SHOWN_ROWS])
        assert not found, found
