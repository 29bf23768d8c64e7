"""Claims against everything: a job has one worker at a time, and who claims waits for nobody."""

from stage.connection import watcher
from stage.tap import run, story
from stage.worker import Worker, is_whole, job_rows, new_session, said


def queued(count):
    """So many jobs, each in a session of its own, the longest queued first."""
    worker = Worker()
    return [worker.enqueue(new_session()) for _ in range(count)]


def turns_of(rows):
    return [row.conversation_id for row in rows]


@story("two claims at once: each has its own jobs, and the second does not wait")
def two_claims():
    a, b = Worker(), Worker()
    jobs = queued(5)
    assert turns_of(a.begin().claim(2)) == turns_of(jobs[:2])
    assert turns_of(b.claim()) == turns_of(jobs[2:])
    a.commit()
    assert b.claim() == []


@story("a claim is rolled back: another worker has its jobs, at the first attempt")
def claim_rolled_back():
    a, b = Worker(), Worker()
    jobs = queued(2)
    a.begin().claim()
    assert b.claim() == []
    a.rollback()
    assert [(row.conversation_id, row.attempt) for row in b.claim()] == [(job.conversation_id, 1) for job in jobs]


@story("a session is locked while its job is claimed: the job is left, the others are not")
def claim_skips():
    a, b, session = Worker(), Worker(), new_session()
    job = a.enqueue(session)
    (other,) = queued(1)
    a.begin().enqueue(session)
    assert turns_of(b.claim()) == [other.conversation_id]
    a.commit()
    assert turns_of(b.claim()) == [job.conversation_id]


@story("a job is cancelled that a claim has looked at and left: it is cancelled when the claim has ended")
def looked_at_then_cancel():
    a, b, c, session = Worker(), Worker(), Worker(), new_session()
    job = a.enqueue(session)
    a.begin().enqueue(session)
    assert b.begin().claim() == []
    a.commit()
    cancel = c.start(lambda: c.cancel(job)).waits_for(b)
    b.commit()
    assert cancel.result() == "cancelled"
    assert job_rows(session) == [(2, True, None, 0)]


@story("a claim comes while a job is cancelled: it does not have it, but the next one when that is ready")
def cancel_then_claim():
    a, b, session = Worker(), Worker(), new_session()
    job = a.enqueue(session)
    a.enqueue(session)
    assert a.begin().cancel(job) == "cancelled"
    assert b.claim() == []
    a.commit()
    assert [row.turn_no for row in b.claim()] == [2]


@story("a job is cancelled while it is claimed: its worker is told")
def claim_then_cancel():
    a, b, session = Worker(), Worker(), new_session()
    job = b.enqueue(session)
    (claimed,) = a.begin().claim()
    cancel = b.start(lambda: b.cancel(job)).waits_for(a)
    a.commit()
    assert cancel.result() == "cancelled"
    assert watcher().value("SELECT cancels FROM hansard.workers WHERE worker_id = %s", a.id) == 1
    assert a.finish(claimed) == "HS499"
    assert said(session) == [(1, "cancelled", ["hello"])]


@story("a session is erased while its job is claimed: the job is cancelled, and its worker is told")
def claim_then_erase():
    a, b, session = Worker(), Worker(), new_session()
    b.enqueue(session)
    (claimed,) = a.begin().claim()
    erasure = b.start(lambda: b.erase(session)).waits_for(a)
    a.commit()
    assert erasure.result()["cancelled"] == 1
    assert watcher().value("SELECT cancels FROM hansard.workers WHERE worker_id = %s", a.id) == 1
    assert a.finish(claimed) == "HS499"
    assert job_rows(session) == []


@story("a claim comes while a session is erased: it has none of its jobs, then or later")
def erase_then_claim():
    a, b, session = Worker(), Worker(), new_session()
    a.enqueue(session)
    a.enqueue(session)
    assert a.begin().erase(session)["cancelled"] == 2
    assert b.claim() == []
    a.commit()
    assert b.claim() == []
    assert said(session) == [(1, "cancelled", [None]), (2, "cancelled", [None])]


@story("a worker is declared lost while it claims: its job is found at the next look, and its result is fenced off")
def claim_then_death():
    dead, b, session = Worker(), Worker(), new_session()
    b.enqueue(session)
    (claimed,) = dead.begin().claim()
    dead.fall_silent()
    assert b.reap() == 0
    dead.commit()
    assert job_rows(session) == [(1, False, dead.id, 0)]
    assert b.reap() == 0
    assert job_rows(session) == [(1, True, None, 1)]
    assert dead.finish(claimed) == "HS503"
    assert [row.attempt for row in b.claim()] == [2]


@story("a worker claims while it is declared lost: it has none when that is done")
def death_then_claim():
    dead, b, session = Worker(), Worker(), new_session()
    b.enqueue(session)
    assert len(dead.claim()) == 1
    dead.fall_silent()
    b.begin().reap()
    assert dead.claim() == []
    b.commit()
    assert dead.start(lambda: dead.claim()).sqlstate() == "HS503"
    assert job_rows(session) == [(1, True, None, 1)]


@story("a claim comes while the jobs of the dead are queued again: it has them when that is done")
def requeue_then_claim():
    dead, b, c, session = Worker(), Worker(), Worker(), new_session()
    c.enqueue(session)
    dead.claim()
    dead.fall_silent()
    b.begin().reap()
    assert c.claim() == []
    b.commit()
    (claimed,) = c.claim()
    assert (claimed.attempt, c.finish(claimed)) == (2, "finished")
    assert is_whole(session)


@story("a worker leaves while the session of its job is locked: it waits, for what it left would count as a death")
def leave_waits():
    a, b, session = Worker(), Worker(), new_session()
    b.enqueue(session)
    assert len(a.claim()) == 1
    b.begin().enqueue(session)
    leaving = a.start(a.leave).waits_for(b)
    b.commit()
    assert leaving.result() == 0
    assert job_rows(session) == [(1, True, None, 0), (2, False, None, 0)]


@story("a claim is committed after its worker has left: its job goes back, and that is no death")
def leave_then_claim():
    a, b, session = Worker(), Worker(), new_session()
    b.enqueue(session)
    assert len(a.begin().claim()) == 1
    assert Worker(a).leave() == 0
    a.commit()
    assert job_rows(session) == [(1, False, a.id, 0)]
    assert b.reap() == 0
    assert job_rows(session) == [(1, True, None, 0)]


@story("a worker takes back what it does not know of, and the session is locked: it waits, for nobody would look again")
def lost_reply():
    a, b, session = Worker(), Worker(), new_session()
    b.enqueue(session)
    assert len(a.claim()) == 1
    b.begin().enqueue(session)
    again = a.start(lambda: a.claim(known=[])).waits_for(b)
    b.commit()
    (claimed,) = again.result()
    assert (claimed.turn_no, claimed.attempt) == (1, 2)
    assert job_rows(session) == [(1, False, a.id, 0), (2, False, None, 0)]



@story("a claim is frozen before it gives back what it does not know, and a later one comes first: it does nothing")
def frozen_claim():
    a, b, c, session, other = Worker(), Worker(), Worker(), new_session(), new_session()
    c.enqueue(session)
    (heard,) = a.claim()
    b.begin().enqueue(session)
    frozen = a.start(lambda: a.claim(known=[])).waits_for(b)  # from before it heard
    c.enqueue(other)
    (claimed,) = Worker(a).claim(known=[heard.conversation_id], number=1)
    b.commit()
    assert frozen.result() == []
    assert job_rows(session) == [(1, False, a.id, 0), (2, False, None, 0)]
    assert job_rows(other) == [(1, False, a.id, 0)]
    assert (heard.attempt, claimed.attempt) == (1, 1)
    assert a.finish_all(heard, claimed) == ["finished", "finished"]


@story("a claim is frozen before its commit: what it opened is given back by the next but one")
def frozen_commit():
    a, b, session = Worker(), Worker(), new_session()
    b.enqueue(session)
    assert len(a.begin().claim()) == 1
    later = Worker(a)
    assert later.claim(known=[], number=1) == []
    a.commit()
    assert job_rows(session) == [(1, False, a.id, 0)]
    (claimed,) = later.claim(known=[], number=1)
    assert (claimed.attempt, later.finish(claimed)) == (2, "finished")


@story("a claim comes while an older one gives back what it does not know: it waits, and has the last word")
def older_gives_back():
    a, b, session = Worker(), Worker(), new_session()
    later = Worker(a)
    b.enqueue(session)
    a.claim()
    (claimed,) = a.begin().claim(known=[])
    assert claimed.attempt == 2
    pending = later.start(lambda: later.claim(known=[], number=1)).waits_for(a)
    a.commit()
    (last,) = pending.result()
    assert (last.attempt, later.finish(claimed), later.finish(last)) == (3, "HS503", "finished")


@story("a job is cancelled while its worker gives back another one: sessions are locked before workers, so neither waits for ever")
def cancel_then_give_back():
    a, b, session, other = Worker(), Worker(), new_session(), new_session()
    b.enqueue(session)
    (known,) = a.claim()
    b.enqueue(other)
    a.claim()
    assert b.begin().cancel(known) == "cancelled"
    again = a.start(lambda: a.claim(known=[known.conversation_id], number=1)).waits_for(b)
    b.commit()
    assert [row.attempt for row in again.result()] == [2]
    assert (job_rows(session), job_rows(other)) == ([], [(1, False, a.id, 0)])


run()
