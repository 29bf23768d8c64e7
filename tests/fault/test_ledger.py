"""The ledger itself: it has to see what it looks for. Each invariant is broken once, by hand."""

import pytest

from lib.ledger import INVARIANTS, Ledger

TURNS = 3
TURN_2 = "conversation_id = (SELECT conversation_id FROM hansard.sessions WHERE session_id = %s) AND turn_no = 2"
TURN_3 = TURN_2.replace("turn_no = 2", "turn_no = 3")
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


def turn_set(change, where):
    return f"UPDATE hansard.turns SET {change} WHERE {where}"


def message_set(change, where):
    return f"UPDATE hansard.messages SET {change} WHERE {where}"


def session_set(change):
    return f"UPDATE hansard.sessions SET {change} WHERE session_id = %s"


# What is done to the record, and the words of invariants that have to be among those found broken.
DAMAGES = {
    "answer lost": (f"DELETE FROM hansard.messages WHERE {ANSWER}", ["I1: an", "I4: a turn has", "I6: every"]),
    "answer changed": (message_set("text = 'x'", ANSWER), ["I1: an", "I6: every"]),
    "key changed": (turn_set("idempotency_key = 'x'", TURN_2), ["I1: an", "every turn"]),
    "question changed": (message_set("text = 'x'", QUESTION), ["every turn", "I6: every"]),
    "turn failed": (turn_set("state = 'failed'", TURN_3), ["I1: an", "I4: a turn has", "a session's row"]),
    "turn lost": (f"DELETE FROM hansard.turns WHERE {TURN_2}", ["I1: an", "I3: turns are", "I4: a message"]),
    "turns overlap": (turn_set("accepted_at = accepted_at - interval '1 hour'", TURN_2), ["I3: a turn begins"]),
    "turn left running": (turn_set("state = 'running', finished_at = NULL", TURN_3), ["I4: no turn is left"]),
    "second answer": (COPY_ANSWER, ["I4: a turn has"]),
    "session left open": (session_set("open_turn = 3, open_worker = gen_random_uuid()"), ["a session's row"]),
    "head of another": (session_set("chain_head = sha256('x')"), ["I6: the head"]),
    "chain broken": (message_set("chain_hash = sha256('x')", ANSWER), ["I6: every"]),
    "other context": (message_set("text = replace(text, 'echo 3', 'echo 1')", ANSWER), ["the model saw"]),
    "two conversations": (COPY_CONVERSATION, ["a session is one"]),
    "one key twice": (COPY_KEY, ["I2: one key"]),
}


@pytest.fixture
def told(worker, caller, ledger, session):
    """A ledger of a few answers."""
    at = caller.at(worker())
    for number in range(TURNS):
        promise = ledger.ask(session, str(number), f"words {number}")
        ledger.answered(promise, at.chat(session, promise.words, key=promise.key))
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
    promise.fate, promise.turn = "failed", 2
    assert list(told.violations(stack)) == ["a failure that a caller was told of is stored"]


def test_every_invariant_is_broken_here():
    words = [word for _, words in DAMAGES.values() for word in words] + ["a failure that a caller was told of"]
    assert [name for name in INVARIANTS if not any(name.startswith(word) for word in words)] == []


def test_an_empty_ledger_is_fine(stack):
    Ledger().check(stack)
