"""A hot standby: whatever only reads works there, as on the primary; what writes says that it is for the primary; what the
standby cancels goes on."""

import contextlib
import json
import re
import secrets
import subprocess
import threading
import time

import psycopg2
import pytest

from lib.client import Client, problem
from lib.cookbook import ASKED, QUERIES, fill_cookbook, nightly_job
from lib.evidence import Evidence
from lib.fill import fill
from lib.program import HANSARD, PATIENCE, clean_environment, hansard, settings_environment
from lib.standby import Standby
from lib.wait import until
from lib.worker import Worker

# Of the first row of hansard_audit.verify().
STATUS = "SELECT status FROM hansard_audit.verify(%s) LIMIT 1"
NOW = {"age": "0 s", "every": "1 us"}  # after all seals there are: what says that it is older would be found
VIEWS = "SELECT viewname AS name FROM pg_views WHERE schemaname = 'hansard_audit' ORDER BY 1"


@pytest.fixture(scope="module")
def evidence(common_stack):
    database = Evidence(common_stack)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def ids(evidence):
    evidence_ids = evidence.fill(20, 6)
    evidence.seal()
    return evidence_ids


@pytest.fixture(scope="module")
def cookbook(common_stack, evidence):
    """The auditor's address of a database for the cookbook's queries; roles and passwords are the cluster's."""
    name = f"audit_{secrets.token_hex(6)}"
    common_stack.sql(f"CREATE DATABASE {name}")
    assert hansard("migrate", migrate_url=common_stack.migrate_url(name)).returncode == 0
    fill_cookbook(common_stack, name)
    yield re.sub(r"/\w+$", f"/{name}", evidence.url)
    common_stack.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def standby(common_stack, ids, cookbook):
    running = Standby(common_stack).up()
    running.catch_up()
    yield running
    running.destroy()


@pytest.fixture
def impatient(standby):
    """It cancels at once whatever is in the way of what it has to replay."""
    standby.stop()
    standby.up(max_standby_streaming_delay=0)
    standby.catch_up()
    yield standby
    standby.stop()
    standby.up()


def both(stack, standby, url, query, *values):
    """Rows on the primary and on the standby, as the auditor."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query, values or None)
            primary = cursor.fetchall()
    finally:
        connection.close()
    return primary, [tuple(row) for row in standby.sql(query, *values, url=url)]


# ---- SQL ---------------------------------------------------------------------------------------------------------


def test_every_view(stack, standby, cookbook):
    names = [row.name for row in standby.sql(VIEWS, url=cookbook)]
    assert {"transcript", "turns", "storage", "seals", "chain_strays", "dropped_months"} <= set(names)
    for name in names:
        primary, here = both(stack, standby, cookbook, f"SELECT count(*) AS rows, count(v::text) AS read FROM hansard_audit.{name} AS v")
        assert here == primary, name


@pytest.mark.parametrize("number, question, query", QUERIES, ids=ASKED)
def test_cookbook(stack, standby, cookbook, number, question, query):
    primary, here = both(stack, standby, cookbook, query)
    assert len(here) == len(primary) > 0, (number, question)


def test_search_with_and_without_indexes(stack, standby, cookbook):
    search = "SELECT conversation_id, turn_no, position FROM hansard_audit.search('case11', '-infinity')"
    primary, before = both(stack, standby, cookbook, search)
    assert primary == before and len(before) == 2
    nightly_job(stack, cookbook.rpartition("/")[2])
    standby.catch_up()
    indexes = "SELECT count(*) FROM pg_indexes WHERE indexname ~ '^messages_[0-9]{6}_words_'"
    assert standby.value(indexes, url=cookbook) > 0
    assert both(stack, standby, cookbook, search) == (primary, before)


def test_functions(standby, evidence, ids):
    assert [standby.value(STATUS, id, url=evidence.url) for id in ids] == ["ok"] * len(ids)
    (row,) = standby.sql("SELECT * FROM hansard_audit.verify_seals()", url=evidence.url)
    assert (row.status, row.seals, row.heads) == ("ok", 1, 20)
    assert standby.value("SELECT hansard_audit.since(now()) > %s::uuid", ids[0], url=evidence.url)


def test_all_that_auditors_may_call_was_called(standby, evidence):
    granted = (
        "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = 'hansard_audit' AND has_function_privilege('hansard_auditor', p.oid, 'EXECUTE')"
    )
    assert {row.proname for row in standby.sql(granted, url=evidence.url)} == {"search", "since", "verify", "verify_seals"}


# ---- commands ----------------------------------------------------------------------------------------------------


def test_verify(standby, evidence, ids):
    url = standby.url(evidence.url)
    for options, sums in {
        (): "ok: 20 conversations, 216 messages (0 erased), 1 seals",
        ("--conversation", ids[3]): "ok: 1 conversations, 10 messages",
        ("--after", ids[14]): "ok: 5 conversations",
        ("--since", "yesterday"): "ok: 20 conversations",
    }.items():
        done = evidence.verify(*options, audit_url=url)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert done.stdout.startswith(sums)


def test_a_change_is_named_there_too(standby, evidence, ids):
    here = f"WHERE conversation_id = '{ids[7]}' AND turn_no = 2 AND position = 1"
    words = evidence.value(f"SELECT text FROM hansard.messages {here}")
    evidence.sql(f"UPDATE hansard.messages SET text = 'never said' {here}")
    standby.catch_up()
    try:
        done = evidence.verify(audit_url=standby.url(evidence.url))
        assert done.returncode == 1
        assert done.stdout.splitlines()[0] == f"conversation {ids[7]} turn 2 position 1: words changed"
    finally:
        evidence.sql(f"UPDATE hansard.messages SET text = %s {here}", words)
    standby.catch_up()


@pytest.fixture
def told(stack, standby, worker):
    """A user who has said something, once it has arrived."""
    user = f"user {secrets.token_hex(8)}"
    caller = Client(worker().url, stack.add_key(user, "unlimited"))
    for number in range(5):
        assert caller.chat(f"session {number % 2}", f"words {number}").status == 200
    standby.catch_up()
    return user


def test_export(stack, standby, told):
    primary, here = (
        hansard("audit", "export", "--user", told, migrate_url=url)
        for url in (stack.migrate_url(), standby.url(stack.migrate_url()))
    )
    assert (here.returncode, here.stdout, here.stderr) == (0, primary.stdout, "")
    assert len(here.stdout.splitlines()) == 5


def test_what_writes_is_for_the_primary(stack, standby, told):
    """On the standby nothing changes; what reads besides works. There is something to do for each."""
    assert hansard("audit", "erase", "--session", "session 1", "--user", told, "--yes", migrate_url=stack.migrate_url()).returncode == 0
    standby.catch_up()
    at = standby.url(stack.migrate_url())
    for words in (
        ["audit", "erase", "--user", told, "--yes"],
        ["audit", "erase", "--user", told, "--account", "--yes"],
        ["audit", "erase", "--session", "session 0", "--user", told, "--yes"],
        ["audit", "scrub"],
        ["keys", "add", told],
        ["keys", "tier", told, "paid"],
    ):
        done = hansard(*words, migrate_url=at)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert done.stderr.endswith("(25006); is it a standby? What writes is for the primary\n"), done.stderr
    assert "session 0" in hansard("audit", "export", "--user", told, migrate_url=at).stdout
    assert hansard("migrate", "--status", migrate_url=at).returncode == 0
    assert told in hansard("keys", "list", migrate_url=at).stdout


def test_counters_of_limits_cannot_be_read_there(stack, standby):
    """They are not logged, so they do not arrive; no view has them."""
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        standby.sql("SELECT FROM hansard.rate_limits")


def test_nobody_seals_there(standby, evidence):
    evidence.fill(1, 1, age="30 seconds")
    standby.catch_up()
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        standby.sql("SELECT hansard_api.seal(0, 0, 20000)", url=evidence.migrate_url)


def test_a_worker_there_is_never_ready(stack, standby, logs):
    """Nobody is left waiting: it refuses what it cannot store, and reads what there is."""
    direct = stack.environment["HANSARD_DATABASE_URL"].replace(f":{stack.environment['POOLER_PORT']}/", ":0/")
    lost = Worker(stack, database_url=standby.url(direct), database_timeout="500ms")
    logs[lost.log] = True
    lost.launch()
    try:
        until(lost.answers)
        caller = Client(lost.url)
        began = time.monotonic()
        for refused in (caller.chat("a", "hi"), caller.queue("a", "hi")):
            assert problem(refused) == (503, "database_unavailable")
        assert time.monotonic() - began < 5 * PATIENCE
        # Between its tries to write, which keep its connections busy.
        until(lambda: problem(caller.read("nobody's")) == (404, "not_found"))
        assert not lost.answers("/readyz")
    finally:
        assert lost.stop() == 0


# ---- behind ------------------------------------------------------------------------------------------------------


def kept_line(seal):
    """As a worker logs it."""
    return json.dumps({"event": "sealed", **seal}, separators=(",", ":")) + "\n"


def test_a_seal_that_has_not_arrived(standby, evidence, ids, tmp_path):
    """It is not called missing while it may be on its way; later it is."""
    url = standby.url(evidence.url)
    kept = tmp_path / "seals.log"
    standby.catch_up()
    standby.pause()
    evidence.fill(1, 1, age="20 seconds")
    seal = evidence.seal(settled_ms=0)
    kept.write_text(kept_line(seal))
    behind = evidence.verify("--seals", kept, audit_url=url)
    standby.resume()
    standby.catch_up()
    assert behind.returncode == 2 and behind.stdout.startswith("ok: "), behind
    assert "1 seals of the file are newer than this standby: not checked" in behind.stderr
    arrived = evidence.verify("--seals", kept, audit_url=url)
    assert (arrived.returncode, arrived.stderr) == (0, ""), arrived
    # Of a seal that is two minutes old, all has arrived; and on the primary, of any.
    lost = {**seal, "seal_no": 7}
    kept.write_text(kept_line(lost))
    assert evidence.verify("--seals", kept, audit_url=url).returncode == 2
    assert "seal 7: missing, though the file holds it" in evidence.verify("--seals", kept).stdout
    kept.write_text(kept_line({**lost, "sealed_us": seal["sealed_us"] - 120 * 10**6}))
    done = evidence.verify("--seals", kept, audit_url=url)
    assert done.returncode == 1 and done.stdout.startswith("seal 7: missing, though the file holds it\n"), done


# ---- in the way --------------------------------------------------------------------------------------------------


def conflicts(standby):
    return standby.value("SELECT sum(confl_lock)::int FROM pg_stat_database_conflicts")


@contextlib.contextmanager
def locks(connect, standby, most):
    """The primary locks the messages, as dropping or rewriting a month does, again and again, until so many times a reader
    on the standby was cancelled for it."""
    is_over = threading.Event()
    before = conflicts(standby)
    connection = connect()
    connection.autocommit = False

    def lock():
        while not is_over.is_set() and conflicts(standby) < before + most:
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE hansard.messages IN ACCESS EXCLUSIVE MODE")
            connection.commit()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        yield
        assert conflicts(standby) > before
    finally:
        is_over.set()
        thread.join()
        connection.close()


def test_verify_goes_on_after_a_conflict(impatient, evidence):
    url = impatient.url(evidence.url)
    evidence.fill(2000, 10, **NOW)
    impatient.catch_up()
    whole = evidence.verify(audit_url=url)
    assert whole.returncode == 0, whole
    with locks(evidence.connect, impatient, most=5):
        done = evidence.verify(audit_url=url)
    assert (done.returncode, done.stdout, done.stderr) == (0, whole.stdout, "")


def test_export_goes_on_after_a_conflict(stack, impatient):
    user = f"user {secrets.token_hex(8)}"
    stack.add_key(user)
    with contextlib.closing(stack.connect()) as connection:
        owner = stack.value("SELECT user_id FROM hansard.users WHERE name = %s", user)
        fill(connection, 1000, 5, prefix=user, owner=owner)
    impatient.catch_up()
    with locks(stack.connect, impatient, most=5):
        done = hansard("audit", "export", "--user", user, migrate_url=impatient.url(stack.migrate_url()))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["turn"] for line in lines] == [1, 2, 3, 4, 5] * 1000
    assert len({line["conversation_id"] for line in lines}) == 1000


def test_a_standby_that_is_restarted(evidence, impatient):
    """The run goes on where it was."""
    url = impatient.url(evidence.url)
    evidence.fill(3000, 10, **NOW)
    impatient.catch_up()
    whole = evidence.verify(audit_url=url)
    environment = {**clean_environment(), **settings_environment({"audit_url": url})}
    child = subprocess.Popen([HANSARD, "audit", "verify"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    busy = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'hansard_auditor' AND xact_start IS NOT NULL"
    until(lambda: impatient.value(busy) or child.poll() is not None, every=0.001)
    impatient.stop()
    impatient.up()
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (0, whole.stdout, "")


def test_verify_that_comes_to_nothing_says_why(impatient, evidence):
    """A conversation that takes longer than the standby waits, each time anew."""
    (id,) = evidence.fill(1, 1000)
    evidence.sql("UPDATE hansard.messages SET text = repeat(text, 400) WHERE conversation_id = %s", id)
    impatient.catch_up()
    with locks(evidence.connect, impatient, most=1000):
        done = evidence.verify("--conversation", id, audit_url=impatient.url(evidence.url))
    assert (done.returncode, done.stdout) == (2, ""), done
    assert "conflict with recovery" in done.stderr
