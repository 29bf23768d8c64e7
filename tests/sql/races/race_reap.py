"""The reaper against everything: it never waits, and a turn it closes is closed once."""

from stage.connection import watcher
from stage.tap import run, story
from stage.worker import Worker, ask, is_whole, job_rows, new_session, said, session_row


def is_known(worker):
    return watcher().value("SELECT count(*) FROM hansard.workers WHERE worker_id = %s", worker.id) == 1


@story("a result is being stored when its worker is buried: both are left to the next time")
def finish_then_reap():
    lost, reaper, session = Worker(), Worker(), new_session()
    turn = lost.accept(session)
    lost.get_lost()
    assert lost.begin().finish(turn, answer="just in time") == "finished"
    assert reaper.reap() == 0
    assert is_known(lost)
    lost.commit()
    assert said(session) == [(1, "completed", ["hello", "just in time"])]
    assert reaper.reap() == 0
    assert not is_known(lost)


@story("a result comes while its worker is buried: it is fenced off")
def reap_then_finish():
    lost, reaper, session = Worker(), Worker(), new_session()
    turn = lost.accept(session)
    lost.get_lost()
    assert reaper.begin().reap() == 1
    late = lost.start(lambda: lost.finish(turn, answer="too late")).waits_for(reaper)
    reaper.commit()
    assert late.result() == "HS503"
    assert said(session) == [(1, "failed", ["hello"])]
    assert session_row(session).unanswered == 1
    assert is_whole(session)


@story("a turn is being taken over when its worker is buried: it lives on")
def takeover_then_reap():
    lost, heir, reaper, session = Worker(), Worker(), Worker(), new_session()
    lost.accept(session, key="k")
    lost.get_lost()
    taken = heir.begin().accept(session, key="k")
    assert reaper.reap() == 0
    heir.commit()
    assert reaper.reap() == 0
    assert not is_known(lost)
    assert heir.finish(taken) == "finished"


@story("a takeover comes while the worker is buried: it is told that the worker was lost")
def reap_then_takeover():
    lost, heir, reaper, session = Worker(), Worker(), Worker(), new_session()
    lost.accept(session, key="k")
    lost.get_lost()
    assert reaper.begin().reap() == 1
    takeover = heir.start(lambda: heir.accept(session, key="k")).waits_for(reaper)
    reaper.commit()
    assert (takeover.result().outcome, takeover.result().error_code) == ("replayed", "worker_lost")


@story("the next message comes while the worker is buried: it has the next turn, and the lost one is closed once")
def reap_then_next():
    lost, next_one, reaper, session = Worker(), Worker(), Worker(), new_session()
    lost.accept(session)
    lost.get_lost()
    assert reaper.begin().reap() == 1
    message = next_one.start(lambda: next_one.accept(session, words="next")).waits_for(reaper)
    reaper.commit()
    assert (message.result().outcome, message.result().turn_no) == ("accepted", 2)
    assert session_row(session).unanswered == 1
    assert said(session) == [(1, "failed", ["hello"]), (2, "running", ["next"])]


@story("the next message closes the lost turn when its worker is buried: closed once, too")
def next_then_reap():
    lost, next_one, reaper, session = Worker(), Worker(), Worker(), new_session()
    lost.accept(session)
    lost.get_lost()
    next_one.begin().accept(session, words="next")
    assert reaper.reap() == 0
    next_one.commit()
    assert reaper.reap() == 0
    assert session_row(session).unanswered == 1
    assert session_row(session).open_worker == next_one.id


@story("one of many sessions is in use: the reaper closes the others and comes again for that one")
def one_in_use():
    lost, reaper, sessions = Worker(), Worker(), [new_session() for _ in range(3)]
    turns = [lost.accept(session) for session in sessions]
    lost.get_lost()
    lost.begin().finish(turns[1], state="failed")
    assert reaper.reap() == 2
    assert is_known(lost)
    lost.rollback()
    assert reaper.reap() == 1
    assert not is_known(lost)
    assert [said(session) for session in sessions] == [[(1, "failed", ["hello"])]] * 3


@story("two reapers at once: neither waits for the other, and each turn is closed once")
def two_reapers():
    lost, one, other, session = Worker(), Worker(), Worker(), new_session()
    lost.accept(session)
    lost.get_lost()
    assert one.begin().reap() == 1
    assert other.reap() == 0
    one.commit()
    assert other.reap() == 0
    assert session_row(session).unanswered == 1


@story("two reapers declare one worker lost: neither waits for the other")
def two_declare():
    silent, one, other = Worker(), Worker(), Worker()
    silent.fall_silent()
    assert one.begin().reap() == 0
    assert other.reap() == 0
    one.commit()
    assert watcher().value("SELECT lost_at IS NOT NULL FROM hansard.workers WHERE worker_id = %s", silent.id)


@story("a heartbeat comes while its worker is declared lost: it has to take a new id")
def reap_then_beat():
    silent, reaper = Worker(), Worker()
    silent.fall_silent()
    reaper.begin().reap()
    beat = silent.start(silent.beat).waits_for(reaper)
    reaper.commit()
    assert beat.sqlstate() == "HS503"


@story("the reaper comes while a heartbeat is stored: the worker lives")
def beat_then_reap():
    silent, reaper = Worker(), Worker()
    silent.fall_silent()
    silent.begin().beat()
    reaper.reap()
    silent.commit()
    reaper.reap()
    assert watcher().value("SELECT lost_at IS NULL FROM hansard.workers WHERE worker_id = %s", silent.id)


@story("a worker leaves while a message waits for its turn: the message has the next one")
def leave_then_next():
    leaving, next_one, session = Worker(), Worker(), new_session()
    leaving.accept(session)
    assert leaving.begin().value("SELECT hansard_api.leave(%s)", leaving.id) == 1
    message = next_one.start(lambda: next_one.accept(session, words="next")).waits_for(leaving)
    leaving.commit()
    assert (message.result().outcome, message.result().turn_no) == ("accepted", 2)



@story("a turn is committed after its worker has left: it is closed in its time, and the job behind it goes on")
def leave_then_commit():
    leaving, other, new, old = Worker(), Worker(), new_session(), new_session()
    other.turn(old)
    leaving.begin().accept_all(ask(new), ask(old))
    assert other.value("SELECT hansard_api.leave(%s)", leaving.id) == 0
    leaving.commit()
    for session in (new, old):
        other.enqueue(session)
        assert job_rows(session)[0][1] is False
    assert other.reap() == 0, "whoever asked may ask again"
    leaving.get_lost()
    assert other.reap() == 2
    assert not is_known(leaving)
    assert [row.turn_no for row in other.claim()] == [2, 3]
    assert said(new) == [(1, "failed", ["hello"]), (2, "running", ["hello"])]
    assert is_whole(new) and is_whole(old)


@story("a turn is committed after its worker has left: whoever repeats the question takes it over")
def leave_then_repeat():
    leaving, heir, session = Worker(), Worker(), new_session()
    leaving.begin().accept(session, key="k")
    heir.value("SELECT hansard_api.leave(%s)", leaving.id)
    leaving.commit()
    taken = heir.accept(session, key="k")
    assert (taken.outcome, taken.attempt, heir.finish(taken)) == ("accepted", 2, "finished")


run()
