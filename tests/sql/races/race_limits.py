"""One limit, many at once: what it grants is exact whoever commits first."""

import uuid

from stage.connection import watcher
from stage.tap import run, story
from stage.worker import Caller, Worker, ask, new_session


def spend(worker, address, turns):
    outcomes = [row.outcome for row in worker.accept_all(*(ask(new_session(), address=address) for _ in range(turns)))]
    assert outcomes == ["accepted"] * turns, outcomes


def counted(address):
    """Turns that the counter of an address holds."""
    return watcher().value(
        "SELECT round((tat_us - extract(epoch FROM clock_timestamp()) * 1000000) / emission_us)::integer"
        " FROM hansard.rate_limits WHERE limit_key = %s",
        f"addr:{address}",
    )


@story("two race for the last turn of a limit: one is granted, the other refused")
def last_one():
    a, b, address = Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 9)
    first = a.begin().accept(new_session(), address=address)
    second = b.start(lambda: b.accept(new_session(), address=address)).waits_for(a)
    a.commit()
    assert (first.outcome, first.quota_remaining) == ("accepted", 0)
    second = second.result()
    assert (second.outcome, second.quota_remaining) == ("HS429", 0)
    assert 0 < second.retry_after_ms <= 6000 + 20_000
    assert counted(address) == 10


@story("the first of them is rolled back: the other is granted, for nothing was used")
def last_one_rolled_back():
    a, b, address = Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 9)
    a.begin().accept(new_session(), address=address)
    second = b.start(lambda: b.accept(new_session(), address=address)).waits_for(a)
    a.rollback()
    assert (second.result().outcome, second.result().quota_remaining) == ("accepted", 0)
    assert counted(address) == 10


@story("two batches race for the last turns: together they get what is left, and no more")
def two_batches():
    a, b, address = Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 4)
    batch = [ask(new_session(), address=address) for _ in range(8)]
    first = a.begin().accept_all(*batch[:4])
    second = b.start(lambda: b.accept_all(*batch[4:])).waits_for(a)
    a.commit()
    assert [row.outcome for row in first] == ["accepted"] * 4
    assert [row.outcome for row in second.result()] == ["accepted"] * 2 + ["HS429"] * 2
    assert [row.quota_remaining for row in second.result()] == [1, 0, 0, 0]
    assert counted(address) == 10


@story("two are the first of a limit: both are counted")
def two_first():
    a, b, address = Worker(), Worker(), str(uuid.uuid4())
    first = a.begin().accept(new_session(), address=address)
    second = b.start(lambda: b.accept(new_session(), address=address)).waits_for(a)
    a.commit()
    assert (first.quota_remaining, second.result().quota_remaining) == (9, 8)
    assert counted(address) == 2


@story("two batches are the first of a limit, and ask for more than there is: the second gets the rest")
def two_first_batches():
    a, b, address = Worker(), Worker(), str(uuid.uuid4())
    batch = [ask(new_session(), address=address) for _ in range(14)]
    first = a.begin().accept_all(*batch[:7])
    second = b.start(lambda: b.accept_all(*batch[7:])).waits_for(a)
    a.commit()
    assert [row.outcome for row in first] == ["accepted"] * 7
    assert [row.outcome for row in second.result()] == ["accepted"] * 3 + ["HS429"] * 4
    assert counted(address) == 10


def counter(address, columns="ctid, *"):
    return watcher().do(f"SELECT {columns} FROM hansard.rate_limits WHERE limit_key = %s", f"addr:{address}")


def refusals_noted(address):
    """Events that tell of this address."""
    return watcher().value(
        "SELECT count(*) FROM hansard.audit_events WHERE kind = 'limit_reached' AND detail ->> 'address' = %s", address
    )


@story("two are the first to be refused: each holds the counter to the end of its transaction, one of them is noted")
def first_refusals():
    a, b, address = Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 10)
    columns = "tat_us, emission_us, burst, granted, seen_us"
    before = counter(address, columns)
    assert a.begin().accept(new_session(), address=address).outcome == "HS429"
    second = b.start(lambda: b.accept(new_session(), address=address)).waits_for(a)
    a.commit()
    assert second.result().outcome == "HS429"
    assert counter(address, columns) == before
    assert refusals_noted(address) == 1


@story("the first refusal is rolled back: the other one is noted")
def first_refusal_rolled_back():
    a, b, address = Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 10)
    a.begin().accept(new_session(), address=address)
    second = b.start(lambda: b.accept(new_session(), address=address)).waits_for(a)
    a.rollback()
    assert second.result().outcome == "HS429"
    assert refusals_noted(address) == 1


@story("who is refused after that holds the counter no longer than to the end of its transaction, and changes nothing")
def refusal_locks():
    a, b, address = Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 10)
    assert a.accept(new_session(), address=address).outcome == "HS429"
    before = counter(address)
    assert a.begin().accept(new_session(), address=address).outcome == "HS429"
    second = b.start(lambda: b.accept(new_session(), address=address)).waits_for(a)
    a.commit()
    assert second.result().outcome == "HS429"
    assert counter(address) == before
    assert refusals_noted(address) == 1


def rest(address):
    """So much time passes for a counter that it may be forgotten."""
    watcher().do(
        "UPDATE hansard.rate_limits SET tat_us = tat_us - 61000000, seen_us = seen_us - 61000000 WHERE limit_key = %s",
        f"addr:{address}",
    )


def sweep(worker):
    after = ""
    while after is not None:
        after = worker.value("SELECT hansard_api.sweep_limits(%s, 1000)", after)


@story("a counter is used while the sweep comes: it stays, and nothing is granted twice")
def use_then_sweep():
    a, sweeper, address = Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 1)
    rest(address)
    a.begin()
    spend(a, address, 10)
    sweep(sweeper)
    a.commit()
    sweep(sweeper)
    assert counted(address) == 10
    assert sweeper.accept(new_session(), address=address).outcome == "HS429"


@story("a counter is used while the sweep forgets it: it begins anew, with one burst and no more")
def sweep_then_use():
    a, sweeper, address = Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 1)
    rest(address)
    sweep(sweeper.begin())
    batch = [ask(new_session(), address=address) for _ in range(11)]
    second = a.start(lambda: a.accept_all(*batch)).waits_for(sweeper)
    sweeper.commit()
    assert [row.outcome for row in second.result()] == ["accepted"] * 10 + ["HS429"]
    assert counted(address) == 10


@story("the sweep is undone while it is waited for: the counter is used as it was")
def sweep_rolled_back():
    a, sweeper, address = Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 1)
    rest(address)
    sweep(sweeper.begin())
    second = a.start(lambda: a.accept(new_session(), address=address)).waits_for(sweeper)
    sweeper.rollback()
    assert second.result().quota_remaining == 9
    assert counted(address) == 1


@story("two sweeps at once: neither waits for the other")
def two_sweeps():
    a, one, other, address = Worker(), Worker(), Worker(), str(uuid.uuid4())
    spend(a, address, 1)
    rest(address)
    sweep(one.begin())
    sweep(other)
    one.commit()
    assert counter(address) == []


@story("a caller's allowance is in use while the sweep comes: it stays, with the hold that is being made")
def allowance_then_sweep():
    a, sweeper, caller = Worker(), Worker(), Caller(tokens=1000)
    watcher().do("INSERT INTO hansard.allowances VALUES (%s, current_date - 3, 7)", caller.limit_key)
    turn = a.begin().accept(new_session(), caller=caller)
    sweep(sweeper)
    a.commit()
    sweep(sweeper)
    assert a.finish(turn, tokens=30) == "finished"
    assert caller.counted() == (0, 0, 30)


@story("a caller's allowance is forgotten while he asks: it begins anew")
def sweep_then_allowance():
    a, sweeper, caller = Worker(), Worker(), Caller(tokens=1000)
    watcher().do("INSERT INTO hansard.allowances VALUES (%s, current_date - 3, 7)", caller.limit_key)
    sweep(sweeper.begin())
    asking = a.start(lambda: a.accept(new_session(), caller=caller, words="")).waits_for(sweeper)
    sweeper.commit()
    assert (asking.result().outcome, asking.result().tokens_remaining) == ("accepted", 900)
    assert caller.counted() == (1, 100, 0)


def used_up(caller):
    """Turns that the counter of a caller holds."""
    return watcher().value(
        "SELECT round((tat_us - extract(epoch FROM clock_timestamp()) * 1000000) / emission_us)::integer"
        " FROM hansard.rate_limits WHERE limit_key = %s",
        caller.limit_key,
    )


@story("two workers take ahead at once: each a twentieth of what the other has left")
def two_ahead():
    a, b, caller = Worker(), Worker(), Caller(rate=1, burst=100)
    assert a.take_quota(caller, 1) == (1, 0)
    assert a.begin().take_quota(caller, 19, ahead=50) == (19, 4)
    second = b.start(lambda: b.take_quota(caller, 16, ahead=50)).waits_for(a)
    a.commit()
    assert second.result() == (16, 3)
    assert used_up(caller) == 43


@story("the first is rolled back: what it took counts for nothing")
def ahead_rolled_back():
    a, b, caller = Worker(), Worker(), Caller(rate=1, burst=100)
    assert a.take_quota(caller, 60, ahead=50) == (60, 2)
    assert a.begin().take_quota(caller, 10, ahead=50) == (10, 1)
    second = b.start(lambda: b.take_quota(caller, 50, ahead=50)).waits_for(a)
    a.rollback()
    assert second.result() == (38, 0)
    assert used_up(caller) == 100


@story("two workers take ahead until they are refused: they have been granted one burst")
def ahead_to_the_end():
    workers, granted, caller = (Worker(), Worker()), 0, Caller(rate=1, burst=200)
    while True:
        workers[0].begin()
        first = workers[0].take_quota(caller, 3, ahead=4)
        waiting = workers[1].start(lambda: workers[1].take_quota(caller, 2, ahead=9)).waits_for(workers[0])
        workers[0].commit()
        second = waiting.result()
        granted += sum(first) + sum(second)
        assert granted == used_up(caller) <= 200
        if first == second == (0, 0):
            break
        workers = workers[::-1]
    assert granted == 200


@story("other limits are not waited for")
def others_go_on():
    a, b, address = Worker(), Worker(), str(uuid.uuid4())
    a.begin().accept(new_session(), address=address)
    assert b.accept(new_session()).outcome == "accepted"
    assert b.accept(new_session(), address=address + "0").outcome == "accepted"


run()
