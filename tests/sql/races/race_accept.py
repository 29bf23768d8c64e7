"""Two accepts of one session: turns run one after another, and none is lost or doubled."""

from stage.tap import run, story
from stage.worker import Worker, ask, is_whole, new_session, said, session_row


@story("two messages to one session: the second waits for the first to be stored, and then for its turn")
def two_to_one():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    first = a.begin().accept(session, words="from a")
    assert (first.outcome, first.turn_no) == ("accepted", 2)
    second = b.start(lambda: b.accept(session, words="from b", key="b")).waits_for(a)
    a.commit()
    assert second.result().outcome == "waiting"
    assert a.finish(first, answer="to a") == "finished"
    third = b.accept(session, words="from b", key="b")
    assert (third.outcome, third.turn_no) == ("accepted", 3)
    assert third.history == ["hello", "hi there", "from a", "to a"]
    assert b.finish(third, answer="to b") == "finished"
    assert said(session) == [
        (1, "completed", ["hello", "hi there"]),
        (2, "completed", ["from a", "to a"]),
        (3, "completed", ["from b", "to b"]),
    ]
    assert is_whole(session)


@story("the first is rolled back: the second has its turn, without a gap")
def first_rolled_back():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    a.begin().accept(session)
    second = b.start(lambda: b.accept(session)).waits_for(a)
    a.rollback()
    assert (second.result().outcome, second.result().turn_no) == ("accepted", 2)
    assert is_whole(session)


@story("two messages begin one session: one fails with 23505, and its repeat waits")
def two_begin():
    a, b, session = Worker(), Worker(), new_session()
    first = a.begin().accept(session, words="from a")
    second = b.start(lambda: b.accept(session, words="from b", key="b", address=session)).waits_for(a)
    a.commit()
    assert second.sqlstate() == "23505"
    again = b.accept(session, words="from b", key="b", address=session)
    assert again.outcome == "waiting"
    assert a.finish(first) == "finished"
    second = b.accept(session, words="from b", key="b", address=session)
    assert (second.outcome, second.turn_no) == ("accepted", 2)
    assert second.quota_remaining == 9, "only what was opened has cost"
    assert said(session) == [(1, "completed", ["from a", "hi there"]), (2, "running", ["from b"])]
    assert is_whole(session)


@story("two messages begin one session and the first is rolled back: the second begins it")
def two_begin_one_rolled_back():
    a, b, session = Worker(), Worker(), new_session()
    a.begin().accept(session, words="from a")
    second = b.start(lambda: b.accept(session, words="from b")).waits_for(a)
    a.rollback()
    assert (second.result().outcome, second.result().turn_no) == ("accepted", 1)
    assert said(session) == [(1, "running", ["from b"])]
    assert is_whole(session)


@story(
    "one of a batch begins a session that somebody else has begun: the batch fails whole, and nothing of it is stored"
)
def batch_begins():
    a, b, ours, other = Worker(), Worker(), new_session(), new_session()
    a.begin().accept(ours)
    batch = b.start(lambda: b.accept_all(ask(ours), ask(other))).waits_for(a)
    a.commit()
    assert batch.sqlstate() == "23505"
    assert session_row(other) is None
    assert [row.outcome for row in b.accept_all(ask(ours), ask(other))] == ["waiting", "accepted"]


@story("one idempotency key at two workers: one turn, and both get its answer")
def one_key():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    first = a.begin().accept(session, words="once", key="k")
    second = b.start(lambda: b.accept(session, words="once", key="k")).waits_for(a)
    a.commit()
    assert (second.result().outcome, second.result().turn_no) == ("waiting", 2)
    assert a.finish(first, answer="the answer") == "finished"
    repeat = b.accept(session, words="once", key="k")
    assert (repeat.outcome, repeat.reply, repeat.turn_no) == ("replayed", "the answer", 2)
    assert said(session)[1:] == [(2, "completed", ["once", "the answer"])]


@story("one idempotency key begins a session at two workers: one turn")
def one_key_begins():
    a, b, session = Worker(), Worker(), new_session()
    first = a.begin().accept(session, words="once", key="k")
    second = b.start(lambda: b.accept(session, words="once", key="k")).waits_for(a)
    a.commit()
    assert second.sqlstate() == "23505"
    assert b.accept(session, words="once", key="k").outcome == "waiting"
    assert a.finish(first, answer="the answer") == "finished"
    assert b.accept(session, words="once", key="k").reply == "the answer"
    assert said(session) == [(1, "completed", ["once", "the answer"])]


@story("a repeat of the same request overtakes the commit of the first: it is accepted again, as the same turn")
def repeat_overtakes_commit():
    a, session = Worker(), new_session()
    a.turn(session)
    lane = Worker()
    lane.id = a.id  # another connection of the same worker
    first = a.begin().accept(session, words="once", key="k", request="00000000-0000-7000-8000-000000000001")
    again = lane.start(
        lambda: lane.accept(session, words="once", key="k", request="00000000-0000-7000-8000-000000000001")
    ).waits_for(a)
    a.commit()
    again = again.result()
    assert again.outcome == "accepted"
    assert (again.turn_no, again.attempt, again.history) == (first.turn_no, first.attempt, first.history)
    assert said(session)[1:] == [(2, "running", ["once"])]


@story("a result comes while a message waits for its session: the message has the next turn, and sees the answer")
def finish_then_accept():
    a, b, session = Worker(), Worker(), new_session()
    first = a.accept(session)
    assert a.begin().finish(first, answer="just now") == "finished"
    second = b.start(lambda: b.accept(session)).waits_for(a)
    a.commit()
    assert (second.result().outcome, second.result().turn_no) == ("accepted", 2)
    assert second.result().history == ["hello", "just now"]
    assert is_whole(session)


@story("a repeat comes while the result is being stored: it gets the answer")
def finish_then_repeat():
    a, b, session = Worker(), Worker(), new_session()
    first = a.accept(session, key="k")
    a.begin().finish(first, answer="just now")
    repeat = b.start(lambda: b.accept(session, key="k")).waits_for(a)
    a.commit()
    assert (repeat.result().outcome, repeat.result().reply) == ("replayed", "just now")


@story("other sessions are not waited for")
def others_go_on():
    a, b, session, other = Worker(), Worker(), new_session(), new_session()
    a.turn(session)
    a.turn(other)
    a.begin().accept(session)
    assert b.accept(other).outcome == "accepted"
    assert b.accept(new_session()).outcome == "accepted"


run()
