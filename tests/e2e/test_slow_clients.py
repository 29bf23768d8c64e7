"""Slow clients: a request has a time to be complete in, however it trickles, and a connection a time to rest."""

import time

import pytest

from lib.client import problem
from lib.program import PATIENCE
from lib.wait import until
from lib.wire import Wire, split_answers

READ_S, IDLE_S = 0.4, 0.9
SLACK_S = 1.5 * PATIENCE
EARLY_S = 0.01  # the worker counts in whole milliseconds
HEAD = b"POST /chat HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
def impatient(worker):
    return worker(read_timeout=f"{int(READ_S * 1000)}ms", idle_timeout=f"{int(IDLE_S * 1000)}ms")


def closed_after(wire, began):
    """Seconds from began until the other side has closed."""
    wire.receive_all()
    assert wire.is_closed
    return time.monotonic() - began


def trickle(wire, data):
    """A byte now and then, as long as the other side listens."""
    for n in range(len(data)):
        if wire.is_closed or not wire.send(data[n : n + 1]):
            break
        wire.receive(0.1)


@pytest.mark.parametrize(
    "sent",
    [b"POST /chat HTTP/1.1\r\n", b"POST /chat HTTP/1.1\r\nHost: h\r\n", HEAD, HEAD + b'{"session_id"'],
    ids=["request line", "half a head", "head", "half a body"],
)
def test_half_a_request_is_told_so(record, impatient, sent):
    before = record.counts()
    began = time.monotonic()
    with Wire(impatient.url) as wire:
        wire.send(sent)
        assert READ_S - EARLY_S <= closed_after(wire, began) < READ_S + SLACK_S
    (answer,) = split_answers(wire.received)
    assert problem(answer) == (408, "request_timeout")
    assert answer.headers["Connection"] == "close"
    assert record.counts() == before


@pytest.mark.parametrize("sent", [HEAD, b""], ids=["body", "all"])
def test_trickling_does_not_win_time(impatient, sent):
    began = time.monotonic()
    with Wire(impatient.url) as wire:
        wire.send(sent)
        trickle(wire, HEAD[:30] if not sent else b" " * 30)
        assert READ_S - EARLY_S <= closed_after(wire, began) < READ_S + SLACK_S
    assert {answer.status for answer in split_answers(wire.received)} <= {408}


@pytest.mark.parametrize("sent", [b"", b"POST /ch"], ids=["nothing", "half a line"])
def test_silence_is_closed_without_a_word(impatient, sent):
    began = time.monotonic()
    with Wire(impatient.url) as wire:
        wire.send(sent)
        assert READ_S - EARLY_S <= closed_after(wire, began) < READ_S + SLACK_S
    assert wire.received == b""


def test_connection_at_rest_is_closed(impatient):
    with Wire(impatient.url) as wire:
        began = time.monotonic()
        wire.send(LIVEZ)
        assert wire.receive_answer().status == 200
        assert IDLE_S - EARLY_S <= closed_after(wire, began) < IDLE_S + SLACK_S
        assert wire.received == b""


def test_connection_in_use_is_not(impatient):
    """Each request has its own time."""
    with Wire(impatient.url) as wire:
        for _ in range(4):
            wire.send(LIVEZ)
            assert wire.receive_answer().status == 200
            time.sleep(READ_S)


def test_waiting_for_the_model_is_not_slowness(impatient, caller, session):
    assert caller.at(impatient).chat(session, f"[[delay {int(1000 * IDLE_S) + 300}]] x").turn == 1


def test_client_that_leaves_does_not_take_his_turn_along(record, caller, worker, session):
    """Once it is accepted, a turn ends in the record, heard or not."""
    running = worker()
    body = b'{"session_id":"%s","message":"[[delay 300]] x"}' % session.encode()
    head = (
        f"POST /chat HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {caller.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with Wire(running.url) as wire:
        wire.send(head.encode() + body)
        until(lambda: record.is_running(session))
    assert caller.chat(session, "next").turn == 2
    assert record.states(session) == ["completed", "completed"]
