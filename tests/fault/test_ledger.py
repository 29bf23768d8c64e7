"""The ledger itself: it has to see what it looks for. Each invariant is broken once, by hand."""

import dataclasses

import pytest

from lib.ledger import INVARIANTS, Fleet, Ledger

TURNS = 3
TURN_2 = "conversation_id = (SELECT conversation_id FROM hansard.sessions WHERE session_id = %s) AND turn_no = 2"
TURN_3 = TURN_2.replace("turn_no = 2", "turn_no = 3")
JOB = TURN_2.replace("turn_no = 2", "turn_no = 4")
QUESTION, ANSWER = f"{TURN_2} AND position = 1", f"{TURN_2} AND position = 2"
COPY_ANSWER = f"""
    INSERT INTO hansard.messages
    SELECT conversation_id, turn_no, 3, role, text, created_at, salt, text_hash, chain_hash
    FROM hansard.messages WHERE {ANSWER}"""
COPY_CONVERSATION = """
    INSERT INTO hansard.conversations
    SELECT hansard.uuid_v7(now()), session_key, user_id, session_id, now()
    FROM hansard.conversations WHERE session_id = %s"""
COPY_KEY = f"""
    WITH c AS ({COPY_CONVERSATION} RETURNING conversation_id)
    INSERT INTO hansard.turns
    SELECT c.conversation_id, 1, 'failed', '1', sha256(''), gen_random_uuid(), NULL, NULL, 1, NULL, now(), NULL, now()
    FROM c"""

QUEUE_AGAIN = """
    INSERT INTO hansard.jobs (conversation_id, turn_no, session_key, limit_key, queued_at, is_ready)
    SELECT conversation_id, 4, session_key, 'x', now(), false FROM hansard.sessions WHERE session_id = %s"""
FLEET = Fleet(cap=3, high_water=3, attempts_most=1, deaths_most=2)


def turn_set(change, where):
    return f"UPDATE hansard.turns SET {change} WHERE {where}"


def message_set(change, where):
    return f"UPDATE hansard.messages SET {change} WHERE {where}"


def session_set(change):
    return f"UPDATE hansard.sessions SET {change} WHERE session_id = %s"


# What is done to the record, and the beginnings of invariants that have to be among those found broken.
DAMAGES = {
    "answer lost": (f"DELETE FROM hansard.messages WHERE {ANSWER}", ["i1_answers", "i4_turns_have", "i6_hashes"]),
    "answer changed": (message_set("text = 'x'", ANSWER), ["i1_answers", "i6_hashes"]),
    "key changed": (turn_set("idempotency_key = 'x'", TURN_2), ["i1_answers", "i2_every_turn"]),
    "question changed": (message_set("text = 'x'", QUESTION), ["i2_every_turn", "i6_hashes"]),
    "turn failed": (turn_set("state = 'failed'", TURN_3), ["i1_answers", "i4_turns_have", "i4_sessions"]),
    "turn lost": (f"DELETE FROM hansard.turns WHERE {TURN_2}", ["i1_answers", "i3_turns", "i4_messages"]),
    "turns overlap": (turn_set("accepted_at = accepted_at - interval '1 hour'", TURN_2), ["i3_one_turn"]),
    "turn left running": (turn_set("state = 'running', finished_at = NULL", TURN_3), ["i4_no_turn"]),
    "second answer": (COPY_ANSWER, ["i4_turns_have"]),
    "session left open": (session_set("open_turn = 3, open_worker = gen_random_uuid()"), ["i4_sessions"]),
    "head of another": (session_set("chain_head = sha256('x')"), ["i6_head"]),
    "chain broken": (message_set("chain_hash = sha256('x')", ANSWER), ["i6_hashes"]),
    "other context": (message_set("text = replace(text, 'echo 3', 'echo 1')", ANSWER), ["i3_the_model"]),
    "two conversations": (COPY_CONVERSATION, ["i2_a_session"]),
    "one key twice": (COPY_KEY, ["i2_one_key"]),
    "job's answer lost": (f"DELETE FROM hansard.messages WHERE {JOB} AND position = 2", ["i1_answers", "i4_turns_have"]),
    "job claimed too early": (turn_set("started_at = started_at - interval '1 hour'", JOB), ["i3_one_turn"]),
    "job left queued": (turn_set("state = 'queued', finished_at = NULL", JOB), ["i4_no_turn"]),
    "job left in the queue": (QUEUE_AGAIN, ["i5_no_job"]),
    "job counted on": (session_set("jobs = 1"), ["i4_sessions"]),
    "job never claimed": (turn_set("attempt = 0", JOB), ["i5_attempts"]),
    "job given up too soon": (turn_set("state = 'failed', error_code = 'worker_lost'", JOB), ["i5_attempts"]),
}


@pytest.fixture
def told(worker, caller, ledger, session):
    """A ledger of a few answers, the last one a job's."""
    at = caller.at(worker())
    for number in range(TURNS):
        promise = ledger.ask(session, str(number), f"words {number}")
        ledger.answered(promise, at.chat(session, promise.words, key=promise.key))
    promise = ledger.ask(session, "job", "words")
    promise.is_job = True
    ledger.queued(promise, at.queue(session, promise.words, key=promise.key))
    ledger.ended(promise, at.job(promise.job_id, wait=20).json)
    return ledger


def test_whole_record(stack, told):
    assert told.violations(stack) == {}


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_sees(stack, told, session, damage):
    statement, words = DAMAGES[damage]
    stack.sql(statement, session)
    found = told.violations(stack)
    assert [word for word in words if not any(invariant.startswith(word) for invariant in found)] == []


def test_it_sees_a_failure_that_is_none(stack, told, session):
    promise = told.ask(session, "k", "w")
    promise.told("failed", 5)
    assert list(told.violations(stack)) == ["i1_failures_are_stored"]


def test_it_sees_a_failure_of_another_kind(stack, told, session):
    """The code is part of what was told."""
    stack.sql(turn_set("state = 'failed', error_code = 'model_failed'", TURN_3), session)
    promise = told.ask(session, "3rd", "w")
    promise.code = "model_timeout"
    promise.told("failed", 3)
    stack.sql(turn_set("idempotency_key = '3rd'", TURN_3), session)
    assert "i1_failures_are_stored" in told.violations(stack)
    promise.code = "model_failed"
    assert "i1_failures_are_stored" not in told.violations(stack)


def test_it_sees_a_question_out_of_order(stack, told, session):
    late = told.ask(session, "late", "w")
    late.told("answered", 2)
    assert list(told.violations(stack)) == ["i1_answers_are_stored", "i3_later_questions_are_later_turns"]


def test_it_sees_a_job_that_is_a_live_turn(stack, told, session):
    stack.sql(turn_set("is_job = false", JOB), session)
    assert list(told.violations(stack)) == ["i1_jobs_are_stored"]
    told.promises()[-1].is_job = None  # asked live and then as a job: it may be either
    assert told.violations(stack) == {}


def test_it_sees_a_job_of_another_id(stack, told):
    promise = told.promises()[-1]
    promise.job_id = promise.job_id.replace("-4", "-5")
    assert list(told.violations(stack)) == ["i1_jobs_are_stored"]


def test_it_sees_a_cancellation_that_is_none(stack, told, session):
    job = told.promises()[-1]
    job.fate = "cancelled"
    assert list(told.violations(stack)) == ["i1_cancellations_are_stored"]
    stack.sql(turn_set("state = 'cancelled'", JOB), session)
    assert "i1_cancellations_are_stored" not in told.violations(stack)


@pytest.mark.parametrize(
    "seen, invariant",
    [
        ({"high_water": 4}, "i9_calls_stay_within_the_cap"),
        ({"attempts_most": 0}, "i5_attempts_are_bounded"),
        ({"deaths_most": 3}, "i5_deaths_are_bounded"),
    ],
)
def test_it_sees_too_many(stack, told, seen, invariant):
    stack.sql("UPDATE hansard.workers SET permits = 0, permits_until = now()")
    assert told.violations(stack, FLEET) == {}
    assert list(told.violations(stack, dataclasses.replace(FLEET, **seen))) == [invariant]


def test_it_sees_too_many_permits(stack, told):
    """In force now, of whatever worker."""
    stack.sql("UPDATE hansard.workers SET permits = 4, permits_until = now() + interval '1 minute'")
    assert list(told.violations(stack, FLEET)) == ["i9_calls_stay_within_the_cap"]


def test_every_invariant_is_broken_here():
    elsewhere = ["i1_failures", "i1_jobs", "i1_cancellations", "i3_later", "i5_deaths", "i9_calls"]
    words = [word for _, words in DAMAGES.values() for word in words] + elsewhere
    assert [name for name in INVARIANTS if not any(name.startswith(word) for word in words)] == []


def test_an_empty_ledger_is_fine(stack):
    Ledger().check(stack)
