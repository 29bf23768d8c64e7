"""Retention: workers take away what is past its time, by themselves; and tell how old the oldest words are."""

import re

from lib.client import Client
from lib.metrics import scrape
from lib.program import ROOT
from lib.wait import until


def walk_anew(stack):
    """The next step of any worker begins a walk."""
    stack.sql("UPDATE hansard.retention_walk SET began_at = NULL, ended_at = NULL")


def words(stack, user):
    return [
        row.text
        for row in stack.sql(
            "SELECT m.text FROM hansard.messages m JOIN hansard.conversations c USING (conversation_id)"
            " JOIN hansard.users u USING (user_id) WHERE u.name = %s ORDER BY 1",
            user,
        )
    ]


def test_words_go_in_time(stack, worker, user, session, caller):
    """Those of a tier that keeps them for a moment; not those of another."""
    tier = stack.make_tier("momentary", None, 100)
    stack.sql("UPDATE hansard.tiers SET retention = '10 ms' WHERE tier = %s", tier)
    brief = Client(stack.url, stack.add_key(f"brief {user}", tier))
    caller.chat(session, "stays"), brief.chat(session, "goes")
    assert words(stack, f"brief {user}") == ["echo 1: goes", "goes"]
    walk_anew(stack)
    running = worker()  # whose first step it is
    until(lambda: words(stack, f"brief {user}") == [None, None])
    assert words(stack, user) == ["echo 1: stays", "stays"]
    assert brief.get("/conversations").json["conversations"] == []
    until(lambda: stack.value("SELECT ended_at IS NOT NULL FROM hansard.retention_walk"))
    until(lambda: scrape(running).get("hansard_oldest_message_age_seconds") >= 0)
    oldest = stack.value(
        "SELECT extract(epoch FROM clock_timestamp() - min(created_at)) FROM hansard.messages WHERE salt IS NOT NULL"
    )
    assert abs(scrape(running).get("hansard_oldest_message_age_seconds") - float(oldest)) < 10
    stack.sql("UPDATE hansard.tiers SET retention = NULL WHERE tier = %s", tier)  # no walk of a later test finds more
    assert brief.chat(session, "again").turn == 1


def hash_of_heads(stack, messages):
    """By the query in docs/retention.md."""
    text = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"^```sql\n(WITH RECURSIVE heads AS .*?);\n```$", text, re.DOTALL | re.MULTILINE)
    return stack.value(query.replace("FROM messages ", f"FROM {messages} "))


def test_month_is_dropped(stack, worker, caller, session):
    for part in ("conversations", "turns", "messages"):
        stack.sql("SELECT hansard.make_partition(%s, '2020-01-01')", part)
    stack.sql(
        "WITH c AS (INSERT INTO hansard.conversations"
        " SELECT hansard.uuid_v7('2020-01-05'), '\\x00', NULL, 'old', '2020-01-05' FROM generate_series(1, 450)"
        " RETURNING conversation_id), t AS (INSERT INTO hansard.turns"
        " (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, attempt, accepted_at, finished_at)"
        " SELECT conversation_id, 1, 'failed', 'k', '\\x01', gen_random_uuid(), 1, '2020-01-05', '2020-01-05' FROM c)"
        " INSERT INTO hansard.messages"
        " SELECT conversation_id, 1, 1, 'user', 'x', '2020-01-05', '\\x02', '\\x03', sha256(uuid_send(conversation_id)) FROM c"
    )
    heads_hash = hash_of_heads(stack, "hansard.messages_202001")
    walk_anew(stack)
    worker()
    until(lambda: stack.value("SELECT to_regclass('hansard.messages_202001') IS NULL"))
    (event,) = stack.sql("SELECT detail FROM hansard.audit_events WHERE kind = 'partition_dropped'")
    assert event.detail == {
        "month": "202001",
        "conversations": 450,
        "turns": 450,
        "messages": 450,
        "heads_hash": heads_hash,
    }
    assert caller.chat(session, "life goes on").turn == 1


def test_no_worker_goes_below_what_is_allowed(stack, worker, caller, user, session):
    """One that is set to keep words for a moment is refused, and says so."""
    assert stack.value("SELECT shortest FROM hansard.retention_walk").days == 90, "what the first one was set to"
    caller.chat(session, "stays")
    walk_anew(stack)
    running = worker(retention="10ms")
    until(lambda: any('"retention_refused"' in line for line in running.log_lines()))
    assert words(stack, user) == ["echo 1: stays", "stays"]
