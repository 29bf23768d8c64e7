"""Order: however many messages meet on one conversation, its turns follow one another, and each model call sees
exactly the turns before it."""

import json

import pytest

from lib.client import Client
from lib.record import Record
from lib.stack import Stack
from lib.together import together

POSTS = 64
# All of the history goes to the model, so that what it saw can be compared whole.
WHOLE = {"history_messages": 1000, "history_bytes": "1M"}


def read_all(client, session):
    """Every turn of the conversation, page by page."""
    turns, after = [], 0
    while after is not None:
        page = client.read(session, f"?after={after}&limit=10").json
        turns += page["turns"]
        after = page["next_after"]
    return turns


def check_order(record, clients, recorder, session):
    words = [f"words {number}" for number in range(POSTS)]
    posts = [lambda c=clients[i % len(clients)], w=w: c.chat(session, w) for i, w in enumerate(words)]
    answers = together(posts)
    said = {answer.turn: word for answer, word in zip(answers, words, strict=True)}
    assert sorted(said) == list(range(1, POSTS + 1))
    assert [answer.text for answer in answers] == [f"answer to {word}" for word in words]

    in_order = [said[turn] for turn in range(1, POSTS + 1)]
    history = [pair for word in in_order for pair in (("user", word), ("assistant", f"answer to {word}"))]
    assert recorder.contexts() == [history[: 2 * turn + 1] for turn in range(POSTS)]

    read = read_all(clients[0], session)
    assert [turn["turn"] for turn in read] == list(range(1, POSTS + 1))
    assert [(m["role"], m["content"]) for turn in read for m in turn["messages"]] == history
    assert record.messages(session) == history


def test_64_posts_at_once(record, caller, recorder, worker, session):
    at = caller.at(worker(llm_url=recorder.llm_url, **WHOLE))
    check_order(record, [at], recorder, session)


def test_64_posts_by_two_keys_of_one_user(stack, record, caller, user, recorder, worker, session):
    running = worker(llm_url=recorder.llm_url, **WHOLE)
    other = Client(running.url, stack.add_key(user))
    check_order(record, [caller.at(running), other], recorder, session)


@pytest.fixture
def pair(recorder):
    """A stack of two workers behind nginx."""
    running = Stack(workers=2, llm_url=recorder.llm_url, **WHOLE).up()
    running.make_tier("unlimited", None, 1000000)
    yield running
    running.destroy()


def test_64_posts_through_nginx_to_two_workers(pair, recorder, user, session):
    clients = [Client(pair.url, pair.add_key(user, "unlimited")), Client(pair.url, pair.add_key(user))]
    check_order(Record(pair), clients, recorder, session)
    answered_by = pair.sql("SELECT worker_id, count(*) FROM hansard.turns GROUP BY worker_id")
    assert len(answered_by) == 2, answered_by


def test_sessions_do_not_wait_for_each_other(caller, session):
    def talk(number):
        return [caller.chat(f"{session} {number}", f"{number}.{turn}").text for turn in range(5)]

    spoken = together([lambda n=n: talk(n) for n in range(8)])
    assert spoken == [[f"echo {2 * turn + 1}: {n}.{turn}" for turn in range(5)] for n in range(8)]


def test_same_words_are_two_messages(caller, session):
    """Without an Idempotency-Key nothing is taken for a repeat."""
    answers = together([lambda: caller.chat(session, "again")] * 4)
    assert sorted(answer.turn for answer in answers) == [1, 2, 3, 4]


def test_body_in_another_form_is_the_same_conversation(caller, session):
    caller.chat(session, "one")
    escaped = "".join(f"\\u{ord(c):04x}" for c in session)
    answer = caller.post(f'{{"message": "two",\n "extra": [1], "session_id": "{escaped}"}}'.encode())
    assert answer.turn == 2
    assert json.loads(answer.body)["session_id"] == session
