"""The life of jobs: in order, seeing what was answered before; within the cap, behind who waits for an answer; cancelled,
held while the model is down, run by whichever worker has room. No worker runs but those a test starts."""

import secrets
import statistics
import time

import pytest

from lib.client import Client, problem
from lib.metrics import scrape
from lib.moody import MoodyModel
from lib.program import PATIENCE
from lib.stack import Stack
from lib.together import begin, together
from lib.wait import until

SLOW = "[[delay 60000]] x"
BROKEN_OFF_S = 3
QUEUED = "SELECT count(*) FROM hansard.jobs"
# Each is answered, as the second of its conversation if it is.
ANSWERED = """SELECT count(*) FROM hansard.turns t JOIN hansard.conversations c USING (conversation_id)
              WHERE c.session_id LIKE %s AND t.state = 'completed'"""
NOT_ANSWERED = """
SELECT c.session_id, t.turn_no, t.state, q.text, a.text AS answer
FROM hansard.turns t
JOIN hansard.conversations c USING (conversation_id)
JOIN hansard.messages q ON q.conversation_id = t.conversation_id AND q.turn_no = t.turn_no AND q.position = 1
LEFT JOIN hansard.messages a ON a.conversation_id = t.conversation_id AND a.turn_no = t.turn_no AND a.position = 2
WHERE c.session_id LIKE %s AND a.text IS DISTINCT FROM 'echo ' || 2 * t.turn_no - 1 || ': ' || q.text
"""
HELD = "SELECT coalesce(sum(h.tokens), 0) FROM hansard.holds h"


@pytest.fixture(scope="module")
def stack():
    running = Stack(workers=0).up()
    running.make_tier("unlimited", None, 1000000)
    yield running
    running.destroy()


@pytest.fixture
def moody():
    model = MoodyModel()
    yield model
    model.close()


@pytest.fixture
def capped(stack, user):
    """capped(parallel_turns=2): a caller with a tier of its own."""
    return lambda **caps: Client(None, stack.add_key(user, stack.make_tier(f"t{secrets.token_hex(8)}", None, 1000, **caps)))


def queue(client, session, words, **more):
    """The job's id."""
    answer = client.queue(session, words, **more)
    assert answer.status == 202, (answer.status, answer.body)
    return answer.json["job_id"]


def ended(client, job, seconds=30):
    """What it came to."""
    state = client.job(job, wait=int(seconds)).json
    assert state["status"] not in ("queued", "running"), state
    return state


def answers(client, jobs):
    states = [ended(client, job) for job in jobs]
    assert {state["status"] for state in states} == {"completed"}, states
    return [state["response"] for state in states]


def worker_id(client):
    return client.get("/readyz").json["worker"]


def no_call_in_flight(model):
    return model.stats()["in_flight"] == 0


# ---- order -----------------------------------------------------------------------------------------


def test_jobs_of_a_conversation_see_the_answers_before_them(record, caller, worker, recorder, session):
    places = [caller.at(worker(llm_url=recorder.llm_url)) for _ in range(2)]
    jobs = [queue(places[n % 2], session, f"{n}") for n in range(6)]
    assert answers(places[0], jobs) == [f"answer to {n}" for n in range(6)]
    said = [pair for n in range(6) for pair in (("user", f"{n}"), ("assistant", f"answer to {n}"))]
    assert recorder.contexts() == [said[: 2 * n + 1] for n in range(6)]
    assert record.messages(session) == said
    turns = record.turns(session)
    assert [turn.attempt for turn in turns] == [1] * 6
    assert all(before.finished_at <= turn.started_at for before, turn in zip(turns, turns[1:]))


def test_live_turns_and_jobs_of_a_conversation_take_turns(record, caller, worker, session):
    """A live turn waits for the jobs before it; a job queued meanwhile comes after it."""
    places = [caller.at(worker()) for _ in range(2)]
    jobs = [queue(places[0], session, f"[[delay 200]] {n}") for n in range(2)]
    live = begin(places[1].chat, session, "[[delay 300]] live")
    assert live.result().turn == 3
    assert live.result().text == "echo 5: [[delay 300]] live"
    assert [state["status"] for state in (places[0].job(job).json for job in jobs)] == ["completed"] * 2

    live = begin(places[1].chat, session, "[[delay 500]] live")
    until(lambda: record.is_running(session))
    last = queue(places[0], session, "last")
    assert answers(places[1], [last]) == ["echo 9: last"]
    assert live.result().turn == 4
    turns = record.turns(session)
    assert [turn.state for turn in turns] == ["completed"] * 5
    assert all(before.finished_at <= turn.started_at for before, turn in zip(turns, turns[1:]) if turn.is_job)


def test_a_live_turn_has_the_patience_of_its_request(caller, worker, session):
    place = caller.at(worker(request_timeout="1s"))
    job = queue(place, session, SLOW)
    assert problem(place.chat(session, "live")) == (409, "conversation_busy")
    assert place.cancel(job).status == 200
    assert place.chat(session, "live").turn == 2


def test_jobs_of_many_conversations_all_end(stack, caller, worker, session):
    places = [caller.at(worker()) for _ in range(2)]
    jobs = [queue(places[n % 2], f"{session} {n % 200}", f"{n}") for n in range(400)]
    until(lambda: stack.value(QUEUED) == 0, seconds=30)
    assert len(set(jobs)) == 400
    assert stack.sql(NOT_ANSWERED, f"{session} %") == []
    assert stack.value(ANSWERED, f"{session} %") == 400
    for place in places:
        metrics = scrape(place)
        assert [metrics.get(f"hansard_{name}") for name in ("jobs_running", "gate_in_use", "turns_open")] == [0, 0, 0]


# ---- the cap ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"llm_concurrency": 2}, {"cluster_concurrency": 4}])
def test_jobs_stay_within_the_cap(stack, caller, worker, model, session, settings):
    """Two workers: each within its own, or both within the fleet's. They use all of it."""
    places = [caller.at(worker(**settings)) for _ in range(2)]
    jobs = [queue(places[n % 2], f"{session} {n}", f"[[delay {40 + n % 7 * 10}]] {n}") for n in range(60)]
    together(lambda n=n: places[n % 2].chat(f"{session} live {n}", "[[delay 40]] live") for n in range(12))
    answers(places[0], jobs)
    assert model.stats()["high_water"] == 4


def test_live_turns_come_first_and_leave_jobs_a_fifth(caller, worker, model, session):
    place = caller.at(worker(llm_concurrency=1))
    first = begin(place.chat, f"{session} first", "[[delay 600]] first")
    until(lambda: model.stats()["in_flight"] == 1)
    jobs = [queue(place, f"{session} job {n}", f"[[delay 30]] job {n}") for n in range(6)]
    live = [begin(place.chat, f"{session} live {n}", f"[[delay 30]] live {n}") for n in range(20)]
    assert first.result().turn == 1
    assert {post.result().status for post in live} == {200}
    answers(place, jobs)
    kinds = ["job" in call["content"] for call in model.calls()]
    assert len(kinds) == 27 and not kinds[0]
    last_live = max(n for n, is_job in enumerate(kinds) if not is_job)
    places = [n for n, is_job in enumerate(kinds) if is_job and n < last_live]
    # While live turns waited: four of them before each job, and one job or two less than its share.
    assert all(n - before >= 5 for before, n in zip([0, *places], places)), kinds
    assert len(places) >= 2, kinds


# ---- being cancelled -------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_running_job_that_is_cancelled_is_broken_off(record, caller, worker, model, session, elsewhere):
    at = caller.at(worker())
    job = queue(at, session, SLOW)
    after = queue(at, session, "after")
    until(lambda: model.stats()["in_flight"] == 1)
    place = caller.at(worker()) if elsewhere else at
    began = time.monotonic()
    assert place.cancel(job).json["status"] == "cancelled"
    assert answers(place, [after]) == ["echo 1: after"]
    until(lambda: no_call_in_flight(model), seconds=BROKEN_OFF_S)
    assert time.monotonic() - began < BROKEN_OFF_S * PATIENCE
    until(lambda: scrape(at).get("hansard_gate_in_use") == 0)
    assert record.states(session) == ["cancelled", "completed"]
    assert record.messages(session) == [("user", SLOW), ("user", "after"), ("assistant", "echo 1: after")]
    until(lambda: scrape(at).get("hansard_turns_total", outcome="fenced") == 1)


def test_a_cancelled_job_that_waited_to_be_repeated_is_not_sent_again(record, caller, worker, model, session):
    at = caller.at(worker())
    job = queue(at, session, "[[status 503]] [[retry-after 2]] x")
    until(lambda: model.stats()["calls"] == 1 and no_call_in_flight(model))
    assert at.cancel(job).json["status"] == "cancelled"
    until(lambda: scrape(at).get("hansard_gate_in_use") == 0)
    assert model.stats()["calls"] == 1
    assert record.states(session) == ["cancelled"]


def test_queued_jobs_are_cancelled_at_once(record, caller, worker, model, session):
    """Also by a worker that does not run the one before; who comes behind sees nothing of them."""
    places = [caller.at(worker()) for _ in range(2)]
    jobs = [queue(places[0], session, words) for words in ("[[delay 700]] first", "second", "third", "fourth")]
    until(lambda: record.states(session) == ["running"] + ["queued"] * 3)
    for place, job in zip(places, jobs[1:3]):
        assert place.cancel(job).json["status"] == "cancelled"
        assert place.job(job).json["attempts"] == 0
    assert answers(places[0], [jobs[0], jobs[3]]) == ["echo 1: [[delay 700]] first", "echo 3: fourth"]
    assert record.states(session) == ["completed", "cancelled", "cancelled", "completed"]
    assert model.stats()["calls"] == 2


def test_all_of_a_worker_cancelled_at_once(stack, caller, worker, model, session):
    at = caller.at(worker(llm_concurrency=20))
    jobs = [queue(at, f"{session} {n}", SLOW) for n in range(20)]
    until(lambda: model.stats()["in_flight"] == 20)
    assert {answer.status for answer in together(lambda job=job: at.cancel(job) for job in jobs)} == {200}
    until(lambda: no_call_in_flight(model), seconds=BROKEN_OFF_S)
    assert stack.value(QUEUED) == 0
    assert at.chat(f"{session} 0", "live").turn == 2


@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_erased_conversation_has_no_jobs(stack, record, caller, worker, model, session, elsewhere):
    at = caller.at(worker())
    jobs = [queue(at, session, words) for words in (SLOW, "second", "third")]
    until(lambda: model.stats()["in_flight"] == 1)
    place = caller.at(worker()) if elsewhere else at
    assert place.erase(session).status == 200
    until(lambda: no_call_in_flight(model), seconds=BROKEN_OFF_S)
    for job in jobs:
        assert problem(place.job(job)) == (404, "not_found")
    assert stack.value(QUEUED) == 0
    assert record.turns(session) == []
    assert answers(at, [queue(place, session, "anew")]) == ["echo 1: anew"]
    assert model.stats()["calls"] == 2


# ---- the model in trouble --------------------------------------------------------------------------


def bring_down(place, moody, session, mood):
    moody.set(mood)
    for n in range(20):
        if place.chat(f"{session} down {n}", "x").status == 503:
            return
    raise AssertionError("the model does not count as down")


@pytest.mark.parametrize("mood", [503, "away"])
def test_jobs_wait_while_the_model_is_down(record, caller, worker, moody, session, mood):
    place = caller.at(worker(llm_url=moody.llm_url))
    bring_down(place, moody, session, mood)
    jobs = [queue(place, f"{session} {n // 2}", f"{n}") for n in range(6)]
    time.sleep(1.5)  # probes go on, and nothing else
    assert {place.job(job).json["status"] for job in jobs} == {"queued"}
    assert scrape(place).get("hansard_gate_in_use") == 0
    moody.set("well")
    began = time.monotonic()
    assert answers(place, jobs) == [f"moody: {n}" for n in range(6)]
    assert time.monotonic() - began < 5 * PATIENCE
    assert {place.job(job).json["attempts"] for job in jobs} == {1}


def test_jobs_that_ran_when_it_went_down_are_run_again(record, caller, worker, moody, session):
    """All of its calls come to nothing: that is not theirs to pay for."""
    place = caller.at(worker(llm_url=moody.llm_url, llm_concurrency=12))
    moody.set("stall")
    jobs = [queue(place, f"{session} {n}", f"{n}") for n in range(12)]
    until(lambda: moody.in_flight == 12)
    moody.set("away")
    until(lambda: scrape(place).get("hansard_llm_up", server="primary") == 0)
    moody.set("well")
    states = [ended(place, job) for job in jobs]
    assert sum(state["status"] == "completed" for state in states) >= 6, states
    assert {state["error"]["code"] for state in states if state["error"]} <= {"model_failed"}


def test_jobs_that_were_handed_back_often_are_run_again(record, caller, worker, moody, session):
    """By workers that stop: that is no word against them when their model goes down in the end."""
    moody.set("stall")
    jobs = []
    for stops in range(6):
        running = worker(llm_url=moody.llm_url, llm_concurrency=12)
        place = caller.at(running)
        jobs = jobs or [queue(place, f"{session} {n}", f"{n}") for n in range(12)]
        until(lambda n=stops: moody.calls == 12 * (n + 1))
        if stops < 5:
            running.stop()
    moody.set("away")
    until(lambda: scrape(place).get("hansard_llm_up", server="primary") == 0)
    until(lambda: scrape(place).get("hansard_jobs_running") == 0)
    moody.set("well")
    states = [ended(place, job) for job in jobs]
    assert {state["attempts"] for state in states} <= {6, 7}
    assert sum(state["status"] == "completed" for state in states) >= 6, states


def test_a_job_that_the_model_fails(record, caller, worker, model, session):
    """It is over, and the next one goes on without its words."""
    place = caller.at(worker())
    jobs = [queue(place, session, words) for words in ("first", "[[status 500]] second", "third")]
    failed = ended(place, jobs[1])
    assert (failed["status"], failed["error"]["code"], failed["response"]) == ("failed", "model_failed", None)
    assert failed["attempts"] == 1
    assert answers(place, [jobs[0], jobs[2]]) == ["echo 1: first", "echo 3: third"]
    assert record.states(session) == ["completed", "failed", "completed"]
    assert len(model.calls("[[status 500]] second")) <= 3


# ---- soon ------------------------------------------------------------------------------------------


def test_an_idle_worker_begins_at_once(record, caller, worker, session):
    """It does not wait for its next look, which is a second away."""
    place = caller.at(worker())
    for n in range(5):
        answers(place, [queue(place, f"{session} {n}", "x")])
        time.sleep(0.3)
    turns = [record.turns(f"{session} {n}")[0] for n in range(5)]
    waited = [(turn.started_at - turn.accepted_at).total_seconds() for turn in turns]
    assert statistics.median(waited) < 0.15 * PATIENCE, waited


def test_another_worker_runs_what_the_one_has_no_room_for(record, caller, worker, model, session):
    busy = caller.at(worker(llm_concurrency=1))
    slow = queue(busy, f"{session} slow", SLOW)
    until(lambda: model.stats()["in_flight"] == 1)
    idle = caller.at(worker(llm_concurrency=1))
    time.sleep(1.5)  # until it looks as seldom as it will
    assert answers(busy, [queue(busy, session, "x")]) == ["echo 1: x"]
    (turn,) = record.turns(session)
    assert str(turn.worker_id) == worker_id(idle)
    assert (turn.started_at - turn.accepted_at).total_seconds() < 2 * PATIENCE
    assert busy.cancel(slow).status == 200


# ---- what a caller may have ------------------------------------------------------------------------


def test_queued_jobs_count_as_open_turns(stack, record, capped, worker, session):
    at = capped(parallel_turns=3).at(worker())
    jobs = [queue(at, session, SLOW), queue(at, session, "second"), queue(at, f"{session} other", SLOW)]
    for ask in (at.queue, at.chat):
        assert problem(ask(f"{session} more", "x")) == (429, "too_many_open_turns")
    assert at.cancel(jobs[1]).status == 200
    # As long as Retry-After said, the worker remembers that it refused.
    more = until(lambda: (answer := at.queue(f"{session} more", "[[delay 300]] more")).status == 202 and answer)
    assert problem(at.queue(session, "x")) == (429, "too_many_open_turns")
    assert answers(at, [more.json["job_id"]]) == ["echo 1: [[delay 300]] more"]
    until(lambda: at.chat(f"{session} more", "x").status == 200)
    for job in (jobs[0], jobs[2]):
        assert at.cancel(job).status == 200
    assert stack.value(HELD) == 0
    assert record.states(session) == ["cancelled", "cancelled"]


def test_jobs_reserve_the_days_tokens(stack, capped, worker, model, session):
    """From the moment they are queued; what a job did not use is given back when it ends."""
    at = capped(tokens_per_day=1000, tokens_reserved=400).at(worker())
    jobs = [queue(at, session, "[[delay 500]] x"), queue(at, session, "y")]
    for ask in (at.queue, at.chat):
        assert problem(ask(f"{session} more", "x")) == (429, "token_limit_reached")
    answers(at, jobs)
    assert stack.value(HELD) == 0
    until(lambda: at.chat(f"{session} more", "x").status == 200)
