"""Accept against expiry: a session that has rested too long begins one new conversation, whoever is first."""

from psycopg2.extensions import Binary
from stage.connection import watcher
from stage.tap import run, story
from stage.worker import Worker, is_whole, key_of, new_session, said, session_row

HOUR_MS = 3_600_000


def rest(session):
    """For two hours."""
    watcher().do(
        "UPDATE hansard.sessions SET last_activity = now() - interval '2 hours' WHERE session_key = %s",
        Binary(key_of(session)),
    )


@story("two messages to an expired session: one new conversation, and the second waits in it")
def two_after_expiry():
    a, b, session = Worker(), Worker(), new_session()
    old = a.turn(session)
    rest(session)
    first = a.begin().accept(session, words="from a", ttl_ms=HOUR_MS)
    second = b.start(lambda: b.accept(session, words="from b", key="b", ttl_ms=HOUR_MS)).waits_for(a)
    a.commit()
    assert (first.outcome, first.turn_no) == ("accepted", 1)
    assert first.conversation_id != old.conversation_id
    assert second.result().outcome == "waiting"
    assert a.finish(first) == "finished"
    third = b.accept(session, words="from b", key="b", ttl_ms=HOUR_MS)
    assert (third.turn_no, third.conversation_id) == (2, first.conversation_id)
    assert [(turn, words[0]) for turn, _, words in said(session)] == [(1, "hello"), (1, "from a"), (2, "from b")]
    assert is_whole(session)


@story("the first of them is rolled back: the second begins the new conversation")
def first_rolled_back():
    a, b, session = Worker(), Worker(), new_session()
    old = a.turn(session)
    rest(session)
    a.begin().accept(session, words="from a", ttl_ms=HOUR_MS)
    second = b.start(lambda: b.accept(session, words="from b", ttl_ms=HOUR_MS)).waits_for(a)
    a.rollback()
    assert (second.result().outcome, second.result().turn_no) == ("accepted", 1)
    assert second.result().conversation_id != old.conversation_id
    assert [words[0] for _, _, words in said(session)] == ["hello", "from b"]


@story("an answer comes after the time to live: the message after it goes on with the conversation")
def answer_at_last():
    a, b, session = Worker(), Worker(), new_session()
    first = a.accept(session)
    rest(session)
    assert a.begin().finish(first, answer="at last") == "finished"
    second = b.start(lambda: b.accept(session, ttl_ms=HOUR_MS)).waits_for(a)
    a.commit()
    assert (second.result().turn_no, second.result().conversation_id) == (2, first.conversation_id)
    assert second.result().history == ["hello", "at last"]


@story("a message with a long time to live comes first: one with a short one waits in the old conversation")
def two_times_to_live():
    a, b, session = Worker(), Worker(), new_session()
    old = a.turn(session)
    rest(session)
    first = a.begin().accept(session)
    second = b.start(lambda: b.accept(session, ttl_ms=HOUR_MS)).waits_for(a)
    a.commit()
    assert (first.turn_no, first.conversation_id) == (2, old.conversation_id)
    assert second.result().outcome == "waiting"
    assert session_row(session).conversation_id == old.conversation_id


run()
