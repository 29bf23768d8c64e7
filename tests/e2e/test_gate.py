"""The gate: no more model calls in flight than permitted; who has to wait is served in turn; what cannot wait is
refused clearly."""

import time

from lib.client import problem
from lib.crowd import Ask, crowd
from lib.metrics import scrape
from lib.together import begin, together
from lib.wait import until


def gauge(running, name):
    return scrape(running).get(f"hansard_{name}")


def is_left_empty(running):
    """Every gauge of turns is back at nought."""
    metrics = scrape(running)
    names = ("turns_open", "line_waiting", "gate_in_use", "gate_waiting", "lane_waiting", "finish_unwritten")
    return [metrics.get(f"hansard_{name}") for name in names] == [0] * len(names)


def test_never_more_than_permitted(caller, worker, model, session):
    running = worker(llm_concurrency=3)
    at = caller.at(running)
    answers = together([lambda n=n: at.chat(f"{session} {n}", "[[delay 100]] x") for n in range(30)])
    assert {answer.text for answer in answers} == {"echo 1: [[delay 100]] x"}
    assert model.stats()["high_water"] == 3
    assert gauge(running, "gate_permits") == 3
    assert gauge(running, "gate_high_water") == 3
    until(lambda: is_left_empty(running))


def test_500_at_once(caller, worker, model, session):
    running = worker(llm_concurrency=10)
    asks = [Ask(caller.at(running), f"{session} {n}", "[[delay 20]] x") for n in range(500)]
    assert {heard.text for heard in crowd(asks)} == {"echo 1: [[delay 20]] x"}
    assert model.stats()["high_water"] == 10
    until(lambda: is_left_empty(running))


def test_each_worker_has_its_own(caller, worker, model, session):
    places = [caller.at(worker(llm_concurrency=2)) for _ in range(2)]
    posts = [lambda n=n: places[n % 2].chat(f"{session} {n}", "[[delay 200]] x") for n in range(12)]
    assert {answer.status for answer in together(posts)} == {200}
    assert model.stats()["high_water"] == 4


def test_a_failed_call_gives_its_permit_back(caller, worker, session):
    running = worker(llm_concurrency=1, llm_first_byte_timeout="200ms")
    at = caller.at(running)
    for words in ("[[status 400]]", "[[garbage]]", "[[delay 2000]]", "[[cut 0]]"):
        assert at.chat(session, words).status in (502, 504)
    assert at.chat(session, "fine").status == 200
    until(lambda: is_left_empty(running))


def test_first_come_first_served(caller, worker, model, session):
    running = worker(llm_concurrency=1)
    at = caller.at(running)
    posts = [begin(at.chat, f"{session} 0", "[[delay 600]] 0")]
    until(lambda: model.stats()["in_flight"] == 1)
    for n in range(1, 6):
        posts.append(begin(at.chat, f"{session} {n}", str(n)))
        until(lambda n=n: gauge(running, "gate_waiting") == n)
    assert {post.result().status for post in posts} == {200}
    assert [call["content"] for call in model.calls()] == ["[[delay 600]] 0", "1", "2", "3", "4", "5"]


def test_full_queue_refuses(record, limited, worker, model, session):
    running = worker(llm_concurrency=1, queue_limit=2)
    caller = limited(1, 9).at(running)
    posts = [begin(caller.chat, f"{session} {n}", "[[delay 700]] x") for n in range(3)]
    until(lambda: gauge(running, "turns_open") == 3 and len(record.turns(f"{session} 2")) == 1)
    before = record.counts()
    refused = caller.chat(f"{session} 3", "one too many")
    assert problem(refused) == (503, "queue_full")
    assert record.counts() == before
    assert {post.result().status for post in posts} == {200}
    assert len(model.calls("one too many")) == 0
    # The refusal cost no quota, and there is room again.
    until(lambda: gauge(running, "turns_open") == 0)
    assert caller.chat(f"{session} 3", "now").remaining == 5
    assert scrape(running).get("hansard_refusals_total", reason="queue_full") == 1


def test_no_queue_at_all(caller, worker, session):
    running = worker(llm_concurrency=1, queue_limit=0)
    at = caller.at(running)
    first = begin(at.chat, f"{session} 0", "[[delay 400]] x")
    until(lambda: gauge(running, "gate_in_use") == 1)
    assert problem(at.chat(f"{session} 1", "x")) == (503, "queue_full")
    assert first.result().status == 200


def test_waiting_beyond_the_deadline(record, caller, worker, model, session):
    """One turn holds the only permit for as long as a request may take; for those behind it the time is over too."""
    turns = 20
    running = worker(llm_concurrency=1, request_timeout="900ms")
    at = caller.at(running)
    began = time.monotonic()
    answers = together([lambda n=n: at.chat(f"{session} {n}", "[[delay 5000]] x") for n in range(turns)])
    took = time.monotonic() - began
    assert {problem(answer) for answer in answers} == {(504, "model_timeout")}
    assert took < 5
    rows = [row for n in range(turns) for row in record.turns(f"{session} {n}")]
    assert [(row.state, row.error_code) for row in rows] == [("failed", "model_timeout")] * turns
    # All but those few whose turn came just before their time was over were never called for.
    assert model.stats()["calls"] == sum(row.model_attempts for row in rows) < turns / 2
    assert gauge(running, "gate_wait_seconds_count") + gauge(running, "gate_expired_total") == turns
    until(lambda: is_left_empty(running))
    assert at.chat(f"{session} 0", "next").turn == 2
