"""Permits leased at the same time: never more than the cap, whoever commits first."""

from stage.connection import watcher
from stage.tap import run, story
from stage.worker import Worker


class Fresh(Worker):
    """One that has not been heard of yet."""

    def beat(self):
        pass


def permits_out():
    return watcher().value("SELECT sum(permits) FROM hansard.workers WHERE permits_until > clock_timestamp()")


@story("two new workers at once: the second waits, and gets what the first has left")
def two_new():
    a, b = Fresh(), Fresh()
    assert a.begin().lease(1) == (10, 10)
    second = b.start(lambda: b.lease(1)).waits_for(a)
    a.commit()
    assert second.result() == (0, 0)
    assert permits_out() == 10


@story("the first is rolled back: the second gets all")
def first_rolled_back():
    a, b = Fresh(), Fresh()
    a.begin().lease(1)
    second = b.start(lambda: b.lease(1)).waits_for(a)
    a.rollback()
    assert second.result() == (10, 10)
    assert permits_out() == 10


@story("one gives back while another asks: it gets them when they are given back, not before")
def give_back():
    a, b = Fresh(), Fresh()
    a.lease(1)
    assert b.lease(1) == (0, 0)
    assert a.begin().lease(2, holding=4) == (5, 5)
    second = b.start(lambda: b.lease(2)).waits_for(a)
    a.commit()
    assert second.result() == (5, 5)
    assert permits_out() == 10


@story("one heartbeat twice at once, and the replies differ: the larger one counts")
def twice():
    a, b, other = Fresh(), Fresh(), Fresh()
    again = Fresh()
    again.id = a.id
    assert a.lease(1) == (10, 10)
    assert other.begin().lease(1) == (0, 0)
    second = again.start(lambda: again.lease(1)).waits_for(other)
    other.commit()
    assert second.result() == (5, 5)
    assert b.lease(1) == (0, 0)
    assert other.lease(2) == (0, 0)
    assert permits_out() == 10


@story("a worker leaves while another asks: nothing is given that was not given back")
def leave_then_lease():
    a, b = Fresh(), Fresh()
    a.lease(1)
    a.begin().leave()
    assert b.lease(1) == (0, 0)
    a.commit()
    assert b.lease(2) == (10, 10)


@story("a worker's heartbeat comes while it leaves: it is refused, and the permits are free")
def leave_then_own_lease():
    a, b, late = Fresh(), Fresh(), Fresh()
    late.id = a.id
    a.lease(1)
    a.begin().leave()
    own = late.start(lambda: late.lease(2, holding=10)).waits_for(a)
    a.commit()
    assert own.sqlstate() == "HS503"
    assert b.lease(1) == (10, 10)


@story("it leaves while its heartbeat is stored: it has left")
def own_lease_then_leave():
    a, b, late = Fresh(), Fresh(), Fresh()
    late.id = a.id
    a.begin().lease(1)
    a.commit()
    a.begin().lease(2, holding=10)
    leaving = late.start(late.leave).waits_for(a)
    a.commit()
    assert leaving.result() == 0
    assert b.lease(1) == (10, 10)


@story("a worker is declared lost while it asks: it is refused, and its permits are withheld")
def lost_then_lease():
    a, b, reaper = Fresh(), Fresh(), Fresh()
    a.lease(1)
    watcher().do("UPDATE hansard.workers SET heartbeat_at = now() - interval '16 seconds' WHERE worker_id = %s", a.id)
    reaper.begin().reap()
    beat = a.start(lambda: a.lease(2, holding=10)).waits_for(reaper)
    reaper.commit()
    assert beat.sqlstate() == "HS503"
    assert b.lease(1) == (0, 0)


@story("the lost worker goes on under a new id while another asks: its permits are counted once")
def goes_on():
    a, b, new = Fresh(), Fresh(), Fresh()
    a.lease(1)
    a.get_lost()
    assert new.begin().lease(1, holding=10, before=a.id) == (10, 10)
    second = b.start(lambda: b.lease(1)).waits_for(new)
    new.commit()
    assert second.result() == (0, 0)
    assert permits_out() == 10


@story("a fleet without a cap does not wait")
def without_a_cap():
    a, b = Fresh(), Fresh()
    assert a.begin().lease(1, cap=0) == (10, 10)
    assert b.lease(1, cap=0) == (10, 10)


run()
