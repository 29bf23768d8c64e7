"""Jobs against the other turns of their conversation: whoever ends one makes the next ready, in either order."""

from stage.tap import run, story
from stage.worker import Worker, is_whole, job_rows, new_session, said, session_row


@story("a job is queued while the turn before it is answered: it is ready")
def finish_then_enqueue():
    a, b, session = Worker(), Worker(), new_session()
    turn = a.accept(session)
    assert a.begin().finish(turn) == "finished"
    job = b.start(lambda: b.enqueue(session)).waits_for(a)
    a.commit()
    assert (job.result().outcome, job.result().turn_no) == ("queued", 2)
    assert job_rows(session) == [(2, True, None, 0)]
    assert is_whole(session)


@story("a turn is answered while a job is queued behind it: the job is ready")
def enqueue_then_finish():
    a, b, session = Worker(), Worker(), new_session()
    turn = a.accept(session)
    assert b.begin().enqueue(session).outcome == "queued"
    answer = a.start(lambda: a.finish(turn)).waits_for(b)
    b.commit()
    assert answer.result() == "finished"
    assert job_rows(session) == [(2, True, None, 0)]
    assert is_whole(session)


@story("a job is queued while the job before it ends: it is ready, in either order")
def job_after_job():
    a, b = Worker(), Worker()
    for first, second in (("finish", "enqueue"), ("enqueue", "finish")):
        session = new_session()
        b.enqueue(session)
        (running,) = a.claim()
        calls = {"finish": (a, lambda: a.finish(running)), "enqueue": (b, lambda: b.enqueue(session).outcome)}
        (one, do_one), (other, do_other) = calls[first], calls[second]
        one.begin()
        do_one()
        pending = other.start(do_other).waits_for(one)
        one.commit()
        assert pending.result() in ("finished", "queued")
        assert job_rows(session) == [(2, True, None, 0)], first
        assert [row.turn_no for row in a.claim()] == [2]


@story("the enqueue is rolled back: the answer leaves a session at rest")
def enqueue_rolled_back():
    a, b, session = Worker(), Worker(), new_session()
    turn = a.accept(session)
    b.begin().enqueue(session)
    answer = a.start(lambda: a.finish(turn)).waits_for(b)
    b.rollback()
    assert answer.result() == "finished"
    assert (session_row(session).jobs, job_rows(session)) == (0, [])
    assert a.accept(session).outcome == "accepted"


@story("two jobs are queued at once: one is ready, the other comes after it")
def two_jobs():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    a.begin().enqueue(session, words="one")
    other = b.start(lambda: b.enqueue(session, words="other")).waits_for(a)
    a.commit()
    assert other.result().outcome == "queued"
    assert job_rows(session) == [(2, True, None, 0), (3, False, None, 0)]
    assert is_whole(session)


@story("one job is asked for twice at once: it is queued once")
def one_job_twice():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    a.begin().enqueue(session, key="k")
    repeat = b.start(lambda: b.enqueue(session, key="k")).waits_for(a)
    a.commit()
    assert (repeat.result().outcome, repeat.result().turn_no) == ("known", 2)
    assert len(job_rows(session)) == 1


@story("a live turn comes while a job is queued: it waits for the job")
def enqueue_then_accept():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    a.begin().enqueue(session)
    message = b.start(lambda: b.accept(session)).waits_for(a)
    a.commit()
    assert message.result().outcome == "waiting"


@story("a live turn comes while a session's last job is answered: it is accepted")
def finish_then_accept():
    a, b, session = Worker(), Worker(), new_session()
    a.enqueue(session)
    (running,) = a.claim()
    assert a.begin().finish(running, answer="done") == "finished"
    message = b.start(lambda: b.accept(session)).waits_for(a)
    a.commit()
    assert (message.result().outcome, message.result().history) == ("accepted", ["hello", "done"])


@story("a live turn comes to an expired session while a job is queued in it: both belong to one conversation")
def expiry_enqueue_then_accept():
    a, b, session = Worker(), Worker(), new_session()
    old = a.turn(session)
    job = a.begin().accept(session, job=True, ttl_ms=-1)
    message = b.start(lambda: b.accept(session, ttl_ms=-1)).waits_for(a)
    a.commit()
    assert (job.outcome, job.turn_no) == ("queued", 1)
    assert job.conversation_id != old.conversation_id
    assert (message.result().outcome, message.result().conversation_id) == ("waiting", job.conversation_id)


@story("a job comes to an expired session while a live turn begins anew there: it is behind that turn")
def expiry_accept_then_enqueue():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    turn = a.begin().accept(session, ttl_ms=-1)
    job = b.start(lambda: b.accept(session, job=True, ttl_ms=-1)).waits_for(a)
    a.commit()
    job = job.result()
    assert (job.outcome, job.conversation_id, job.turn_no) == ("queued", turn.conversation_id, 2)
    assert job_rows(session) == [(2, False, None, 0)]
    assert a.finish(turn) == "finished"
    assert job_rows(session) == [(2, True, None, 0)]
    assert is_whole(session)


@story("two jobs come to an expired session: one conversation begins, and both are in it")
def expiry_two_jobs():
    a, b, session = Worker(), Worker(), new_session()
    a.turn(session)
    one = a.begin().accept(session, job=True, ttl_ms=-1)
    other = b.start(lambda: b.accept(session, job=True, ttl_ms=-1)).waits_for(a)
    a.commit()
    other = other.result()
    assert (one.turn_no, other.turn_no) == (1, 2)
    assert one.conversation_id == other.conversation_id
    assert is_whole(session)


@story("jobs come to a session that has not begun: one begins it, the other is told to ask again")
def two_first_jobs():
    a, b, session = Worker(), Worker(), new_session()
    a.begin().enqueue(session)
    other = b.start(lambda: b.enqueue(session)).waits_for(a)
    a.commit()
    assert other.sqlstate() == "23505"
    assert b.enqueue(session).turn_no == 2
    assert job_rows(session) == [(1, True, None, 0), (2, False, None, 0)]


@story("the turn before a job is lost, and closed while another job is queued: the first of them is ready")
def burial_and_enqueue():
    dead, a, b, session = Worker(), Worker(), Worker(), new_session()
    dead.accept(session)
    a.enqueue(session)
    dead.fall_silent()
    a.reap()
    dead.get_lost()
    a.begin().enqueue(session)
    assert b.reap() == 0, "what is locked is found next time"
    a.commit()
    assert job_rows(session) == [(2, False, None, 0), (3, False, None, 0)]
    a.begin()
    assert a.reap() == 1
    job = b.start(lambda: b.enqueue(session)).waits_for(a)
    a.commit()
    assert job.result().turn_no == 4
    assert [row[1] for row in job_rows(session)] == [True, False, False]
    assert [row[1] for row in said(session)] == ["failed", "queued", "queued", "queued"]


run()
