"""A session begins while a batch waits for its locks: what the batch has not locked it does not decide about."""

from psycopg2.extensions import Binary
from stage.connection import Connection
from stage.tap import run, story
from stage.worker import Worker, ask, in_order, is_whole, key_of, said


class Batch:
    """A batch of two requests: it waits for the session of the one, and that of the other does not exist yet."""

    def __init__(self):
        self.worker, (self.known, self.new) = Worker(), in_order(2)
        self.worker.turn(self.known)
        self.holder = Connection("postgres").begin()
        self.holder.do("SELECT FROM hansard.sessions WHERE session_key = %s FOR UPDATE", Binary(key_of(self.known)))
        self.asks = [ask(self.new, words="secret"), ask(self.known)]
        self.call = self.worker.start(self.accept).waits_for(self.holder)

    def accept(self):
        return [(row.outcome, row.turn_no) for row in self.worker.accept_all(*self.asks)]

    def go_on(self):
        self.holder.commit()
        return self.call


@story("a session begins meanwhile: the batch fails with 23505, stores nothing, and its repeat has the next turns")
def begins():
    batch, other = Batch(), Worker()
    other.turn(batch.new)
    assert batch.go_on().sqlstate() == "23505"
    assert said(batch.new) == said(batch.known) == [(1, "completed", ["hello", "hi there"])]
    assert batch.accept() == [("accepted", 2), ("accepted", 2)]
    assert is_whole(batch.new) and is_whole(batch.known)


@story("a session begins meanwhile, and its worker is still at it: the batch fails alike, and its repeat waits")
def begins_and_runs():
    batch, other = Batch(), Worker()
    other.accept(batch.new)
    assert batch.go_on().sqlstate() == "23505"
    assert batch.accept() == [("waiting", 2), ("accepted", 2)]


@story("a session begins meanwhile, and somebody who waits for the batch has it: no deadlock, for the batch lets go")
def begins_and_is_held():
    batch, other, third = Batch(), Worker(), Worker()
    other.turn(batch.new)
    assert third.begin().accept(batch.new).outcome == "accepted"
    waiting = third.start(lambda: third.accept(batch.known)).waits_for(batch.worker)
    assert batch.go_on().sqlstate() == "23505"
    assert (waiting.result().outcome, waiting.result().turn_no) == ("accepted", 2)
    third.commit()
    assert batch.accept() == [("waiting", 3), ("waiting", 3)]


@story("a session begins meanwhile, and is erased: what the batch says of it is in a new conversation")
def begins_and_is_erased():
    batch, other = Batch(), Worker()
    other.turn(batch.new)
    assert other.erase(batch.new)["messages"] == 2
    assert batch.go_on().result() == [("accepted", 1), ("accepted", 2)]
    assert said(batch.new) == [(1, "completed", [None, None]), (1, "running", ["secret"])]
    assert is_whole(batch.new)


@story("a session is erased meanwhile, and begins anew: the batch fails, and its repeat is in the new conversation")
def ends_and_begins():
    batch, later, other, eraser = Batch(), Worker(), Worker(), Worker()
    other.turn(batch.new)
    both = [ask(batch.new, words="secret"), ask(batch.known)]
    call = later.start(lambda: later.accept_all(*both)).waits_for(batch.worker)
    eraser.erase(batch.new)
    other.turn(batch.new, words="anew")
    assert batch.go_on().sqlstate() == "23505"
    assert call.sqlstate() == "23505"
    assert [(row.outcome, row.turn_no) for row in later.accept_all(*both)] == [("accepted", 2)] * 2
    assert said(batch.new) == [
        (1, "completed", [None, None]),
        (1, "completed", ["anew", "hi there"]),
        (2, "running", ["secret"]),
    ]
    assert is_whole(batch.new)


run()
