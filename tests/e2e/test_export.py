"""Export: a key holder reads everything of theirs, and nothing else; an operator writes it out as JSON lines."""

import json
import subprocess

import pytest

from lib.client import Client, problem
from lib.program import HANSARD, PATIENCE, clean_environment, hansard

NO_ID = "00000000-0000-0000-0000-000000000000"


def audit(stack, *words):
    return hansard("audit", *words, migrate_url=stack.migrate_url())


def exported(stack, user):
    done = audit(stack, "export", "--user", user)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def pages(caller, limit):
    """Every conversation of the list, by pages of so many."""
    after, found = NO_ID, []
    while after:
        page = caller.get(f"/conversations?limit={limit}&after={after}").json
        assert len(page["conversations"]) <= limit
        found += page["conversations"]
        after = page["next_after"]
    return found


def contents(turns):
    return [message["content"] for turn in turns for message in turn["messages"]]


def test_everything_of_a_caller(record, caller, stranger, session):
    """The list, then each conversation of it: the past ones, too."""
    caller.chat(session, "old")
    record.let_rest(session, "2 days")
    caller.chat(session, "new"), caller.chat(f"{session} ü/", "other"), caller.chat(session, "newer")
    stranger.chat(session, "not hers")
    listed = pages(caller, 2)
    assert listed == caller.get("/conversations").json["conversations"]
    assert [(one["session_id"], one["current"], one["turns"]) for one in listed] == [
        (session, False, 1),
        (session, True, 2),
        (f"{session} ü/", True, 1),
    ]
    read = [caller.read(one["session_id"], f"?conversation={one['conversation_id']}").json for one in listed]
    assert [one["conversation_id"] for one in read] == [one["conversation_id"] for one in listed]
    assert [contents(one["turns"]) for one in read] == [
        ["old", "echo 1: old"],
        ["new", "echo 1: new", "newer", "echo 3: newer"],
        ["other", "echo 1: other"],
    ]
    assert read[1] == caller.read(session).json


def test_who_has_no_key_has_no_list(stranger, stack):
    answer = stranger.get("/conversations")
    assert problem(answer) == (401, "unauthorized")
    assert problem(Client(stack.url, "hsk_wrong").get("/conversations")) == (401, "unauthorized")


def test_nobody_lists_or_reads_what_is_another_s(stack, caller, stranger, session):
    caller.chat(session, "mine")
    conversation = caller.read(session).json["conversation_id"]
    other = Client(stack.url, stack.add_key(f"other {session}", "unlimited"))
    assert other.get("/conversations").json == {"conversations": [], "next_after": None}
    for one in (other, stranger):
        assert problem(one.read(session, f"?conversation={conversation}")) == (404, "not_found")
    assert problem(caller.read("another session", f"?conversation={conversation}")) == (404, "not_found")


@pytest.mark.parametrize(
    "query", ["after=1", "after=", "limit=0", "limit=201", "limit=x", "user=1", f"after={NO_ID}&after={NO_ID}"]
)
def test_bad_queries(caller, query):
    assert problem(caller.get(f"/conversations?{query}")) == (400, "invalid_request")


def test_bad_conversation_id(caller, session):
    assert problem(caller.read(session, "?conversation=1")) == (400, "invalid_request")


def test_only_reading(caller):
    for method in ("POST", "DELETE"):
        answer = caller.request(method, "/conversations")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert caller.request("HEAD", "/conversations").status == 200


def test_json_lines(stack, record, caller, user, session):
    caller.chat(session, "old", key="k1")
    record.let_rest(session, "2 days")
    caller.chat(session, "new \" \\ \n ü 😀"), caller.chat(session, "[[status 500]]")
    lines = exported(stack, user)
    assert [(line["session_id"], line["turn"], line["status"], line["error"]) for line in lines] == [
        (session, 1, "completed", None),
        (session, 1, "completed", None),
        (session, 2, "failed", "model_failed"),
    ]
    assert contents(lines) == ["old", "echo 1: old", 'new " \\ \n ü 😀', 'echo 1: new " \\ \n ü 😀', "[[status 500]]"]
    assert lines[0]["idempotency_key"] == "k1" and lines[0]["address"]
    assert [line["conversation_id"] for line in lines] == [row.conversation for row in record.turns(session)]


def test_more_than_a_page(stack, caller, user, session):
    """Text that fills pages, and turns that do."""
    words = "x" * 30000
    for number in range(3):
        caller.chat(f"{session} {number}", words)
    (owner,) = stack.sql("SELECT user_id FROM hansard.users WHERE name = %s", user)
    stack.sql(
        "WITH t AS (SELECT t.* FROM hansard.turns t JOIN hansard.conversations c USING (conversation_id)"
        "           WHERE c.user_id = %s ORDER BY conversation_id LIMIT 1), more AS ("
        "  INSERT INTO hansard.turns SELECT t.conversation_id, n, 'completed', 'k' || n, t.fingerprint,"
        "  t.request_id, t.address, t.worker_id, 1, 1, t.accepted_at, NULL, t.finished_at, 'demo', 1, 1, NULL"
        "  FROM t, generate_series(2, 450) n RETURNING conversation_id, turn_no)"
        " INSERT INTO hansard.messages SELECT m.conversation_id, n.turn_no, 1, 'user', repeat('y', 5000), now(), m.salt,"
        " m.text_hash, m.chain_hash FROM more n JOIN hansard.messages m ON m.conversation_id = n.conversation_id"
        " AND m.turn_no = 1 AND m.position = 1",
        owner.user_id,
    )
    lines = exported(stack, user)
    assert [line["turn"] for line in lines] == [*range(1, 451), 1, 1]
    assert len({(line["conversation_id"], line["turn"]) for line in lines}) == 452


def test_errors(stack):
    done = audit(stack, "export", "--user", "nobody at all")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'hansard: audit export: there is no user "nobody at all"\n'
    assert hansard("audit", "export", "--user", "x").stderr == "hansard: audit export: HANSARD_MIGRATE_URL is not set\n"


@pytest.mark.parametrize(
    "words", [["export"], ["export", "--user"], ["export", "ann"], ["export", "--user", "a", "b"], ["weigh"]]
)
def test_misuse(stack, words):
    done = audit(stack, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--help" in done.stderr


def test_full_disk_is_not_a_whole_export(stack, caller, user, session):
    caller.chat(session, "words")
    environment = {**clean_environment(), "HANSARD_MIGRATE_URL": stack.migrate_url()}
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [HANSARD, "audit", "export", "--user", user],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60 * PATIENCE,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("hansard: audit export: cannot write: ")
