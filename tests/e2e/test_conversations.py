"""Conversations: read back page by page, by their owner alone."""

import re
from datetime import datetime, timedelta

import pytest

from lib.client import Client, problem
from lib.together import begin
from lib.wait import until


@pytest.fixture
def talk(caller, session):
    """Five turns."""
    for number in range(1, 6):
        assert caller.chat(session, f"words {number}").turn == number
    return session


def turns_of(answer):
    assert answer.status == 200, answer.body
    return [turn["turn"] for turn in answer.json["turns"]]


def test_whole_conversation(record, caller, talk):
    answer = caller.read(talk)
    assert answer.headers["Content-Type"] == "application/json"
    page = answer.json
    assert set(page) == {"session_id", "conversation_id", "turns", "next_after"}
    assert (page["session_id"], page["next_after"]) == (talk, None)
    rows = record.turns(talk)
    assert page["conversation_id"] == rows[0].conversation
    assert len(page["turns"]) == len(rows) == 5
    for turn, row in zip(page["turns"], rows, strict=True):
        assert turn["messages"] == [
            {"position": 1, "role": "user", "content": f"words {row.turn_no}"},
            {"position": 2, "role": "assistant", "content": f"echo {2 * row.turn_no - 1}: words {row.turn_no}"},
        ]
        assert (turn["turn"], turn["status"], turn["error"], turn["model"]) == (row.turn_no, "completed", None, "demo")
        assert turn["usage"] == {
            "prompt_tokens": row.prompt_tokens,
            "completion_tokens": row.completion_tokens,
            "total_tokens": row.prompt_tokens + row.completion_tokens,
        }
        for name, moment in (("accepted_at", row.accepted_at), ("finished_at", row.finished_at)):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", turn[name])  # RFC 3339
            assert abs(datetime.fromisoformat(turn[name]) - moment) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "query, turns, next_after",
    [
        ("?limit=2", [1, 2], 2),
        ("?limit=2&after=2", [3, 4], 4),
        ("?after=4&limit=2", [5], None),
        ("?limit=5", [1, 2, 3, 4, 5], None),
        ("?after=3", [4, 5], None),
        ("?after=0", [1, 2, 3, 4, 5], None),
        ("?after=5", [], None),
        ("?after=2147483647", [], None),
        ("?", [1, 2, 3, 4, 5], None),
    ],
)
def test_pages(caller, talk, query, turns, next_after):
    answer = caller.read(talk, query)
    assert turns_of(answer) == turns
    assert answer.json["next_after"] == next_after


def test_page_is_bounded_in_bytes_too(caller, session):
    """A page holds 1 MB of text; a turn that is larger has one of its own."""
    for size in (400000, 400000, 400000, 1000000, 10):
        assert caller.chat(session, f"[[big {size}]]").status == 200
    pages, after = [], 0
    while after is not None:
        answer = caller.read(session, f"?after={after}")
        pages.append(turns_of(answer))
        after = answer.json["next_after"]
    assert pages == [[1, 2], [3], [4, 5]]


def test_default_page(stack, caller, session):
    for _ in range(51):
        caller.chat(session, "x")
    answer = caller.read(session)
    assert turns_of(answer) == list(range(1, 51))
    assert answer.json["next_after"] == 50
    assert turns_of(caller.read(session, "?limit=200")) == list(range(1, 52))


def test_turn_that_runs_is_shown(record, caller, session):
    first = begin(caller.chat, session, "[[delay 500]] x")
    until(lambda: record.is_running(session))
    (turn,) = caller.read(session).json["turns"]
    assert (turn["status"], turn["finished_at"], turn["usage"]) == ("running", None, None)
    assert turn["messages"] == [{"position": 1, "role": "user", "content": "[[delay 500]] x"}]
    assert first.result().status == 200


def test_not_there_and_not_yours_are_the_same(stack, caller, stranger, talk):
    another = Client(stack.url, stack.add_key(f"another {talk}", "unlimited"))
    answers = [
        another.read(talk),
        stranger.read(talk),
        caller.read(f"{talk} unknown"),
        another.erase(talk),
        stranger.erase(talk),
        caller.erase(f"{talk} unknown"),
    ]
    bodies = []
    for answer in answers:
        assert problem(answer) == (404, "not_found")
        bodies.append({name: value for name, value in answer.json.items() if name != "request_id"})
    assert all(body == bodies[0] for body in bodies)
    assert turns_of(caller.read(talk)) == [1, 2, 3, 4, 5]


def test_anonymous_session_is_a_capability(stranger, caller, session):
    """Whoever knows its name may read it; a key leads elsewhere."""
    stranger.chat(session, "hi")
    elsewhere = Client(stranger.url, source="127.8.0.1")
    assert turns_of(elsewhere.read(session)) == [1]
    assert problem(caller.read(session))[0] == 404


def test_second_key_of_the_user_reads_the_same(stack, caller, user, talk):
    assert turns_of(Client(stack.url, stack.add_key(user)).read(talk)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("session_id", ["a b", "a/b", "a%2Fb", "a?b=c", "ü", "👋", "a+b", "..", "a;b", "%"])
def test_names_are_percent_encoded_once(caller, session_id):
    assert caller.chat(session_id, "hi").turn == 1
    answer = caller.read(session_id)
    assert answer.json["session_id"] == session_id
    assert turns_of(answer) == [1]


def test_escapes_may_be_of_either_case_or_left_out(caller):
    caller.chat("a-ü", "hi")
    for path in ("/conversations/a-%c3%bc", "/conversations/a-%C3%BC", "/conversations/%61%2d%C3%bc"):
        assert caller.get(path).json["session_id"] == "a-ü"


def test_head(caller, talk):
    answer = caller.request("HEAD", "/conversations/" + talk.replace(" ", "%20"))
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(caller.read(talk).body)
    assert caller.request("HEAD", "/conversations/unknown").status == 404
