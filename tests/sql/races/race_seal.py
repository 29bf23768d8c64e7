"""Seals: one at a time, and what is committed late is in the next."""

import json

from stage.connection import watcher
from stage.tap import run, story
from stage.worker import Worker, new_session

SEAL = "SELECT hansard_api.seal(0, 0, 1000)"


def seal(worker):
    made = worker.value(SEAL)
    return made and json.loads(made)


def seal_all():
    """What other races have left may be more than one seal looks at: a story begins when nothing waits."""
    worker = Worker()
    while seal(worker):
        pass


def seals_of(session):
    return watcher().value(
        "SELECT array_agg(h.seal_no ORDER BY h.seal_no) FROM hansard.seal_heads h JOIN hansard.sessions s "
        "USING (conversation_id) WHERE s.session_id = %s",
        session,
    )


def all_fit():
    return watcher().value("SELECT string_agg(DISTINCT status, ' ') FROM hansard_audit.verify_seals()") == "ok"


@story("two workers seal at once: the second has nothing to do, and does not wait")
def two_at_once():
    speaker, one, other, session = Worker(), Worker(), Worker(), new_session()
    seal_all()
    speaker.finish(speaker.accept(session))
    made = seal(one.begin())
    assert seal(other) is None
    one.commit()
    assert seal(other) is None, "what is sealed is not sealed again"
    assert seals_of(session) == [made["seal_no"]]
    assert all_fit()


@story("a seal that is rolled back leaves nothing, and the next one has its number")
def rolled_back():
    speaker, one, other, session = Worker(), Worker(), Worker(), new_session()
    seal_all()
    speaker.accept(session)
    lost = seal(one.begin())
    one.rollback()
    made = seal(other)
    assert (made["seal_no"], made["root"]) == (lost["seal_no"], lost["root"])
    assert seals_of(session) == [made["seal_no"]]
    assert all_fit()


@story("a message that is not committed when its time is sealed is in the next seal")
def committed_late():
    slow, quick, sealer, late, early = Worker(), Worker(), Worker(), new_session(), new_session()
    seal_all()
    slow.begin().accept(late)
    quick.accept(early)
    first = seal(sealer)
    assert seals_of(early) == [first["seal_no"]]
    slow.commit()
    quick.accept(new_session())
    second = seal(sealer)
    assert seals_of(late) == [second["seal_no"]]
    assert seals_of(early) == [first["seal_no"]], "what has not changed is not sealed again"
    assert all_fit()


run()
