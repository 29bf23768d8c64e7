"""Callers: whoever shows a key that is not in force is refused, at the next request, and leaves no trace."""

import hashlib

import pytest

from lib.client import Client, problem


def key_id(key):
    return hashlib.sha256(key.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer hsk_this-key-was-never-made-by-anybody-000000000000",
        "Bearer x",
        "Bearer " + "x" * 200,
        "Bearer " + "x" * 201,
        "Bearer ",
        "Bearer",
        "Bearer two words",
        "Basic dXNlcjpwYXNz",
        "hsk_without-a-scheme",
        "",
    ],
)
def test_no_such_key(record, stranger, session, authorization):
    before = record.counts()
    for call in (
        lambda headers: stranger.chat(session, "hi", headers=headers),
        lambda headers: stranger.request("GET", "/conversations/a", headers=headers),
        lambda headers: stranger.request("DELETE", "/conversations/a", headers=headers),
    ):
        refused = call({"Authorization": authorization})
        assert problem(refused) == (401, "unauthorized")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert refused.json["error"]["type"] == "authentication_error"
    assert record.counts() == before
    assert stranger.chat(session, "hi").remaining == 9, "refusals were counted"


def test_scheme_is_read_in_any_case(caller, session):
    answer = Client(caller.url).chat(session, "hi", headers={"Authorization": f"bearer  {caller.key}"})
    assert answer.status == 200


def test_revoked_key_is_refused_at_the_next_request(stack, caller, user, session):
    other = Client(stack.url, stack.add_key(user))
    assert caller.chat(session, "one").turn == 1
    assert stack.keys("revoke", key_id(caller.key)).returncode == 0
    assert problem(caller.chat(session, "two")) == (401, "unauthorized")
    assert problem(caller.read(session)) == (401, "unauthorized")
    assert problem(caller.erase(session)) == (401, "unauthorized")
    # The user's other key is in force, and leads to the same conversation.
    assert other.chat(session, "two").turn == 2


def test_new_key_works_at_once(stack, user, session):
    assert Client(stack.url, stack.add_key(user, "unlimited")).chat(session, "hi").status == 200


def test_answer_does_not_tell_unknown_from_revoked(stack, caller, session):
    assert stack.keys("revoke", key_id(caller.key)).returncode == 0
    unknown = Client(stack.url, "hsk_unknown")
    revoked, never = caller.chat(session, "hi").json, unknown.chat(session, "hi").json
    revoked.pop("request_id"), never.pop("request_id")
    assert revoked == never


def test_required_authorization(stranger, caller, worker, session):
    running = worker(auth="required")
    without, with_key = stranger.at(running), caller.at(running)
    assert problem(without.chat(session, "hi")) == (401, "unauthorized")
    assert problem(without.read(session)) == (401, "unauthorized")
    assert problem(without.erase(session)) == (401, "unauthorized")
    assert with_key.chat(session, "hi").turn == 1
    assert with_key.read(session).status == 200
    for path in ("/livez", "/readyz", "/metrics"):
        assert without.get(path).status == 200


def test_sessions_of_the_same_name_are_each_owners_own(stack, caller, stranger, session):
    another = Client(stack.url, stack.add_key(f"another {session}", "unlimited"))
    for client, words in ((caller, "a"), (another, "b"), (stranger, "c")):
        assert client.chat(session, words).text == f"echo 1: {words}"
    for client, words in ((caller, "a"), (another, "b"), (stranger, "c")):
        (turn,) = client.read(session).json["turns"]
        assert turn["messages"][0]["content"] == words
