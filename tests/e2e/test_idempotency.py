"""Once: one Idempotency-Key is one turn, one model call and one answer, however often and wherever it is sent."""

import json

from lib.client import Client, problem
from lib.together import begin, together
from lib.wait import until


def test_50_posts_at_once_with_one_key(record, caller, model, session):
    answers = together([lambda: caller.chat(session, "[[delay 200]] once", key="k")] * 50)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    replayed = [answer.headers["Idempotent-Replayed"] for answer in answers]
    assert sorted(replayed, key=str) == [None] + ["true"] * 49
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 50
    assert len(model.calls("[[delay 200]] once")) == 1
    assert len(record.turns(session)) == 1


def test_repeat_to_another_worker(stack, caller, worker, model, session):
    other = caller.at(worker())
    first = caller.chat(session, "hello", key="k")
    again = other.chat(session, "hello", key="k")
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(model.calls("hello")) == 1


def test_repeat_joins_a_turn_that_runs_at_another_worker(record, caller, worker, model, session):
    other = caller.at(worker())
    first = begin(caller.chat, session, "[[delay 500]] x", key="k")
    until(lambda: record.is_running(session))
    again = other.chat(session, "[[delay 500]] x", key="k")
    assert again.body == first.result().body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert model.stats()["calls"] == 1


def test_repeat_of_a_key_still_running_at_the_deadline(record, caller, worker, session):
    hurried = caller.at(worker(request_timeout="300ms"))
    first = begin(caller.chat, session, "[[delay 2500]] x", key="k")
    until(lambda: record.is_running(session))
    assert problem(hurried.chat(session, "[[delay 2500]] x", key="k")) == (409, "conversation_busy")
    assert first.result().turn == 1
    assert len(record.turns(session)) == 1


def test_other_words_under_the_same_key(record, caller, session):
    caller.chat(session, "one", key="k")
    assert problem(caller.chat(session, "two", key="k")) == (422, "idempotency_key_reused")
    assert len(record.turns(session)) == 1
    assert caller.chat(session, "two", key="k2").turn == 2


def test_the_same_request_in_another_spelling_is_a_repeat(caller, session):
    first = caller.chat(session, "hellö", key="k")
    spelled = '{ "message" : "hell\\u00f6", "session_id": %s }' % json.dumps(session)
    again = caller.post(spelled.encode(), {"Idempotency-Key": "k"})
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"


def test_keys_of_other_sessions_and_owners_are_others(stack, caller, stranger, session):
    another = Client(stack.url, stack.add_key(f"another {session}", "unlimited"))
    answers = [
        caller.chat(session, "a", key="k"),
        caller.chat(f"{session} 2", "b", key="k"),
        another.chat(session, "c", key="k"),
        stranger.chat(session, "d", key="k"),
    ]
    assert [answer.text for answer in answers] == ["echo 1: a", "echo 1: b", "echo 1: c", "echo 1: d"]
    assert {answer.headers["Idempotent-Replayed"] for answer in answers} == {None}


def test_request_id_is_the_key_of_a_request_without_one(caller, model, session):
    first = caller.chat(session, "hello")
    again = caller.chat(session, "hello", key=first.headers["X-Request-Id"])
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert model.stats()["calls"] == 1


def test_repeat_is_answered_after_later_turns(caller, session):
    first = caller.chat(session, "one", key="k1")
    caller.chat(session, "two", key="k2")
    again = caller.chat(session, "one", key="k1")
    assert again.body == first.body


def test_repeat_costs_no_quota(limited, session):
    caller = limited(1, 2)
    first = caller.chat(session, "one", key="k")
    assert first.remaining == 1
    for _ in range(5):
        assert caller.chat(session, "one", key="k").body == first.body
    assert caller.chat(session, "two").remaining == 0
    assert problem(caller.chat(session, "three")) == (429, "rate_limited")
    # Looked at before the limit: even now.
    assert caller.chat(session, "one", key="k").body == first.body


def test_mistaken_reuse_costs_no_quota(limited, session):
    caller = limited(1, 2)
    caller.chat(session, "one", key="k")
    assert problem(caller.chat(session, "two", key="k"))[0] == 422
    assert caller.chat(session, "three").remaining == 0


def test_failed_turn_stays_failed(record, caller, model, session):
    first = caller.chat(session, "[[status 400]] no", key="k")
    again = caller.chat(session, "[[status 400]] no", key="k")
    assert problem(first) == problem(again) == (502, "model_failed")
    assert first.headers["Idempotent-Replayed"] is None
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json["turn"] == 1
    assert model.stats()["calls"] == 1
    assert len(record.turns(session)) == 1
    # Another try is another key.
    assert caller.chat(session, "[[status 400]] no", key="k2").json["turn"] == 2
