"""Erasure against everything: no word survives it, and none is lost that comes after."""

from psycopg2.extensions import Binary

from stage.connection import Connection, watcher
from stage.tap import run, story
from stage.worker import Caller, Worker, is_whole, key_of, new_session, said, session_row


class Operator(Connection):
    def __init__(self):
        super().__init__("postgres")

    def erase(self, caller, account=False, most=1000):
        """One part: (conversations, turns, messages, cancelled, whether it was the last)"""
        (row,) = self.do("SELECT * FROM hansard_admin.erase_user(%s, %s, %s)", caller.name, account, most)
        return tuple(row)


def words_of(caller):
    rows = watcher().do(
        "SELECT m.text FROM hansard.messages m JOIN hansard.conversations c USING (conversation_id)"
        " WHERE 'user:' || c.user_id = %s ORDER BY c.conversation_id, m.turn_no, m.position",
        caller.limit_key,
    )
    return [row.text for row in rows]


def long_session(worker, turns):
    """One with so many answered turns; its conversation."""
    session = new_session()
    talk = worker.turn(session).conversation_id
    watcher().do(
        "INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, attempt,"
        " accepted_at, finished_at) SELECT conversation_id, n, state, 'k' || n, fingerprint, request_id, 1, accepted_at,"
        " finished_at FROM hansard.turns, generate_series(2, %s) n WHERE conversation_id = %s",
        *(turns, talk),
    )
    return session, talk


def blanked(talk):
    statement = "SELECT count(*) FROM hansard.turns WHERE conversation_id = %s AND fingerprint = ''"
    return watcher().value(statement, talk)


def noted(talk):
    """Turns, by the events of their erasure."""
    return watcher().value(
        "SELECT sum((detail ->> 'turns')::int) FROM hansard.audit_events WHERE detail -> 'conversation_ids' ? %s",
        str(talk),
    )


def asks(worker, session):
    """One step, as the owner's worker makes it; None: there is more."""
    return worker.value("SELECT hansard_api.erase_conversation(NULL, %s, gen_random_uuid()::text, true)", session)


def goes_on(worker, session):
    """One step, as another worker makes it that has found it left."""
    return worker.value("SELECT hansard_api.go_on_erasing(%s)", Binary(key_of(session)))


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


@story("a user is erased while a message of his is stored: it is erased, too")
def accept_then_erase_user():
    a, operator, caller, session = Worker(), Operator(), Caller(parallel=2), new_session()
    first = a.accept(session, words="one", caller=caller)
    a.finish(first, answer="two")
    message = a.begin().accept(session, words="secret", caller=caller)
    erasure = operator.start(lambda: operator.erase(caller)).waits_for(a)
    a.commit()
    assert erasure.result() == (1, 2, 3, 1, True)
    assert words_of(caller) == [None, None, None]
    assert a.finish(message, answer="late") == "HS499"
    assert words_of(caller) == [None, None, None]
    assert caller.counted()[0] == 0


@story("an answer comes while its user is erased: it is stored nowhere")
def erase_user_then_finish():
    a, operator, caller, session = Worker(), Operator(), Caller(), new_session()
    turn = a.accept(session, caller=caller)
    assert operator.begin().erase(caller) == (1, 1, 1, 1, True)
    answer = a.start(lambda: a.finish(turn, answer="secret")).waits_for(operator)
    operator.commit()
    assert answer.result() == "HS499"
    assert words_of(caller) == [None]


@story("a message is let in while its user's keys are revoked: his account is not closed before it is erased, too")
def erase_account_then_accept():
    a, b, operator, caller, session = Worker(), Worker(), Operator(), Caller(), new_session()
    a.finish(a.accept(session, words="one", caller=caller), answer="two")
    # Its key is looked up, then it waits for the session.
    operator.begin().do("SELECT FROM hansard.sessions WHERE session_id = %s FOR UPDATE", session)
    message = b.start(lambda: b.accept(session, words="late", caller=caller)).waits_for(operator)
    revoker = Operator()
    assert revoker.erase(caller, account=True) == (0, 0, 0, 0, False)
    erasure = revoker.start(lambda: revoker.erase(caller, account=True))
    operator.commit()
    assert message.result().outcome == "accepted"
    erased = erasure.result()
    assert erased[4] is False
    rest = revoker.erase(caller, account=True)
    assert erased[2] + rest[2] == 3 and rest[4] is False
    assert words_of(caller) == [None, None, None]
    watcher().do(
        "UPDATE hansard.api_keys SET revoked_at = revoked_at - interval '7 seconds' WHERE key_hash = %s",
        Binary(caller.key_hash),
    )
    assert revoker.erase(caller, account=True) == (0, 0, 0, 0, True)
    assert a.accept(session, caller=caller).outcome == "HS401"


@story("a session begins anew between two parts: the new conversation is erased by the next")
def new_conversation_between_parts():
    a, operator, caller, session = Worker(), Operator(), Caller(), new_session()
    for words in ("one", "two"):
        a.finish(a.accept(session, words=words, caller=caller, ttl_ms=-1), answer="answer")
    assert operator.erase(caller, most=1) == (1, 1, 2, 0, False)
    a.finish(a.accept(session, words="three", caller=caller, ttl_ms=-1), answer="answer")
    assert operator.erase(caller, most=1)[4] is False
    assert operator.erase(caller, most=1) == (1, 1, 2, 0, True)
    assert set(words_of(caller)) == {None}


@story("a user and one of his sessions are erased at once: the second finds what is left")
def two_erasures_of_a_user():
    a, one, two, caller = Worker(), Operator(), Operator(), Caller()
    for session in ("a", "b"):
        a.finish(a.accept(session, words=session, caller=caller), answer="answer")
    one.begin().erase(caller, most=1)
    second = two.start(lambda: two.erase(caller)).waits_for(one)
    one.commit()
    assert second.result() == (1, 1, 2, 0, True)
    assert set(words_of(caller)) == {None}


@story("two workers make steps of one erasure: one after the other, and no turn is counted twice")
def steps_of_two():
    a, b = Worker(), Worker()
    session, talk = long_session(a, 3500)
    assert asks(a, session) is None
    b.begin()
    goes_on(b, session)
    step = a.start(lambda: asks(a, session)).waits_for(b)
    b.commit()
    assert step.result() is None
    assert blanked(talk) == 3000
    assert '"turns": 3500' in asks(a, session)
    assert (blanked(talk), noted(talk)) == (3500, 3500)
    assert goes_on(b, session) is None


@story("the last step of an erasure is another's: whoever asked for it finds that it is done")
def last_step_of_another():
    a, b = Worker(), Worker()
    session, talk = long_session(a, 1500)
    assert asks(a, session) is None
    b.begin()
    assert goes_on(b, session) is None
    last = a.start(lambda: asks(a, session)).waits_for(b)
    b.commit()
    assert last.sqlstate() == "HS404"
    assert (blanked(talk), noted(talk)) == (1500, 1500)


@story("a step fails: it is undone, and made again by whoever comes next")
def step_rolled_back():
    a, b = Worker(), Worker()
    session, talk = long_session(a, 1500)
    assert asks(a, session) is None
    b.begin()
    goes_on(b, session)
    b.rollback()
    assert (blanked(talk), noted(talk)) == (1000, 1000)
    assert '"turns": 1500' in asks(a, session)
    assert (blanked(talk), noted(talk)) == (1500, 1500)


@story("a session begins anew while a step of its erasure is made: nobody waits, and what is new stays")
def step_beside_a_new_conversation():
    a, b = Worker(), Worker()
    session, talk = long_session(a, 2500)
    assert asks(a, session) is None
    b.begin()
    goes_on(b, session)
    fresh = a.accept(session, words="new")
    assert (fresh.outcome, fresh.turn_no) == ("accepted", 1)
    assert a.finish(fresh, answer="stays") == "finished"
    b.commit()
    assert goes_on(b, session) is None
    assert blanked(talk) == 2500
    assert said(session)[-1] == (1, "completed", ["new", "stays"])


run()
