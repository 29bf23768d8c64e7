"""Forgotten: what was erased is not in the data files either, once they were scrubbed.

The cluster is stopped and its files are searched for the very bytes. The log of changes (pg_wal) is apart: it holds
what was written until it is recycled; docs/retention.md says what that means, and what backups mean.
"""

import pathlib
import secrets

import pytest

from lib.client import Client
from lib.program import hansard
from lib.wait import until


@pytest.fixture(scope="module")
def stack_settings():
    return {"PG_CONF": "autovacuum = off"}  # nothing is cleared away by chance


def files_with(folder, words):
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and "pg_wal" not in path.parts:
            content = path.read_bytes()
            found |= {f"{path.relative_to(folder)}: {word}" for word in words if word.encode() in content}
    return sorted(found)


def say_in_the_past(stack, user, words):
    """A message of last month, for an index of words has none of today."""
    stack.sql(
        "SET LOCAL ROLE hansard_owner; SELECT hansard.make_partition(p, (date_trunc('month', now() AT TIME ZONE 'UTC')"
        " - interval '1 month')::date) FROM unnest('{conversations,turns,messages}'::text[]) p"
    )
    at = stack.value("SELECT date_trunc('month', now(), 'UTC') - interval '10 days'")
    talk = stack.value("SELECT hansard.uuid_v7(%s)", at)
    owner = stack.value("SELECT user_id FROM hansard.users WHERE name = %s", user)
    stack.sql(
        "INSERT INTO hansard.conversations VALUES (%s, hansard.session_key(%s, %s), %s, %s, %s)",
        *(talk, owner, words, owner, words, at),
    )
    for turn in range(1, 31):
        stack.sql(
            "INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, attempt,"
            " accepted_at, finished_at) VALUES (%s, %s, 'failed', %s, sha256('x'), gen_random_uuid(), 1, %s, %s)",
            *(talk, turn, f"{words} {turn}", at, at),
        )
        stack.sql(
            "INSERT INTO hansard.messages VALUES (%s, %s, 1, 'user', %s, %s, '0123456789abcdef', '', '')",
            *(talk, turn, words, at),
        )
    return at


def index_words(stack):
    """The night's job."""
    statements = [row[0] for row in stack.sql("SELECT hansard_admin.word_index_statements()")]
    for statement in statements:
        stack.sql(statement)
    return statements


def give_up_a_webhook(stack, job, url):
    conversation, _, turn = job.rpartition("-")
    stack.sql("SELECT hansard.note_webhook_given_up(%s, %s, %s, 8)", conversation, int(turn), url)


def test_words_of_an_erased_user(stack, worker):
    """Short words in the rows, long ones beside them, words in an index; the session's name, the key, the user's name; the
    addresses of webhooks, of jobs that are queued, that have ended, and that nobody could be told of."""
    mark = secrets.token_hex(12)
    kinds = ("short", "long", "session", "key", "user", "indexed", "queued", "told", "host")
    words = {kind: f"{kind}-{mark}" for kind in kinds}
    running = worker()  # which leaves webhooks to workers that have hosts for them
    caller = Client(running.url, stack.add_key(words["user"], "unlimited"))
    other = Client(running.url, stack.add_key("somebody else", "unlimited"))
    for number in range(20):
        asked = caller.chat(f"{words['session']} {number % 3}", f"{words['short']} {number}", f"{words['key']} {number}")
        assert asked.status == 200
        assert other.chat(f"s {number}", f"kept-{mark}").status == 200
    assert caller.chat(words["session"], words["long"] + secrets.token_hex(10000)).status == 200
    job = caller.queue(words["session"], words["short"]).json["job_id"]
    until(lambda: caller.job(job).json["status"] == "completed")
    stack.sql("SELECT hansard.queue_webhook(%s, %s, %s)", *job.rsplit("-", 1), f"https://{words['told']}.example/")
    give_up_a_webhook(stack, job, f"https://{words['host']}.example/")
    stack.sql(
        "INSERT INTO hansard.jobs SELECT conversation_id, 1000, session_key, 'addr:' || %s, now(), false, NULL, 0, %s"
        " FROM hansard.sessions WHERE session_id = %s",
        *(words["queued"], f"https://{words['queued']}.example/", words["session"]),
    )
    at = say_in_the_past(stack, words["user"], words["indexed"])
    assert any(statement.startswith("CREATE INDEX") for statement in index_words(stack))
    folder = pathlib.Path(stack.value("SHOW data_directory"))
    stack.sql("ANALYZE"), stack.sql("CHECKPOINT")
    assert stack.value("SELECT hansard_admin.count_samples()") == 0
    seen = "\n".join(files_with(folder, words.values()))
    assert all(word in seen for word in words.values()), "the search finds what is there"

    # As releases before did it: samples of words, and of what an index makes of them.
    index = stack.value("SELECT index_name FROM hansard.word_indexes() WHERE begins <= %s AND ends > %s", at, at)
    stack.sql(f"ALTER INDEX hansard.{index} ALTER COLUMN 1 SET STATISTICS -1")
    stack.sql("ALTER TABLE hansard.webhooks ALTER COLUMN url SET STATISTICS -1"), stack.sql("ANALYZE")
    assert stack.value("SELECT most_common_elems::text FROM pg_stats WHERE tablename = %s", index).count(mark)
    stack.sql("SELECT hansard.keep_out_of_statistics()")

    erased = hansard("audit", "erase", "--user", words["user"], "--account", "--yes", migrate_url=stack.migrate_url())
    assert erased.returncode == 0, erased.stderr
    assert index_words(stack) == [f"ALTER INDEX hansard.{index} ALTER COLUMN 1 SET STATISTICS 0"]
    stack.sql("VACUUM"), stack.sql("ANALYZE")
    assert stack.value("SELECT hansard_admin.count_samples()") == 2
    scrubbed = hansard("audit", "scrub", migrate_url=stack.migrate_url())
    assert scrubbed.returncode == 0, scrubbed.stderr
    assert scrubbed.stdout.count("hansard.messages_") == 2, "this month, and the one before"
    assert stack.value("SELECT hansard_admin.count_samples()") == 0
    again = hansard("audit", "scrub", migrate_url=stack.migrate_url())
    assert again.stdout == "nothing was erased since the last time\n"
    stack.sql("CHECKPOINT")
    stack.stop("postgres")
    assert files_with(folder, words.values()) == []
    assert files_with(folder, [f"kept-{mark}"]) != [], "the words of others are there"
