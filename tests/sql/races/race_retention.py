"""Retention against everything: what is spoken on is not dropped, and nobody waits for a drop."""

import time
from datetime import datetime, timedelta, timezone

from psycopg2.extensions import Binary

from stage.connection import Connection, watcher
from stage.tap import run, story
from stage.worker import Worker, key_of, new_session, said, session_row

KEEP_MS = 90 * 86_400_000
FOR_EVER_MS = 20 * 365 * 86_400_000  # a session may rest so long


def old_session():
    """One with a turn of a month that is long past, and alone in it."""
    session = new_session()
    key = Binary(key_of(session))
    at = datetime(2020, 2, 3, tzinfo=timezone.utc) + timedelta(milliseconds=int.from_bytes(key_of(session)[:3], "big"))
    watcher().do("DROP TABLE IF EXISTS hansard.conversations_202002, hansard.turns_202002, hansard.messages_202002")
    for part in ("conversations", "turns", "messages"):
        watcher().do("SELECT hansard.make_partition(%s, '2020-02-01')", part)
    talk = watcher().value("SELECT hansard.uuid_v7(%s)", at)
    watcher().do("INSERT INTO hansard.conversations VALUES (%s, %s, NULL, %s, %s)", talk, key, session, at)
    watcher().do(
        "INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, attempt,"
        " accepted_at, finished_at) VALUES (%s, 1, 'failed', 'k', '\\x01', gen_random_uuid(), 1, %s, %s)",
        *(talk, at, at),
    )
    watcher().do(
        "INSERT INTO hansard.messages VALUES (%s, 1, 1, 'user', 'old', %s, '\\x02', '\\x03', '\\x04')", talk, at
    )
    watcher().do(
        "INSERT INTO hansard.sessions VALUES (%s, NULL, %s, %s, 2, 1, NULL, NULL, '\\x04', %s)", key, session, talk, at
    )
    return session


def left():
    """Tables of the month that are still to be deleted."""
    return watcher().value(
        "SELECT count(*) FROM pg_class WHERE relname ~ '^dropped_(conversations|turns|messages)_202002$'"
    )


def has_month():
    return watcher().value("SELECT to_regclass('hansard.turns_202002') IS NOT NULL")


class Walker(Connection):
    def begin_walk(self):
        """At the first month; returns itself."""
        watcher().do("UPDATE hansard.retention_walk SET began_at = NULL, ended_at = NULL")
        assert self.step() == 1
        return self

    def step(self):
        """What is to be done next; None: somebody else is at it."""
        answer = self.value("SELECT hansard_api.apply_retention(%s, 100)", KEEP_MS)
        return answer and answer[0]

    def walk_on(self):
        """To the end; the number of times tables were busy."""
        busy = 0
        for _ in range(100):
            state = self.step()
            busy += state == 2
            if state == 0:
                return busy
        raise AssertionError("the walk does not end")


@story("a message comes while its session is closed: it begins anew, and the month can go")
def close_then_accept():
    w, a, session = Walker(), Worker(), old_session()
    w.begin_walk()
    w.begin()
    assert w.step() == 1  # surveyed: the session is deleted
    message = a.start(lambda: a.accept(session, words="late", ttl_ms=FOR_EVER_MS)).waits_for(w)
    w.commit()
    message = message.result()
    assert (message.outcome, message.turn_no, message.history) == ("accepted", 1, None)
    assert w.walk_on() == 0
    assert not has_month()
    assert said(session) == [(1, "running", ["late"])]
    assert a.finish(message, answer="well") == "finished"


@story("a month is surveyed while a message is stored in it: it is kept, without what is past its time")
def accept_then_close():
    w, a, session = Walker(), Worker(), old_session()
    w.begin_walk()
    message = a.begin().accept(session, words="just in time", ttl_ms=FOR_EVER_MS)
    assert message.turn_no == 2
    step = w.start(w.step).waits_for(a)
    a.commit()
    assert step.result() == 1
    assert w.walk_on() == 0
    assert has_month()
    assert said(session) == [(1, "failed", [None]), (2, "running", ["just in time"])]
    assert a.finish(message, answer="well") == "finished"
    assert session_row(session) is not None


@story("an answer is stored while the month is walked turn by turn: neither waits for long, and the answer stays")
def blank_then_finish():
    w, a, session = Walker(), Worker(), old_session()
    turn = a.accept(session, words="new", ttl_ms=FOR_EVER_MS)
    w.begin_walk()
    assert w.step() == 1  # mixed
    w.begin()
    assert w.step() == 1  # blanked
    answer = a.start(lambda: a.finish(turn, answer="stays")).waits_for(w)
    w.commit()
    assert answer.result() == "finished"
    assert said(session) == [(1, "failed", [None]), (2, "completed", ["new", "stays"])]
    assert w.walk_on() == 0


@story("an erasure comes while the month is walked: it waits, and finds what is left")
def blank_then_erase():
    w, a, session = Walker(), Worker(), old_session()
    a.turn(new_session())
    turn = a.accept(session, words="new", ttl_ms=FOR_EVER_MS)
    w.begin_walk()
    w.step()
    w.begin()
    w.step()
    erasure = a.start(lambda: a.erase(session)).waits_for(w)
    w.commit()
    assert erasure.result() == {"conversations": 1, "turns": 1, "messages": 1, "cancelled": 1}
    assert a.finish(turn) == "HS499"
    w.walk_on()


@story("... and so it does when the session is gone, since the month was surveyed before it was walked")
def blank_then_erase_without_session():
    w, a, other = Walker(), Worker(), Connection("postgres")
    session = old_session()
    watcher().do("DELETE FROM hansard.sessions WHERE session_key = %s", Binary(key_of(session)))
    w.begin_walk()
    watcher().do("UPDATE hansard.retention_walk SET is_mixed = true")
    other.begin().do("SELECT FROM hansard.messages WHERE text = 'old' FOR UPDATE")
    step = w.start(w.step).waits_for(other)
    erasure = a.start(lambda: a.erase(session)).waits_for(w)
    other.commit()
    assert step.result() == 1
    assert erasure.result() == {"conversations": 1, "turns": 0, "messages": 0, "cancelled": 0}
    w.walk_on()


@story("two walk: there is one walk, and the second does not wait")
def two_walkers():
    v, w, session = Walker(), Walker(), old_session()
    v.begin_walk()
    v.begin()
    assert v.step() == 1
    assert w.step() is None
    v.commit()
    assert w.step() in (0, 1)
    assert session_row(session) is None
    w.walk_on()


@story("a month is to be dropped while a turn is opened: the drop gives up at once, and is done later")
def accept_then_drop():
    w, a = Walker(), Worker()
    old_session()
    w.begin_walk()
    assert w.step() == 1  # surveyed
    a.begin().accept(new_session())
    began = time.monotonic()
    assert w.step() == 2
    assert time.monotonic() - began < 1
    assert has_month()
    a.commit()
    assert w.walk_on() == 0
    assert not has_month()


@story("turns come while a drop waits: they wait no longer than it does")
def drop_waits():
    w, a, b = Walker(), Worker(), Worker()
    old_session()
    w.begin_walk()
    assert w.step() == 1
    a.begin().accept(new_session())
    drop = w.start(lambda: [w.step() for _ in range(10)])
    began = time.monotonic()
    assert b.accept(new_session()).outcome == "accepted"
    waited = time.monotonic() - began
    assert set(drop.result()) == {2}
    a.commit()
    assert waited < 1, waited
    w.walk_on()
    assert not has_month()


@story("a table of the month is being cleaned: the drop gives up, and turns wait no longer than it does")
def clean_then_drop():
    w, b, other = Walker(), Worker(), Connection("postgres")
    old_session()
    w.begin_walk()
    assert w.step() == 1
    other.begin().do("LOCK TABLE hansard.messages_202002 IN SHARE UPDATE EXCLUSIVE MODE")
    drop = w.start(lambda: [w.step() for _ in range(10)])
    began = time.monotonic()
    assert b.accept(new_session()).outcome == "accepted"
    waited = time.monotonic() - began
    assert set(drop.result()) == {2}
    assert has_month() and left() == 0
    other.commit()
    assert waited < 1, waited
    assert w.walk_on() == 0
    assert not has_month() and left() == 0


@story("a month is out of the record: others delete its tables, while turns are opened and closed")
def drop_then_delete():
    v, w, a = Walker(), Walker(), Worker()
    old_session()
    v.begin_walk()
    assert (v.step(), v.step()) == (1, 1)
    assert not has_month() and left() == 3
    for still in (2, 1, 0):
        w.begin()
        assert w.step() == (1 if still else 0)
        a.turn(new_session())  # would wait for ever
        assert v.step() is None
        w.commit()
        assert left() == still


@story("a table that is to be deleted is in use: it is left for later, and the walk has not ended")
def use_then_delete():
    w, other = Walker(), Connection("postgres")
    old_session()
    w.begin_walk()
    assert (w.step(), w.step()) == (1, 1)
    other.begin().do("LOCK TABLE hansard.dropped_messages_202002 IN SHARE UPDATE EXCLUSIVE MODE")
    w.do("SET lock_timeout = '100ms'")
    assert (w.step(), w.step(), w.step()) == (1, 2, 2)
    assert left() == 2
    other.commit()
    assert w.walk_on() == 0
    assert left() == 0


@story("an auditor searches in a snapshot from before a drop: he finds what is left")
def search_then_drop():
    w, auditor = Walker(), Connection("postgres")
    old_session()
    w.begin_walk()
    auditor.do("BEGIN ISOLATION LEVEL REPEATABLE READ")
    search = "SELECT count(*) FROM hansard_audit.search('old', '2019-01-01', %s)"
    assert auditor.value("SELECT count(*) FROM hansard.tiers") > 0
    assert w.walk_on() == 0
    assert not has_month()
    assert auditor.value(search, "infinity") == 0
    assert auditor.value(search, "2020-03-01") == 0
    auditor.rollback()


@story("an auditor checks a conversation in a snapshot from before its drop: he is told to ask again, and then that it is gone")
def check_then_drop():
    w, auditor = Walker(), Connection("postgres")
    session = old_session()
    talk = session_row(session).conversation_id
    watcher().do("INSERT INTO hansard.seal_heads VALUES (%s, 1, 1, %s)", talk, Binary(b"\x04"))
    w.begin_walk()
    auditor.do("BEGIN ISOLATION LEVEL REPEATABLE READ")
    check = "SELECT status FROM hansard_audit.verify(%s)"
    assert auditor.value("SELECT count(*) FROM hansard.tiers") > 0
    assert w.walk_on() == 0
    late = auditor.start(lambda: auditor.value(check, talk))
    assert late.sqlstate() == "40001"
    auditor.rollback()
    assert auditor.value(check, talk) == "gone"
    watcher().do("DELETE FROM hansard.seal_heads WHERE conversation_id = %s", talk)


@story("a walker is lost after a month is out of the record, and before that is committed: the month is there as before")
def drop_then_die():
    v, w = Walker(), Walker()
    old_session()
    v.begin_walk()
    assert v.step() == 1
    v.begin()
    assert v.step() == 1
    v.rollback()
    assert has_month() and left() == 0
    assert w.walk_on() == 0
    assert not has_month() and left() == 0


run()
