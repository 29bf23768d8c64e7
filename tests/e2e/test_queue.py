"""The queue before the gate: callers in turn, however much one of them asks; who would wait in vain is told so at once, and
nothing of it is stored."""

import time

import pytest

from lib.client import Client, problem
from lib.crowd import Ask, crowd
from lib.metrics import scrape
from lib.program import PATIENCE, SANITIZER
from lib.together import begin
from lib.wait import until

MANY = 100 if SANITIZER else 200


@pytest.fixture
def another(stack, user):
    """A second caller."""
    return Client(stack.url, stack.add_key(f"another {user}", "unlimited"))


def gauge(running, name):
    return scrape(running).get(f"hansard_{name}")


def refusals(running, reason):
    return scrape(running).get("hansard_refusals_total", reason=reason)


def learn_the_pace(client, session, words):
    """One call, by which the worker knows what calls take."""
    assert client.chat(f"{session} first", words).status == 200


def test_one_callers_queue_does_not_hold_up_another(caller, another, worker, model, session):
    """He has his turn in the next round, though hundreds of the first caller's came before him."""
    running = worker(llm_concurrency=2)
    asks = [Ask(caller.at(running), f"{session} {n}", "[[delay 60]] x") for n in range(MANY)]
    queue = begin(crowd, asks)
    until(lambda: gauge(running, "turns_open") + model.stats()["calls"] >= MANY and gauge(running, "gate_waiting") > MANY / 2)
    calls_before, waiting = model.stats()["calls"], gauge(running, "gate_waiting")
    assert another.at(running).chat(f"{session} other", "other").status == 200
    calls_after = model.stats()["calls"]
    assert len(model.calls("other")) == 1
    # Those in front of him: two under way, one of the other caller, and what was called while his turn was being stored.
    assert calls_after - calls_before < min(30, waiting / 3)
    assert gauge(running, "gate_waiting") > MANY / 3
    assert {heard.status for heard in queue.result()} == {200}


def test_two_callers_are_served_in_turn(caller, another, worker, model, session):
    running = worker(llm_concurrency=1)
    first = begin(caller.at(running).chat, f"{session} 0", "[[delay 800]] 0")
    until(lambda: model.stats()["in_flight"] == 1)
    posts = []
    for client, words, count in ((caller, "one", 6), (another, "two", 3)):
        for n in range(count):
            before = gauge(running, "gate_waiting")
            posts.append(begin(client.at(running).chat, f"{session} {words} {n}", words))
            until(lambda before=before: gauge(running, "gate_waiting") == before + 1)
    assert {post.result().status for post in (first, *posts)} == {200}
    order = [call["content"] for call in model.calls()][1:]
    assert order == ["one", "two"] * 3 + ["one"] * 3


def test_who_would_wait_in_vain_is_refused_at_once(record, limited, worker, model, session):
    """5.3 s, less what is kept for storing the answer, are enough for four calls of a second one after another."""
    running = worker(llm_concurrency=1, request_timeout="5300ms")
    client = limited(1, 100).at(running)
    learn_the_pace(client, session, "[[delay 1000]] x")
    queue = begin(crowd, [Ask(client, f"{session} {n}", "[[delay 1000]] x") for n in range(4)])
    until(lambda: gauge(running, "gate_waiting") == 3)
    before = record.counts()
    for n in range(8):
        began = time.monotonic()
        refused = client.chat(f"{session} more {n}", "x")
        assert time.monotonic() - began < 0.5 * PATIENCE
        assert problem(refused) == (503, "queue_too_slow")
        assert 100 - 1 - 4 <= refused.remaining < 100 - 1
    assert record.counts() == before
    assert refusals(running, "queue_too_slow") == 8
    # Whoever asks again when he is told to has a place when the first of the four is through.
    for _ in range(3):
        assert refused.headers["Retry-After"] in ("1", "2")
        time.sleep(int(refused.headers["Retry-After"]))
        refused = client.chat(f"{session} more", "x")
        if refused.status == 200:
            break
    assert refused.status == 200
    assert [heard.status for heard in queue.result()] == [200] * 4
    assert model.stats()["calls"] == 6


def test_full_queue_says_when_it_will_be_through(caller, worker, session):
    running = worker(llm_concurrency=1, queue_limit=4)
    at = caller.at(running)
    learn_the_pace(at, session, "[[delay 700]] x")
    queue = begin(crowd, [Ask(at, f"{session} {n}", "[[delay 700]] x") for n in range(5)])
    until(lambda: gauge(running, "gate_waiting") == 4)
    refused = at.chat(f"{session} more", "x")
    assert problem(refused) == (503, "queue_full")
    assert refused.headers["Retry-After"] in ("3", "4")  # five calls of 0.7 s
    assert {one.status for one in queue.result()} == {200}


def test_an_eighth_of_the_queue_is_kept_for_others(caller, another, worker, session):
    running = worker(llm_concurrency=1, queue_limit=80)
    first = begin(caller.at(running).chat, f"{session} first", "[[delay 2500]] x")
    until(lambda: gauge(running, "gate_in_use") == 1)
    queue = begin(crowd, [Ask(caller.at(running), f"{session} {n}", "x") for n in range(120)])
    until(lambda: refusals(running, "queue_full") == 120 - 70)
    assert gauge(running, "turns_open") == 71
    other = begin(another.at(running).chat, f"{session} other", "x")
    until(lambda: gauge(running, "turns_open") == 72)
    assert (first.result().status, other.result().status) == (200, 200)
    statuses = [heard.status for heard in queue.result()]
    assert (statuses.count(200), statuses.count(503)) == (70, 50)
