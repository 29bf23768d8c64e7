"""A zombie: a worker that is stopped in the middle of a turn for longer than others have patience, and then goes on.
What it brings too late is thrown away; it serves again."""

import random
import signal
import time

import pytest

from lib.client import problem
from lib.load import Load
from lib.program import PATIENCE
from lib.together import begin
from lib.wait import until

SLOW = "[[delay 500]] slow"
ROUNDS, CALLERS, SESSIONS, PERMITS = 8, 16, 6, 3


def is_lost(stack, running):
    """When it has been declared lost."""
    query = "SELECT lost_at FROM hansard.workers WHERE name = %s AND lost_at IS NOT NULL"
    return bool(stack.sql(query, f"127.0.0.1:{running.port}"))


def worker_id(client):
    return client.get("/readyz").json["worker"]


@pytest.fixture
def zombie(worker):
    return worker()


@pytest.fixture
def other(worker):
    return worker()


@pytest.fixture
def stopped(stack, record, caller, zombie, silence, session):
    """Its call to the model is on its way; nobody has heard of it for a minute. The answer its client waits for."""
    post = begin(caller.at(zombie).chat, session, SLOW, key="k")
    until(lambda: record.is_running(session))
    zombie.signal(signal.SIGSTOP)
    silence(zombie)
    yield post
    zombie.signal(signal.SIGCONT)


def declare_lost(stack, zombie):
    """As any worker does from time to time."""
    stack.sql("SELECT hansard_api.reap_workers()")
    assert is_lost(stack, zombie)


def check_it_serves(caller, zombie, session, turn):
    answer = caller.at(zombie).chat(session, "still there?")
    assert (answer.turn, answer.text) == (turn, f"echo {2 * turn - 1}: still there?")


@pytest.mark.parametrize("is_declared", [True, False])
def test_its_turn_was_taken_over(stack, record, caller, zombie, other, model, session, stopped, is_declared):
    old_id = record.turns(session)[0].worker_id
    if is_declared:
        declare_lost(stack, zombie)
    answer = caller.at(other).chat(session, SLOW, key="k")
    assert (answer.turn, answer.text) == (1, f"echo 1: {SLOW}")
    assert answer.headers["Idempotent-Replayed"] is None

    def state():
        (turn,) = record.turns(session)
        return turn.state, turn.attempt, turn.worker_id, turn.said

    written = ("completed", 2, worker_id(caller.at(other)), [SLOW, answer.text])
    assert state() == written
    zombie.signal(signal.SIGCONT)
    assert problem(stopped.result()) == (502, "worker_lost")
    assert state() == written
    assert len(model.calls(SLOW)) == 2

    # It goes on, under another id if it was declared lost under the old one; and knows the answer of the other.
    check_it_serves(caller, zombie, session, 2)
    assert (worker_id(caller.at(zombie)) != old_id) == is_declared
    assert caller.at(zombie).chat(session, SLOW, key="k").body == answer.body
    assert len(record.turns(session)) == 2


def test_while_the_other_still_thinks(record, caller, zombie, other, model, session, stopped):
    """Both have the answer; the one whose attempt it is writes it."""
    until(lambda: model.stats()["in_flight"] == 0)  # the zombie's answer waits to be read
    answer = begin(caller.at(other).chat, session, SLOW, key="k")
    until(lambda: record.turns(session)[0].attempt == 2)
    zombie.signal(signal.SIGCONT)
    assert problem(stopped.result()) == (502, "worker_lost")
    assert record.states(session) == ["running"]
    assert answer.result().turn == 1
    (turn,) = record.turns(session)
    assert (turn.state, turn.attempt) == ("completed", 2)
    assert turn.said == [SLOW, answer.result().text]


def test_another_question_came_first(record, caller, zombie, other, session, stopped):
    """It closes the turn as failed; and so it stays."""
    answer = caller.at(other).chat(session, "next", key="k2")
    assert (answer.turn, answer.text) == (2, "echo 1: next")
    zombie.signal(signal.SIGCONT)
    assert problem(stopped.result()) == (502, "worker_lost")
    first, second = record.turns(session)
    assert (first.state, first.error_code, first.said) == ("failed", "worker_lost", [SLOW])
    assert (second.state, second.said) == ("completed", ["next", answer.text])
    for place in (zombie, other):
        again = caller.at(place).chat(session, SLOW, key="k")
        assert problem(again) == (502, "worker_lost")
        assert again.headers["Idempotent-Replayed"] == "true"
    assert len(record.turns(session)) == 2


def test_another_question_came_first_and_its_model_failed(record, caller, zombie, other, silence, session):
    """It is told what is stored, not what it would have stored."""
    words = "[[delay 500]] [[status 400]] slow"
    post = begin(caller.at(zombie).chat, session, words, key="k")
    until(lambda: record.is_running(session))
    zombie.signal(signal.SIGSTOP)
    silence(zombie)
    assert caller.at(other).chat(session, "next", key="k2").turn == 2
    zombie.signal(signal.SIGCONT)
    assert problem(post.result()) == (502, "worker_lost")
    assert record.turns(session)[0].error_code == "worker_lost"
    assert problem(caller.at(zombie).chat(session, words, key="k")) == (502, "worker_lost")


def test_it_was_buried(stack, record, caller, zombie, other, session, stopped):
    """Nobody asked; its turn was closed for it, and its row is gone."""
    old_id = record.turns(session)[0].worker_id
    declare_lost(stack, zombie)
    stack.sql("UPDATE hansard.workers SET lost_at = lost_at - interval '1 minute' WHERE worker_id = %s", old_id)
    stack.sql("SELECT hansard_api.reap_workers()")
    (turn,) = record.turns(session)
    assert (turn.state, turn.error_code) == ("failed", "worker_lost")
    zombie.signal(signal.SIGCONT)
    assert problem(stopped.result()) == (502, "worker_lost")
    assert record.turns(session)[0].said == [SLOW]
    answer = caller.at(zombie).chat(session, "still there?")
    assert (answer.turn, answer.text) == (2, "echo 1: still there?")


def test_it_comes_back_before_anybody_asks(stack, record, caller, zombie, other, model, session, stopped):
    """Nobody has taken its turn: what it brings is written, though it was declared lost."""
    old_id = record.turns(session)[0].worker_id
    declare_lost(stack, zombie)
    zombie.signal(signal.SIGCONT)
    answer = stopped.result()
    assert (answer.turn, answer.text) == (1, f"echo 1: {SLOW}")
    (turn,) = record.turns(session)
    assert (turn.state, turn.attempt, turn.worker_id) == ("completed", 1, old_id)
    assert len(model.calls(SLOW)) == 1
    check_it_serves(caller, zombie, session, 2)
    assert worker_id(caller.at(zombie)) != old_id


def test_under_load(stack, worker, key, ledger, model, silence, session, seed, tell):
    """Now one, now the other of two workers is a zombie for a while; everybody asks both."""
    print(f"FAULT_SEED={seed}")
    rng = random.Random(seed)
    workers = [worker(llm_concurrency=PERMITS) for _ in range(2)]
    sessions = [f"{session} {n}" for n in range(SESSIONS)]
    load = Load(ledger, lambda r: r.choice(workers).url, key, sessions, seed).start(CALLERS)
    try:
        for _ in range(ROUNDS):
            frozen = rng.choice(workers)
            time.sleep(rng.uniform(0, 0.4) * PATIENCE)
            frozen.signal(signal.SIGSTOP)
            silence(frozen)
            if rng.random() < 0.5:
                stack.sql("SELECT hansard_api.reap_workers()")
            time.sleep(rng.uniform(0.1, 0.5) * PATIENCE)
            frozen.signal(signal.SIGCONT)
        load.stop()
    except BaseException:
        load.abort()
        raise
    until(lambda: ledger.running(stack) == 0)
    counts = ledger.counts()
    tell(f"FAULT_SEED={seed}: {ROUNDS} zombies")
    tell(f"{counts['answered']} acknowledged turns checked, {counts['failed']} told as failed")
    ledger.check(stack)
    assert counts["answered"] > 2 * ROUNDS
    assert model.stats()["high_water"] <= 2 * PERMITS
