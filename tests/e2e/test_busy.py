"""A busy conversation: the next message waits for its turn, in the order of arrival, and no longer than its time."""

import time

import pytest

from lib.client import problem
from lib.metrics import scrape
from lib.program import SANITIZER
from lib.together import begin
from lib.wait import until


def waiting(running):
    return scrape(running).get("hansard_line_waiting")


def timed(call, *words):
    """The answer, and when it came."""
    answer = call(*words)
    return answer, time.monotonic()


def begin_first(record, client, session, words):
    """Its turn runs when this returns."""
    first = begin(timed, client.chat, session, words)
    until(lambda: record.is_running(session))
    return first


@pytest.mark.parametrize("place", ["here", "elsewhere"])
def test_next_is_answered_as_soon_as_the_first_is_done(record, caller, worker, session, place):
    """At once on the same worker, which knows; soon on another, which has to ask."""
    second_at = caller if place == "here" else caller.at(worker())
    first = begin_first(record, caller, session, "[[delay 600]] first")
    second = begin(timed, second_at.chat, session, "second")
    first_answer, first_at = first.result()
    second_answer, then = second.result()
    assert (first_answer.turn, second_answer.turn) == (1, 2)
    assert second_answer.text == "echo 3: second"
    if not SANITIZER:
        assert then - first_at < (0.15 if place == "here" else 0.45)


def test_in_order_of_arrival(record, caller, worker, session):
    running = worker()
    at = caller.at(running)
    posts = [begin_first(record, at, session, "[[delay 800]] 1")]
    for number in range(2, 7):
        posts.append(begin(timed, at.chat, session, str(number)))
        until(lambda n=number: waiting(running) == n - 1)
    answers = [post.result()[0] for post in posts]
    assert [answer.turn for answer in answers] == [1, 2, 3, 4, 5, 6]


def test_others_do_not_wait(record, caller, session):
    first = begin_first(record, caller, session, "[[delay 600]] first")
    assert caller.chat(f"{session} other", "x").turn == 1
    assert not first.done()
    assert first.result()[0].status == 200


@pytest.mark.parametrize("count", [1, 2])
def test_busy_until_the_deadline(record, limited, worker, session, count):
    """The first turn is of a worker with more patience; the second of two waits in line behind the first of them."""
    hurried = worker(request_timeout="900ms")
    caller = limited(1, 9)
    first = begin_first(record, caller, session, "[[delay 2200]] first")
    before = record.counts()
    began = time.monotonic()
    posts = [begin(caller.at(hurried).chat, session, "too late") for _ in range(count)]
    for post in posts:
        assert problem(post.result()) == (409, "conversation_busy")
    assert time.monotonic() - began >= 0.89  # the worker counts in whole milliseconds
    assert record.counts() == before
    assert first.result()[0].turn == 1
    # Neither a turn nor quota was spent.
    after = caller.chat(session, "now")
    assert (after.turn, after.remaining) == (2, 7)
    assert "too late" not in [words for _, words in record.messages(session)]


def test_whoever_waited_leaves_no_trace(record, caller, worker, session):
    running = worker(request_timeout="500ms")
    first = begin_first(record, caller, session, "[[delay 1200]] first")
    assert caller.at(running).chat(session, "x").status == 409
    assert scrape(running).get("hansard_refusals_total", reason="conversation_busy") == 1
    until(lambda: scrape(running).get("hansard_turns_open") == 0)
    assert waiting(running) == 0
    first.result()
