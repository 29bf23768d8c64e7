"""Caps on open turns and tokens, many at once: exact over all workers, and what a turn used is counted once."""

import random
import threading

import psycopg2
from stage.connection import watcher
from stage.tap import run, story
from stage.worker import Caller, Worker, ask, new_session


def outcomes(rows):
    return [row.outcome for row in rows]


@story("two race for a caller's last open turn: one is granted, the other refused")
def last_turn():
    a, b, caller = Worker(), Worker(), Caller(parallel=2)
    a.accept(new_session(), caller=caller)
    first = a.begin().accept(new_session(), caller=caller)
    second = b.start(lambda: b.accept(new_session(), caller=caller)).waits_for(a)
    a.commit()
    assert (first.outcome, second.result().outcome) == ("accepted", "HS430")
    assert caller.counted() == (2, 202, 0)


@story("the first of them is rolled back: the other is granted")
def last_turn_rolled_back():
    a, b, caller = Worker(), Worker(), Caller(parallel=1)
    a.begin().accept(new_session(), caller=caller)
    second = b.start(lambda: b.accept(new_session(), caller=caller)).waits_for(a)
    a.rollback()
    assert second.result().outcome == "accepted"
    assert caller.counted() == (1, 101, 0)


@story("two batches race for what is left: together they get that, and no more")
def two_batches():
    a, b, caller = Worker(), Worker(), Caller(parallel=5)
    first = a.begin().accept_all(*(ask(new_session(), caller=caller) for _ in range(4)))
    second = b.start(lambda: b.accept_all(*(ask(new_session(), caller=caller) for _ in range(4)))).waits_for(a)
    a.commit()
    assert outcomes(first) == ["accepted"] * 4
    assert outcomes(second.result()) == ["accepted"] + ["HS430"] * 3
    assert caller.counted()[0] == 5


@story("so it is for tokens")
def tokens():
    a, b, caller = Worker(), Worker(), Caller(tokens=500)
    first = a.begin().accept_all(*(ask(new_session(), caller=caller, words="") for _ in range(3)))
    second = b.start(lambda: b.accept_all(*(ask(new_session(), caller=caller, words="") for _ in range(3)))).waits_for(a)
    a.commit()
    assert [row.tokens_remaining for row in first] == [400, 300, 200]
    assert [(row.outcome, row.tokens_remaining) for row in second.result()] == [
        ("accepted", 100),
        ("accepted", 0),
        ("HS431", 0),
    ]
    assert caller.counted() == (5, 500, 0)


@story("a turn ends while the next asks for its place: it has it, and its tokens are counted")
def finish_then_accept():
    a, b, caller = Worker(), Worker(), Caller(parallel=1, tokens=1000)
    turn = a.accept(new_session(), caller=caller)
    a.begin().finish(turn, tokens=850)
    second = b.start(lambda: b.accept(new_session(), caller=caller, words="")).waits_for(a)
    a.commit()
    assert (second.result().outcome, second.result().tokens_remaining) == ("accepted", 50)
    assert caller.counted() == (1, 100, 850)


@story("one asks while a turn ends: it is refused, for the turn was open; and the tokens are counted")
def accept_then_finish():
    a, b, caller = Worker(), Worker(), Caller(parallel=1, tokens=1000)
    turn = a.accept(new_session(), caller=caller)
    refused = b.begin().accept(new_session(), caller=caller)
    ending = a.start(lambda: a.finish(turn, tokens=850)).waits_for(b)
    b.commit()
    assert (refused.outcome, ending.result()) == ("HS430", "finished")
    assert caller.counted() == (0, 0, 850)


@story("two turns of a caller end at once: both are counted")
def two_finish():
    a, b, caller = Worker(), Worker(), Caller(tokens=1000)
    one, other = a.accept(new_session(), caller=caller), b.accept(new_session(), caller=caller)
    a.begin().finish(one, tokens=30)
    second = b.start(lambda: b.finish(other, tokens=4)).waits_for(a)
    a.commit()
    assert second.result() == "finished"
    assert caller.counted() == (0, 0, 34)


@story("a result is done twice at once: it is counted once")
def finish_twice():
    a, caller = Worker(), Caller(tokens=1000)
    turn = a.accept(new_session(), caller=caller)
    again = Worker()
    again.id = a.id
    a.begin().finish(turn, tokens=30)
    second = again.start(lambda: again.finish(turn, tokens=30)).waits_for(a)
    a.commit()
    assert second.result() == "finished"
    assert caller.counted() == (0, 0, 30)


@story("a result comes while its worker is buried: it is fenced off, and nothing is counted")
def bury_then_finish():
    lost, reaper, caller = Worker(), Worker(), Caller(parallel=1, tokens=1000)
    turn = lost.accept(new_session(), caller=caller)
    lost.get_lost()
    assert reaper.begin().reap() == 1
    late = lost.start(lambda: lost.finish(turn, tokens=30)).waits_for(reaper)
    reaper.commit()
    assert late.result() == "HS503"
    assert caller.counted() == (0, 0, 0)


@story("a worker is buried while its result is stored: that is counted, once")
def finish_then_bury():
    lost, reaper, caller = Worker(), Worker(), Caller(parallel=1, tokens=1000)
    turn = lost.accept(new_session(), caller=caller)
    lost.get_lost()
    lost.begin().finish(turn, tokens=30)
    assert reaper.reap() == 0
    lost.commit()
    assert reaper.reap() == 0
    assert caller.counted() == (0, 0, 30)


@story("a worker is buried while a turn of its is taken over: the hold lives on with the turn")
def takeover_then_bury():
    lost, heir, reaper, caller, session = Worker(), Worker(), Worker(), Caller(parallel=1, tokens=1000), new_session()
    lost.accept(session, caller=caller, key="k")
    lost.get_lost()
    taken = heir.begin().accept(session, caller=caller, key="k")
    assert reaper.reap() == 0
    heir.commit()
    assert reaper.reap() == 0
    assert heir.accept(new_session(), caller=caller).outcome == "HS430"
    assert heir.finish(taken, tokens=30) == "finished"
    assert caller.counted() == (0, 0, 30)


@story("allowances are locked in the order of their keys, whatever the order of requests")
def one_order():
    a, b = Worker(), Worker()
    first, middle, last = sorted((Caller(parallel=100) for _ in range(3)), key=lambda caller: caller.limit_key)
    for caller in (first, middle, last):
        a.accept(new_session(), caller=caller)
    holder = Worker()  # whose refusal or grant holds the row to the end of its transaction
    holder.begin().accept(new_session(), caller=middle)

    def is_free(caller):
        query = "SELECT 1 FROM hansard.allowances WHERE limit_key = %s FOR UPDATE SKIP LOCKED"
        return len(watcher().do(query, caller.limit_key)) == 1

    def batch(worker, *order):
        return worker.accept_all(*(ask(new_session(), caller=caller) for caller in order))

    ahead = a.start(lambda: batch(a, last, middle, first)).waits_for(holder)
    assert not is_free(first)
    assert is_free(last)
    behind = b.start(lambda: batch(b, last, first, middle)).waits_for(a)
    assert is_free(last)
    holder.commit()
    assert outcomes(ahead.result()) + outcomes(behind.result()) == ["accepted"] * 6


@story("four workers, five callers, batches in any order: no deadlock, no cap exceeded, all tokens counted")
def all_at_once():
    callers = [Caller(parallel=3, tokens=1_000_000) for _ in range(5)]
    finished, errors, most = [], [], []

    def work(worker, choice):
        for _ in range(40):
            chosen = [choice.choice(callers) for _ in range(6)]
            try:
                rows = worker.accept_all(*(ask(new_session(), caller=caller) for caller in chosen))
                turns = [row for row in rows if row.outcome == "accepted"]
                most.extend(caller.counted()[0] for caller in callers)
                choice.shuffle(turns)
                if turns:
                    finished.extend(worker.finish_all(*turns, tokens=7))
            except psycopg2.Error as error:  # told at the end
                errors.append(error)
                return

    threads = [threading.Thread(target=work, args=(Worker(), random.Random(seed))) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    assert set(finished) == {"finished"}
    assert len(finished) > 100
    assert max(most) == 3
    assert sum(caller.counted()[2] for caller in callers) == 7 * len(finished)
    assert [caller.counted()[:2] for caller in callers] == [(0, 0)] * 5


run()
