"""Everything at once, by chance: six workers do what they can with a few conversations; nothing is lost or stuck."""

import random
import threading
import time
import uuid

import psycopg2
from stage.connection import watcher
from stage.tap import run, story
from stage.worker import Caller, Worker, new_session

SECONDS = 1.5
FINE = {"23505", "HS404", "HS410", "HS503"}  # begun meanwhile, erased, ended, declared lost


class Busy:
    """A worker that does this and that, by the dice of its own."""

    def __init__(self, seed, sessions, caller):
        self._dice, self._sessions, self._caller = random.Random(seed), sessions, caller
        self._worker, self._known, self._live, self._running = Worker(), [], [], []
        self._number = 0
        self.error = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self):
        self._thread.join()
        if self.error:
            raise self.error

    def _run(self):
        until = time.monotonic() + SECONDS
        does = [self._enqueue] * 4 + [self._accept, self._claim, self._claim, self._finish, self._finish, self._finish]
        does += [self._cancel, self._erase, self._reap, self._die, self._forget]
        try:
            while time.monotonic() < until:
                try:
                    self._dice.choice(does)()
                except psycopg2.Error as error:
                    if error.pgcode not in FINE:
                        raise
        except Exception as error:  # shown by whoever joins
            self.error = error

    def _enqueue(self):
        self._known.append(self._worker.enqueue(self._dice.choice(self._sessions), caller=self._caller))

    def _accept(self):
        turn = self._worker.accept(self._dice.choice(self._sessions), caller=self._caller)
        if turn.outcome == "accepted":
            self._live.append(turn)

    def _claim(self):
        self._running += self._worker.claim(self._dice.randint(1, 4))

    def _finish(self):
        turns, self._live, self._running = self._live + self._running, [], []
        if turns:
            state = self._dice.choice(["completed", "completed", "failed", "queued"])
            self._worker.finish_all(*turns, state=state)
            if state == "queued":  # live turns are not handed back
                self._worker.finish_all(*turns)

    def _cancel(self):
        if self._known:
            self._worker.cancel(self._dice.choice(self._known), self._caller)

    def _erase(self):
        if self._dice.random() < 0.2:
            self._worker.erase(self._dice.choice(self._sessions), self._caller)

    def _reap(self):
        self._worker.reap()

    def _die(self):
        """Its connection goes on, as that of another worker; its results come late."""
        if self._dice.random() < 0.2:
            fall_silent(self._worker.id)
            self._worker.id = uuid.UUID(int=self._dice.getrandbits(128))
            self._worker.beat()

    def _forget(self):
        """The reply to a claim is lost; then that claim is done once more."""
        if self._dice.random() < 0.3:
            self._worker.claim(2)
            if not self._running:
                self._number += 1
                self._running = self._worker.claim(2, known=[], number=self._number)
                assert self._worker.claim(2, known=[], number=self._number - 1) == []


_LOCK = threading.Lock()


def fall_silent(worker):
    """Silence, told by the one connection that may; one at a time."""
    with _LOCK:
        watcher().do("UPDATE hansard.workers SET heartbeat_at = now() - interval '13 s' WHERE worker_id = %s", worker)


WRONG = """
SELECT 'jobs counted wrongly' AS what, session_id FROM hansard.sessions s
WHERE s.jobs <> (SELECT count(*) FROM hansard.jobs j WHERE j.session_key = s.session_key)
UNION ALL
SELECT 'job without its turn', s.session_id FROM hansard.jobs j LEFT JOIN hansard.sessions s USING (session_key)
LEFT JOIN hansard.turns t ON t.conversation_id = j.conversation_id AND t.turn_no = j.turn_no
WHERE s.conversation_id IS DISTINCT FROM j.conversation_id
   OR t.state::text IS DISTINCT FROM CASE WHEN j.worker_id IS NULL THEN 'queued' ELSE 'running' END
   OR t.worker_id IS DISTINCT FROM j.worker_id
   OR j.worker_id IS NOT NULL AND (s.open_turn, s.open_worker) IS DISTINCT FROM (j.turn_no, j.worker_id)
UNION ALL
SELECT 'turn of a job that nobody knows', t.idempotency_key FROM hansard.turns t
WHERE t.is_job AND t.state IN ('queued', 'running') AND t.accepted_at >= %s
  AND NOT EXISTS (SELECT FROM hansard.jobs j WHERE j.conversation_id = t.conversation_id AND j.turn_no = t.turn_no)
UNION ALL
SELECT 'nobody is next', s.session_id FROM hansard.sessions s
WHERE s.jobs > 0 AND s.open_turn IS NULL
  AND (SELECT string_agg(CASE WHEN j.is_ready THEN 'ready' ELSE '-' END, ' ' ORDER BY j.turn_no) FROM hansard.jobs j
       WHERE j.session_key = s.session_key) !~ '^ready( -)*$'
UNION ALL
SELECT 'ready before its turn', s.session_id FROM hansard.sessions s JOIN hansard.jobs j USING (session_key)
WHERE s.open_turn IS NOT NULL AND j.is_ready
UNION ALL
SELECT 'turns out of order', t.conversation_id::text FROM hansard.turns t
JOIN hansard.turns later ON later.conversation_id = t.conversation_id AND later.turn_no > t.turn_no
WHERE t.accepted_at >= %s AND later.state = 'completed' AND t.state IN ('queued', 'running')
UNION ALL
SELECT 'chain broken', m.conversation_id::text
FROM (SELECT m.*, lag(m.chain_hash) OVER w AS before, lag(m.created_at) OVER w AS said_before FROM hansard.messages m
      WINDOW w AS (PARTITION BY m.conversation_id ORDER BY m.created_at, m.turn_no, m.position)) AS m
JOIN hansard.conversations c USING (conversation_id)
WHERE c.created_at >= %s
  AND (m.chain_hash <> hansard.chain_hash(
           coalesce(m.before, hansard.chain_start(c.conversation_id, c.session_key, c.created_at)), m.conversation_id,
           m.turn_no, m.position, m.role::text, m.created_at, m.text_hash) OR m.created_at <= m.said_before)
"""


def wrong(since):
    return watcher().do(WRONG, *[since] * WRONG.count("%s"))


@story("jobs are queued, claimed, finished, handed back, cancelled, erased, and their workers die: all of it fits")
def storm():
    since = watcher().value("SELECT clock_timestamp()")
    sessions, caller = [new_session() for _ in range(8)], Caller(tokens=10**12)
    busy = [Busy(seed, sessions, caller) for seed in range(6)]
    for one in busy:
        one.join()
    assert wrong(since) == []
    watcher().do("UPDATE hansard.workers SET lost_at = now() - interval '11 s', heartbeat_at = now() - interval '1 h'")
    last = Worker()
    last.reap()
    assert wrong(since) == []
    while jobs := last.claim():
        assert set(last.finish_all(*jobs)) == {"finished"}
    assert watcher().do("SELECT FROM hansard.jobs") == []
    assert caller.counted()[:2] == (0, 0), "what has ended is held no more"
    assert watcher().do("SELECT FROM hansard.sessions WHERE open_turn IS NOT NULL OR jobs <> 0") == []
    assert wrong(since) == []


run()
