"""Two ends of one job: whoever is first decides, and the other is told."""

from stage.connection import Connection, watcher
from stage.tap import run, story
from stage.worker import Caller, Worker, job_rows, new_session, said, session_row


def running(session, behind=0):
    """A worker, and the job of it that runs; so many more are behind it."""
    worker = Worker()
    for _ in range(1 + behind):
        worker.enqueue(session)
    (job,) = worker.claim()
    return worker, job


@story("a job is cancelled while its answer is stored: it is too late for that")
def finish_then_cancel():
    b, session = Worker(), new_session()
    a, job = running(session, behind=1)
    assert a.begin().finish(job, answer="done") == "finished"
    cancel = b.start(lambda: b.cancel(job)).waits_for(a)
    a.commit()
    assert cancel.sqlstate() == "HS410"
    assert said(session)[0] == (1, "completed", ["hello", "done"])
    assert job_rows(session) == [(2, True, None, 0)]


@story("an answer comes while its job is cancelled: it is stored nowhere, and the next job is ready")
def cancel_then_finish():
    b, session = Worker(), new_session()
    a, job = running(session, behind=1)
    assert b.begin().cancel(job) == "cancelled"
    answer = a.start(lambda: a.finish(job)).waits_for(b)
    b.commit()
    assert answer.result() == "HS499"
    assert said(session)[0] == (1, "cancelled", ["hello"])
    assert job_rows(session) == [(2, True, None, 0)]


@story("a cancellation is rolled back: the answer that waited for it is taken")
def cancel_rolled_back():
    b, session = Worker(), new_session()
    a, job = running(session)
    b.begin().cancel(job)
    answer = a.start(lambda: a.finish(job)).waits_for(b)
    b.rollback()
    assert answer.result() == "finished"
    assert watcher().value("SELECT cancels FROM hansard.workers WHERE worker_id = %s", a.id) == 0


@story("two cancel one job: it is cancelled once")
def two_cancels():
    b, c, session = Worker(), Worker(), new_session()
    a, job = running(session)
    b.begin().cancel(job)
    second = c.start(lambda: c.cancel(job)).waits_for(b)
    b.commit()
    assert second.result() == "cancelled"
    assert (session_row(session).jobs, session_row(session).unanswered) == (0, 1)
    assert watcher().value("SELECT cancels FROM hansard.workers WHERE worker_id = %s", a.id) == 1


@story("a job is handed back while it is cancelled: it stays cancelled")
def cancel_then_hand_back():
    b, session = Worker(), new_session()
    a, job = running(session)
    b.begin().cancel(job)
    back = a.start(lambda: a.finish(job, state="queued")).waits_for(b)
    b.commit()
    assert back.result() == "HS499"
    assert job_rows(session) == []


@story("a job is cancelled while it is handed back: it is, without a worker")
def hand_back_then_cancel():
    b, session = Worker(), new_session()
    a, job = running(session)
    assert a.begin().finish(job, state="queued") == "finished"
    cancel = b.start(lambda: b.cancel(job)).waits_for(a)
    a.commit()
    assert cancel.result() == "cancelled"
    assert watcher().value("SELECT cancels FROM hansard.workers WHERE worker_id = %s", a.id) == 0


@story("the answer of a worker that was declared lost is stored while its jobs are looked for: it counts")
def finish_then_requeue():
    b, session = Worker(), new_session()
    dead, job = running(session, behind=1)
    dead.fall_silent()
    assert dead.begin().finish(job, answer="just in time") == "finished"
    assert b.reap() == 0
    dead.commit()
    assert b.reap() == 0
    assert said(session)[0] == (1, "completed", ["hello", "just in time"])
    assert job_rows(session) == [(2, True, None, 0)]


@story("an answer comes while its job is queued again, for its worker is lost: it is fenced off")
def requeue_then_finish():
    b, session = Worker(), new_session()
    dead, job = running(session)
    dead.fall_silent()
    b.begin().reap()
    late = dead.start(lambda: dead.finish(job, answer="too late")).waits_for(b)
    b.commit()
    assert late.result() == "HS503"
    assert said(session) == [(1, "queued", ["hello"])]
    (again,) = b.claim()
    assert (again.attempt, dead.finish(job)) == (2, "HS503")
    assert b.finish(again, answer="done") == "finished"
    assert dead.finish(job) == "HS503"
    assert said(session) == [(1, "completed", ["hello", "done"])]


@story("two look for the jobs of the dead at once: one death is counted")
def two_reapers():
    b, c, session = Worker(), Worker(), new_session()
    dead, _ = running(session)
    dead.fall_silent()
    b.begin().reap()
    assert c.reap() == 0
    b.commit()
    c.reap()
    assert job_rows(session) == [(1, True, None, 1)]


@story("a job is cancelled while its worker is found dead: it is cancelled where it stands")
def requeue_then_cancel():
    b, c, session = Worker(), Worker(), new_session()
    dead, job = running(session, behind=1)
    dead.fall_silent()
    b.begin().reap()
    cancel = c.start(lambda: c.cancel(job)).waits_for(b)
    b.commit()
    assert cancel.result() == "cancelled"
    assert job_rows(session) == [(2, True, None, 0)]


@story("its worker is found dead while a job is cancelled: there is nothing left to queue again")
def cancel_then_requeue():
    b, c, session = Worker(), Worker(), new_session()
    dead, job = running(session)
    dead.fall_silent()
    c.begin().cancel(job)
    assert b.reap() == 0
    c.commit()
    assert b.reap() == 0
    assert job_rows(session) == []
    assert said(session) == [(1, "cancelled", ["hello"])]


@story("one cancels, one erases, both for one caller and one worker: each has its turn, and none is in the other's way")
def cancel_and_erase():
    caller = Caller(tokens=10_000)
    a, b, c = Worker(), Worker(), Worker()
    one, other = new_session(), new_session()
    job = a.enqueue(one, caller=caller)
    a.enqueue(other, caller=caller)
    assert len(a.claim()) == 2
    beat = Connection("postgres").begin()
    beat.do("SELECT FROM hansard.workers WHERE worker_id = %s FOR UPDATE", a.id)
    erasure = b.start(lambda: b.erase(other, caller)).waits_for(beat)
    cancel = c.start(lambda: c.cancel(job, caller)).waits_for(b)
    beat.commit()
    assert erasure.result()["cancelled"] == 1
    assert cancel.result() == "cancelled"
    assert watcher().value("SELECT cancels FROM hansard.workers WHERE worker_id = %s", a.id) == 2
    assert caller.counted() == (0, 0, 202)


@story("a session begins, and its job is cancelled, while another job waits to begin it: that one is told to ask again")
def begun_meanwhile():
    caller = Caller(tokens=10_000)
    a, b, c, d, session = Worker(), Worker(), Worker(), Worker(), new_session()
    a.turn(new_session(), caller=caller)
    job = a.begin().enqueue(session, caller=caller)
    b.begin()
    next_one = b.start(lambda: b.enqueue(new_session(), caller=caller)).waits_for(a)
    late = c.start(lambda: c.enqueue(session, caller=caller)).waits_for(b)
    a.commit()
    assert next_one.result().outcome == "queued"
    late.waits_for(b)
    cancel = d.start(lambda: d.cancel(job, caller)).waits_for(c)
    b.commit()
    assert late.sqlstate() == "23505"
    assert cancel.result() == "cancelled"
    assert c.enqueue(session, caller=caller).turn_no == 2


run()
