"""HANSARD_DRAIN_DELAY: after SIGTERM nobody new comes in, who is connected is still served, and then it drains."""

import signal
import socket
import time

import pytest

from lib.client import problem
from lib.program import PATIENCE
from lib.together import begin
from lib.wait import until
from lib.wire import Wire

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"


def question(client, session, words):
    body = f'{{"session_id":"{session}","message":"{words}"}}'.encode()
    head = (
        f"POST /chat HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def kept(running):
    """A connection that has been used once and is idle."""
    wire = Wire(running.url)
    wire.send(LIVEZ)
    assert wire.receive_answer().headers["Connection"] is None
    return wire


def is_refused(running):
    """Within a moment: a SYN on its way when the worker stopped listening is refused at its repetition only."""
    try:
        socket.create_connection(("127.0.0.1", running.port), 0.2).close()
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        pass
    return False


def leave(running, number=signal.SIGTERM):
    running.signal(number)
    until(lambda: is_refused(running))


def test_who_is_connected_is_served_once_more(record, caller, worker, session):
    """Also with a new turn, which takes longer than the delay."""
    running = worker(drain_delay="1s")
    wires = [kept(running) for _ in range(3)]
    leave(running)
    wires[0].send(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
    wires[1].send(LIVEZ)
    wires[2].send(question(caller, session, "[[delay 2500]] x"))
    ready, live, answer = (wire.receive_answer() for wire in wires)
    assert ready.status == 503 and ready.json["draining"] is True and ready.json["ready"] is False
    assert live.status == 200
    assert answer.text == "echo 1: [[delay 2500]] x"
    for answer, wire in zip((ready, live, answer), wires, strict=True):
        assert answer.headers["Connection"] == "close"
        wire.receive_all()
        assert wire.is_closed
    assert running.wait() == 0
    assert record.states(session) == ["completed"]


def test_turns_that_run_are_answered(record, caller, worker, session):
    running = worker(drain_delay="5s")
    turn = begin(caller.at(running).chat, session, "[[delay 1000]] x")
    until(lambda: record.is_running(session))
    leave(running)
    answer = turn.result()
    assert answer.turn == 1 and answer.headers["Connection"] == "close"
    began = time.monotonic()
    assert running.wait() == 0
    assert time.monotonic() - began < 2 * PATIENCE  # it does not wait for the delay's end
    assert record.states(session) == ["completed"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_connections_it_ends_at_once(worker, number):
    running = worker(drain_delay="60s")
    began = time.monotonic()
    running.signal(number)
    assert running.wait() == 0
    assert time.monotonic() - began < 2 * PATIENCE


def test_idle_connections_are_cut(worker):
    """Not at once, for the proxy should give them up first; and then the delay is over."""
    running = worker(drain_delay="60s")
    began = time.monotonic()
    with kept(running) as one, kept(running) as two:
        leave(running)
        one.receive_all()
        two.receive_all()
        assert one.is_closed and two.is_closed and not one.received + two.received
        assert 1.9 < time.monotonic() - began < 4 * PATIENCE
        assert running.wait() == 0


def test_after_the_delay_new_work_is_refused(record, caller, worker, session):
    """On a connection that was open all the time: its request began in the delay, and ends after it."""
    running = worker(drain_delay="500ms", http_threads=1)
    asked = question(caller, f"{session} late", "x")
    with kept(running) as late:
        turn = begin(caller.at(running).chat, session, "[[delay 2500]] x")
        until(lambda: record.is_running(session))
        leave(running)
        late.send(asked[:-5])
        time.sleep(1.2)  # nothing tells from outside when the delay is over
        late.send(asked[-5:])
        assert problem(late.receive_answer()) == (503, "draining")
    assert turn.result().turn == 1
    assert running.wait() == 0
    assert record.states(f"{session} late") == []


def test_running_turns_have_the_drain_timeout_from_the_end_of_the_delay(record, caller, worker, session):
    running = worker(drain_delay="1s", drain_timeout="1s")
    began = time.monotonic()
    turns = [begin(caller.at(running).chat, f"{session} {n}", f"[[delay {n}]] x") for n in (1500, 20000)]
    until(lambda: all(record.is_running(f"{session} {n}") for n in (1500, 20000)))
    running.signal(signal.SIGTERM)
    assert turns[0].result().turn == 1
    assert problem(turns[1].result()) == (502, "worker_lost")
    assert 2 <= time.monotonic() - began < 10 * PATIENCE
    assert running.wait() == 0


def test_second_signal_ends_it_at_once(record, caller, worker, session):
    running = worker(drain_delay="60s")
    turn = begin(caller.at(running).chat, session, "[[delay 20000]] x")
    until(lambda: record.is_running(session))
    leave(running)
    running.signal(signal.SIGTERM)
    assert running.wait(5) == 1
    assert turn.exception() is not None


def connect_and_ask(running):
    """(status, how long it took), or what went wrong: a connection that came to be is answered, else it is refused."""
    began = time.monotonic()
    try:
        with Wire(running.url) as wire:
            if not wire.send(LIVEZ):
                return "broken"
            answer = wire.receive_answer()
            return answer.status if answer else "broken"
    except ConnectionRefusedError:
        return "slow" if time.monotonic() - began > 1.9 * PATIENCE else "refused"


def knock(running):
    """New connections, one after the other, until one is not served."""
    while (outcome := connect_and_ask(running)) == 200:
        pass
    return outcome


def test_nobody_is_reset_when_it_stops_listening(worker):
    """Each connection is either answered or refused, however close to the moment."""
    for _ in range(10):
        running = worker(drain_delay="5s")
        callers = [begin(knock, running) for _ in range(16)]
        time.sleep(0.2)
        running.signal(signal.SIGTERM)
        assert {caller.result() for caller in callers} == {"refused"}
        assert running.wait() == 0
