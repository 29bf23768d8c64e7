"""`hansard audit verify`: hashes everything anew, names what is not as it was written, and says so by its exit code; seals
that workers have logged are held against those in the database."""

import json
import os
import pathlib
import pty
import re
import secrets
import signal
import subprocess

import pytest

from lib.evidence import HASHED_ANEW, Evidence
from lib.metrics import scrape
from lib.program import HANSARD, clean_environment, hansard, settings_environment
from lib.wait import until

# RFC 8032, 7.1, TEST 1 and TEST 2.
KEY = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
OTHER = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SQL = "SELECT * FROM hansard_audit.verify(%s) LIMIT 1"


@pytest.fixture(scope="module")
def evidence(stack):
    database = Evidence(stack)
    yield database
    database.drop()


@pytest.fixture
def ids(evidence):
    """Of 20 conversations, in a record that is whole again afterwards."""
    names = ("sessions", "conversations", "turns", "messages", "seals", "seal_heads")
    tables = ", ".join(f"hansard.{name}" for name in names)
    evidence.sql(f"TRUNCATE {tables}")
    yield evidence.fill(20, 6)
    evidence.sql(f"TRUNCATE {tables}")


def is_broken(done, *lines):
    """Exit code 1, these lines, and the sum."""
    assert (done.returncode, done.stderr) == (1, ""), done
    assert done.stdout.splitlines()[:-1] == list(lines)
    assert done.stdout.splitlines()[-1].startswith("broken: ")


def is_fine(done, sums):
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith(f"ok: {sums}"), done.stdout


def test_all_is_well(evidence, ids):
    is_fine(evidence.verify(), "20 conversations, 216 messages (0 erased), 0 seals")
    is_fine(evidence.verify("--conversation", ids[3]), "1 conversations, 10 messages")
    is_fine(evidence.verify("--after", ids[14]), "5 conversations")
    is_fine(evidence.verify("--since", "tomorrow"), "0 conversations")
    is_fine(evidence.verify("--since", "yesterday"), "20 conversations")
    is_fine(evidence.verify(audit_url="", migrate_url=evidence.migrate_url), "20 conversations")


def test_what_was_really_said(stack, record, caller, session):
    """What a worker has written: words of all kinds, a failure, a session that began anew, one that was erased."""
    for words in ("one", "zwölf\n👋", "[[status 400]] failed", "x" * 5000):
        caller.chat(session, words)
    record.let_rest(session, "2 days")
    caller.chat(session, "a new conversation")
    there = (
        "SELECT c.conversation_id::text AS id FROM hansard.conversations c JOIN hansard.sessions s USING (session_key) "
        "WHERE s.session_id = %s"
    )
    ids = [row.id for row in stack.sql(there, session)]
    assert len(ids) == 2
    for _ in range(2):
        for id in ids:
            done = hansard("audit", "verify", "--conversation", id, migrate_url=stack.migrate_url())
            assert done.returncode == 0 and done.stdout.startswith("ok: 1 conversations"), done
            assert stack.sql(SQL, id)[0].status == "ok"
        caller.erase(session)
    assert "(2 erased)" in done.stdout or "(7 erased)" in done.stdout


def test_an_erasure_that_is_not_through(evidence, ids):
    """It has some words still, and no session id: nothing is wrong."""
    (step,) = evidence.sql(
        "SELECT e.* FROM hansard.conversations c,"
        " hansard.erase_step(ARRAY[c.session_key], NULL, 3, NULL, 'test') e WHERE c.conversation_id = %s::uuid",
        ids[5],
    )
    assert (step.conversations, step.turns, step.total) == (1, 3, None)
    done = evidence.verify()
    is_fine(done, "20 conversations")
    assert "(0 erased)" not in done.stdout and evidence.sql(SQL, ids[5])[0].status == "ok"
    evidence.sql("DELETE FROM hansard.erasures")
    is_broken(
        evidence.verify(),
        f"conversation {ids[5]} turn 4 position 1: session id taken away, but not by erasing the conversation",
    )
    assert evidence.sql(SQL, ids[5])[0].status == "broken"


def test_order_is_that_of_time(evidence, ids):
    """A question that was stored before the answer to the one before it."""
    there = f"conversation_id = '{ids[0]}'"
    evidence.sql(
        "UPDATE hansard.messages SET created_at = created_at + interval '1500 us' "
        f"WHERE {there} AND turn_no = 1 AND position = 2"
    )
    rows = evidence.sql(f"SELECT turn_no, position FROM hansard.messages WHERE {there} ORDER BY created_at")
    assert [tuple(row) for row in rows[:4]] == [(1, 1), (2, 1), (1, 2), (2, 2)]
    is_broken(evidence.verify(), f"conversation {ids[0]} turn 2 position 1: chain broken")
    for row in rows:
        evidence.sql(HASHED_ANEW, ids[0], *row)
    is_broken(evidence.verify(), f"conversation {ids[0]}: newest message missing")
    last = (
        "SELECT chain_hash FROM hansard.messages m WHERE m.conversation_id = s.conversation_id "
        "ORDER BY created_at DESC LIMIT 1"
    )
    evidence.sql(f"UPDATE hansard.sessions s SET chain_head = ({last})")
    is_fine(evidence.verify(), "20 conversations")
    assert evidence.sql(SQL, ids[0])[0].status == "ok"


CHANGES = {
    "words": (
        "UPDATE hansard.messages SET text = text || '!' WHERE {} AND turn_no = 2 AND position = 1",
        "turn 2 position 1: words changed",
    ),
    "erased words": (
        "UPDATE hansard.messages SET text = NULL, salt = NULL WHERE {} AND turn_no = 2 AND position = 1",
        "turn 2 position 1: words taken away, but not by erasing the conversation",
    ),
    "fingerprint": (
        "UPDATE hansard.turns SET fingerprint = '' WHERE {} AND turn_no = 3",
        "turn 3 position 1: words left in a turn that was blanked",
    ),
    "role": (
        "UPDATE hansard.messages SET role = 'assistant' WHERE {} AND turn_no = 3 AND position = 1",
        "turn 3 position 1: chain broken",
    ),
    "time": (
        "UPDATE hansard.messages SET created_at = created_at + interval '1 us' WHERE {} AND turn_no "
        "= 3 AND position = 1",
        "turn 3 position 1: chain broken",
    ),
    "no time": (
        "UPDATE hansard.messages SET created_at = '-infinity' WHERE {} AND turn_no = 3 AND position = 1",
        "turn 3 position 1: chain broken",
    ),
    "owner": (
        "UPDATE hansard.conversations SET user_id = gen_random_uuid() WHERE {}",
        ": owner or session id changed",
    ),
    "erased header": (
        "UPDATE hansard.conversations SET session_id = NULL WHERE {}",
        "turn 1 position 1: session id taken away, but not by erasing the conversation",
    ),
    "question": (
        "DELETE FROM hansard.messages WHERE {} AND turn_no = 4 AND position = 1",
        "turn 4 position 1: question missing",
    ),
    "answer": (
        "DELETE FROM hansard.messages WHERE {} AND turn_no = 5 AND position = 2",
        "turn 5 position 2: answer missing",
    ),
    "turn": (
        "DELETE FROM hansard.turns WHERE {} AND turn_no = 4",
        "turn 4: turn missing",
    ),
    "last turn": (
        "DELETE FROM hansard.turns WHERE {} AND turn_no = 6",
        "turn 6 position 1: turn missing",
    ),
    "tail": (
        "WITH t AS (DELETE FROM hansard.turns WHERE {} AND turn_no = 6) DELETE FROM hansard.messages "
        "WHERE {} AND turn_no = 6",
        ": newest message missing",
    ),
    "header": (
        "DELETE FROM hansard.conversations WHERE {}",
        ": header missing",
    ),
    "all but the header": (
        "WITH t AS (DELETE FROM hansard.turns WHERE {}) DELETE FROM hansard.messages WHERE {}",
        "turn 1: turn missing",
    ),
    "all": (
        "WITH t AS (DELETE FROM hansard.turns WHERE {}), c AS (DELETE FROM hansard.conversations "
        "WHERE {}) DELETE FROM hansard.messages WHERE {}",
        ": conversation missing",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_named(evidence, ids, what):
    change, place = CHANGES[what]
    there = f"conversation_id = '{ids[7]}'"
    evidence.sql(change.replace("{}", there))
    line = f"conversation {ids[7]}{place if place.startswith(':') else ' ' + place}"
    is_broken(evidence.verify(), line)
    is_broken(evidence.verify("--conversation", ids[7]), line)
    # A run that goes on looks for what only sessions speak of, for no run before it has come so far.
    after = evidence.verify("--after", ids[7])
    is_broken(after, line) if what == "all" else is_fine(after, "12 conversations")
    (row,) = evidence.sql(SQL, ids[7])
    said = f"conversation {ids[7]}" + "".join(
        f" {name} {value}" for name, value in (("turn", row.turn_no), ("position", row.position)) if value is not None
    )
    assert f"{said}: {row.problem}" == line, "the function says something else"


def test_each_broken_conversation_has_a_line(evidence, ids):
    evidence.sql("UPDATE hansard.messages SET text = 'x' WHERE conversation_id = ANY (%s::uuid[])", ids[3:6])
    is_broken(evidence.verify(), *[f"conversation {id} turn 1 position 1: words changed" for id in ids[3:6]])


def test_not_checked(evidence, ids):
    def refused(done, words):
        assert (done.returncode, done.stdout) == (2, ""), done
        assert words in done.stderr

    refused(evidence.verify("--conversation", "01890000-0000-7000-8000-000000000000"), "there is no conversation")
    refused(evidence.verify("--conversation", "what"), "no conversation's id")
    refused(evidence.verify("--what"), "audit verify takes")
    refused(evidence.verify("--after", ids[0], "--since", "today"), "audit verify takes")
    refused(evidence.verify("--since", "whenever"), "whenever")
    refused(evidence.verify("--seals", "/nowhere"), "/nowhere")
    refused(evidence.verify(seal_public_key="short"), "HANSARD_SEAL_PUBLIC_KEY must be 32 bytes")
    refused(evidence.verify(audit_url=""), "HANSARD_AUDIT_URL is not set")
    refused(evidence.verify(audit_url="postgresql://127.0.0.1:1/x"), "cannot connect")
    # Whatever it reads, an auditor may read; a worker may not.
    refused(evidence.verify(audit_url=evidence.url.replace("hansard_auditor", "hansard_app")), "cannot connect")


def test_stopped_and_gone_on(evidence, ids):
    """On Ctrl-C it says where it stands, and goes on from there."""
    rest = evidence.fill(4000, 8)
    environment = {**clean_environment(), **settings_environment({"audit_url": evidence.url})}
    controller, terminal = pty.openpty()
    child = subprocess.Popen(
        [HANSARD, "audit", "verify"], env=environment, stdout=subprocess.PIPE, stderr=terminal, text=True
    )
    os.close(terminal)
    shown = ""
    while "messages" not in shown:
        shown += os.read(controller, 1000).decode()
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=30)
    while "goes on from here" not in shown:
        shown += os.read(controller, 1000).decode()
    os.close(controller)
    assert (child.returncode, out) == (2, "")
    at = re.search(r"--after (\S+)", shown)[1]
    is_fine(evidence.verify("--after", at), f"{len([id for id in rest if id > at])} conversations")


def test_a_lock_in_the_way(evidence, ids):
    """Of a month that is rewritten: it waits for longer than its role has patience."""
    settings = {"audit_url": f"{evidence.url}?options=-c%20lock_timeout%3D50"}
    environment = {**clean_environment(), **settings_environment(settings)}
    locking = evidence.connect()
    locking.autocommit = False
    try:
        locking.cursor().execute("LOCK TABLE hansard.messages IN ACCESS EXCLUSIVE MODE")
        child = subprocess.Popen([HANSARD, "audit", "verify"], env=environment, stdout=subprocess.PIPE, text=True)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'hansard.messages'::regclass"
        for _ in range(2):  # the second is not the first one's
            until(lambda: evidence.value(waiting))
            until(lambda: not evidence.value(waiting))
    finally:
        locking.close()
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0 and out.startswith("ok: 20 conversations"), out


# ---- seals -------------------------------------------------------------------------------------------------------


def test_seals(evidence, ids):
    evidence.seal()
    sums = "20 conversations, 216 messages (0 erased), 1 seals (1 not signed, 0 signatures not checked)"
    is_fine(evidence.verify(), sums)
    evidence.fill(5, 2, age="30 seconds")
    evidence.seal(settled_ms=1000)
    is_fine(evidence.verify(), "25 conversations, 234 messages (0 erased), 2 seals")
    # What the chain does not show: the tail of a conversation that is no session's.
    here = f"conversation_id = '{ids[0]}'"
    evidence.sql(f"DELETE FROM hansard.sessions WHERE {here}")
    evidence.sql(f"DELETE FROM hansard.turns WHERE {here} AND turn_no > 3")
    evidence.sql(f"DELETE FROM hansard.messages WHERE {here} AND turn_no > 3")
    is_broken(evidence.verify(), f"conversation {ids[0]}: not what seal 1 holds")
    is_broken(evidence.verify("--conversation", ids[0]), f"conversation {ids[0]}: not what seal 1 holds")
    evidence.sql(f"DELETE FROM hansard.seal_heads WHERE {here}")
    unsealed = f"conversation {ids[0]} turn 1 position 1: said before seal 2, but not in it"
    is_broken(evidence.verify(), unsealed, "seal 1: heads missing or added")
    evidence.sql("DELETE FROM hansard.seals WHERE seal_no = 1")
    is_broken(evidence.verify(), unsealed, "seal 2: seal before missing")
    evidence.sql("DELETE FROM hansard.seals")
    is_broken(evidence.verify(), "seal 2: seal missing")


def test_words_put_into_time_that_is_sealed(evidence, ids):
    """All hashes are right; but what was said then was sealed, and this was not."""
    evidence.seal()
    for age in ("10 minutes", "2 hours"):
        (invented,) = evidence.fill(1, 2, age=age)
        line = f"conversation {invented} turn 1 position 1: said before seal 1, but not in it"
        is_broken(evidence.verify("--conversation", invented), line)
        is_broken(evidence.verify("--after", ids[-1]), line)
        (row,) = evidence.sql(SQL, invented)
        assert (row.turn_no, row.position, row.problem) == (1, 1, "said before seal 1, but not in it")
        for table in ("sessions", "conversations", "turns", "messages"):
            evidence.sql(f"DELETE FROM hansard.{table} WHERE conversation_id = %s", invented)
    evidence.fill(1, 2, age="1 second")
    is_fine(evidence.verify(), "21 conversations")


def test_what_a_session_speaks_of_is_looked_for_since(evidence, ids):
    """With --since, conversations that began before are no matter, wherever they are."""
    for table in ("conversations", "turns", "messages"):
        evidence.sql(f"DELETE FROM hansard.{table} WHERE conversation_id = %s", ids[7])
    missing = f"conversation {ids[7]}: conversation missing"
    is_broken(evidence.verify("--since", "yesterday"), missing)
    is_fine(evidence.verify("--since", "tomorrow"), "0 conversations")
    is_broken(evidence.verify("--after", ids[-1]), missing)


@pytest.fixture
def retention(evidence):
    """apply(): a whole walk of 90 days. A tier that nobody is in has it walk through this month as well."""
    evidence.sql("INSERT INTO hansard.tiers (tier, burst, retention) VALUES ('walked', 100, '1 ms')")

    def apply():
        evidence.sql("UPDATE hansard.retention_walk SET began_at = NULL, ended_at = NULL")
        until(lambda: evidence.value("SELECT hansard_api.apply_retention(90 * 86400000::bigint, 200)")[0] == 0)

    yield apply
    evidence.sql("DELETE FROM hansard.tiers WHERE tier = 'walked'")


def test_blanked_by_retention(evidence, ids, retention):
    """Turns of a conversation that goes on: erased. Words that go in any other way are found as before."""
    here = f"conversation_id = '{ids[7]}'"
    evidence.seal()
    evidence.sql(f"UPDATE hansard.turns SET finished_at = now() - interval '100 days' WHERE {here} AND turn_no <= 2")
    retention()
    erased = evidence.value(f"SELECT count(*) FROM hansard.messages WHERE {here} AND text IS NULL AND salt IS NULL")
    assert erased in (3, 4)  # every fifth turn has no answer
    is_fine(evidence.verify(), f"20 conversations, 216 messages ({erased} erased), 1 seals")
    assert (evidence.sql(SQL, ids[7])[0].status, evidence.sql(SQL, ids[7])[0].erased) == ("ok", erased)
    blanked = "SELECT count(*) FROM hansard_audit.chain_turns WHERE is_blanked"
    noted = "SELECT sum((detail ->> 'turns')::int) FROM hansard_audit.events WHERE kind = 'retention_applied'"
    assert evidence.value(blanked) == evidence.value(noted) == 2

    evidence.sql(f"UPDATE hansard.messages SET text = NULL, salt = NULL WHERE {here} AND turn_no = 3 AND position = 1")
    line = f"conversation {ids[7]} turn 3 position 1: words taken away, but not by erasing the conversation"
    is_broken(evidence.verify(), line)
    evidence.sql(f"UPDATE hansard.messages SET text_hash = sha256('x') WHERE {here} AND turn_no = 1 AND position = 1")
    is_broken(evidence.verify(), f"conversation {ids[7]} turn 1 position 1: chain broken")
    (row,) = evidence.sql(SQL, ids[7])
    assert (row.turn_no, row.position, row.problem) == (1, 1, "chain broken")


def test_gone_by_retention(evidence, ids):
    evidence.seal()
    old = "01400000-0000-7000-8000-000000000000"  # March 2013
    evidence.sql("INSERT INTO hansard.seal_heads VALUES (%s, 1, 2, sha256('x'))", old)
    root = "SELECT hansard.seal_root(1)"
    evidence.sql(f"UPDATE hansard.seals SET heads = heads + 1, root = ({root})")
    fields = "seal_no, sealed_at, from_at, to_at, heads, root, previous"
    evidence.sql(f"UPDATE hansard.seals SET hash = hansard.seal_hash({fields})")
    is_broken(evidence.verify(), f"conversation {old}: conversation missing")
    month = evidence.value("SELECT to_char(to_timestamp(x'014000000000'::bigint / 1000.0) AT TIME ZONE 'UTC', 'YYYYMM')")
    detail = json.dumps({"month": month})
    event = "INSERT INTO hansard.audit_events VALUES (gen_random_uuid(), now(), 'partition_dropped', NULL, NULL, %s)"
    evidence.sql(event, detail)
    done = evidence.verify()
    is_fine(done, "20 conversations, 216 messages (0 erased), 1 seals")
    assert "1 sealed conversations gone by retention" in done.stdout


def month_again(evidence):
    """A month was dropped: there is one for those who come after."""
    while table := evidence.value("SELECT hansard.dropped_table()"):
        evidence.sql(f"DROP TABLE hansard.{table}")
    evidence.sql("DELETE FROM hansard.audit_events WHERE kind = 'partition_dropped'")
    evidence.sql("SELECT hansard_api.make_partitions()")


def test_a_month_that_leaves_meanwhile(evidence, ids):
    """It cannot leave between a snapshot, in which it was not dropped, and the reading of its tables."""
    evidence.seal()
    month = evidence.value("SELECT date_trunc('month', now(), 'UTC')::date")
    environment = {**clean_environment(), **settings_environment({"audit_url": evidence.url})}
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'hansard.seals'::regclass"
    drop = "SELECT hansard.drop_month(%s, '{}')"
    other = evidence.connect()
    other.autocommit = False
    try:
        other.cursor().execute("LOCK TABLE hansard.seals IN ACCESS EXCLUSIVE MODE")
        child = subprocess.Popen([HANSARD, "audit", "verify"], env=environment, stdout=subprocess.PIPE, text=True)
        until(lambda: evidence.value(waits) == 1)
        assert not evidence.value(drop, month)
    finally:
        other.close()
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 0 and out.startswith("ok: 20 conversations"), out
    until(lambda: evidence.value(drop, month))
    try:
        assert "; 20 sealed conversations gone by retention" in evidence.verify().stdout
    finally:
        month_again(evidence)


def test_gone_while_it_begins(evidence, ids):
    """It comes while a month is being dropped: what it sees is the record after that, with the event."""
    evidence.seal()
    month = evidence.value("SELECT hansard.uuid_month(%s)", ids[0])
    dropping = evidence.connect()
    dropping.autocommit = False
    try:
        cursor = dropping.cursor()
        cursor.execute("SELECT hansard.drop_month(to_date(%s, 'YYYYMM'), '{}')", (month,))
        assert cursor.fetchone() == (True,)
        environment = {**clean_environment(), **settings_environment({"audit_url": evidence.url})}
        child = subprocess.Popen([HANSARD, "audit", "verify"], env=environment, stdout=subprocess.PIPE, text=True)
        until(lambda: evidence.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        cursor.execute("DELETE FROM hansard.sessions")
        dropping.commit()
    finally:
        dropping.close()
    out, _ = child.communicate(timeout=60)
    month_again(evidence)
    assert child.returncode == 0 and "20 sealed conversations gone by retention" in out, out


@pytest.fixture
def signed(evidence, ids, worker, tmp_path):
    """A file with the seals that a worker has made, signed and logged."""
    sealing = worker(database_url=evidence.worker_url, seal_interval="1s", seal_key=KEY)
    kept = "SELECT count(*) FROM hansard.seals WHERE signature IS NOT NULL"
    until(lambda: evidence.value(kept) == 1)
    evidence.fill(3, 2, age="59 seconds")  # after the first seal, and a minute old in a moment
    until(lambda: evidence.value(kept) == 2)
    assert -1 < scrape(sealing).get("hansard_seal_age_seconds") < 30
    assert sealing.stop() == 0
    file = tmp_path / "seals.log"
    file.write_bytes(pathlib.Path(sealing.log).read_bytes())
    return file


def test_a_worker_seals_and_signs(evidence, signed):
    lines = [json.loads(line) for line in signed.read_text().splitlines()]
    seals = [line for line in lines if line["event"] == "sealed"]
    assert [seal["seal_no"] for seal in seals] == [1, 2]
    assert [seal["heads"] for seal in seals] == [20, 3]
    rows = evidence.sql(
        "SELECT encode(hash, 'hex') AS hash, encode(signature, 'hex') AS signature, key_id FROM hansard.seals "
        "ORDER BY seal_no"
    )
    assert [(seal["hash"], seal["signature"], seal["key_id"]) for seal in seals] == [tuple(row) for row in rows]
    assert KEY not in signed.read_text()

    sums = "23 conversations, 227 messages (0 erased), 2 seals (0 not signed, "
    is_fine(evidence.verify(), sums + "2 signatures not checked)")
    is_fine(evidence.verify("--seals", signed, seal_public_key=PUBLIC), sums + "0 signatures not checked)")
    is_fine(evidence.verify(seal_public_key=f"{OTHER},{PUBLIC}"), sums + "0 signatures not checked)")
    is_fine(evidence.verify(seal_key=KEY), sums + "0 signatures not checked)")
    unknown = "signature does not fit, or is by a key that is not known"
    is_broken(evidence.verify(seal_public_key=OTHER), f"seal 1: {unknown}", f"seal 2: {unknown}")
    evidence.sql("UPDATE hansard.seals SET signature = sha512(signature) WHERE seal_no = 1")
    is_broken(evidence.verify(seal_public_key=PUBLIC), f"seal 1: {unknown}")


def test_seals_that_do_not_fit(evidence, ids, signed):
    def changed(to, seal, *lines):
        kept = "SELECT from_at, sealed_at, signature, key_id FROM hansard.seals WHERE seal_no = %s"
        (before,) = evidence.sql(kept, seal)
        evidence.sql(f"UPDATE hansard.seals SET {to} WHERE seal_no = %s", seal)
        is_broken(evidence.verify("--seals", signed), *lines)
        columns = "from_at = %s, sealed_at = %s, signature = %s, key_id = %s"
        evidence.sql(f"UPDATE hansard.seals SET {columns} WHERE seal_no = %s", *before, seal)

    changed("sealed_at = sealed_at + interval '1 us'", 1, "seal 1: hash does not fit")
    changed("from_at = from_at - interval '1 us'", 2, "seal 2: not made after the seal before")
    changed("signature = NULL, key_id = NULL", 2, "seal 2: signature missing, which the file holds")
    evidence.sql("UPDATE hansard.seal_heads SET head = sha256(head) WHERE seal_no = 2")
    done = evidence.verify("--seals", signed)
    assert (done.returncode, "seal 2: heads changed" in done.stdout) == (1, True), done


def test_a_history_that_was_written_anew(evidence, ids, signed):
    """Who can write everything can make a record that is right in itself; but not the one that was logged."""
    evidence.sql("DELETE FROM hansard.seal_heads WHERE seal_no = 2")
    evidence.sql("DELETE FROM hansard.seals WHERE seal_no = 2")
    is_fine(evidence.verify(), "23 conversations")
    is_broken(evidence.verify("--seals", signed), "seal 2: missing, though the file holds it")
    evidence.sql("DELETE FROM hansard.seal_heads")
    evidence.sql("DELETE FROM hansard.seals")
    for table in ("turns", "messages", "conversations", "sessions"):
        evidence.sql(f"DELETE FROM hansard.{table} WHERE conversation_id = %s", ids[0])
    evidence.seal()
    is_fine(evidence.verify(), "22 conversations")
    is_broken(
        evidence.verify("--seals", signed),
        "seal 1: not the seal that the file holds",
        "seal 2: missing, though the file holds it",
    )


def test_a_file_that_was_changed(evidence, signed):
    text = signed.read_text()
    signed.write_text(text.replace('"heads":20', '"heads":21'))
    is_broken(evidence.verify("--seals", signed), "seal 1: the file's line is not a seal's")
    signed.write_text(text.replace('"heads":20', '"heads":"20"'))
    done = evidence.verify("--seals", signed)
    assert done.returncode == 2 and "not a seal" in done.stderr
    signature = re.search(r'"signature":"(..)', text)[1]
    other = "00" if signature != "00" else "01"
    signed.write_text(text.replace(f'"signature":"{signature}', f'"signature":"{other}', 1))
    is_broken(evidence.verify("--seals", signed, seal_public_key=PUBLIC), "seal 1: the file's signature does not fit")


def test_a_wrong_key_is_refused():
    done = hansard("config", seal_key="0" * 63)
    assert done.returncode == 1
    assert "HANSARD_SEAL_KEY must be 32 bytes" in done.stderr and "000" not in done.stderr
