"""Webhooks: what a receiver gets, what becomes of what it does not take; with a real receiver, over TLS, on loopback."""

import json
import signal
import time

import pytest

from lib.metrics import scrape
from lib.program import PATIENCE
from lib.receiver import SECRET, Receiver
from lib.wait import until

LEFT = "SELECT url, attempts, next_at - clock_timestamp() AS due_in FROM hansard.webhooks WHERE conversation_id = %s"
GIVEN_UP = "SELECT detail FROM hansard.audit_events WHERE kind = 'webhook_given_up' AND detail ->> 'job_id' = %s"


@pytest.fixture
def receiver(tmp_path):
    running = Receiver(
        tmp_path,
        {"/fails": [500, 204], "/redirects": [307], "/gone": [410], "/hangs": [None], "/refuses": [404], "/endless": ["endless"]},
    )
    yield running
    running.close()


@pytest.fixture
def sender(worker, receiver):
    """A worker that may send to the receiver."""
    return lambda **more: worker(
        webhook_hosts=receiver.host, webhook_secret=SECRET, webhook_test_ca=receiver.ca, **more
    )


@pytest.fixture
def job(stack, record, caller):
    """job(place, session, url): a turn that has ended, and whom to tell."""

    def make(place, session, url, words="hello"):
        assert caller.at(place).chat(session, words).status == 200
        turn = record.turns(session)[-1]
        stack.sql("SELECT hansard.queue_webhook(%s, %s, %s)", turn.conversation_id, turn.turn_no, url)
        return turn

    yield make
    stack.sql("DELETE FROM hansard.webhooks")


def left(stack, turn):
    return stack.sql(LEFT, turn.conversation_id)


def make_due(stack):
    stack.sql("UPDATE hansard.webhooks SET next_at = clock_timestamp()")


def test_what_becomes_of_messages(stack, sender, receiver, job, session):
    """All at once, for a worker looks every five seconds only: taken, failed and sent again, redirected, refused, gone."""
    place = sender()
    words = 'ä "quoted"\n'
    paths = ("/takes?a=b%20c", "/fails", "/redirects", "/refuses", "/gone")
    turns = {path: job(place, f"{session} {path}", receiver.url(path), words) for path in paths}
    until(lambda: len({message.path for message in receiver.messages}) == len(paths), seconds=15)

    until(lambda: left(stack, turns["/takes?a=b%20c"]) == [])
    (taken,) = receiver.of("/takes?a=b%20c")
    turn = turns[taken.path]
    assert taken.is_genuine()
    assert not taken.is_genuine(b"another key")
    assert taken.id == f"{turn.conversation_id}-1"
    assert taken.headers["Content-Type"] == "application/json"
    assert taken.headers["Expect"] is None and taken.headers["Authorization"] is None
    assert taken.json["type"] == "job.completed"
    data = taken.json["data"]
    assert data["response"] == turn.said[1] == f"echo 1: {words}"
    assert (data["job_id"], data["session_id"], data["turn"]) == (taken.id, f"{session} {taken.path}", 1)
    assert (data["status"], data["error"], data["model"]) == ("completed", None, turn.model)
    assert data["usage"]["prompt_tokens"] == turn.prompt_tokens

    until(lambda: left(stack, turns["/gone"]) == [])
    assert stack.value(GIVEN_UP, f"{turns['/gone'].conversation_id}-1") == {
        "job_id": f"{turns['/gone'].conversation_id}-1", "attempts": 1, "host": receiver.host,
    }  # fmt: skip

    for path in ("/fails", "/redirects", "/refuses"):
        # Between five and seven and a half seconds after it was sent.
        (row,) = until(lambda p=path: [r for r in left(stack, turns[p]) if r.due_in.total_seconds() < 10])
        assert row.attempts == 1 and row.due_in.total_seconds() > 0
    assert receiver.of("/elsewhere") == []

    make_due(stack)
    until(lambda: len(receiver.of("/fails")) == 2 and left(stack, turns["/fails"]) == [], seconds=15)
    first, second = receiver.of("/fails")
    assert second.is_genuine()
    assert (second.id, second.body) == (first.id, first.body)
    until(lambda: left(stack, turns["/redirects"])[0].due_in.total_seconds() > 20)  # the second pause is longer
    until(lambda: scrape(place).get("hansard_webhooks_total", result="retried") == 5)
    assert scrape(place).get("hansard_webhooks_total", result="delivered") == 2
    assert scrape(place).get("hansard_webhooks_total", result="given_up") == 1
    assert receiver.connections == len(receiver.messages)


def not_delivered(place):
    lines = [json.loads(line) for line in place.log_lines()]
    return [line for line in lines if line["event"] == "webhook_not_delivered"]


def test_answers_have_their_bounds(stack, sender, receiver, job, session):
    """Ten seconds for all of it, and 64 KiB of what follows the status. Others are served meanwhile."""
    place = sender()
    hanging = [job(place, f"{session} {n}", receiver.url("/hangs")) for n in range(3)]
    endless = job(place, f"{session} endless", receiver.url("/endless"))
    until(lambda: len(receiver.of("/hangs")) == 3 and left(stack, endless) == [], seconds=15)
    assert 65536 <= receiver.flooded < 16 * 1048576  # what the sockets' buffers took is among it
    for n in range(3):
        job(place, f"{session} more {n}", receiver.url("/takes"))
    until(lambda: len(receiver.of("/takes")) == 3, seconds=9)
    assert not_delivered(place) == []
    began = int(receiver.of("/hangs")[0].headers["webhook-timestamp"])
    lines = until(lambda: len(not_delivered(place)) == 3 and not_delivered(place), seconds=12)
    assert {(line["status"], line["reason"]) for line in lines} == {(0, "Timeout was reached")}
    assert 9 < time.time() - began < 12 * PATIENCE
    until(lambda: all(0 < left(stack, turn)[0].due_in.total_seconds() < 8 for turn in hanging))


def test_what_is_not_sent(stack, sender, worker, receiver, job, session):
    """To a host that is not configured; about what was erased; by a worker without webhooks."""
    idle = worker()
    place = sender()
    elsewhere = job(idle, f"{session} elsewhere", f"https://127.0.0.1:{receiver.host.split(':')[1]}/")
    erased = job(idle, f"{session} erased", receiver.url("/erased"))
    stack.sql("UPDATE hansard.conversations SET session_id = NULL WHERE conversation_id = %s", erased.conversation_id)
    until(lambda: left(stack, erased) == [], seconds=15)
    until(lambda: left(stack, elsewhere)[0].attempts == 1, seconds=15)
    until(lambda: any("webhook_not_allowed" in line for line in place.log_lines()))
    assert receiver.connections == 0


def test_a_worker_that_stops_gives_back_what_it_sends(stack, sender, receiver, job, session):
    """Also in the last attempt there is: that was none."""
    place = sender()
    turn = job(place, session, receiver.url("/hangs"))
    stack.sql("UPDATE hansard.webhooks SET attempts = 7")
    until(lambda: receiver.of("/hangs"), seconds=15)
    assert left(stack, turn)[0].attempts == 8
    place.signal(signal.SIGTERM)
    assert place.wait(5) == 0
    (row,) = left(stack, turn)
    assert row.attempts == 7 and row.due_in.total_seconds() < 1, "another worker would have to wait for it"
    stack.sql("UPDATE hansard.webhooks SET url = %s", receiver.url("/takes"))
    sender()
    until(lambda: receiver.of("/takes") and left(stack, turn) == [], seconds=15)


def test_a_certificate_that_nobody_knows_is_refused(stack, worker, receiver, job, tmp_path, session):
    other = tmp_path / "other"
    other.mkdir()
    stranger = Receiver(other)
    try:
        place = worker(webhook_hosts=receiver.host, webhook_secret=SECRET, webhook_test_ca=stranger.ca)
        turn = job(place, session, receiver.url("/"))
        until(lambda: not_delivered(place), seconds=15)
    finally:
        stranger.close()
    assert receiver.messages == []
    (line,) = not_delivered(place)
    assert (line["status"], line["job"]) == (0, f"{turn.conversation_id}-1")
