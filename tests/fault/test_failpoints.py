"""Failpoints: a worker dies at each step on the way of a turn; the same key brings the same turn to its end, once."""

import http.client
import re
import signal

import pytest

from lib.client import problem
from lib.program import ROOT
from lib.together import together
from lib.wait import until

# What is stored when it dies there, and how often the model is asked in the end.
STEPS = {
    "accept_before_send": (None, 1),
    "accept_after_commit": ("running", 1),
    "accepted_before_model": ("running", 1),
    "before_model_call": ("running", 1),
    "finish_before_send": ("running", 2),
    "finish_after_commit": ("completed", 1),
    "finished_before_answer": ("completed", 1),
}
OF_JOBS = {"claimed_before_model"}  # test_jobs_deaths.py dies there
CROWD = 24


def test_every_failpoint_is_here():
    texts = [file.read_text() for file in (ROOT / "src").rglob("*.c")]
    name = re.compile(r'"((?:\w+_)?(?:before|after)_\w+)"')  # each says before or after what
    assert {found for text in texts if "FAILPOINT(" in text for found in name.findall(text)} == set(STEPS) | OF_JOBS


def ask_the_doomed(client, session, words, key):
    """The answer, or None: the connection broke."""
    try:
        return client.chat(session, words, key=key)
    except (OSError, http.client.HTTPException):
        return None


def has_died(running):
    return running.wait() == -signal.SIGKILL


@pytest.mark.parametrize("step", STEPS)
def test_one_turn(record, worker, limited, model, silence, session, step):
    stored, calls = STEPS[step]
    caller = limited(1, 9)
    doomed = worker(failpoint=step)
    words = f"{session} words"
    assert ask_the_doomed(caller.at(doomed), session, words, "k") is None
    assert has_died(doomed)
    assert record.states(session) == ([stored] if stored else [])
    silence(doomed)

    at = caller.at(worker())
    answer = at.chat(session, words, key="k")
    assert (answer.turn, answer.text) == (1, f"echo 1: {words}")
    assert answer.headers["Idempotent-Replayed"] == ("true" if stored == "completed" else None)
    (turn,) = record.turns(session)
    assert (turn.state, turn.attempt) == ("completed", 2 if stored == "running" else 1)
    assert turn.said == [words, answer.text]
    assert len(model.calls(words)) == calls

    again = at.chat(session, words, key="k")
    assert (again.body, again.headers["Idempotent-Replayed"]) == (answer.body, "true")
    after = at.chat(session, "and then")
    assert (after.turn, after.text) == (2, "echo 3: and then")
    assert after.remaining == 9 - 2  # the quota was paid once
    assert len(model.calls(words)) == calls


@pytest.mark.parametrize("step", STEPS)
def test_in_a_crowd(stack, ledger, worker, caller, key, silence, session, step):
    """It dies with many turns in its hands, at every stage; batches are cut in the middle of their way."""
    doomed = worker(failpoint=f"{step}:{7 if 'model' in step or 'answer' in step else 2}")
    promises = [ledger.ask(f"{session} {n % 12}", f"{n}", f"[[delay {n % 5 * 9}]] {n}") for n in range(CROWD)]

    def ask(promise, place):
        answer = ask_the_doomed(caller.at(place), promise.session, promise.words, promise.key)
        if answer and answer.status == 200:
            ledger.answered(promise, answer)
        elif answer:
            # Another question to its session came first, and closed it.
            assert problem(answer) == (502, "worker_lost")
            ledger.failed(promise, answer)
        return answer

    first = together([lambda p=p: ask(p, doomed) for p in promises])
    assert has_died(doomed)
    assert None in first
    silence(doomed)
    heir = worker()
    second = together([lambda p=p: ask(p, heir) for p in promises])
    assert None not in second
    for before, after in zip(first, second, strict=True):
        assert before is None or before.body == after.body
    until(lambda: ledger.running(stack) == 0)
    ledger.check(stack)
