"""Waiting for jobs: hundreds of clients cost the database next to nothing, and a worker that stops keeps nobody."""

import asyncio
import signal
import time
import urllib.parse

import pytest

from lib.metrics import scrape
from lib.program import PATIENCE
from lib.together import begin
from lib.wait import until
from lib.wire import Wire, split_answer

CLIENTS = 200
SLOW = "[[delay 60000]] x"


def singles(place):
    return scrape(place).get("hansard_lane_calls_total", kind="single")


def watched(place):
    return scrape(place).get("hansard_jobs_watched")


@pytest.fixture
def questions(stack):
    """How often the database was asked which jobs have ended."""
    for statement in ("ALTER SYSTEM SET track_functions = 'pl'", "SELECT pg_reload_conf()"):
        stack.sql(statement)
    until(lambda: stack.value("SHOW track_functions") == "pl")
    yield lambda: stack.value(
        "SELECT coalesce(sum(calls), 0)::integer FROM pg_stat_user_functions WHERE funcname = 'jobs_ended'"
    )
    for statement in ("ALTER SYSTEM RESET track_functions", "SELECT pg_reload_conf()"):
        stack.sql(statement)


@pytest.fixture
def job(caller, record, session):
    """It runs, at the stack's worker."""
    name = caller.queue(session, SLOW).json["job_id"]
    until(lambda: record.is_running(session))
    yield name
    caller.cancel(name)


async def _wait_for(client, job, seconds):
    place = urllib.parse.urlsplit(client.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(
            f"GET /jobs/{job}?wait={seconds} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
            f"Authorization: Bearer {client.key}\r\n\r\n".encode()
        )
        answer, _ = split_answer(await reader.read())
    finally:
        writer.close()
    return answer


def wait_together(client, jobs, seconds=30):
    """Each job is waited for by one client; their answers."""

    async def run():
        return await asyncio.gather(*(_wait_for(client, job, seconds) for job in jobs))

    return asyncio.run(asyncio.wait_for(run(), client.timeout))


def calls_within(place, seconds):
    before = singles(place)
    time.sleep(seconds)
    return singles(place) - before


def test_jobs_of_the_same_worker_cost_no_question(stack, caller, job, questions):
    """6 s: a rate has to be seen."""
    alone = calls_within(stack, 2)
    heard = begin(wait_together, caller, [job] * CLIENTS)
    until(lambda: watched(stack) == CLIENTS)
    time.sleep(1.1)  # what was counted of the time before is told once a second
    asked = questions()
    assert calls_within(stack, 2) <= alone + 5
    assert questions() == asked
    began = time.monotonic()
    assert caller.cancel(job).status == 200
    answers = heard.result()
    assert time.monotonic() - began < 5 * PATIENCE
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["status"] for answer in answers} == {"cancelled"}
    assert watched(stack) == 0


def test_the_end_of_a_job_is_told_at_once(stack, caller, session):
    """By its worker's own FINISH: sooner than anybody asks."""
    job = caller.queue(session, "[[delay 600]] x").json["job_id"]
    answers = wait_together(caller, [job] * 20)
    told_at = time.time()
    assert {answer.json["status"] for answer in answers} == {"completed"}
    ended_at = stack.value(
        "SELECT extract(epoch FROM finished_at)::float FROM hansard.turns WHERE conversation_id = %s", job[:36]
    )
    assert told_at - ended_at < 0.5 * PATIENCE


def test_who_waits_where_it_runs_hears_that_it_was_cancelled_elsewhere(caller, worker, job):
    """By the heartbeat of its worker, as the model call is broken off."""
    elsewhere = caller.at(worker())
    waiting = begin(caller.job, job, wait=30)
    until(lambda: watched(caller) == 1)
    began = time.monotonic()
    gone = elsewhere.cancel(job)
    assert gone.json["status"] == "cancelled"
    assert waiting.result().json == gone.json
    assert time.monotonic() - began < 4 * PATIENCE


def test_jobs_of_another_worker_cost_one_question_a_second(stack, caller, worker, record, session, questions):
    """5 s: a rate has to be seen."""
    at = caller.at(worker(llm_concurrency=1))
    # Few: the stack's worker may have met failures before, and make fewer calls at once for a while.
    jobs = [caller.queue(f"{session} {n}", SLOW).json["job_id"] for n in range(3)]
    until(lambda: all(record.is_running(f"{session} {n}") for n in range(3)))
    alone = calls_within(at, 1)
    heard = begin(wait_together, at, [jobs[n % 3] for n in range(CLIENTS)])
    until(lambda: watched(at) == CLIENTS)
    before, began = singles(at), time.monotonic()
    time.sleep(3)
    seconds = time.monotonic() - began
    assert singles(at) - before <= (alone + 1) * (seconds + 1) + 5
    assert 1 <= questions() <= seconds + 3
    began = time.monotonic()
    for job in jobs:
        assert caller.cancel(job).status == 200
    assert {answer.json["status"] for answer in heard.result()} == {"cancelled"}
    assert time.monotonic() - began < 4 * PATIENCE
    assert watched(at) == 0


def test_who_hangs_up_is_forgotten_in_time(stack, caller, job):
    wires = [Wire(stack.url) for _ in range(20)]
    for wire in wires:
        wire.send(
            f"GET /jobs/{job}?wait=2 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {caller.key}\r\n\r\n".encode()
        )
    until(lambda: watched(stack) == 20)
    connections = scrape(stack).get("hansard_http_connections")
    for wire in wires:
        wire.socket.close()
    until(lambda: watched(stack) == 0)
    until(lambda: scrape(stack).get("hansard_http_connections") <= connections - 20)


@pytest.mark.parametrize("settings", [{}, {"drain_delay": "5s"}])
def test_a_worker_that_stops_answers_who_waits(caller, worker, job, settings):
    running = worker(**settings)
    at = caller.at(running)
    waiting = [begin(at.job, job, wait=60) for _ in range(20)]
    until(lambda: watched(at) == 20)
    began = time.monotonic()
    running.signal(signal.SIGTERM)
    for answer in (one.result() for one in waiting):
        assert (answer.status, answer.json["status"]) == (200, "running")
        if settings:  # else the loops may learn of it a moment later
            assert answer.headers["Connection"] == "close"
    assert running.wait() == 0
    assert time.monotonic() - began < 3 * PATIENCE


def test_while_it_stops_nobody_begins_to_wait(caller, worker, record, job, session):
    """A live turn keeps the worker for a while."""
    running = worker(http_threads=1)
    at = caller.at(running)
    live = begin(at.chat, f"{session} live", "[[delay 1500]] x")
    until(lambda: record.is_running(f"{session} live"))
    running.signal(signal.SIGTERM)
    until(lambda: at.get("/readyz").json["draining"])
    began = time.monotonic()
    assert at.job(job, wait=60).json["status"] == "running"
    assert time.monotonic() - began < 1 * PATIENCE
    assert live.result().status == 200
    assert running.wait() == 0
