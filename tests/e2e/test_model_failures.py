"""The model fails: the caller is told so clearly, the turn is kept as failed and counted, and the conversation goes on
as if its words had not been said."""

import time

import pytest

from lib.client import problem
from lib.metrics import scrape
from lib.ports import free_port
from lib.program import SANITIZER
from lib.together import together

TIMES = {"llm_first_byte_timeout": "400ms", "llm_stall_timeout": "1s", "llm_answer_bytes": 4096}
TIMEOUT = (504, "model_timeout")
FAILED = (502, "model_failed")
UNAVAILABLE = (503, "model_unavailable")


@pytest.mark.parametrize(
    "words, outcome, attempts",
    [
        ("[[status 500]] x", FAILED, 3),
        ("[[status 503]] x", FAILED, 3),
        ("[[status 429]] x", FAILED, 3),
        ("[[status 400]] x", FAILED, 1),
        ("[[status 401]] x", FAILED, 1),
        ("[[cut 10]] x", FAILED, 3),
        ("[[cut 0]] x", FAILED, 3),
        ("[[garbage]] x", FAILED, 1),
        ("[[big 10000]] x", FAILED, 1),
        ("[[status 204]] x", FAILED, 1),
        ("[[delay 3000]] x", TIMEOUT, 1),
        ("[[stall]] x", TIMEOUT, 1),
    ],
)
def test_failed_turn(stack, record, limited, worker, model, session, words, outcome, attempts):
    caller = limited(1, 9).at(worker(**TIMES))
    twin = f"{session} twin"
    caller.chat(session, "before")
    failed = caller.chat(session, words)
    after = caller.chat(session, "after")

    # told
    assert problem(failed) == outcome
    assert failed.json["turn"] == 2
    assert failed.json["error"]["type"] == "server_error"
    # kept
    kept = record.turns(session)[1]
    assert (kept.state, kept.error_code, kept.said) == ("failed", outcome[1], [words])
    assert (kept.model_attempts, kept.request_id) == (attempts, failed.headers["X-Request-Id"])
    assert kept.finished_at >= kept.accepted_at
    assert len(model.calls(words)) == attempts
    # counted
    assert [failed.remaining, after.remaining] == [7, 6]
    # left out of what the model is shown: the same as if it had never been
    assert after.turn == 3
    caller.chat(twin, "before")
    assert caller.chat(twin, "after").turn == 2
    seen = model.calls("after")
    assert seen[0]["roles"] == ["user", "assistant", "user"]
    assert seen[0]["hash"] == seen[1]["hash"]


def test_failed_turn_is_shown_to_the_caller(caller, worker, session):
    at = caller.at(worker(**TIMES))
    at.chat(session, "[[status 400]] x")
    at.chat(session, "fine")
    failed, fine = at.read(session).json["turns"]
    assert (failed["status"], failed["error"]) == ("failed", "model_failed")
    assert failed["messages"] == [{"position": 1, "role": "user", "content": "[[status 400]] x"}]
    assert (fine["status"], fine["error"], len(fine["messages"])) == ("completed", None, 2)


def test_detail_says_why(caller, worker, session):
    at = caller.at(worker(**TIMES))
    for words, reason in (
        ("[[status 418]]", "418"),
        ("[[garbage]]", "JSON"),
        ("[[big 10000]]", "too large"),
        ("[[cut 10]]", "broke off"),
        ("[[delay 3000]]", "begin to answer in time"),
        ("[[stall]]", "silent"),
    ):
        assert reason in at.chat(session, f"{words} x").json["detail"]


def test_first_turn_may_fail(record, caller, worker, model, session):
    at = caller.at(worker(**TIMES))
    assert problem(at.chat(session, "[[status 400]] x")) == FAILED
    assert at.chat(session, "hello").text == "echo 1: hello"
    assert record.states(session) == ["failed", "completed"]


@pytest.mark.parametrize("words", ["[[status 500 1]] x", "[[status 429 2]] x", "[[status 502 2]] x"])
def test_repeated_until_it_works(record, caller, worker, session, words):
    times = int(words.split()[2][0])
    running = worker(**TIMES)
    assert caller.at(running).chat(session, words).text == f"echo 1: {words}"
    (row,) = record.turns(session)
    assert (row.state, row.model_attempts) == ("completed", times + 1)
    metrics = scrape(running)
    assert metrics.get("hansard_llm_retries_total") == times
    assert metrics.get("hansard_llm_attempts_total", result="ok") == 1


def test_repeat_waits_as_long_as_the_model_asked(caller, worker, model, session):
    words = "[[status 429 1]] [[retry-after 1]] x"
    assert caller.at(worker(**TIMES)).chat(session, words).status == 200
    first, second = model.calls(words)
    assert 1000 <= second["time_ms"] - first["time_ms"]
    if not SANITIZER:
        assert second["time_ms"] - first["time_ms"] < 1500


def test_model_that_asks_for_too_long_a_wait(caller, worker, model, session):
    """It would end after the deadline: told at once."""
    words = "[[status 503]] [[retry-after 3600]] x"
    began = time.monotonic()
    failed = caller.at(worker(request_timeout="4s", **TIMES)).chat(session, words)
    assert problem(failed) == FAILED
    assert time.monotonic() - began < 4
    assert len(model.calls(words)) == 1


def test_repeats_stay_within_their_budget(caller, worker, model, session):
    """Ten, and a tenth of the calls: a model that is down is not called three times as often."""
    running = worker(llm_concurrency=40)
    at = caller.at(running)
    answers = together([lambda n=n: at.chat(f"{session} {n}", "[[delay 500]] [[status 500]]") for n in range(40)])
    called = [answer for answer in answers if problem(answer) == FAILED]
    assert {problem(answer) for answer in answers if answer not in called} <= {UNAVAILABLE}  # came when it was known
    assert len(called) >= 20
    assert len(called) < model.stats()["calls"] <= len(called) + 10 + 4
    assert scrape(running).get("hansard_llm_retries_denied_total") >= len(called) - 14


def test_redirects_are_not_followed(caller, recorder, worker, session):
    words = f"[[redirect {recorder.origin}/v1/models]] x"
    failed = caller.at(worker(**TIMES)).chat(session, words)
    assert problem(failed) == FAILED
    assert "302" in failed.json["detail"]
    assert recorder.requests() == []


def test_model_that_is_away(record, caller, worker, session):
    failed = caller.at(worker(llm_url=f"http://127.0.0.1:{free_port()}/v1")).chat(session, "x")
    assert problem(failed) == FAILED
    assert "no connection" in failed.json["detail"]
    (row,) = record.turns(session)
    assert (row.state, row.first_byte_at, row.model_attempts) == ("failed", None, 3)


def test_answer_of_the_largest_size(caller, worker, session):
    at = caller.at(worker())
    answer = at.chat(session, "[[big 1000000]] x")
    assert answer.text == "x" * 1000000
    assert at.chat(session, "next").turn == 2


def test_all_attempts_end_by_the_total_timeout(record, caller, worker, session):
    running = worker(llm_total_timeout="800ms")
    began = time.monotonic()
    failed = caller.at(running).chat(session, "[[delay 5000]] x")
    assert problem(failed) == TIMEOUT
    assert 0.8 <= time.monotonic() - began < 5
    assert record.states(session) == ["failed"]


def test_answer_comes_by_the_request_timeout(record, caller, worker, session):
    running = worker(request_timeout="800ms")
    began = time.monotonic()
    failed = caller.at(running).chat(session, "[[delay 5000]] x")
    took = time.monotonic() - began
    assert problem(failed) == TIMEOUT
    assert took < 5
    if not SANITIZER:
        assert took < 0.95
    assert record.states(session) == ["failed"]
