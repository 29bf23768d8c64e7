"""Expiry: a session idle for longer than its time to live begins a new conversation; the old one stays on record."""

import time

import pytest

from lib.client import problem
from lib.together import begin
from lib.wait import until


def test_next_message_begins_anew(record, caller, recorder, worker, session):
    at = caller.at(worker(llm_url=recorder.llm_url, session_ttl="1s"))
    assert at.chat(session, "one").turn == 1
    assert at.chat(session, "two").turn == 2
    time.sleep(1.05)
    fresh = at.chat(session, "three")
    assert fresh.turn == 1
    assert at.chat(session, "four").turn == 2
    assert recorder.contexts()[2:] == [
        [("user", "three")],
        [("user", "three"), ("assistant", "answer to three"), ("user", "four")],
    ]
    # On record: two conversations, nothing lost.
    rows = record.turns(session)
    assert [row.turn_no for row in rows] == [1, 2, 1, 2]
    old, new = rows[0].conversation, rows[2].conversation
    assert old < new, "a UUIDv7 tells the order"
    assert [row.conversation for row in rows] == [old, old, new, new]
    assert [words for role, words in record.messages(session) if role == "user"] == ["one", "two", "three", "four"]
    # Read back: the current one.
    page = at.read(session).json
    assert page["conversation_id"] == new
    assert [turn["turn"] for turn in page["turns"]] == [1, 2]


def test_each_turn_prolongs_it(caller, worker, session):
    at = caller.at(worker(session_ttl="2s"))
    for turn in range(1, 5):
        assert at.chat(session, "x").turn == turn
        time.sleep(0.7)


def test_turn_that_runs_is_not_idleness(record, caller, worker, session):
    at = caller.at(worker(session_ttl="1s"))
    first = begin(at.chat, session, "[[delay 1500]] one")
    until(lambda: record.is_running(session))
    time.sleep(1.05)
    second = at.chat(session, "two")
    assert (second.turn, second.text) == (2, "echo 3: two")
    assert first.result().turn == 1


# ---- by the usual 24 hours, which are not waited for ----


@pytest.mark.parametrize("rest, turn", [("23 h 59 min", 2), ("24 h 1 s", 1)])
def test_a_day_by_default(record, caller, session, rest, turn):
    caller.chat(session, "one")
    record.let_rest(session, rest)
    assert caller.chat(session, "two").turn == turn


def test_idle_session_can_be_read_until_the_next_message(record, caller, session):
    caller.chat(session, "one")
    record.let_rest(session, "25 h")
    assert len(caller.read(session).json["turns"]) == 1


def test_first_message_after_it_may_be_refused(record, limited, session):
    """Then the old conversation is still the current one."""
    caller = limited(1, 1)
    caller.chat(session, "one")
    record.let_rest(session, "25 h")
    assert problem(caller.chat(session, "two"))[0] == 429
    assert len(record.turns(session)) == 1
    assert [turn["turn"] for turn in caller.read(session).json["turns"]] == [1]


def test_repeat_of_an_old_turn_is_answered_while_nothing_new_was_said(record, caller, session):
    first = caller.chat(session, "one", key="k")
    record.let_rest(session, "25 h")
    again = caller.chat(session, "one", key="k")
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
