"""Batches that want the same rows in different order: all lock them in one order, so that there is no deadlock."""

import random
import threading
import uuid

import psycopg2
from psycopg2.extensions import Binary
from stage.connection import Connection, watcher
from stage.tap import run, story
from stage.worker import Worker, ask, in_order, is_whole, key_of, new_session


class Holder(Connection):
    """Somebody who holds one row."""

    def __init__(self, table, column, key):
        super().__init__("postgres")
        self.begin().do(f"SELECT FROM hansard.{table} WHERE {column} = %s FOR UPDATE", key)


def is_free(table, column, key):
    """Does nobody hold this row?"""
    return len(watcher().do(f"SELECT 1 FROM hansard.{table} WHERE {column} = %s FOR UPDATE SKIP LOCKED", key)) == 1


@story("two accepts of the same sessions in different order: both begin with the first session, and one waits")
def accepts():
    a, b = Worker(), Worker()
    first, middle, last = sessions = in_order(3)
    for session in sessions:
        a.turn(session)
    holder = Holder("sessions", "session_key", Binary(key_of(middle)))
    ahead = a.start(lambda: a.accept_all(ask(last), ask(middle), ask(first))).waits_for(holder)
    # The one who is ahead has the first session, and not the last, though that comes first in its batch.
    assert not is_free("sessions", "session_key", Binary(key_of(first)))
    assert is_free("sessions", "session_key", Binary(key_of(last)))
    behind = b.start(lambda: b.accept_all(ask(last), ask(first), ask(middle))).waits_for(a)
    assert is_free("sessions", "session_key", Binary(key_of(last)))
    holder.commit()
    assert [row.outcome for row in ahead.result()] == ["accepted"] * 3
    assert [row.outcome for row in behind.result()] == ["waiting"] * 3


@story("so it is for results")
def finishes():
    a, b = Worker(), Worker()
    first, middle, last = sessions = in_order(3)
    turns = [a.accept(session) for session in sessions]
    holder = Holder("sessions", "session_key", Binary(key_of(middle)))
    ahead = a.start(lambda: a.finish_all(*reversed(turns))).waits_for(holder)
    assert not is_free("sessions", "session_key", Binary(key_of(first)))
    assert is_free("sessions", "session_key", Binary(key_of(last)))
    behind = b.start(lambda: b.finish_all(turns[2], turns[0], turns[1])).waits_for(a)
    holder.commit()
    assert ahead.result() == ["finished"] * 3
    assert behind.result() == ["HS503"] * 3


@story("so it is for an accept and a result")
def accept_and_finish():
    a, b = Worker(), Worker()
    first, middle, last = sessions = in_order(3)
    turns = [a.accept(session) for session in sessions]
    holder = Holder("sessions", "session_key", Binary(key_of(middle)))
    ahead = a.start(lambda: a.finish_all(turns[2], turns[1], turns[0])).waits_for(holder)
    behind = b.start(lambda: b.accept_all(ask(last), ask(middle), ask(first))).waits_for(a)
    assert is_free("sessions", "session_key", Binary(key_of(last)))
    holder.commit()
    assert ahead.result() == ["finished"] * 3
    assert [(row.outcome, row.turn_no) for row in behind.result()] == [("accepted", 2)] * 3


@story("so it is for limits: one order of counters, whatever the order of requests")
def limits():
    a, b = Worker(), Worker()
    first, middle, last = addresses = sorted(str(uuid.uuid4()) for _ in range(3))
    for address in addresses:
        a.accept(new_session(), address=address)
    holder = Holder("rate_limits", "limit_key", f"addr:{middle}")

    def batch(worker, *order):
        return worker.accept_all(*(ask(new_session(), address=address) for address in order))

    ahead = a.start(lambda: batch(a, last, middle, first)).waits_for(holder)
    assert not is_free("rate_limits", "limit_key", f"addr:{first}")
    assert is_free("rate_limits", "limit_key", f"addr:{last}")
    behind = b.start(lambda: batch(b, last, first, middle)).waits_for(a)
    assert is_free("rate_limits", "limit_key", f"addr:{last}")
    holder.commit()
    assert [row.quota_remaining for row in ahead.result()] == [8] * 3
    assert [row.quota_remaining for row in behind.result()] == [7] * 3


@story("sessions come before limits: who waits for a session holds no counter")
def sessions_first():
    a, b, session, address = Worker(), Worker(), new_session(), str(uuid.uuid4())
    a.turn(session)
    a.accept(new_session(), address=address)
    holder = Holder("sessions", "session_key", Binary(key_of(session)))
    waiting = a.start(
        lambda: a.accept_all(ask(new_session(), address=address), ask(session, address=address))
    ).waits_for(holder)
    assert is_free("rate_limits", "limit_key", f"addr:{address}")
    assert b.accept(new_session(), address=address).quota_remaining == 8
    holder.commit()
    assert [row.quota_remaining for row in waiting.result()] == [7, 6]


@story("so it is for sessions that begin: who waits to begin one has not begun a later one")
def beginnings():
    a, b, c, other = Worker(), Worker(), Worker(), Worker()
    first, middle, last = in_order(3)
    other.begin().accept(middle)
    ahead = a.start(lambda: a.accept_all(ask(last), ask(middle), ask(first))).waits_for(other)
    behind = b.start(lambda: b.accept_all(ask(last), ask(first))).waits_for(a)
    assert c.begin().accept(last).outcome == "accepted"
    c.rollback()
    other.rollback()
    assert [row.outcome for row in ahead.result()] == ["accepted"] * 3
    assert behind.sqlstate() == "23505"


@story("four workers, few sessions, few limits, batches in any order: no deadlock, no gap, no turn lost or doubled")
def all_at_once():
    sessions = [new_session() for _ in range(8)]
    addresses = [f"{uuid.uuid4()}" for _ in range(3)]
    watcher().do("UPDATE hansard.tiers SET rate_per_minute = 60000000, burst = 1000000 WHERE tier = 'anonymous'")
    answered, errors = [], []

    def work(worker, choice):
        for _ in range(60):
            chosen = choice.sample(sessions, 5)
            try:
                rows = worker.accept_all(*(ask(session, address=choice.choice(addresses)) for session in chosen))
            except psycopg2.errors.UniqueViolation:
                continue  # two began one session: the batch is done again
            except Exception as error:  # told at the end
                errors.append(error)
                return
            turns = [row for row in rows if row.outcome == "accepted"]
            choice.shuffle(turns)
            if turns:
                outcomes = worker.finish_all(*turns)
                answered.extend(
                    (outcome, row.conversation_id, row.turn_no) for outcome, row in zip(outcomes, turns, strict=True)
                )

    try:
        threads = [threading.Thread(target=work, args=(Worker(), random.Random(seed))) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        watcher().do("UPDATE hansard.tiers SET rate_per_minute = 10, burst = 10 WHERE tier = 'anonymous'")
    assert not errors, errors[0]
    assert {outcome for outcome, _, _ in answered} == {"finished"}
    assert len(answered) > 100
    assert len(set(answered)) == len(answered)
    assert all(is_whole(session) for session in sessions)
    stored = watcher().value(
        "SELECT count(*) FROM hansard.turns t JOIN hansard.sessions s USING (conversation_id)"
        " WHERE s.session_id = ANY (%s) AND t.state = 'completed'",
        sessions,
    )
    assert stored == len(answered)


run()
