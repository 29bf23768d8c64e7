"""Behind nginx: callers keep their addresses, answers pass unchanged, and one worker does for another."""

import pytest

from lib.client import Client, problem
from lib.record import Record
from lib.stack import Stack
from lib.wire import Wire


@pytest.fixture(scope="module")
def pair():
    running = Stack(workers=2).up()
    running.make_tier("unlimited", None, 1000000)
    yield running
    running.destroy()


@pytest.fixture
def client(pair, user):
    return Client(pair.url, pair.add_key(user, "unlimited"))


def worker_of(client):
    return client.get("/readyz").json["worker"]


def test_callers_are_counted_by_their_own_address(pair, session):
    """Over both workers, exactly; and they cannot say they are somebody else."""
    one, two = Client(pair.url, source="127.6.0.1"), Client(pair.url, source="127.6.0.2")
    forged = {"X-Forwarded-For": "203.0.113.9"}
    statuses = [one.chat(f"{session} {n}", "x", headers=forged).status for n in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    assert two.chat(f"{session} two", "x").status == 200
    record = Record(pair)
    assert record.turns(f"{session} 0")[0].address == one.source
    assert record.turns(f"{session} two")[0].address == two.source


def test_answers_pass_unchanged(client, session):
    assert problem(client.post(b"{")) == (400, "invalid_json")
    assert problem(client.read(session)) == (404, "not_found")
    assert problem(client.chat(session, "[[status 400]] x")) == (502, "model_failed")
    assert problem(client.post(b" " * 300000)) == (413, "request_too_large")
    assert client.chat(session, "[[big 300000]]").text == "x" * 300000


def test_smuggling_does_not_come_through(pair, client, session):
    with Wire(pair.url) as wire:
        wire.send(
            b"POST /chat HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /livez HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        wire.receive_all()
    assert b"ok\n" not in wire.received
    assert wire.received.startswith(b"HTTP/1.1 400 ")


def test_one_worker_does_for_another(pair, client, session):
    both = {worker_of(client) for _ in range(8)}
    assert len(both) == 2
    for number in (1, 2):
        pair.stop(f"worker{number}")
        assert [client.chat(session, "x").status for _ in range(6)] == [200] * 6
        pair.start(f"worker{number}")
    assert client.chat(session, "x").turn == 13


def test_no_worker_at_all(pair, client, session):
    pair.stop("worker1"), pair.stop("worker2")
    refused = client.chat(session, "x", key="k")
    pair.start("worker1"), pair.start("worker2")
    assert problem(refused) == (503, "worker_unavailable")
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["Cache-Control"] == "no-store"
    assert client.chat(session, "x", key="k").turn == 1


def test_body_that_no_worker_gets_to_see(client):
    """Far above the ceiling nginx refuses it itself, in the workers' words."""
    refused = client.post(b" " * (8 << 20) + b"{}")
    assert problem(refused) == (413, "request_too_large")
    assert refused.headers["Cache-Control"] == "no-store"
