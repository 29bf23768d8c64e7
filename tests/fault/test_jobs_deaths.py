"""Jobs outlive their workers, and what becomes of a job is written once: workers that die, leave, are stopped or cannot
reach the database, calls whose replies are lost."""

import contextlib
import http.client
import re
import signal
import time

import pytest

from lib.metrics import scrape
from lib.program import PATIENCE
from lib.proxy import Proxy
from lib.together import begin
from lib.wait import until

SLOW = "[[delay 60000]] x"
THINKING_MS = 1500  # time enough to torment somebody
RESCUE_S = 15  # from the death of a worker until another has begun
LEFT = """
SELECT c.session_id, t.turn_no, t.state, j.turn_no AS job, s.open_turn, s.jobs
FROM hansard.conversations c
JOIN hansard.turns t USING (conversation_id)
JOIN hansard.sessions s USING (session_key)
LEFT JOIN hansard.jobs j ON j.conversation_id = t.conversation_id AND j.turn_no = t.turn_no
WHERE c.session_id LIKE %s
  AND (t.state IN ('queued', 'running') OR j.turn_no IS NOT NULL OR s.open_turn IS NOT NULL OR s.jobs <> 0)
"""
# What is stored when a worker with one job dies there; how often the model is asked in the end; how often it was begun.
STEPS = {
    "claimed_before_model": ("running", 1, 2),
    "before_model_call": ("running", 1, 2),
    "finish_before_send": ("running", 2, 2),
    "finish_after_commit": ("completed", 1, 1),
    "finished_before_answer": ("completed", 1, 1),
}


def queue(client, session, words, **more):
    """The job's id."""
    answer = client.queue(session, words, **more)
    assert answer.status == 202, (answer.status, answer.body)
    return answer.json["job_id"]


def ended(client, job, seconds=30):
    """What it came to."""
    state = client.job(job, wait=seconds).json
    assert state["status"] not in ("queued", "running"), state
    return state


def deaths(stack, record, session):
    (turn,) = record.turns(session)
    return stack.value("SELECT j.deaths FROM hansard.jobs j WHERE j.conversation_id = %s", turn.conversation_id)


def declare_lost(stack, silence, running):
    """As any worker does from time to time, if it may."""
    silence(running)
    stack.sql("SELECT hansard_api.reap_workers()")


def check_answered(record, session, words, attempts):
    (turn,) = record.turns(session)
    assert (turn.state, turn.attempt, turn.said) == ("completed", attempts, [words, f"echo 1: {words}"])


@pytest.fixture(autouse=True)
def nothing_is_left(stack, session):
    yield
    assert stack.sql(LEFT, f"{session}%") == []


# ---- a worker dies ---------------------------------------------------------------------------------


def test_its_jobs_are_finished_by_another_in_time(stack, record, caller, worker, model, session):
    """The real silence of 12 s, with nobody helping: 15 s from the kill, and the job's own length."""
    doomed = worker()
    words = f"[[delay {THINKING_MS}]] x"
    jobs = [queue(caller.at(doomed), f"{session} {n}", words) for n in range(5)]
    behind = queue(caller.at(doomed), f"{session} 0", "behind")
    until(lambda: model.stats()["in_flight"] == 5)
    other = caller.at(worker())
    began = time.monotonic()
    doomed.kill()
    states = [ended(other, job) for job in jobs]
    assert time.monotonic() - began < (RESCUE_S + THINKING_MS / 1000) * PATIENCE
    assert {(state["status"], state["attempts"]) for state in states} == {("completed", 2)}
    assert ended(other, behind)["response"] == "echo 3: behind"
    for n in range(1, 5):
        check_answered(record, f"{session} {n}", words, 2)
    assert len(model.calls(words)) == 10


def test_the_third_death_is_the_last(stack, record, caller, worker, model, silence, session):
    """It may be the job that kills them. The next one of its conversation goes on."""
    doomed = worker()
    job = queue(caller.at(doomed), session, SLOW)
    for count in range(1, 4):
        until(lambda: model.stats()["in_flight"] == 1)
        assert deaths(stack, record, session) == count - 1
        doomed.kill()
        until(lambda: model.stats()["in_flight"] == 0)
        declare_lost(stack, silence, doomed)
        doomed = worker()
    state = caller.at(doomed).job(job).json
    assert (state["status"], state["attempts"], state["error"]["code"]) == ("failed", 3, "worker_lost")
    assert len(model.calls(SLOW)) == 3
    after = queue(caller.at(doomed), session, "after")
    assert ended(caller.at(doomed), after)["response"] == "echo 1: after"


@pytest.mark.parametrize("step", STEPS)
def test_it_dies_at_a_step(stack, record, caller, worker, model, silence, session, step):
    stored, calls, attempts = STEPS[step]
    words = f"{session} words"
    doomed = worker(failpoint=step)
    with contextlib.suppress(OSError, http.client.HTTPException):  # it may die before it says that it was queued
        queue(caller.at(doomed), session, words, key="k")
    assert doomed.wait() == -signal.SIGKILL
    assert record.states(session) == [stored]
    declare_lost(stack, silence, doomed)
    other = caller.at(worker())
    state = ended(other, queue(other, session, words, key="k"))
    assert (state["status"], state["attempts"], state["response"]) == ("completed", attempts, f"echo 1: {words}")
    check_answered(record, session, words, attempts)
    assert len(model.calls(words)) == calls


# ---- a worker is stopped and goes on ---------------------------------------------------------------


def zombie_with_a_job(caller, worker, model, session, words):
    zombie = worker()
    job = queue(caller.at(zombie), session, words)
    until(lambda: model.stats()["in_flight"] == 1)
    zombie.signal(signal.SIGSTOP)
    return zombie, job


@pytest.mark.parametrize("other_has_ended", [True, False])
def test_what_a_zombie_brings_is_thrown_away(stack, record, caller, worker, model, silence, session, other_has_ended):
    words = "[[delay 700]] x"
    zombie, job = zombie_with_a_job(caller, worker, model, session, words)
    until(lambda: model.stats()["in_flight"] == 0)  # its answer waits to be read
    other = caller.at(worker())
    declare_lost(stack, silence, zombie)
    until(lambda: len(model.calls(words)) == 2 or model.stats()["in_flight"] == 1)
    if other_has_ended:
        assert ended(other, job)["attempts"] == 2
    zombie.signal(signal.SIGCONT)
    until(lambda: scrape(zombie).get("hansard_turns_total", outcome="fenced") == 1)
    assert ended(other, job)["attempts"] == 2
    check_answered(record, session, words, 2)
    assert len(model.calls(words)) == 2

    # It goes on under another id, and runs jobs.
    assert ended(caller.at(zombie), queue(caller.at(zombie), session, "again"))["response"] == "echo 3: again"


def test_a_zombie_breaks_off_what_is_not_its_own_any_more(stack, record, caller, worker, model, silence, session):
    """While its model still thinks: nobody wants to know the answer."""
    words = "[[delay 60000]] x"
    zombie, job = zombie_with_a_job(caller, worker, model, session, words)
    declare_lost(stack, silence, zombie)
    assert record.states(session) == ["queued"]
    assert caller.at(worker()).cancel(job).json["status"] == "cancelled"
    zombie.signal(signal.SIGCONT)
    until(lambda: model.stats()["in_flight"] == 0, seconds=5)
    until(lambda: scrape(zombie).get("hansard_gate_in_use") == 0)
    assert record.states(session) == ["cancelled"]


# ---- a worker leaves -------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"drain_delay": "20s"}])
def test_a_worker_that_leaves_hands_back_its_jobs(stack, record, caller, worker, model, session, settings):
    """At once, and without a word against them; also while it still serves who is connected."""
    leaving = worker(**settings)
    words = f"[[delay {THINKING_MS}]] x"
    jobs = [queue(caller.at(leaving), f"{session} {n}", words) for n in range(4)]
    until(lambda: model.stats()["in_flight"] == 4)
    other = caller.at(worker())
    began = time.monotonic()
    leaving.signal(signal.SIGTERM)
    until(lambda: all(deaths(stack, record, f"{session} {n}") == 0 for n in range(4)))
    states = [ended(other, job) for job in jobs]
    assert time.monotonic() - began < (THINKING_MS / 1000 + 3) * PATIENCE
    assert leaving.wait() == 0
    assert {(state["status"], state["attempts"]) for state in states} == {("completed", 2)}
    for n in range(4):
        check_answered(record, f"{session} {n}", words, 2)


def test_who_leaves_hands_back_what_waited_for_a_call(record, caller, worker, session):
    """Live turns have all its calls until the end: jobs that it claimed need not wait for that."""
    leaving = worker(llm_concurrency=1)
    live = [begin(caller.at(leaving).chat, f"{session} live {n}", "[[delay 3000]] x") for n in range(2)]
    until(lambda: scrape(leaving).get("hansard_gate_waiting") == 1)
    job = queue(caller.at(leaving), session, "x")
    until(lambda: record.states(session) == ["running"])  # one, for the fifth that is theirs
    assert scrape(leaving).get("hansard_gate_waiting") == 2
    other = caller.at(worker())
    leaving.signal(signal.SIGTERM)
    assert ended(other, job)["response"] == "echo 1: x"
    assert not live[1].done()
    assert [post.result().turn for post in live] == [1, 1]
    assert leaving.wait() == 0


# ---- the database is away --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop postgres", "kill postgres", "kill pgbouncer"])
def test_answers_are_kept_until_they_can_be_written(stack, record, caller, worker, model, session, how):
    verb, part = how.split()
    place = caller.at(worker(database_timeout="2s"))
    words = f"[[delay {THINKING_MS}]] x"
    jobs = [queue(place, f"{session} {n}", words) for n in range(3)]
    until(lambda: model.stats()["in_flight"] == 3)
    getattr(stack, verb)(part)
    until(lambda: model.stats()["in_flight"] == 0)
    stack.start(part)
    assert {(state["status"], state["attempts"]) for state in (ended(place, job) for job in jobs)} == {("completed", 1)}
    for n in range(3):
        check_answered(record, f"{session} {n}", words, 1)
    assert len(model.calls(words)) == 3


def test_nobody_is_buried_for_the_database_s_absence(stack, record, caller, worker, model, session):
    """It is away for longer than a worker may be silent."""
    places = [caller.at(worker()) for _ in range(2)]
    words = "[[delay 15000]] x"
    jobs = [queue(places[n % 2], f"{session} {n}", words) for n in range(4)]
    until(lambda: model.stats()["in_flight"] == 4)
    stack.stop("postgres")
    time.sleep(13)
    stack.start("postgres")
    assert {(state["status"], state["attempts"]) for state in (ended(places[0], job) for job in jobs)} == {("completed", 1)}
    assert len(model.calls(words)) == 4


# ---- replies are lost ------------------------------------------------------------------------------


@pytest.fixture
def proxy(stack):
    between = Proxy(int(stack.environment["POOLER_PORT"]))
    yield between
    between.close()


@pytest.fixture
def behind(stack, worker, proxy):
    """A worker that reaches PgBouncer through the proxy."""
    url = re.sub(r":\d+/", f":{proxy.port}/", stack.environment["HANSARD_DATABASE_URL"])
    return lambda **settings: worker(database_url=url, **settings)


def claim_that_was_lost(place, proxy, session, lose):
    """What became of a job that was queued just then."""
    lose()
    state = ended(place, queue(place, session, f"{session} x"))
    until(proxy.is_done)
    assert (state["status"], state["response"]) == ("completed", f"echo 1: {session} x")
    return state["attempts"]


@pytest.mark.parametrize("times", [1, 3])
def test_a_claim_whose_reply_is_lost(caller, behind, proxy, model, session, times):
    """What it opened goes back into the queue, though its worker lives, and is begun once more."""
    place = caller.at(behind())
    # Now and then it was another claim, which found nothing.
    numbers = iter(range(5))
    until(lambda: claim_that_was_lost(place, proxy, f"{session} {next(numbers)}",
                                      lambda: proxy.lose_replies("claim_jobs", times)) == times + 1)  # fmt: skip
    assert {len(model.calls(f"{session} {n} x")) for n in range(next(numbers))} == {1}


def test_a_claim_that_does_not_arrive(caller, behind, proxy, session):
    place = caller.at(behind())
    assert claim_that_was_lost(place, proxy, session, lambda: proxy.lose_calls("claim_jobs", 2)) == 1


def test_a_claim_whose_reply_does_not_come(stack, caller, behind, proxy, model, session):
    """Its worker's patience ends, and it asks again; what comes at last reaches nobody."""
    place = caller.at(behind(database_timeout="300ms"))
    numbers = iter(range(5))
    until(lambda: claim_that_was_lost(place, proxy, f"{session} {next(numbers)}",
                                      lambda: proxy.hold_reply("claim_jobs")) == 2)  # fmt: skip
    proxy.released.set()
    assert {len(model.calls(f"{session} {n} x")) for n in range(next(numbers))} == {1}


@pytest.mark.parametrize("what", ["calls", "replies"])
def test_an_answer_that_is_written_in_vain(record, caller, behind, proxy, model, session, what):
    place = caller.at(behind())
    getattr(proxy, f"lose_{what}")("finish_turns", 2)
    job = queue(place, session, "x")
    assert ended(place, job)["attempts"] == 1
    assert proxy.is_done()
    check_answered(record, session, "x", 1)
    assert len(model.calls("x")) == 1
