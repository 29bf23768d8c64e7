"""SIGTERM in the middle of load, as in a rolling upgrade: who was told an answer finds it stored, the worker is gone in
time with exit code 0, and leaves nothing open."""

import os
import random
import signal
import time

from lib.client import problem
from lib.load import Load
from lib.program import PATIENCE
from lib.together import begin
from lib.wait import until

ROUNDS = int(os.environ.get("FAULT_SIGTERMS", "10"))
CALLERS, SESSIONS = 16, 8
DRAIN_S = 0.5
LEAVING_S = 12  # at the most: what is under way, last words to the database, and what they leave


def some_words(rng):
    """One question in twenty takes longer than the worker may drain."""
    return f"[[delay {4000 if rng.random() < 0.05 else rng.randrange(0, 100)}]] "


def left_open(stack, worker_id):
    """Sessions, turns and the worker's own row, unless it says that it has left."""
    places = ("sessions WHERE open_worker", "turns WHERE state = 'running' AND worker_id", "workers WHERE NOT has_left AND worker_id")
    return [stack.value(f"SELECT count(*) FROM hansard.{place} = %s", worker_id) for place in places]


def test_under_load(stack, worker, caller, key, ledger, session, seed, tell):
    print(f"FAULT_SEED={seed}")
    rng = random.Random(seed)
    settings = {"drain_timeout": f"{int(DRAIN_S * 1000)}ms", "llm_concurrency": 50}
    places = [worker(**settings)]
    sessions = [f"{session} {n}" for n in range(SESSIONS)]
    load = Load(ledger, lambda r: r.choice(places).url, key, sessions, seed, words=some_words).start(CALLERS)
    longest = 0
    try:
        for _ in range(ROUNDS):
            leaving = places[0]
            worker_id = caller.at(leaving).get("/readyz").json["worker"]
            places = [leaving, worker(**settings)]
            time.sleep(rng.uniform(0.1, 0.5) * PATIENCE)
            began = time.monotonic()
            leaving.signal(signal.SIGTERM)
            assert leaving.wait() == 0
            lasted = time.monotonic() - began
            assert lasted < (DRAIN_S + 3) * PATIENCE
            longest = max(longest, lasted)
            assert left_open(stack, worker_id) == [0, 0, 0]
            places = places[1:]
        load.stop()
    except BaseException:
        load.abort()
        raise
    counts = ledger.counts()
    tell(f"FAULT_SEED={seed}: {ROUNDS} times, {longest:.1f} s at the longest")
    tell(f"{counts['answered']} acknowledged turns checked, {counts['failed']} told as failed")
    ledger.check(stack)
    assert counts["answered"] > 5 * ROUNDS
    assert counts["failed"] > 0  # some were left at the deadline


def test_while_the_database_is_away(stack, record, caller, worker, model, silence, session):
    """It cannot write what it holds, nor say that it leaves; it ends in time all the same. A repeat takes over."""
    leaving = worker(drain_timeout="300ms")
    words = "[[delay 1500]] x"
    post = begin(caller.at(leaving).chat, session, words, key="k")
    until(lambda: model.stats()["in_flight"] == 1)
    stack.stop("postgres")
    until(lambda: model.stats()["in_flight"] == 0)
    began = time.monotonic()
    leaving.signal(signal.SIGTERM)
    assert problem(post.result())[0] in (502, 503)
    assert leaving.wait() == 0
    assert time.monotonic() - began < (1 + LEAVING_S) * PATIENCE
    stack.start("postgres")
    silence(leaving)
    answer = caller.at(worker()).chat(session, words, key="k")
    assert (answer.turn, answer.text) == (1, f"echo 1: {words}")
    assert record.states(session) == ["completed"]
