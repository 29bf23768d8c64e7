"""Takeover: a dead worker's turn has one heir, and the late result of the dead is fenced off or counts."""

from stage.tap import run, story
from stage.worker import Worker, is_whole, new_session, said


def open_turn_of_the_dead(session):
    """A worker that fell silent over turn 2, and the turn."""
    dead = Worker()
    dead.turn(session)
    turn = dead.accept(session, words="whose?", key="k")
    dead.fall_silent()
    return dead, turn


@story("a late result comes while the turn is taken over: it is fenced off")
def takeover_then_finish():
    session, heir = new_session(), Worker()
    dead, turn = open_turn_of_the_dead(session)
    taken = heir.begin().accept(session, words="whose?", key="k")
    assert (taken.outcome, taken.turn_no, taken.attempt) == ("accepted", 2, 2)
    late = dead.start(lambda: dead.finish(turn, answer="the dead one's")).waits_for(heir)
    heir.commit()
    assert late.result() == "HS503"
    assert heir.finish(taken, answer="the heir's") == "finished"
    assert dead.finish(turn, answer="the dead one's") == "HS503"
    assert said(session)[1:] == [(2, "completed", ["whose?", "the heir's"])]
    assert is_whole(session)


@story("a takeover comes while the late result is stored: it gets the answer")
def finish_then_takeover():
    session, heir = new_session(), Worker()
    dead, turn = open_turn_of_the_dead(session)
    assert dead.begin().finish(turn, answer="just in time") == "finished"
    takeover = heir.start(lambda: heir.accept(session, words="whose?", key="k")).waits_for(dead)
    dead.commit()
    assert (takeover.result().outcome, takeover.result().reply) == ("replayed", "just in time")
    assert is_whole(session)


@story("a takeover is rolled back: the late result counts after all")
def takeover_rolled_back():
    session, heir = new_session(), Worker()
    dead, turn = open_turn_of_the_dead(session)
    heir.begin().accept(session, words="whose?", key="k")
    late = dead.start(lambda: dead.finish(turn, answer="the dead one's")).waits_for(heir)
    heir.rollback()
    assert late.result() == "finished"


@story("two take one turn over: one has it, the other waits for it")
def two_takeovers():
    session, one, other = new_session(), Worker(), Worker()
    open_turn_of_the_dead(session)
    first = one.begin().accept(session, words="whose?", key="k")
    second = other.start(lambda: other.accept(session, words="whose?", key="k")).waits_for(one)
    one.commit()
    assert (first.outcome, first.attempt) == ("accepted", 2)
    assert (second.result().outcome, second.result().turn_no) == ("waiting", 2)
    assert one.finish(first, answer="mine") == "finished"
    assert other.accept(session, words="whose?", key="k").reply == "mine"


@story("a takeover and the next message: the message waits for the turn that lives on")
def takeover_then_next():
    session, heir, next_one = new_session(), Worker(), Worker()
    open_turn_of_the_dead(session)
    heir.begin().accept(session, words="whose?", key="k")
    message = next_one.start(lambda: next_one.accept(session, words="next")).waits_for(heir)
    heir.commit()
    assert message.result().outcome == "waiting"


@story("the next message and a takeover: the turn made way, and its repeat is told so")
def next_then_takeover():
    session, next_one, heir = new_session(), Worker(), Worker()
    open_turn_of_the_dead(session)
    message = next_one.begin().accept(session, words="next")
    takeover = heir.start(lambda: heir.accept(session, words="whose?", key="k")).waits_for(next_one)
    next_one.commit()
    assert (message.outcome, message.turn_no) == ("accepted", 3)
    assert (takeover.result().outcome, takeover.result().error_code) == ("replayed", "worker_lost")
    assert is_whole(session)


@story("two next messages: one closes the lost turn and has the next, the other waits")
def two_next():
    session, one, other = new_session(), Worker(), Worker()
    open_turn_of_the_dead(session)
    first = one.begin().accept(session, words="next")
    second = other.start(lambda: other.accept(session, words="next but one")).waits_for(one)
    one.commit()
    assert (first.outcome, first.turn_no) == ("accepted", 3)
    assert second.result().outcome == "waiting"
    assert said(session)[1:] == [(2, "failed", ["whose?"]), (3, "running", ["next"])]


@story("the next message comes while the late result is stored: it sees the answer")
def finish_then_next():
    session, next_one = new_session(), Worker()
    dead, turn = open_turn_of_the_dead(session)
    dead.begin().finish(turn, answer="just in time")
    message = next_one.start(lambda: next_one.accept(session, words="next")).waits_for(dead)
    dead.commit()
    assert (message.result().outcome, message.result().turn_no) == ("accepted", 3)
    assert message.result().history == ["hello", "hi there", "whose?", "just in time"]
    assert is_whole(session)


@story("a worker comes back from a long silence while its turn is taken over: its other turns are still its own")
def back_from_silence():
    session, other_session, heir = new_session(), new_session(), Worker()
    dead, turn = open_turn_of_the_dead(session)
    other_turn = dead.accept(other_session)
    taken = heir.begin().accept(session, words="whose?", key="k")
    dead.beat()
    heir.commit()
    assert heir.accept(other_session, key="other").outcome == "waiting"
    assert dead.finish_all(turn, other_turn) == ["HS503", "finished"]
    assert heir.finish(taken) == "finished"


run()
