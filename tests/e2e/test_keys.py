"""Keys: an operator adds, lists and revokes them; a key is shown once, and the database never had it."""

import hashlib
import re

import pytest

from lib.program import hansard


def listed(stack, user):
    """[tier, key id, created, revoked] of each key of the user."""
    done = stack.keys("list")
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["user", "tier", "key", "id", "created", "revoked"]
    return [re.split(r"  +", line)[1:] for line in lines if re.split(r"  +", line)[0] == user]


def fields(done):
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return dict(re.findall(r"^(user|tier|key id|key) +(.*)$", done.stdout, re.M))


def events(stack, user):
    rows = stack.sql(
        "SELECT e.kind, e.detail FROM hansard.audit_events e JOIN hansard.users u USING (user_id) "
        "WHERE u.name = %s ORDER BY e.event_id",
        user,
    )
    return [(row.kind, row.detail) for row in rows]


def test_key_is_shown_once_and_kept_as_its_hash(stack, user):
    told = fields(stack.keys("add", user))
    assert (told["user"], told["tier"]) == (user, "free")
    key = told["key"]
    assert re.fullmatch(r"hsk_[A-Za-z0-9_-]{43}", key)
    digest = hashlib.sha256(key.encode()).digest()
    assert told["key id"] == digest.hex()[:16]
    stored = stack.value(
        "SELECT key_hash FROM hansard.api_keys JOIN hansard.users USING (user_id) WHERE name = %s", user
    )
    assert bytes(stored) == digest
    assert key not in stack.keys("list").stdout
    for table in ("api_keys", "users", "audit_events"):
        assert stack.value(f"SELECT count(*) FROM hansard.{table} t WHERE t::text LIKE %s", f"%{key[4:]}%") == 0


def test_list(stack, user):
    first, second = fields(stack.keys("add", user, "--tier", "paid")), fields(stack.keys("add", user))
    assert first["key"] != second["key"] and second["tier"] == "paid"
    stack.keys("revoke", first["key id"])
    one, two = listed(stack, user)
    assert one[:2] == ["paid", first["key id"]] and two[:2] == ["paid", second["key id"]]
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
    assert re.fullmatch(moment, one[2]) and re.fullmatch(moment, one[3])
    assert two[3] == "-"


def test_add_moves_to_the_tier_it_names(stack, user):
    stack.keys("add", user)
    assert fields(stack.keys("add", user, "--tier", "paid"))["tier"] == "paid"
    assert [row[0] for row in listed(stack, user)] == ["paid", "paid"]


def test_revoke(stack, user):
    key_id = fields(stack.keys("add", user))["key id"]
    done = stack.keys("revoke", key_id)
    assert (done.returncode, done.stdout) == (0, f"revoked {key_id} of {user}\n")
    again = stack.keys("revoke", key_id)
    assert (again.returncode, again.stdout) == (1, "")
    assert key_id in again.stderr


def test_tier(stack, user):
    stack.keys("add", user), stack.keys("add", user)
    done = stack.keys("tier", user, "paid")
    assert (done.returncode, done.stdout) == (0, f"{user} is paid now, keys concerned: 2\n")
    assert [row[0] for row in listed(stack, user)] == ["paid", "paid"]


def test_each_change_is_noted(stack, user):
    key_id = fields(stack.keys("add", user))["key id"]
    stack.keys("tier", user, "paid")
    stack.keys("revoke", key_id)
    assert events(stack, user) == [
        ("key_added", {"key_id": key_id}),
        ("tier_changed", {"from": "free", "to": "paid"}),
        ("key_revoked", {"key_id": key_id}),
    ]


@pytest.mark.parametrize(
    "words, reason",
    [
        (["add", "somebody", "--tier", "golden"], 'there is no tier "golden"; there are: anonymous, free, paid'),
        (["add", ""], "1 to 200 bytes"),
        (["add", "x" * 201], "1 to 200 bytes"),
        (["revoke", "0123456789abcdef"], 'there is no key "0123456789abcdef"'),
        (["tier", "nobody at all", "paid"], 'there is no user "nobody at all"'),
        (["tier", "nobody at all", "golden"], 'there is no tier "golden"'),
    ],
)
def test_errors(stack, words, reason):
    count = "SELECT (SELECT count(*) FROM hansard.users) AS users, (SELECT count(*) FROM hansard.api_keys) AS keys"
    before = stack.sql(count)
    done = stack.keys(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hansard: keys: ") and done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert stack.sql(count) == before


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["add"],
        ["add", "a", "b"],
        ["add", "a", "--tier"],
        ["add", "a", "--rate", "paid"],
        ["list", "all"],
        ["revoke"],
        ["revoke", "a", "b"],
        ["tier", "a"],
        ["drop", "a"],
    ],
)
def test_misuse(stack, words):
    done = stack.keys(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "hansard keys --help" in done.stderr


def test_database_that_is_away(stack):
    done = hansard("keys", "list", migrate_url="postgresql://postgres:very-secret@127.0.0.1:1/hansard")
    assert (done.returncode, done.stdout) == (1, "")
    assert "very-secret" not in done.stderr
    assert hansard("keys", "list").stderr == "hansard: keys: HANSARD_MIGRATE_URL is not set\n"


def test_database_without_a_schema(stack):
    stack.sql("CREATE DATABASE without_schema")
    try:
        done = hansard("keys", "list", migrate_url=stack.migrate_url("without_schema"))
        assert done.returncode == 1
        assert "hansard migrate" in done.stderr
    finally:
        stack.sql("DROP DATABASE without_schema WITH (FORCE)")
