"""Erasure against everything: no word survives it, and none is lost that comes after."""

from stage.tap import run, story
from stage.worker import Worker, is_whole, new_session, said, session_row


@story("a message comes while its session is erased: it begins anew, and what was erased is not shown")
def erase_then_accept():
    a, b, session = Worker(), Worker(), new_session()
    old = a.turn(session)
    assert a.begin().erase(session)["messages"] == 2
    message = b.start(lambda: b.accept(session, words="after")).waits_for(a)
    a.commit()
    message = message.result()
    assert (message.outcome, message.turn_no, message.history) == ("accepted", 1, None)
    assert message.conversation_id != old.conversation_id
    assert said(session) == [(1, "completed", [None, None]), (1, "running", ["after"])]
    assert is_whole(session)


@story("an erasure comes while a message is stored: the message is erased, too, and its turn cancelled")
def accept_then_erase():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    message = a.begin().accept(session, words="secret")
    erasure = b.start(lambda: b.erase(session)).waits_for(a)
    a.commit()
    assert erasure.result() == {"conversations": 1, "turns": 2, "messages": 3, "cancelled": 1}
    assert said(session) == [(1, "completed", [None, None]), (2, "cancelled", [None])]
    assert a.finish(message, answer="a secret, too") == "HS499"
    assert said(session) == [(1, "completed", [None, None]), (2, "cancelled", [None])]
    assert session_row(session) is None


@story("an erasure comes while an expired session begins anew: both conversations are erased")
def expiry_then_erase():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    a.begin().accept(session, words="secret", ttl_ms=-1)
    erasure = b.start(lambda: b.erase(session)).waits_for(a)
    a.commit()
    assert erasure.result() == {"conversations": 2, "turns": 2, "messages": 3, "cancelled": 1}
    assert said(session) == [(1, "completed", [None, None]), (1, "cancelled", [None])]


@story("an erasure comes while a session begins: it does not wait, for there is nothing yet")
def beginning_then_erase():
    a, b, session = Worker(), Worker(), new_session()
    a.begin().accept(session)
    erasure = b.start(lambda: b.erase(session))
    assert erasure.sqlstate() == "HS404"
    a.commit()
    assert said(session) == [(1, "running", ["hello"])]


@story("an erasure comes while an answer is stored: the answer is erased, too")
def finish_then_erase():
    a, b, session = Worker(), Worker(), new_session()
    turn = a.accept(session)
    assert a.begin().finish(turn, answer="secret") == "finished"
    erasure = b.start(lambda: b.erase(session)).waits_for(a)
    a.commit()
    assert erasure.result() == {"conversations": 1, "turns": 1, "messages": 2, "cancelled": 0}
    assert said(session) == [(1, "completed", [None, None])]


@story("an answer comes while its session is erased: it is stored nowhere")
def erase_then_finish():
    a, b, session = Worker(), Worker(), new_session()
    turn = a.accept(session)
    assert b.begin().erase(session)["cancelled"] == 1
    answer = a.start(lambda: a.finish(turn, answer="secret")).waits_for(b)
    b.commit()
    assert answer.result() == "HS499"
    assert said(session) == [(1, "cancelled", [None])]


@story("an erasure is rolled back: the answer that waited for it is taken")
def erase_rolled_back():
    a, b, session = Worker(), Worker(), new_session()
    turn = a.accept(session)
    b.begin().erase(session)
    answer = a.start(lambda: a.finish(turn, answer="kept")).waits_for(b)
    b.rollback()
    assert answer.result() == "finished"
    assert said(session) == [(1, "completed", ["hello", "kept"])]


@story("two erasures of one session: the second finds nothing")
def two_erasures():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    a.begin().erase(session)
    second = b.start(lambda: b.erase(session)).waits_for(a)
    a.commit()
    assert second.sqlstate() == "HS404"


@story("a takeover comes while its session is erased: it opens a new turn")
def erase_then_takeover():
    a, b, c, session = Worker(), Worker(), Worker(), new_session()
    a.accept(session, key="k")
    a.fall_silent()
    b.begin().erase(session)
    takeover = c.start(lambda: c.accept(session, key="k")).waits_for(b)
    b.commit()
    takeover = takeover.result()
    assert (takeover.outcome, takeover.turn_no, takeover.attempt) == ("accepted", 1, 1)
    assert said(session) == [(1, "cancelled", [None]), (1, "running", ["hello"])]


run()
