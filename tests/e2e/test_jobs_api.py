"""Jobs, as their callers see them: queued with 202, read, waited for, cancelled; whose they are, and how many there may be."""

import re
import time
import uuid

import pytest

from lib.client import problem
from lib.metrics import scrape
from lib.program import PATIENCE
from lib.together import begin
from lib.wait import until
from lib.wire import Wire

SLOW = "[[delay 60000]] x"
MEMBERS = {
    "poll_after_ms", "job_id", "session_id", "turn", "status", "position", "attempts", "queued_at", "started_at",
    "finished_at", "response", "model", "usage", "error",
}  # fmt: skip


def queued(answer):
    """The job's id, from a 202 that has all it should."""
    assert answer.status == 202, (answer.status, answer.body)
    body = answer.json
    assert set(body) == {"job_id", "session_id", "turn", "status", "position", "wait_ms", "poll_after_ms"}
    assert re.fullmatch(rf"[0-9a-f-]{{36}}-{body['turn']}", body["job_id"])
    assert answer.headers["Location"] == f"/jobs/{body['job_id']}"
    assert answer.headers["Content-Type"] == "application/json"
    return body["job_id"]


def ended(caller, job):
    """What it came to."""
    answer = caller.job(job, wait=30)
    assert answer.status == 200 and set(answer.json) == MEMBERS, answer.body
    assert answer.json["status"] not in ("queued", "running")
    assert answer.json["poll_after_ms"] == 0
    return answer.json


@pytest.fixture
def running(record, caller, session):
    """A job that runs until it is cancelled, and one that is queued behind it."""
    jobs = [queued(caller.queue(session, SLOW)), queued(caller.queue(session, "next"))]
    until(lambda: record.states(session) == ["running", "queued"])
    yield jobs
    for job in reversed(jobs):
        caller.cancel(job)


# ---- queueing ----


def test_a_job_is_queued_and_answered(caller, session):
    answer = caller.queue(session, "hello")
    job = queued(answer)
    assert (answer.json["session_id"], answer.json["turn"], answer.json["status"]) == (session, 1, "queued")
    assert answer.json["position"] >= 1 and answer.json["poll_after_ms"] >= 1000
    assert answer.headers["Preference-Applied"] is None and answer.headers["Idempotent-Replayed"] is None
    done = ended(caller, job)
    assert (done["job_id"], done["session_id"], done["turn"]) == (job, session, 1)
    assert (done["status"], done["response"], done["error"]) == ("completed", "echo 1: hello", None)
    assert (done["position"], done["attempts"], done["model"]) == (None, 1, "demo")
    assert done["usage"]["total_tokens"] == done["usage"]["prompt_tokens"] + done["usage"]["completion_tokens"]
    assert done["queued_at"] <= done["started_at"] <= done["finished_at"]
    turns = caller.read(session).json["turns"]
    assert [turn["status"] for turn in turns] == ["completed"]
    assert caller.chat(session, "and").text == "echo 3: and"


@pytest.mark.parametrize(
    "prefer",
    ["respond-async", "Respond-Async", "respond-async; x=1, wait=10", 'a="b, c", respond-async', "wait=5 ,,respond-async"],
)
def test_prefer_makes_a_job_of_a_chat(caller, session, prefer):
    answer = caller.chat(session, "hello", headers={"Prefer": prefer})
    job = queued(answer)
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert ended(caller, job)["response"] == "echo 1: hello"


@pytest.mark.parametrize(
    "prefer", ["return=minimal", "respond-async=1", "respond-asynchronously", 'respond-async, "x', "respond async", ""]
)
def test_what_is_no_such_preference_is_ignored(caller, session, prefer):
    answer = caller.chat(session, "hello", headers={"Prefer": prefer})
    assert answer.text == "echo 1: hello"
    assert answer.headers["Preference-Applied"] is None


def test_prefer_in_the_second_of_two_headers(stack, caller, session):
    body = b'{"session_id": "%s", "message": "hi"}' % session.encode()
    with Wire(stack.url) as wire:
        wire.send(
            b"POST /chat HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n"
            b"Prefer: return=minimal\r\nPrefer: respond-async\r\n\r\n%s" % (caller.key.encode(), len(body), body)
        )
        assert ended(caller, queued(wire.receive_answer()))["status"] == "completed"


def test_one_key_is_one_job(record, caller, session):
    first = caller.queue(session, "hello", key="k")
    job = queued(first)
    ended(caller, job)
    for again in (
        caller.queue(session, "hello", key="k"),
        caller.chat(session, "hello", key="k", headers={"Prefer": "respond-async"}),
    ):
        assert queued(again) == job
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (again.json["status"], again.json["position"], again.json["poll_after_ms"]) == ("completed", None, 0)
    assert problem(caller.queue(session, "other", key="k")) == (422, "idempotency_key_reused")
    live = caller.chat(session, "hello", key="k")
    assert live.text == "echo 1: hello" and live.headers["Idempotent-Replayed"] == "true"
    assert len(record.turns(session)) == 1


def test_the_turn_of_a_chat_can_be_asked_for(caller, session):
    caller.chat(session, "hello", key="k")
    again = caller.queue(session, "hello", key="k")
    assert again.json["status"] == "completed"
    job = queued(again)
    assert ended(caller, job)["response"] == "echo 1: hello"
    assert problem(caller.cancel(job)) == (404, "not_found")


def test_jobs_of_a_conversation_run_in_order(caller, session):
    jobs = [queued(caller.queue(session, f"[[delay 50]] {n}")) for n in range(3)]
    assert [ended(caller, job)["response"] for job in jobs] == [f"echo {2 * n + 1}: [[delay 50]] {n}" for n in range(3)]


def test_a_model_that_fails_is_told_by_the_job(caller, session):
    done = ended(caller, queued(caller.queue(session, "[[status 400]] x")))
    assert (done["status"], done["response"], done["usage"]) == ("failed", None, None)
    assert done["error"]["code"] == "model_failed" and done["error"]["detail"]


@pytest.mark.parametrize("webhook", [1, "", None, ["https://x"], "x" * 2001, "https://example.org/", "http://localhost/"])
def test_webhooks_that_are_refused(record, caller, session, webhook):
    assert problem(caller.queue(session, "x", webhook=webhook)) == (400, "invalid_request")
    assert record.turns(session) == []
    assert caller.post(b'{"session_id": "%s", "message": "x", "webhook": 1}' % session.encode()).status == 200


def test_a_webhook_belongs_to_what_is_asked(stack, caller, worker, session):
    at = caller.at(worker(webhook_hosts="hooks.invalid", webhook_secret="whsec_" + "c2VjcmV0" * 4))
    there = "https://hooks.invalid/a"
    job = queued(at.queue(session, "[[delay 300]] x", key="k", webhook=there))
    assert stack.value("SELECT webhook FROM hansard.jobs WHERE conversation_id = %s", job[:36]) == there
    assert queued(at.queue(session, "[[delay 300]] x", key="k", webhook=there)) == job
    for other in ({}, {"webhook": "https://hooks.invalid/b"}):
        assert problem(at.queue(session, "[[delay 300]] x", key="k", **other)) == (422, "idempotency_key_reused")
    assert problem(at.queue(session, "x", webhook="https://other.invalid/")) == (400, "invalid_request")
    assert ended(at, job)["status"] == "completed"
    assert stack.sql("DELETE FROM hansard.webhooks WHERE conversation_id = %s RETURNING url", job[:36]) == [(there,)]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"session_id": "s"}', b'{"session_id": "s", "message": "m", "stream": true}'])
def test_bodies_that_are_refused(caller, body):
    assert caller.request("POST", "/jobs", body).status == 400


# ---- reading ----


@pytest.mark.parametrize(
    "job", ["x", "-1", f"{uuid.UUID(int=1)}", f"{uuid.UUID(int=1)}-", f"{uuid.UUID(int=1)}-0", f"{uuid.UUID(int=1)}-01",
            f"{uuid.UUID(int=1)}-1", f"{uuid.UUID(int=1)}-2147483648", f"{uuid.UUID(int=1)}-99999999999", "%00", "%zz",
            f"{uuid.UUID(int=1)}-1%00", "a" * 1000]
)  # fmt: skip
def test_ids_of_no_job(caller, job):
    for answer in (caller.job(job), caller.job(job, wait=1), caller.cancel(job)):
        assert problem(answer) == (404, "not_found")


def test_the_job_of_somebody_else_is_none(stack, caller, stranger, session, running):
    job = running[0]
    unknown = f"{uuid.uuid4()}-1"
    other = type(caller)(stack.url, stack.add_key(f"other of {session}", "unlimited"))
    for anybody in (other, stranger):
        for ask in (anybody.job, anybody.cancel, lambda job, anybody=anybody: anybody.job(job, wait=5)):
            heard, expected = ask(job), ask(unknown)
            assert problem(heard) == (404, "not_found")
            differ = {name for name in heard.json if heard.json[name] != expected.json[name]}
            assert differ <= {"request_id"}
    assert caller.job(job).json["status"] == "running"
    assert problem(type(caller)(stack.url, "hsk_" + "x" * 43).job(job)) == (401, "unauthorized")


def test_an_anonymous_job_is_its_sessions(stranger, session):
    assert ended(stranger, queued(stranger.queue(session, "hello")))["response"] == "echo 1: hello"


def test_paths_and_methods(caller, running):
    assert caller.get("/jobs").headers["Allow"] == "POST"
    put = caller.request("POST", f"/jobs/{running[0]}", b"{}")
    assert problem(put) == (405, "method_not_allowed") and put.headers["Allow"] == "GET, HEAD, DELETE"
    head = caller.request("HEAD", f"/jobs/{running[0]}")
    assert (head.status, head.body) == (200, b"") and int(head.headers["Content-Length"]) > 100
    assert problem(caller.get(f"/jobs/{running[0]}/x")) == (404, "not_found")


def test_what_is_queued_has_a_place(caller, running):
    first, second = (caller.job(job).json for job in running)
    assert (first["status"], first["position"], first["started_at"] is not None) == ("running", None, True)
    assert (second["status"], second["attempts"], second["started_at"]) == ("queued", 0, None)
    assert second["position"] >= 2
    for job in (first, second):
        assert job["finished_at"] is None and job["response"] is None and job["error"] is None
        assert 1000 <= job["poll_after_ms"] <= 10000
    again = caller.queue(second["session_id"], "third", key="k")
    assert caller.cancel(queued(again)).status == 200


def test_an_erased_job_is_gone(caller, session, running):
    waiting = begin(caller.job, running[0], wait=30)
    until(lambda: scrape(caller).get("hansard_jobs_watched") >= 1)
    assert caller.erase(session).status == 200
    assert problem(waiting.result()) == (404, "not_found")
    for job in running:
        assert problem(caller.job(job)) == (404, "not_found")
        assert problem(caller.cancel(job)) == (404, "not_found")


# ---- waiting ----


@pytest.mark.parametrize("query", ["wait=0", "wait=61", "wait=x", "wait=", "wait", "wait=-1", "wait=1.5", "wait=1&wait=2", "x=1"])
def test_waits_that_are_refused(caller, running, query):
    assert problem(caller.get(f"/jobs/{running[0]}?{query}")) == (400, "invalid_request")
    assert problem(caller.request("DELETE", f"/jobs/{running[0]}?wait=1")) == (400, "invalid_request")


def test_a_wait_ends_with_the_job(caller, session):
    began = time.monotonic()
    job = queued(caller.queue(session, "[[delay 700]] x"))
    assert ended(caller, job)["status"] == "completed"
    assert 0.7 <= time.monotonic() - began < 5 * PATIENCE
    assert ended(caller, job)["status"] == "completed"  # at once


def test_a_wait_ends_in_time(caller, running):
    for job, status in zip(running, ("running", "queued"), strict=True):
        began = time.monotonic()
        answer = caller.job(job, wait=1)
        assert answer.json["status"] == status
        assert 1 <= time.monotonic() - began < 3 * PATIENCE


# ---- cancelling ----


def test_what_is_queued_is_cancelled_at_once(record, caller, session, model, running):
    waiting = begin(caller.job, running[1], wait=30)
    until(lambda: scrape(caller).get("hansard_jobs_watched") >= 1)
    gone = caller.cancel(running[1])
    assert gone.status == 200 and set(gone.json) == MEMBERS
    assert (gone.json["status"], gone.json["attempts"], gone.json["poll_after_ms"]) == ("cancelled", 0, 0)
    assert gone.json["error"]["code"] == "turn_cancelled"
    assert waiting.result(5 * PATIENCE).json == gone.json
    assert record.states(session) == ["running", "cancelled"]
    assert caller.cancel(running[1]).json == gone.json  # as often as it is asked for
    assert model.calls("next") == []


def test_what_runs_is_cancelled_and_broken_off(record, caller, session, model, running):
    waiting = begin(caller.job, running[0], wait=30)
    until(lambda: scrape(caller).get("hansard_jobs_watched") >= 1)
    began = time.monotonic()
    gone = caller.cancel(running[0])
    assert (gone.status, gone.json["status"]) == (200, "cancelled")
    assert gone.json["error"]["code"] == "turn_cancelled"
    assert waiting.result(5 * PATIENCE).json == gone.json
    assert ended(caller, running[1])["status"] == "completed"  # its turn has come
    until(lambda: model.stats()["in_flight"] == 0)
    assert time.monotonic() - began < 5 * PATIENCE
    assert caller.cancel(running[0]).json["status"] == "cancelled"  # as often as it is asked for
    assert record.states(session) == ["cancelled", "completed"]


def test_what_has_ended_is_not_cancelled(record, caller, session):
    job = queued(caller.queue(session, "x"))
    ended(caller, job)
    assert problem(caller.cancel(job)) == (409, "job_ended")
    assert record.states(session) == ["completed"]


# ---- ceilings ----


def test_as_many_as_a_caller_may_have(record, caller, worker, session):
    at = caller.at(worker(job_owner_limit=2))
    jobs = [queued(at.queue(f"{session} {n}", SLOW)) for n in range(2)]
    refused = at.queue(f"{session} 2", "x", key="k")
    assert problem(refused) == (429, "too_many_jobs")
    assert record.turns(f"{session} 2") == []
    assert scrape(at).get("hansard_refusals_total", reason="too_many_jobs") == 1
    assert at.cancel(jobs[0]).status == 200
    job = queued(at.queue(f"{session} 2", "x", key="k"))
    assert ended(at, job)["status"] == "completed"
    at.cancel(jobs[1])


def test_as_many_as_may_be_queued_in_all(record, caller, worker, session, running):
    at = caller.at(worker(job_limit=1))  # counts what there is when it starts
    until(lambda: scrape(at).get("hansard_jobs_queued") >= 1)
    refused = at.queue(f"{session} new", "x", key="k")
    assert problem(refused) == (503, "job_queue_full")
    assert record.turns(f"{session} new") == []
    assert scrape(at).get("hansard_refusals_total", reason="job_queue_full") == 1
    assert caller.cancel(running[1]).status == 200
    # Ten seconds, when its last count took long to come through.
    answer = until(lambda: (heard := at.queue(f"{session} new", "x", key="k")).status == 202 and heard, seconds=15)
    assert ended(at, queued(answer))["status"] == "completed"
