"""The cookbook in docs/audit.md: each query runs as hansard_auditor, on data that bench/audit_*.sql makes, and finds some."""

import re
import secrets

import psycopg2
import pytest

from lib.cookbook import ASKED, QUERIES, TEXT, fill_cookbook, months, nightly_job
from lib.program import ROOT, hansard

PASSWORD = secrets.token_hex(16)


@pytest.fixture(scope="module")
def database(stack):
    name = f"audit_{secrets.token_hex(6)}"
    stack.sql(f"CREATE DATABASE {name}")
    assert hansard("migrate", migrate_url=stack.migrate_url(name)).returncode == 0

    fill_cookbook(stack, name)
    stack.sql(f"ALTER ROLE hansard_auditor PASSWORD '{PASSWORD}'")
    yield name
    stack.sql("ALTER ROLE hansard_auditor PASSWORD NULL")
    stack.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def auditor(stack, database):
    """ask(query, values...): rows, as the auditor gets them."""
    connection = psycopg2.connect(
        host="127.0.0.1", port=stack.environment["PGPORT"], user="hansard_auditor", password=PASSWORD, dbname=database
    )
    connection.autocommit = True

    def ask(query, *values):
        with connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    yield ask
    connection.close()


def test_cookbook_is_whole():
    assert ASKED == [str(number) for number in range(1, len(ASKED) + 1)]
    assert len(ASKED) >= 20
    assert TEXT.count("```sql") == len(ASKED), "a query that no test runs"


def test_all_events_are_told_of(stack):
    """Each kind that functions write is in the documentation, and in the comments of table and view."""
    functions = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "sql" / "functions").glob("*.sql")))
    written = set(re.findall(r"note_event\('(\w+)'|noted_at, '(\w+)'", functions))
    kinds = {noted or inserted for noted, inserted in written}
    assert {"key_added", "limit_reached", "conversation_erased", "retention_applied", "webhook_given_up"} <= kinds
    assert functions.count("INTO hansard.audit_events") == 4, "an event that this test does not know"
    (section,) = re.findall(r"^## Events\n(.*?)^## ", TEXT, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)))) == kinds
    for relation in ("hansard.audit_events", "hansard_audit.events"):
        comment = stack.value(
            "SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'kind'",
            relation,
        )
        assert set(re.findall(r"\w+", comment)) == kinds, relation


@pytest.mark.parametrize("number, question, query", QUERIES, ids=ASKED)
def test_query_finds_something(auditor, number, question, query):
    assert auditor(query), (number, question)


def answer(auditor, number):
    return auditor(QUERIES[number - 1][2])


def test_answers_are_right(auditor):
    said = [(role, text) for _, role, text in answer(auditor, 1)]
    assert said == [
        ("user", "Where is my refund?"),
        ("assistant", "Your refund is on its way."),
        ("user", "Are you sure?"),
        ("user", "Is anybody there?"),
        ("assistant", "Yes, sorry."),
        ("user", "When, then?"),
    ]
    assert [row[4] for row in answer(auditor, 3)] == ["Your refund is on its way.", "Where is my refund?"]
    assert [row[1:4] for row in answer(auditor, 5)] == [("alice", "support-42", 1)]
    assert [row[2] for row in answer(auditor, 24) if row[1] == "tier_changed"] == ["bob"]
    assert [(row[2], row[3]) for row in answer(auditor, 20) if row[2] == "alice"] == [("alice", "support-42")]
    assert [row[0] for row in answer(auditor, 26)] == ["long gone"]
    failed = (
        "SELECT day, round(100.0 * count(*) FILTER (WHERE state = 'failed') / count(*), 1) FROM hansard_audit.turns "
        "WHERE day >= (now() AT TIME ZONE 'UTC')::date - 7 GROUP BY day ORDER BY day"
    )
    assert [(row[0], row[2]) for row in answer(auditor, 22)] == auditor(failed)


@pytest.mark.parametrize("words, found", [("case11", 2), ("nowhere", 0)])
def test_search_with_and_without_indexes(stack, database, auditor, words, found):
    """The nightly job as docs/audit.md has it; it changes nothing of what is found."""
    search = "SELECT conversation_id, turn_no, position FROM hansard_audit.search(%s, '-infinity')"
    before = auditor(search, words)
    assert len(before) == found
    nightly_job(stack, database)
    assert auditor(search, words) == before
    assert stack.sql("SELECT hansard_admin.word_index_statements()", database=database) == []


def test_search_where_lower_case_is_another(stack):
    """ICU has a small sigma for the end of a word, and two characters for the small \u0130; an index of words has neither."""
    name = f"audit_{secrets.token_hex(6)}"
    stack.sql(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
    try:
        assert hansard("migrate", migrate_url=stack.migrate_url(name)).returncode == 0
        said = "INSERT INTO hansard.messages SELECT hansard.uuid_v7(now()), 1, 1, 'user', %s, now(), 'salt', '', ''"
        stack.sql(said, "ΟΔΟΣ \u0130stanbul", database=name)
        for words in ("ΟΔΟΣ", "istanbul", "\u0130STANBUL"):
            found = stack.value("SELECT count(*) FROM hansard_audit.search(%s)", words, database=name)
            assert found == 1, words
    finally:
        stack.sql(f"DROP DATABASE {name} WITH (FORCE)")


def test_since_leaves_out_no_conversation_of_its_time(auditor):
    """The least id of a time is above those of conversations before, and not above those of it."""
    ((wrong,),) = auditor("""
        SELECT count(*) FROM hansard_audit.turns
        WHERE turn_no = 1 AND attempt = 1
          AND (conversation_id < hansard_audit.since(accepted_at)
               OR conversation_id >= hansard_audit.since(accepted_at + interval '1 ms'))""")
    assert wrong == 0


def plan(auditor, query):
    return "\n".join(line for (line,) in auditor("EXPLAIN " + query))


def test_months_are_left_out(auditor):
    (old, _), (new, _) = months()
    plain = f"SELECT * FROM hansard_audit.turns WHERE accepted_at >= '{new} 00:00+00'"
    assert f"turns_{old:%Y%m}" in plan(auditor, plain)
    pruned = plan(auditor, plain + f" AND conversation_id >= hansard_audit.since('{new} 00:00+00')")
    assert f"turns_{new:%Y%m}" in pruned
    assert f"turns_{old:%Y%m}" not in pruned


def test_login_has_its_settings(auditor):
    for name, value in {
        "statement_timeout": "1min",
        "idle_in_transaction_session_timeout": "1min",
        "default_transaction_read_only": "on",
        "enable_partitionwise_join": "on",
    }.items():
        assert auditor(f"SHOW {name}") == [(value,)]


def test_auditor_who_tries(auditor):
    """Read-only is the first refusal; without it there are the others."""
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        auditor("CREATE TABLE public.mine ()")
    auditor("SET default_transaction_read_only = off")
    for query in (
        "CREATE TABLE public.mine ()",
        "CREATE TEMP TABLE mine ()",
        "DELETE FROM hansard_audit.prices",
        "UPDATE hansard_audit.failed_turns SET error_code = ''",
        "TRUNCATE hansard.messages",
        "SELECT FROM hansard.messages",
        "SELECT hansard_admin.list_keys()",
        "ALTER TABLE hansard.messages DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "SET ROLE hansard_owner",
        "SET SESSION AUTHORIZATION hansard_owner",
        "CREATE INDEX ON hansard.turns (request_id)",
    ):
        with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ObjectNotInPrerequisiteState)):
            auditor(query)
