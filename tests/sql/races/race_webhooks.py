"""Webhooks against each other: nobody waits for what another takes, and no outcome counts twice."""

from stage.connection import watcher
from stage.tap import run, story
from stage.worker import Worker, new_session


def queued(count=1):
    """Jobs that have ended, each with a message that is due; nothing else is."""
    watcher().do("DELETE FROM hansard.webhooks")
    worker, turns = Worker(), []
    for _ in range(count):
        session = new_session()
        turn = worker.turn(session)
        watcher().do("SELECT hansard.queue_webhook(%s, %s, 'https://hooks.example/')", turn.conversation_id, turn.turn_no)
        turns.append((session, turn))
    return turns


def claim(worker, most=4):
    """What it takes: {conversation: number of the attempt}."""
    claims = worker.value("SELECT hansard_api.claim_webhooks(%s, %s)::json -> 'claims'", worker.id, most)
    return {one["conversation"]: one["attempts"] for one in claims}


def end(worker, turn, attempts, is_delivered=True, retry_ms=None):
    return worker.value(
        "SELECT hansard_api.end_webhook(%s, %s, %s, %s, %s)",
        turn.conversation_id,
        turn.turn_no,
        attempts,
        is_delivered,
        retry_ms,
    )


def let_lapse():
    """The minute of who has taken something is over."""
    watcher().do("UPDATE hansard.webhooks SET next_at = next_at - interval '61 seconds'")


@story("two workers look at the same time: each takes others, and neither waits")
def claim_and_claim():
    queued(3)
    a, b = Worker(), Worker()
    first = a.begin()
    taken = claim(first, 2)
    rest = claim(b, 4)
    a.commit()
    assert (len(taken), len(rest)) == (2, 1)
    assert not taken.keys() & rest.keys()
    assert claim(b) == {}


@story("a claim is rolled back: another worker takes it, and the attempt was none")
def claim_rolled_back():
    ((_, turn),) = queued()
    a, b = Worker(), Worker()
    assert list(claim(a.begin()).values()) == [1]
    assert claim(b) == {}
    a.rollback()
    assert claim(b) == {str(turn.conversation_id): 1}


@story("an outcome comes while somebody else takes the message over: it comes too late")
def reclaim_then_end():
    ((_, turn),) = queued()
    a, b = Worker(), Worker()
    claim(a)
    let_lapse()
    assert list(claim(b.begin()).values()) == [2]
    late = a.start(lambda: end(a, turn, 1)).waits_for(b)
    b.commit()
    assert late.result() is None
    assert end(b, turn, 2) == "delivered"


@story("a message is due again while its outcome is written: nobody takes it")
def end_then_reclaim():
    ((_, turn),) = queued()
    a, b = Worker(), Worker()
    claim(a)
    let_lapse()
    assert end(a.begin(), turn, 1) == "delivered"
    assert claim(b) == {}
    a.commit()
    assert claim(b) == {}


@story("giving up is told twice at once: it is noted once")
def given_up_twice():
    ((_, turn),) = queued()
    a, b = Worker(), Worker()
    claim(a)
    assert end(a.begin(), turn, 1, False) == "given_up"
    again = b.start(lambda: end(b, turn, 1, False)).waits_for(a)
    a.commit()
    assert again.result() is None
    noted = "SELECT count(*) FROM hansard.audit_events WHERE detail ->> 'job_id' = %s"
    assert watcher().value(noted, f"{turn.conversation_id}-{turn.turn_no}") == 1


@story("a conversation is erased while its message is taken: the message goes with it, and its outcome is nobody's")
def claim_then_erase():
    ((session, turn),) = queued()
    a, b = Worker(), Worker()
    claim(a.begin())
    erasure = b.start(lambda: b.erase(session)).waits_for(a)
    a.commit()
    assert erasure.result()["messages"] == 2
    assert watcher().value("SELECT count(*) FROM hansard.webhooks") == 0
    assert end(a, turn, 1, False, 5000) is None


@story("a look comes while a conversation is erased: its message is not taken")
def erase_then_claim():
    ((session, _),) = queued()
    a, b = Worker(), Worker()
    a.begin().erase(session)
    assert claim(b) == {}
    a.commit()
    assert claim(b) == {}


run()
