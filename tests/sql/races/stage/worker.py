"""Worker: what a worker asks of the database, on a connection of its own, with the words that db/batch.c uses."""

import hashlib
import uuid

from psycopg2.extensions import Binary
from psycopg2.extras import register_uuid

from stage.connection import Connection, watcher

register_uuid()

_ACCEPT = """
SELECT * FROM hansard_api.accept_turns(%s::uuid, 20, 65536, %s::bigint, %s::bytea[], %s::text[], %s::text[], %s::text[],
                                       %s::text[], %s::bytea[], %s::text[], %s::uuid[], %s::integer[], NULL,
                                       %s::boolean[]) ORDER BY item
"""
_CLAIM = "SELECT * FROM hansard_api.claim_jobs(%s, %s, 20, 65536, %s::uuid[], %s)"
_FINISH = """
SELECT * FROM hansard_api.finish_turns(%s::uuid[], %s::bytea[], %s::uuid[], %s::integer[], %s::integer[], %s::text[],
                                       %s::text[], %s::text[], %s::integer[], %s::integer[], %s::text[], %s::integer[],
                                       %s::integer[]) ORDER BY item
"""
_DAY_MS = 86_400_000


def new_session():
    """A session id that nobody has used."""
    return f"session {uuid.uuid4()}"


def key_of(session):
    """The key of an anonymous session."""
    return hashlib.sha256(b"\0" + session.encode()).digest()


def in_order(count):
    """So many new sessions, in the order of their keys: the one in which they are locked."""
    return sorted((new_session() for _ in range(count)), key=key_of)


class Caller:
    """One with a key, in a tier of his own with these caps, and no rate if none is given."""

    def __init__(self, parallel=None, tokens=None, reserved=100, rate=None, burst=1):
        self.name = f"caller {uuid.uuid4()}"
        self.key_hash = hashlib.sha256(self.name.encode()).digest()
        tier = f"t{uuid.uuid4().hex[:20]}"
        watcher().do(
            "INSERT INTO hansard.tiers (tier, rate_per_minute, burst, parallel_turns, tokens_per_day, tokens_reserved)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            tier,
            rate,
            burst,
            parallel,
            tokens,
            reserved,
        )
        watcher().do("SELECT hansard_admin.add_key(%s, %s, %s)", self.name, tier, Binary(self.key_hash))
        self.limit_key = watcher().value("SELECT 'user:' || user_id FROM hansard.users WHERE name = %s", self.name)

    def counted(self):
        """(open turns, tokens reserved, tokens spent)"""
        (row,) = watcher().do(
            "SELECT count(*) AS turns, coalesce(sum(tokens), 0)::bigint AS held, (SELECT coalesce(max(tokens_spent), 0)"
            " FROM hansard.allowances WHERE limit_key = %s) AS spent FROM hansard.holds WHERE limit_key = %s",
            self.limit_key,
            self.limit_key,
        )
        return tuple(row)


def ask(session, key=None, words="hello", request=None, address=None, caller=None, job=False):
    """One request; what is not given is its own."""
    return {
        "caller": caller and Binary(caller.key_hash),
        "session": session,
        "key": key or str(uuid.uuid4()),
        "words": words,
        "request": request or str(uuid.uuid4()),
        "address": address or str(uuid.uuid4()),
        "job": job,
    }


class Worker(Connection):
    def __init__(self, of=None):
        """of: the worker whose other connection this is."""
        super().__init__()
        self.id = of.id if of else uuid.uuid4()
        self.beat()

    def beat(self):
        return self.value("SELECT hansard_api.heartbeat(%s, '127.0.0.1:8080', 'test', 10)", self.id)

    def lease(self, beat_no, holding=0, wanted=10, cap=10, before=None):
        """(granted, to come down to)"""
        _, granted, target = self.value(
            "SELECT hansard_api.lease_permits(%s, '127.0.0.1:8080', 'test', %s, %s, %s, %s, 10, %s, 5000, 8000)",
            self.id,
            beat_no,
            before,
            holding,
            wanted,
            cap,
        )
        return granted, target

    def leave(self):
        return self.value("SELECT hansard_api.leave(%s)", self.id)

    def fall_silent(self):
        """For longer than a worker's patience lasts."""
        watcher().do(
            "UPDATE hansard.workers SET heartbeat_at = now() - interval '16 seconds' WHERE worker_id = %s", self.id
        )

    def get_lost(self):
        """Declared lost so long ago that it may be buried."""
        watcher().do("UPDATE hansard.workers SET lost_at = now() - interval '11 seconds' WHERE worker_id = %s", self.id)

    def accept_all(self, *asks, ttl_ms=_DAY_MS):
        """One batch; a row for each request."""
        return self.do(
            _ACCEPT,
            self.id,
            ttl_ms,
            [a["caller"] for a in asks],
            [a["address"] for a in asks],
            [a["session"] for a in asks],
            [a["words"] for a in asks],
            [a["key"] for a in asks],
            [Binary(hashlib.sha256(a["words"].encode()).digest()) for a in asks],
            [a["request"] for a in asks],
            [None] * len(asks),
            [None] * len(asks),
            [a["job"] for a in asks],
        )

    def take_quota(self, caller, turns, ahead=0):
        """(granted, ahead)"""
        granted, _, more = self.value(
            "SELECT hansard_api.take_quota_for(%s, '', %s, %s)", Binary(caller.key_hash), turns, ahead
        )
        return granted, more

    def accept(self, session, ttl_ms=_DAY_MS, **what):
        """One request."""
        (row,) = self.accept_all(ask(session, **what), ttl_ms=ttl_ms)
        return row

    def finish_all(self, *turns, answer="hi there", state="completed", tokens=None):
        """One batch of turns, each as accept gave it; their outcomes."""
        count = len(turns)
        is_completed = state == "completed"
        rows = self.do(
            _FINISH,
            [self.id] * count,
            [Binary(turn.session_key) for turn in turns],
            [turn.conversation_id for turn in turns],
            [turn.turn_no for turn in turns],
            [turn.attempt for turn in turns],
            [state] * count,
            [answer if is_completed else None] * count,
            [None] * count,
            [tokens] * count,
            [None if tokens is None else 0] * count,
            [None if is_completed else "model_failed"] * count,
            [None] * count,
            [1] * count,
        )
        return [row.outcome for row in rows]

    def finish(self, turn, **how):
        (outcome,) = self.finish_all(turn, **how)
        return outcome

    def enqueue(self, session, **what):
        """One job."""
        return self.accept(session, job=True, **what)

    def claim(self, most=100, known=None, number=0):
        """Rows of the jobs it got."""
        return self.do(_CLAIM, self.id, most, known, number)

    def cancel(self, job, caller=None):
        """Its state afterwards."""
        return self.value(
            "SELECT hansard_api.cancel_job(%s, %s, %s)::json ->> 'status'",
            caller and Binary(caller.key_hash),
            job.conversation_id,
            job.turn_no,
        )

    def turn(self, session, words="hello", answer="hi there", caller=None):
        """One turn from question to answer."""
        turn = self.accept(session, words=words, caller=caller)
        assert (turn.outcome, self.finish(turn, answer=answer)) == ("accepted", "finished"), turn
        return turn

    def erase(self, session, caller=None):
        """Counts of what was erased."""
        return self.value(
            "SELECT hansard_api.erase_conversation(%s, %s, %s)::json -> 'erased'",
            caller and Binary(caller.key_hash),
            session,
            str(uuid.uuid4()),
        )

    def reap(self):
        return self.value("SELECT hansard_api.reap_workers()")


def said(session):
    """(turn, state, words) of all of its conversations, in order; words that were erased are None."""
    rows = watcher().do(
        "SELECT t.turn_no, t.state::text, array_agg(m.text ORDER BY m.position) AS words FROM hansard.conversations c"
        " JOIN hansard.turns t USING (conversation_id) JOIN hansard.messages m USING (conversation_id, turn_no)"
        " WHERE c.session_key = %s GROUP BY c.conversation_id, t.turn_no, t.state ORDER BY c.conversation_id, t.turn_no",
        Binary(key_of(session)),
    )
    return [(row.turn_no, row.state, row.words) for row in rows]


def session_row(session):
    """Its row; None: there is none."""
    rows = watcher().do("SELECT * FROM hansard.sessions WHERE session_key = %s", Binary(key_of(session)))
    return rows[0] if rows else None


def job_rows(session):
    """(turn, ready, worker, deaths) of its jobs that have not ended, in order."""
    rows = watcher().do(
        "SELECT turn_no, is_ready, worker_id, deaths FROM hansard.jobs WHERE session_key = %s ORDER BY turn_no",
        Binary(key_of(session)),
    )
    return [tuple(row) for row in rows]


def is_whole(session):
    """Are the turns of its current conversation 1, 2, 3 …, and does its chain fit?"""
    return watcher().value(
        """
        WITH chain AS (
            SELECT m.*, s.chain_head, lag(m.chain_hash) OVER w AS before, lead(m.chain_hash) OVER w IS NULL AS is_last,
                   hansard.chain_start(c.conversation_id, c.session_key, c.created_at) AS start
            FROM hansard.sessions s
            JOIN hansard.conversations c USING (conversation_id)
            JOIN hansard.messages m USING (conversation_id)
            WHERE s.session_key = %s
            WINDOW w AS (ORDER BY m.created_at, m.turn_no, m.position)
        )
        SELECT bool_and(chain_hash = hansard.chain_hash(coalesce(before, start), conversation_id, turn_no, position,
                                                        role::text, created_at, text_hash)
                        AND text_hash = hansard.text_hash(salt, text)
                        AND (NOT is_last OR chain_hash = chain_head))
               AND max(turn_no) = count(DISTINCT turn_no)
        FROM chain
        """,
        Binary(key_of(session)),
    )
