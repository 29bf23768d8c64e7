"""The ledger itself: it has to see what it looks for. Each invariant is broken once, by hand."""

import pytest

from lib.ledger import INVARIANTS, Ledger

TURNS = 3
OF_SESSION = "conversation_id = (SELECT conversation_id FROM hansard.sessions WHERE session_id = %s)"
ANSWER_2 = f"{OF_SESSION} AND turn_no = 2 AND position = 2"

# What is done to the record, and the words of the invariants that have to be among those found broken.
DAMAGES = {
    "answer lost": (f"DELETE FROM hansard.messages WHERE {ANSWER_2}", ["I1: an answer", "I4: a turn has", "I6: every"]),
    "answer changed": (f"UPDATE hansard.messages SET text = 'x' WHERE {ANSWER_2}", ["I1: an answer", "I6: every"]),
    "key changed": (f"UPDATE hansard.turns SET idempotency_key = 'x' WHERE {OF_SESSION} AND turn_no = 2", ["I1", "every turn"]),
    "question changed": (f"UPDATE hansard.messages SET text = 'x' WHERE {OF_SESSION} AND turn_no = 2 AND position = 1",
                         ["every turn is a question", "I6: every"]),
    "turn failed": (f"UPDATE hansard.turns SET state = 'failed' WHERE {OF_SESSION} AND turn_no = 3",
                    ["I1", "I4: a turn has", "a session's row"]),
    "turn lost": (f"DELETE FROM hansard.turns WHERE {OF_SESSION} AND turn_no = 2",
                  ["I1", "I3: turns are numbered", "I4: a message", "a session's row"]),
    "turns overlap": (f"UPDATE hansard.turns SET accepted_at = accepted_at - interval '1 hour' WHERE {OF_SESSION} AND turn_no = 2",
                      ["I3: a turn begins"]),
    "turn left running": (f"UPDATE hansard.turns SET state = 'running', finished_at = NULL WHERE {OF_SESSION} AND turn_no = 3",
                          ["I4: no turn is left"]),
    "second answer": (f"INSERT INTO hansard.messages SELECT conversation_id, turn_no, 3::smallint, role, text, created_at, salt, "
                      f"text_hash, chain_hash FROM hansard.messages WHERE {ANSWER_2}", ["I4: a turn has"]),
    "session left open": ("UPDATE hansard.sessions SET open_turn = 3, open_worker = gen_random_uuid() WHERE session_id = %s",
                          ["a session's row"]),
    "head of another": ("UPDATE hansard.sessions SET chain_head = sha256('x') WHERE session_id = %s", ["I6: the head"]),
    "chain broken": (f"UPDATE hansard.messages SET chain_hash = sha256('x') WHERE {ANSWER_2}", ["I6: every"]),
    "other context": (f"UPDATE hansard.messages SET text = replace(text, 'echo 3', 'echo 1') WHERE {ANSWER_2}", ["the model saw"]),
    "two conversations": ("INSERT INTO hansard.conversations SELECT hansard.uuid_v7(now()), session_key, user_id, session_id, now() "
                          "FROM hansard.conversations WHERE session_id = %s", ["a session is one"]),
    "one key twice": ("WITH c AS (INSERT INTO hansard.conversations SELECT hansard.uuid_v7(now()), session_key, user_id, session_id, "
                      "now() FROM hansard.conversations WHERE session_id = %s RETURNING conversation_id, session_id) "
                      "INSERT INTO hansard.turns SELECT c.conversation_id, 1, 'failed', '1', sha256(''), gen_random_uuid(), NULL, "
                      "NULL, 1, NULL, now(), NULL, now() FROM c", ["I2: one key"]),
}  # fmt: skip


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
