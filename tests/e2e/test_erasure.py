"""Erasure: the words go, for good; that they were there, and their hashes, stay."""

from lib.client import conversation_path, problem
from lib.lengthen import lengthen
from lib.together import begin
from lib.wait import until

ROWS = """
SELECT m.conversation_id::text, m.turn_no, m.position, m.role, m.text, m.salt, m.text_hash, m.chain_hash
FROM hansard.messages m WHERE m.conversation_id = %s::uuid ORDER BY m.turn_no, m.position
"""


def rows_of(stack, conversation):
    return [
        {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row._asdict().items()}
        for row in stack.sql(ROWS, conversation)
    ]


def test_words_go_and_hashes_stay(stack, caller, session):
    for number in range(3):
        caller.chat(session, f"secret {number}")
    conversation = caller.read(session).json["conversation_id"]
    before = rows_of(stack, conversation)
    assert len(before) == 6 and all(row["text"] and len(row["salt"]) == 16 for row in before)

    answer = caller.erase(session)
    assert answer.status == 200
    assert answer.json == {
        "session_id": session,
        "erased": {"conversations": 1, "turns": 3, "messages": 6, "cancelled": 0},
    }
    assert rows_of(stack, conversation) == [{**row, "text": None, "salt": None} for row in before]
    (header,) = stack.sql("SELECT * FROM hansard.conversations WHERE conversation_id = %s::uuid", conversation)
    assert header.session_id is None and header.user_id is not None
    turns = stack.sql("SELECT state, address FROM hansard.turns WHERE conversation_id = %s::uuid", conversation)
    assert [tuple(turn) for turn in turns] == [("completed", None)] * 3
    assert stack.value("SELECT count(*) FROM hansard.sessions WHERE session_id = %s", session) == 0


def test_nothing_of_it_is_left_anywhere(stack, caller, session):
    caller.chat(session, f"words of {session}", key=f"key of {session}")
    caller.erase(session)
    for table in ("conversations", "sessions", "messages", "turns", "audit_events"):
        left = f"SELECT count(*) FROM hansard.{table} t WHERE t::text LIKE '%%' || %s || '%%'"
        assert stack.value(left, f"words of {session}") == 0, table
        assert stack.value(left, f'"{session}"') == 0, table


def test_words_cannot_be_guessed_from_what_is_left(stack, record, caller, session):
    """Whoever suspects certain words can neither try them against a salted hash nor against the request's."""
    caller.chat(session, "yes")
    (row,) = record.turns(session)
    caller.erase(session)
    left = "SELECT fingerprint FROM hansard.turns WHERE conversation_id = %s::uuid"
    assert stack.value(left, row.conversation) != row.fingerprint


def test_it_is_noted(stack, caller, user, session):
    caller.chat(session, "secret")
    conversation = caller.read(session).json["conversation_id"]
    answer = caller.erase(session)
    (event,) = stack.sql(
        "SELECT * FROM hansard.audit_events WHERE request_id = %s::uuid", answer.headers["X-Request-Id"]
    )
    assert event.kind == "conversation_erased"
    assert event.user_id == stack.value("SELECT user_id FROM hansard.users WHERE name = %s", user)
    assert event.detail == {**answer.json["erased"], "conversation_ids": [conversation]}


def test_afterwards_it_is_not_there(caller, model, session):
    caller.chat(session, "old")
    caller.erase(session)
    assert problem(caller.read(session)) == (404, "not_found")
    assert problem(caller.erase(session)) == (404, "not_found")
    fresh = caller.chat(session, "new")
    assert (fresh.turn, fresh.text) == (1, "echo 1: new")
    assert [turn["turn"] for turn in caller.read(session).json["turns"]] == [1]


def test_every_conversation_of_the_session_is_erased(record, caller, session):
    """Also those that expired before."""
    caller.chat(session, "old")
    record.let_rest(session, "2 days")
    assert caller.chat(session, "new").turn == 1
    assert len({row.conversation for row in record.turns(session)}) == 2
    assert caller.erase(session).json["erased"] == {"conversations": 2, "turns": 2, "messages": 4, "cancelled": 0}
    assert record.turns(session) == []


def test_turn_that_runs_is_cancelled(stack, record, caller, model, session):
    first = begin(caller.chat, session, "[[delay 600]] secret")
    until(lambda: record.is_running(session))
    conversation = record.turns(session)[0].conversation
    assert caller.erase(session).json["erased"] == {"conversations": 1, "turns": 1, "messages": 1, "cancelled": 1}
    assert problem(first.result()) == (409, "turn_cancelled")
    turns = stack.sql("SELECT state, error_code FROM hansard.turns WHERE conversation_id = %s::uuid", conversation)
    assert [tuple(turn) for turn in turns] == [("cancelled", "turn_cancelled")]
    # The model's late answer was not written.
    assert [row["text"] for row in rows_of(stack, conversation)] == [None]
    assert caller.chat(session, "new").text == "echo 1: new"


def test_who_waits_behind_it_begins_anew(record, caller, session):
    first = begin(caller.chat, session, "[[delay 600]] secret")
    until(lambda: record.is_running(session))
    second = begin(caller.chat, session, "next")
    caller.erase(session)
    assert problem(first.result()) == (409, "turn_cancelled")
    assert (second.result().turn, second.result().text) == (1, "echo 1: next")


def test_other_sessions_keep_their_words(caller, session):
    other = f"{session} other"
    caller.chat(session, "a"), caller.chat(other, "b")
    caller.erase(session)
    (turn,) = caller.read(other).json["turns"]
    assert turn["messages"][0]["content"] == "b"


def test_same_name_of_another_owner_keeps_its_words(caller, stranger, session):
    caller.chat(session, "a"), stranger.chat(session, "b")
    assert stranger.request("DELETE", conversation_path(session)).status == 200
    (turn,) = caller.read(session).json["turns"]
    assert turn["messages"][0]["content"] == "a"


STEPS = """
SELECT count(*), sum((detail ->> 'turns')::int) AS turns FROM hansard.audit_events WHERE detail -> 'conversation_ids' ? %s
"""
LEFT = """
SELECT count(*) FROM hansard.messages WHERE conversation_id = %s::uuid AND (text IS NOT NULL OR salt IS NOT NULL)
"""


def test_a_long_conversation_is_erased_before_it_is_said(stack, caller, session):
    """In steps, of which each is noted; the answer has the counts of all."""
    caller.chat(session, "secret")
    conversation = lengthen(stack, session, 3500)
    answer = caller.erase(session)
    assert stack.value(LEFT, conversation) == 0
    assert answer.json["erased"] == {"conversations": 1, "turns": 3500, "messages": 7000, "cancelled": 0}
    assert tuple(stack.sql(STEPS, conversation)[0]) == (4, 3500)
    assert stack.value("SELECT count(*) FROM hansard.erasures") == 0
    assert problem(caller.erase(session)) == (404, "not_found")
