"""Migrations: applied in order, once, however many try; what has been applied must not have changed since."""

import concurrent.futures
import hashlib
import json
import re
import secrets

import psycopg2
import pytest

from lib.program import ROOT, hansard
from lib.wait import until

MIGRATIONS = sorted((ROOT / "sql" / "migrations").glob("*.sql"))
FUNCTIONS = sorted((ROOT / "sql" / "functions").glob("*.sql"))
NEWEST = int(MIGRATIONS[-1].name[:4])
UP_TO_DATE = f"up to date (version {NEWEST})\n"
APPLIED = "SELECT version, name, checksum FROM hansard.schema_migrations ORDER BY version"


class Database:
    """One of its own in the stack's cluster."""

    def __init__(self, stack):
        self.name = f"migrate_{secrets.token_hex(6)}"
        self._stack = stack
        stack.sql(f"CREATE DATABASE {self.name}")

    def migrate(self, *options):
        return hansard("migrate", *options, migrate_url=self._stack.migrate_url(self.name))

    def sql(self, query, *values):
        return self._stack.sql(query, *values, database=self.name)

    def value(self, query, *values):
        return self._stack.value(query, *values, database=self.name)

    def drop(self):
        self._stack.sql(f"DROP DATABASE {self.name} WITH (FORCE)")

    def objects(self):
        """What there is in Hansard's schemas, by name and definition."""
        return self.sql(
            "SELECT c.oid::regclass::text, c.relkind::text "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname ~ '^hansard' UNION ALL "
            "SELECT p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid)) FROM pg_proc p "
            "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname ~ '^hansard' AND p.prokind = 'f' "
            "ORDER BY 1, 2"
        )


@pytest.fixture
def empty(stack):
    database = Database(stack)
    yield database
    database.drop()


@pytest.fixture
def migrated(empty):
    assert empty.migrate().returncode == 0
    return empty


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(done, *words):
    """Exit code 1, a line on stderr that names what is wrong, nothing on stdout."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert re.fullmatch(r"hansard: migrate: .*\n", done.stderr), done.stderr
    for word in words:
        assert word in done.stderr


def test_empty_database(empty):
    done = empty.migrate()
    assert (done.returncode, done.stderr) == (0, "")
    lines = [f"applied {path.stem}\n" for path in MIGRATIONS]
    assert done.stdout == "".join(lines) + f"functions: {len(FUNCTIONS)} re-applied\n" + UP_TO_DATE
    recorded = [(int(path.name[:4]), path.stem, sha256(path)) for path in MIGRATIONS]
    assert [tuple(row) for row in empty.sql(APPLIED)] == recorded
    functions = empty.sql("SELECT name, checksum FROM hansard.schema_functions ORDER BY name")
    assert [tuple(row) for row in functions] == [(path.stem, sha256(path)) for path in FUNCTIONS]


def test_again_changes_nothing(migrated):
    before = migrated.objects()
    at = migrated.sql("SELECT name, applied_at FROM hansard.schema_functions")
    done = migrated.migrate()
    assert (done.returncode, done.stdout, done.stderr) == (0, UP_TO_DATE, "")
    assert migrated.objects() == before
    assert migrated.sql("SELECT name, applied_at FROM hansard.schema_functions") == at


def test_twenty_at_once(empty):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        done = [future.result() for future in [pool.submit(empty.migrate) for _ in range(20)]]
    assert {one.returncode for one in done} == {0}, {one.stderr for one in done}
    assert all(one.stdout.endswith(UP_TO_DATE) for one in done)
    said = "".join(one.stdout for one in done)
    for path in MIGRATIONS:
        assert said.count(f"applied {path.stem}\n") == 1
    assert said.count("re-applied") == 1
    assert len(empty.sql(APPLIED)) == len(MIGRATIONS)


def test_status(empty):
    before = empty.migrate("--status")
    assert before.returncode == 0
    assert re.findall(r"^migration (\S+) +(\w+)$", before.stdout, re.M) == [(p.stem, "pending") for p in MIGRATIONS]
    assert re.findall(r"^functions (\S+) +(\w+)$", before.stdout, re.M) == [(p.stem, "pending") for p in FUNCTIONS]
    assert before.stdout.endswith(f"version 0 of {NEWEST}\n")
    assert empty.objects() == [], "looking changed something"

    empty.migrate()
    empty.sql("UPDATE hansard.schema_functions SET checksum = 'x' WHERE name = %s", FUNCTIONS[0].stem)
    after = empty.migrate("--status").stdout
    assert re.findall(r"^migration (\S+) +(\w+)$", after, re.M) == [(p.stem, "applied") for p in MIGRATIONS]
    words = ["changed"] + ["current"] * (len(FUNCTIONS) - 1)
    assert [word for _, word in re.findall(r"^functions (\S+) +(\w+)$", after, re.M)] == words
    assert after.endswith(f"version {NEWEST} of {NEWEST}\n")


def test_dry_run(empty):
    done = empty.migrate("--dry-run")
    lines = [f"would apply {path.stem}\n" for path in MIGRATIONS]
    assert done.stdout == "".join(lines) + f"functions: {len(FUNCTIONS)} would be re-applied\n"
    assert done.returncode == 0
    assert empty.objects() == []
    empty.migrate()
    assert empty.migrate("--dry-run").stdout == UP_TO_DATE


def test_changed_file_is_refused_by_name(migrated):
    name = MIGRATIONS[0].stem
    migrated.sql("UPDATE hansard.schema_migrations SET checksum = repeat('0', 64) WHERE name = %s", name)
    migrated.sql("DELETE FROM hansard.schema_functions")  # which a migration would apply again
    before = migrated.objects()
    refused(migrated.migrate(), name, "another text")
    refused(migrated.migrate("--dry-run"), name)
    status = migrated.migrate("--status")
    assert re.search(rf"^migration {name} +changed$", status.stdout, re.M)
    assert migrated.objects() == before
    assert migrated.sql("SELECT * FROM hansard.schema_functions") == []


def test_changed_functions_are_applied_again(migrated):
    whole = migrated.objects()
    migrated.sql("UPDATE hansard.schema_functions SET checksum = 'x' WHERE name = %s", FUNCTIONS[0].stem)
    migrated.sql(
        "CREATE OR REPLACE FUNCTION hansard.worker_patience() RETURNS interval LANGUAGE sql RETURN interval '1 h'"
    )
    assert migrated.objects() != whole
    done = migrated.migrate()
    assert done.stdout == f"functions: {len(FUNCTIONS)} re-applied\n" + UP_TO_DATE
    assert migrated.objects() == whole
    assert migrated.migrate().stdout == UP_TO_DATE


def test_database_ahead_is_refused(migrated):
    migrated.sql("INSERT INTO hansard.schema_migrations VALUES (9999, '9999_from_the_future', 'x', now())")
    refused(migrated.migrate(), "9999_from_the_future")
    refused(migrated.migrate("--dry-run"), "9999_from_the_future")
    status = migrated.migrate("--status")
    assert re.search(r"^migration 9999_from_the_future +not known to this release$", status.stdout, re.M)


def test_failing_file_leaves_nothing_half_done(empty):
    """Something of the same name is in the way: that migration's transaction is rolled back whole, and it is named."""
    empty.sql("CREATE SCHEMA hansard_api")
    refused(empty.migrate(), MIGRATIONS[0].stem, "hansard_api", "42P06")
    assert empty.value("SELECT to_regclass('hansard.turns')") is None
    empty.sql("DROP SCHEMA hansard_api")
    assert empty.migrate().returncode == 0


def test_up_to_a_version(empty):
    done = empty.migrate("--to", "1")
    assert done.returncode == 0
    assert done.stdout.startswith(f"applied {MIGRATIONS[0].stem}\n")
    assert empty.value("SELECT max(version) FROM hansard.schema_migrations") == 1
    refused(empty.migrate("--to", "9999"), "no migration 9999")


LEFT_BY = sorted((ROOT / "tests" / "upgrade").glob("*.sql"))
FAILURES = {"0003": 0, "0008": 4}  # of a job, where there are jobs
CHAIN = """
    SELECT count(*) FILTER (WHERE hansard.text_hash(m.salt, m.text) <> m.text_hash OR hansard.chain_hash(
                                coalesce(m.before, hansard.chain_start(c.conversation_id, c.session_key, c.created_at)),
                                m.conversation_id, m.turn_no, m.position, m.role::text, m.created_at, m.text_hash) <> m.chain_hash)
    FROM (SELECT *, lag(chain_hash) OVER (PARTITION BY conversation_id ORDER BY created_at, turn_no, position) AS before
          FROM hansard.messages) AS m
    JOIN hansard.conversations c USING (conversation_id)"""
ASK = """
    SELECT outcome, turn_no, attempt, history FROM hansard_api.accept_turns(
        '019b76da-a800-7000-8000-00000000000b', 20, 65536, 86400000, ARRAY[sha256('a key of ada')], ARRAY['192.0.2.1'],
        ARRAY['diary'], ARRAY['and now?'], ARRAY['fourth'], ARRAY[sha256('4')], ARRAY[gen_random_uuid()::text])"""


def rows_of(left):
    """Statements that write what a release has left: those of the file, after those of the one that it goes on from."""
    text = left.read_text(encoding="utf-8")
    before = re.match(r"-- Goes on from (\d{4})\.sql: ", text)
    return (rows_of(left.with_stem(before[1])) if before else "") + text


def test_every_version_can_be_upgraded_from():
    assert [path.stem for path in LEFT_BY] == [path.name[:4] for path in MIGRATIONS]


@pytest.mark.parametrize("left", LEFT_BY, ids=lambda path: path.stem)
def test_upgrade_with_data(empty, left):
    """What an older release has left is all there afterwards, checks, and can be spoken on."""
    assert empty.migrate("--to", str(int(left.stem))).returncode == 0
    empty.sql(rows_of(left))
    rows = (
        "SELECT conversation_id, turn_no, position, role::text, text FROM hansard.messages"
        " ORDER BY conversation_id, turn_no, position"
    )
    before = empty.sql(rows)
    assert len(before) in (4, 8)

    assert empty.migrate().returncode == 0
    assert empty.sql(rows) == before
    assert empty.value(CHAIN) == 0
    page = json.loads(empty.value("SELECT hansard_api.read_conversation(sha256('a key of ada'), 'diary', 0, 10, 100000)"))
    assert [turn["status"] for turn in page["turns"]] == ["completed", "failed", "running"]
    assert page["turns"][0]["messages"][1]["content"] == "Dear Ada"

    empty.sql("SELECT hansard_api.heartbeat('019b76da-a800-7000-8000-00000000000b', 'here', 'now', 1)")
    (asked,) = empty.sql(ASK)
    assert tuple(asked) == ("accepted", 4, 1, ["Dear diary", "Dear Ada"])
    assert empty.value("SELECT error_code FROM hansard.turns WHERE turn_no = 3 AND NOT is_job") == "worker_lost"
    assert empty.value(CHAIN) == 0


CLAIM = """
    SELECT turn_no, attempt, words, history, failures
    FROM hansard_api.claim_jobs('019b76da-a800-7000-8000-00000000000b', 10, 20, 65536)"""


@pytest.mark.parametrize("left", [path for path in LEFT_BY if path.stem in FAILURES], ids=lambda path: path.stem)
def test_upgrade_with_jobs(empty, left):
    """Jobs that an older release has left are run: first the one whose worker is gone, then those behind it."""
    assert empty.migrate("--to", str(int(left.stem))).returncode == 0
    empty.sql(rows_of(left))
    assert empty.migrate().returncode == 0

    empty.sql("SELECT hansard_api.heartbeat('019b76da-a800-7000-8000-00000000000b', 'here', 'now', 1)")
    assert empty.sql(CLAIM) == []
    assert empty.value("SELECT hansard_api.reap_workers()") == 0
    assert [tuple(row) for row in empty.sql(CLAIM)] == [(2, 2, "Count on", ["Count", "One, two"], FAILURES[left.stem])]
    cancel = "SELECT hansard_api.cancel_job(sha256('a key of ada'), '019b76da-a801-7000-8000-000000000003', 2)::json"
    assert empty.value(cancel)["status"] == "cancelled"
    assert [tuple(row) for row in empty.sql(CLAIM)] == [(3, 1, "Stop", ["Count", "One, two"], 0)]
    assert empty.value("SELECT jobs FROM hansard.sessions WHERE session_id = 'errands'") == 1
    assert empty.value(CHAIN) == 0


def test_waits_for_another_run(migrated, stack):
    """Whoever migrates holds one lock; the next does its part afterwards."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        connection = stack.connect(migrated.name)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(29380524587971172)")
                second = pool.submit(migrated.migrate)
                waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                until(lambda: migrated.value(waits) == 1)
                assert not second.done()
        finally:
            connection.close()
        assert second.result().stdout == UP_TO_DATE


@pytest.mark.parametrize(
    "options", [["--what"], ["--status", "--dry-run"], ["--to"], ["--to", "x"], ["--to", "0"], ["now"]]
)
def test_misuse(stack, options):
    done = hansard("migrate", *options, migrate_url=stack.migrate_url())
    assert (done.returncode, done.stdout) == (2, "")
    assert "hansard migrate --help" in done.stderr


def test_database_that_is_not_there(stack):
    refused(hansard("migrate", migrate_url=stack.migrate_url("nowhere")), "cannot connect")
    wrong = re.sub(r":[^:@]+@", ":wrong-password@", stack.migrate_url())
    done = hansard("migrate", migrate_url=wrong)
    refused(done, "cannot connect")
    assert "wrong-password" not in done.stderr
    refused(hansard("migrate"), "HANSARD_MIGRATE_URL is not set")


def test_worker_cannot_do_what_migrations_do(stack):
    """The application's role may call functions and nothing else."""
    told = stack.environment
    past_the_pooler = told["HANSARD_DATABASE_URL"].replace(f":{told['POOLER_PORT']}/", f":{told['PGPORT']}/")
    connection = psycopg2.connect(past_the_pooler)
    try:
        for query in ("SELECT * FROM hansard.messages", "SELECT hansard_admin.list_keys()", "CREATE TABLE public.t ()"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege), connection.cursor() as cursor:
                cursor.execute(query)
            connection.rollback()
    finally:
        connection.close()
