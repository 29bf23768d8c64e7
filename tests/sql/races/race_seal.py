"""Seals: one at a time, and none before all that it has to hold is committed."""

import json

from stage.connection import Connection, watcher
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


def is_fine(session):
    """What the check says of a session's conversation."""
    return watcher().value(
        "SELECT string_agg(status || coalesce(' ' || problem, ''), ', ') FROM hansard.sessions s "
        "CROSS JOIN LATERAL hansard_audit.verify(s.conversation_id) WHERE s.session_id = %s",
        session,
    ) == "ok"


@story("a message that is still being written is waited for: it is in the first seal that reaches its time")
def committed_late():
    slow, quick, sealer, late, early = Worker(), Worker(), Worker(), new_session(), new_session()
    seal_all()
    slow.begin().accept(late)
    quick.accept(early)
    assert seal(sealer) is None
    assert seal(sealer) is None
    assert is_fine(early)
    slow.commit()
    assert is_fine(late), "what is committed before the seal is in order"
    made = seal(sealer)
    assert seals_of(late) == seals_of(early) == [made["seal_no"]]
    assert is_fine(late) and is_fine(early)
    quick.accept(new_session())
    seal(sealer)
    assert seals_of(early) == [made["seal_no"]], "what has not changed is not sealed again"
    assert all_fit()


@story("an answer that is still being written is waited for as well")
def answered_late():
    slow, quick, sealer, session = Worker(), Worker(), Worker(), new_session()
    seal_all()
    turn = slow.accept(session)
    first = seal(sealer)
    slow.begin().finish(turn)
    quick.accept(new_session())
    assert seal(sealer) is None
    slow.commit()
    second = seal(sealer)
    assert seals_of(session) == [first["seal_no"], second["seal_no"]]
    assert is_fine(session)


@story("writers come and go: a seal reaches to the last look when all who wrote then have ended")
def two_looks():
    one, other, quick, sealer = Worker(), Worker(), Worker(), Worker()
    first, second, before, between = new_session(), new_session(), new_session(), new_session()
    seal_all()
    quick.accept(before)
    one.begin().accept(first)
    assert seal(sealer) is None
    other.begin().accept(second)
    quick.accept(between)
    one.commit()
    made = seal(sealer)
    assert seals_of(before) == seals_of(first) == [made["seal_no"]]
    assert seals_of(between) is None
    assert is_fine(first) and is_fine(between)
    other.commit()
    assert is_fine(second)
    rest = seal(sealer)
    assert seals_of(between) == seals_of(second) == [rest["seal_no"]]
    assert rest["from_us"] == made["to_us"]
    assert is_fine(second) and all_fit()


@story("a turn is finished while its question is being sealed: the answer is in the next seal")
def finished_meanwhile():
    speaker, sealer, session = Worker(), Worker(), new_session()
    seal_all()
    turn = speaker.accept(session)
    first = seal(sealer.begin())
    speaker.finish(turn)
    assert is_fine(session)
    sealer.commit()
    assert is_fine(session)
    second = seal(sealer)
    assert seals_of(session) == [first["seal_no"], second["seal_no"]]
    assert is_fine(session) and all_fit()


@story("many write while one seals without a pause: all is in the first seal that reaches it, and nobody is accused")
def storm():
    speakers, sealer = [Worker() for _ in range(4)], Worker()
    sessions = [[new_session() for _ in range(3)] for _ in speakers]
    seal_all()

    def speak(worker, names):
        for _ in range(40):
            for name in names:
                worker.finish(worker.accept(name))

    talks = [worker.start(lambda w=worker, n=names: speak(w, n)) for worker, names in zip(speakers, sessions)]
    made = 0
    while any(talk.is_under_way() for talk in talks):
        made += seal(sealer) is not None
    for talk in talks:
        talk.result()
    seal_all()
    assert made > 3, f"{made} seals were made meanwhile"
    assert all(is_fine(name) for names in sessions for name in names)
    unsealed = watcher().value(
        "SELECT count(*) FROM hansard.sessions s WHERE s.session_id = ANY (%s) AND s.chain_head NOT IN "
        "(SELECT h.head FROM hansard.seal_heads h WHERE h.conversation_id = s.conversation_id)",
        [name for names in sessions for name in names],
    )
    assert unsealed == 0
    assert all_fit()


@story("who seals sees all that is committed: not with a snapshot of earlier")
def old_snapshot():
    speaker, sealer, session = Worker(), Worker(), new_session()
    seal_all()
    sealer.begin().do("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    sealer.do("SELECT 1")
    speaker.accept(session)
    assert sealer.start(lambda: seal(sealer)).sqlstate() == "HS400"
    sealer.rollback()
    assert seals_of(session) is None


@story("who may log in is not in the way: not with advisory locks, not with a transaction that is left open")
def nobody_in_the_way():
    speaker, sealer, auditor, session = Worker(), Worker(), Connection("hansard_auditor"), new_session()
    seal_all()
    auditor.begin()
    auditor.do("SET TRANSACTION READ WRITE")
    auditor.do("SELECT pg_current_xact_id(), count(*) FROM hansard_audit.chain")
    auditor.do("SELECT pg_advisory_lock(key) FROM generate_series(29380524587971173, 29380524587971180) AS key")
    speaker.finish(speaker.accept(session))
    made = seal(sealer)
    assert seals_of(session) == [made["seal_no"]]
    assert sealer.value("SELECT hansard_api.make_partitions()") == 0


run()
