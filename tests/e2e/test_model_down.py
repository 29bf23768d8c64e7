"""The model in trouble: while it is down, turns are refused at once and nothing of them is stored; it is back for callers
within two seconds of coming back itself; a fallback answers meanwhile; what it cannot bear is not sent to it."""

import time

import pytest

from lib.client import problem
from lib.metrics import scrape
from lib.moody import MoodyModel
from lib.program import PATIENCE
from lib.together import begin, together
from lib.wait import until


@pytest.fixture
def moody():
    model = MoodyModel()
    yield model
    model.close()


@pytest.fixture
def other():
    model = MoodyModel("other")
    yield model
    model.close()


def state(running, server="primary"):
    """up, down, or trial, by what the gauges say."""
    metrics = scrape(running)
    if metrics.get("hansard_llm_up", server=server) == 1:
        return "up"
    return "down" if metrics.get("hansard_llm_limit", server=server) == 0 else "trial"


def bring_down(at, moody, running, session, mood=500):
    moody.set(mood)
    count = 0
    while state(running) != "down":
        assert at.chat(f"{session} down {count}", "x").status in (502, 503, 504)
        count += 1
        assert count < 20
    return count


@pytest.mark.parametrize("mood", [500, 503, "away"])
def test_down_is_refused_at_once_and_stores_nothing(record, caller, worker, moody, session, mood):
    running = worker(llm_url=moody.llm_url)
    at = caller.at(running)
    assert at.chat(session, "x").text == "moody: x"
    bring_down(at, moody, running, session, mood)
    before = record.counts()
    calls = moody.calls
    for n in range(20):
        began = time.monotonic()
        refused = at.chat(f"{session} {n}", "x")
        assert problem(refused) == (503, "model_unavailable")
        assert time.monotonic() - began < 0.5 * PATIENCE
        assert int(refused.headers["Retry-After"]) >= 1
    assert record.counts() == before
    assert moody.calls == calls
    assert scrape(running).get("hansard_refusals_total", reason="model_unavailable") >= 20


def test_no_quota_is_charged(limited, worker, moody, session):
    running = worker(llm_url=moody.llm_url)
    at = limited(10, 10).at(running)
    bring_down(at, moody, running, session)
    left = int(at.chat(f"{session} a", "x").headers["x-ratelimit-remaining-requests"])
    for n in range(5):
        assert problem(at.chat(f"{session} {n}", "x")) == (503, "model_unavailable")
    moody.set("well")
    until(lambda: state(running) != "down")
    answer = at.chat(f"{session} b", "x")
    assert answer.status == 200
    assert int(answer.headers["x-ratelimit-remaining-requests"]) >= left - 1


@pytest.mark.parametrize("mood", [500, "away", "stall"])
def test_back_within_two_seconds(caller, worker, moody, session, mood):
    running = worker(llm_url=moody.llm_url, llm_first_byte_timeout="300ms", llm_total_timeout="60s")
    at = caller.at(running)
    bring_down(at, moody, running, session, mood)
    time.sleep(1.5)  # in the middle of probing
    moody.set("well")
    began = time.monotonic()
    until(lambda: at.chat(f"{session} {time.monotonic()}", "x").status == 200)
    assert time.monotonic() - began < 2 * PATIENCE
    until(lambda: state(running) == "up")


def test_a_trial_that_hangs_does_not_keep_it_closed(caller, worker, moody, session):
    """The probe is answered, but the call that tries is swallowed: the next may try a second later."""
    running = worker(llm_url=moody.llm_url, llm_first_byte_timeout="30s", llm_total_timeout="60s")
    at = caller.at(running)
    bring_down(at, moody, running, session)
    moody.set(404)  # probes are answered: a trial begins; 404 tells nothing of calls
    until(lambda: state(running) == "trial")
    moody.set("stall")
    hanging = begin(at.chat, f"{session} hangs", "x")
    until(lambda: moody.in_flight == 1)
    time.sleep(0.1)
    began = time.monotonic()
    moody.set_for_new_calls("well")
    until(lambda: at.chat(f"{session} {time.monotonic()}", "x").status == 200)
    assert time.monotonic() - began < 2 * PATIENCE
    moody.set("well")
    hanging.result()


def test_what_waits_is_held_and_goes_on(record, caller, worker, moody, session):
    """Turns that were stored before it went down wait at the gate, and are answered when it is back."""
    running = worker(llm_url=moody.llm_url, llm_concurrency=1, llm_first_byte_timeout="300ms")
    at = caller.at(running)
    moody.set("stall")
    posts = [begin(at.chat, f"{session} {n}", f"{n}") for n in range(8)]
    until(lambda: state(running) == "down", seconds=30)
    until(lambda: scrape(running).get("hansard_gate_in_use") == 0)
    waiting = scrape(running).get("hansard_gate_waiting")
    assert waiting >= 1
    calls = moody.calls
    time.sleep(0.7)
    assert moody.calls == calls and scrape(running).get("hansard_gate_waiting") == waiting
    moody.set("well")
    answers = [post.result() for post in posts]
    assert sum(answer.status == 200 for answer in answers) >= waiting
    assert {answer.status for answer in answers} <= {200, 504}


def test_one_bad_question_does_not_close_it(caller, worker, moody, session):
    """A status that is about the request alone says nothing of the server."""
    running = worker(llm_url=moody.llm_url)
    at = caller.at(running)
    moody.set(400)
    for n in range(12):
        assert at.chat(f"{session} {n}", "x").status == 502
    assert state(running) == "up"


def test_the_fallback_answers(record, caller, worker, moody, other, session):
    running = worker(llm_url=moody.llm_url, llm_model="first", llm_fallback_url=other.llm_url, llm_fallback_model="second")
    at = caller.at(running)
    assert at.chat(session, "one").json["model"] == "first"
    moody.set(500)
    answers = [at.chat(session, f"{n}") for n in range(6)]
    assert [(answer.status, answer.json["model"]) for answer in answers] == [(200, "second")] * 6
    assert answers[-1].text == "other: 5"
    # By now the first counts as down, and is asked no more.
    calls = moody.calls
    assert state(running) == "down"
    assert [at.chat(session, "x").status for _ in range(3)] == [200] * 3
    assert moody.calls == calls
    assert set(other.models) == {"second"}
    assert record.states(session) == ["completed"] * 10


def test_the_primary_is_asked_again_when_it_is_back(caller, worker, moody, other, session):
    running = worker(llm_url=moody.llm_url, llm_fallback_url=other.llm_url)
    at = caller.at(running)
    moody.set("away")
    until(lambda: at.chat(session, "x").status == 200 and state(running) == "down")
    moody.set("well")
    until(lambda: at.chat(session, "x").text == "moody: x")
    assert state(running) == "up"


def test_both_down(record, caller, worker, moody, other, session):
    running = worker(llm_url=moody.llm_url, llm_fallback_url=other.llm_url)
    at = caller.at(running)
    moody.set(500)
    other.set("away")
    for n in range(12):
        assert at.chat(f"{session} {n}", "x").status in (502, 503)
    before = record.counts()
    assert problem(at.chat(f"{session} x", "x")) == (503, "model_unavailable")
    assert record.counts() == before
    other.set("well")
    began = time.monotonic()
    until(lambda: at.chat(f"{session} {time.monotonic()}", "x").status == 200)
    assert time.monotonic() - began < 2 * PATIENCE


def test_permits_are_counted_over_both(caller, worker, moody, other, session):
    running = worker(llm_url=moody.llm_url, llm_fallback_url=other.llm_url, llm_concurrency=3)
    at = caller.at(running)
    moody.set(503)
    answers = together([lambda n=n: at.chat(f"{session} {n}", "x") for n in range(40)])
    assert {answer.status for answer in answers} == {200}
    assert other.high_water <= 3 and scrape(running).get("hansard_gate_high_water") <= 3
    until(lambda: scrape(running).get("hansard_gate_in_use") == 0)


def test_429_lowers_the_limit_and_success_raises_it(caller, worker, moody, session):
    running = worker(llm_url=moody.llm_url, llm_concurrency=10)
    at = caller.at(running)
    moody.set(429)
    together([lambda n=n: at.chat(f"{session} a{n}", "x") for n in range(30)])
    assert state(running) == "up"
    low = scrape(running).get("hansard_llm_limit", server="primary")
    assert 1 <= low <= 5
    moody.set("well")

    def is_whole():
        together([lambda n=n: at.chat(f"{session} b{n}", "x") for n in range(40)])
        return scrape(running).get("hansard_llm_limit", server="primary") == 10

    until(is_whole, seconds=30)
    assert scrape(running).get("hansard_gate_permits") == 10
