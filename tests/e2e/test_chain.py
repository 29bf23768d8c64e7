"""The chain: anyone can compute a conversation's hashes from its rows, with nothing but SHA-256; the definition is that
of sql/functions/00_common.sql."""

import hashlib
import struct
import uuid

import pytest

CONVERSATION = "SELECT * FROM hansard.conversations WHERE session_id = %s ORDER BY conversation_id"
MESSAGES = "SELECT * FROM hansard.messages WHERE conversation_id = %s ORDER BY turn_no, position"


def sha256(*parts):
    return hashlib.sha256(b"".join(bytes(part) for part in parts)).digest()


def microseconds(at):
    return int(at.timestamp()) * 1000000 + at.microsecond


def session_key(user_id, session):
    owner = b"\x01" + uuid.UUID(user_id).bytes if user_id else b"\x00"
    return sha256(owner, session.encode())


def chain_start(header):
    label = b"hansard conversation 1"
    at = struct.pack(">q", microseconds(header.created_at))
    return sha256(label, uuid.UUID(header.conversation_id).bytes, header.session_key, at)


def chain_hash(before, row):
    role = row.role.encode()
    numbers = struct.pack(">ihi", row.turn_no, row.position, len(role))
    at = struct.pack(">q", microseconds(row.created_at))
    return sha256(before, uuid.UUID(row.conversation_id).bytes, numbers, role, at, row.text_hash)


def check_chain(stack, header):
    """Every hash of the conversation; gives the last one."""
    head = chain_start(header)
    for row in stack.sql(MESSAGES, header.conversation_id):
        if row.text is not None:
            assert len(row.salt) == 16
            assert bytes(row.text_hash) == sha256(row.salt, row.text.encode())
        head = chain_hash(head, row)
        assert bytes(row.chain_hash) == head, (row.turn_no, row.position)
    return head


def head_of(stack, session):
    return bytes(stack.value("SELECT chain_head FROM hansard.sessions WHERE session_id = %s", session))


@pytest.mark.parametrize("who", ["caller", "stranger"])
def test_chain_can_be_computed(stack, request, session, who):
    client = request.getfixturevalue(who)
    session = f"{session} ü"
    for words in ("one", "zwölf\n👋", "[[status 400]] failed", "x" * 5000):
        client.chat(session, words)
    (header,) = stack.sql(CONVERSATION, session)
    assert bytes(header.session_key) == session_key(header.user_id, session)
    assert check_chain(stack, header) == head_of(stack, session)
    rows = stack.sql(MESSAGES, header.conversation_id)
    assert [(row.turn_no, row.position) for row in rows] == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (4, 1), (4, 2)]


def test_salts_are_never_the_same(stack, caller, session):
    for _ in range(5):
        caller.chat(session, "same words")
    (header,) = stack.sql(CONVERSATION, session)
    rows = stack.sql(MESSAGES, header.conversation_id)
    assert len({bytes(row.salt) for row in rows}) == len({bytes(row.text_hash) for row in rows}) == 10


def test_each_conversation_has_its_own(stack, record, caller, session):
    caller.chat(session, "old")
    record.let_rest(session, "2 days")
    caller.chat(session, "new")
    old, new = stack.sql(CONVERSATION, session)
    assert check_chain(stack, old) != check_chain(stack, new) == head_of(stack, session)


def test_erasure_leaves_it_checkable(stack, caller, session):
    for number in range(3):
        caller.chat(session, f"secret {number}")
    (header,) = stack.sql(CONVERSATION, session)
    head = head_of(stack, session)
    caller.erase(session)
    assert check_chain(stack, header) == head


def test_it_shows_a_change(stack, caller, session):
    """The check is one: a changed word, role, time or order does not pass."""
    for number in range(2):
        caller.chat(session, f"words {number}")
    (header,) = stack.sql(CONVERSATION, session)
    check_chain(stack, header)
    for change in (
        "text = 'other words'",
        "role = 'user'",
        "created_at = created_at + interval '1 microsecond'",
        "text_hash = sha256('x')",
    ):
        kept = "UPDATE hansard.messages SET {} WHERE conversation_id = %s AND turn_no = 1 AND position = 2"
        before = stack.sql(MESSAGES, header.conversation_id)[1]
        stack.sql(kept.format(change), header.conversation_id)
        with pytest.raises(AssertionError):
            check_chain(stack, header)
        back = "text = %s, role = %s, created_at = %s, text_hash = %s"
        values = (before.text, before.role, before.created_at, before.text_hash)
        stack.sql(kept.format(back), *values, header.conversation_id)
        check_chain(stack, header)
