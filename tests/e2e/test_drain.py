"""Draining: after SIGTERM what runs is answered, what comes is refused, and then the worker is gone, exit code 0."""

import signal
import time

import pytest

from lib.client import problem
from lib.metrics import scrape
from lib.program import PATIENCE
from lib.together import begin
from lib.wait import until
from lib.wire import Wire


def begin_turns(record, client, session, words, count):
    """They run when this returns."""
    turns = [begin(client.chat, f"{session} {n}", words) for n in range(count)]
    until(lambda: all(record.is_running(f"{session} {n}") for n in range(count)))
    return turns


def is_draining(client):
    """It says so, and closes each connection; of one HTTP thread, for each learns of it by itself."""
    answer = client.get("/readyz")
    return answer.json["draining"] and answer.headers["Connection"] == "close"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_worker_ends_at_once(stack, worker, number):
    running = worker()
    began = time.monotonic()
    running.signal(number)
    assert running.wait() == 0
    assert time.monotonic() - began < 2 * PATIENCE


def test_running_turns_are_answered(record, caller, worker, session):
    running = worker(http_threads=1)
    at = caller.at(running)
    turns = begin_turns(record, at, session, "[[delay 1200]] x", 5)
    running.signal(signal.SIGTERM)
    until(lambda: is_draining(at))

    ready = at.get("/readyz")
    assert ready.status == 503 and ready.json["ready"] is False
    before = record.counts()
    refused = at.chat(f"{session} new", "x")
    assert problem(refused) == (503, "draining")
    assert refused.headers["Connection"] == "close"
    assert record.counts() == before
    assert at.get("/livez").status == 200
    # The next message of a conversation that is being answered is new work, too.
    assert problem(at.chat(f"{session} 0", "x")) == (503, "draining")

    for turn in turns:
        answer = turn.result()
        assert answer.text == "echo 1: [[delay 1200]] x"
        assert answer.headers["Connection"] == "close"
    assert running.wait() == 0
    assert [record.states(f"{session} {n}") for n in range(5)] == [["completed"]] * 5
    assert caller.chat(f"{session} new", "x").turn == 1


def test_open_connections_are_told(record, caller, worker, session):
    """One kept from before the signal."""
    running = worker(http_threads=1)
    with Wire(running.url) as wire:
        wire.send(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        assert wire.receive_answer().headers["Connection"] is None
        (turn,) = begin_turns(record, caller.at(running), session, "[[delay 800]] x", 1)
        running.signal(signal.SIGTERM)
        until(lambda: is_draining(caller.at(running)))
        wire.send(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        assert wire.receive_answer().headers["Connection"] == "close"
        wire.receive_all()
        assert wire.is_closed
    assert turn.result().status == 200


def test_who_waits_in_line_is_answered_too(record, caller, worker, session):
    """They were let in before the signal."""
    running = worker()
    at = caller.at(running)
    first = begin(at.chat, session, "[[delay 800]] first")
    until(lambda: record.is_running(session))
    second = begin(at.chat, session, "second")
    until(lambda: at.get("/metrics").body.find(b"hansard_line_waiting 1\n") > 0)
    running.signal(signal.SIGTERM)
    assert (first.result().turn, second.result().turn) == (1, 2)
    assert running.wait() == 0


def test_drain_deadline(record, caller, worker, session):
    """What does not end in time is given up, told so and closed; others may go on with the conversation at once."""
    running = worker(drain_timeout="500ms")
    (turn,) = begin_turns(record, caller.at(running), session, "[[delay 20000]] x", 1)
    began = time.monotonic()
    running.signal(signal.SIGTERM)
    assert problem(turn.result()) == (502, "worker_lost")  # not the model's fault
    assert running.wait() == 0
    assert 0.5 <= time.monotonic() - began < 10 * PATIENCE
    (row,) = record.turns(f"{session} 0")
    assert (row.state, row.error_code) == ("failed", "worker_lost")
    began = time.monotonic()
    assert caller.chat(f"{session} 0", "next").turn == 2
    assert time.monotonic() - began < 2 * PATIENCE


def test_turns_that_still_wait_are_given_up_too(record, caller, worker, session):
    """One calls the model, two are stored and wait for a permit: all three are told and stored alike."""
    running = worker(drain_timeout="300ms", llm_concurrency=1)
    turns = begin_turns(record, caller.at(running), session, "[[delay 20000]] x", 3)
    running.signal(signal.SIGTERM)
    for turn in turns:
        assert problem(turn.result()) == (502, "worker_lost")
    assert running.wait() == 0
    for n in range(3):
        (row,) = record.turns(f"{session} {n}")
        assert (row.state, row.error_code) == ("failed", "worker_lost")


def test_who_waits_for_a_conversation_is_told_that_nothing_is_stored(record, caller, worker, session):
    running = worker(drain_timeout="300ms")
    at = caller.at(running)
    (first,) = begin_turns(record, at, session, "[[delay 20000]] x", 1)
    seconds = [begin(at.chat, f"{session} 0", f"after it {n}") for n in range(20)]
    until(lambda: scrape(running).get("hansard_line_waiting") == 20)
    running.signal(signal.SIGTERM)
    assert problem(first.result()) == (502, "worker_lost")
    for second in seconds:
        assert problem(second.result()) == (503, "draining")
    assert running.wait() == 0
    assert record.states(f"{session} 0") == ["failed"]


@pytest.mark.parametrize("request_line", ["POST /chat", "GET /conversations/a", "DELETE /conversations/a"])
def test_request_that_ends_after_the_worker_has(stack, record, worker, request_line):
    """Its head came in time; by the time its body is there, nobody is behind the counter any more."""
    running = worker(drain_timeout="0ms")
    before = record.counts()
    body = b'{"session_id":"a","message":"too late"}'
    with Wire(running.url) as wire:
        wire.send(f"{request_line} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:5])
        wire.receive(0.2)
        running.signal(signal.SIGTERM)
        until(lambda: any('"event":"drained"' in line for line in running.log_lines()))
        wire.receive(1.5)  # core is closed within this time; the loop waits for us
        wire.send(body[5:])
        assert problem(wire.receive_answer()) == (503, "draining")
    assert running.wait() == 0
    assert record.counts() == before


def test_second_signal_ends_it_at_once(record, caller, worker, session):
    running = worker(http_threads=1)
    (turn,) = begin_turns(record, caller.at(running), session, "[[delay 20000]] x", 1)
    running.signal(signal.SIGTERM)
    until(lambda: is_draining(caller.at(running)))
    running.signal(signal.SIGTERM)
    assert running.wait(5) == 1
    assert turn.exception() is not None


def test_it_leaves_the_list_of_workers(stack, worker):
    running = worker()
    rows = "SELECT lost_at IS NULL AS lives, has_left FROM hansard.workers WHERE name LIKE %s"
    assert [tuple(row) for row in stack.sql(rows, f"%:{running.port}")] == [(True, False)]
    running.stop()
    assert [tuple(row) for row in stack.sql(rows, f"%:{running.port}")] == [(False, True)]
    stack.sql("UPDATE hansard.workers SET lost_at = lost_at - interval '10 seconds' WHERE has_left")
    stack.sql("SELECT hansard_api.reap_workers()")
    assert stack.sql(rows, f"%:{running.port}") == []
