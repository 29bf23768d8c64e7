"""The window: the model is shown the newest whole turns that fit, in messages and in bytes, and none beyond a gap."""

import pytest

WORDS = ["one", "two", "three", "four", "five"]


def talk(client, session, words):
    for number, word in enumerate(words, start=1):
        assert client.chat(session, word).turn == number


def turn(word):
    return [("user", word), ("assistant", f"answer to {word}")]


def expected(words, count):
    """What each call sees when the newest count turns fit."""
    return [
        [message for word in words[max(0, n - count) : n] for message in turn(word)] + [("user", words[n])]
        for n in range(len(words))
    ]


@pytest.mark.parametrize("messages, turns", [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (8, 4), (10000, 9)])
def test_messages(caller, recorder, worker, session, messages, turns):
    at = caller.at(worker(llm_url=recorder.llm_url, history_messages=messages))
    talk(at, session, WORDS)
    assert recorder.contexts() == expected(WORDS, turns)


def test_twenty_turns_by_default(caller, model, session):
    words = [f"{n}" for n in range(23)]
    talk(caller, session, words)
    assert [call["messages"] for call in model.calls()] == [2 * min(n, 20) + 1 for n in range(23)]


# "0000" and "answer to 0000" are 18 bytes
@pytest.mark.parametrize("limit, turns", [(0, 0), (17, 0), (18, 1), (35, 1), (36, 2), (53, 2), (54, 3), (1000, 9)])
def test_bytes(caller, recorder, worker, session, limit, turns):
    words = [f"{n:04}" for n in range(5)]
    at = caller.at(worker(llm_url=recorder.llm_url, history_bytes=limit))
    talk(at, session, words)
    assert recorder.contexts() == expected(words, turns)


def test_bytes_are_not_characters(caller, recorder, worker, session):
    """ "üüüü" is 8 bytes; with the answer 26."""
    words = ["üüüü", "ääää", "next"]
    at = caller.at(worker(llm_url=recorder.llm_url, history_bytes=51))
    talk(at, session, words)
    assert recorder.contexts() == expected(words, 1)


def test_nothing_beyond_a_turn_that_does_not_fit(caller, recorder, worker, session):
    """A small old turn is not shown in place of a large newer one."""
    large = "x" * 500
    words = ["small", large, "next", "last"]
    at = caller.at(worker(llm_url=recorder.llm_url, history_bytes=200))
    talk(at, session, words)
    assert recorder.contexts() == [
        [("user", "small")],
        turn("small") + [("user", large)],
        [("user", "next")],
        turn("next") + [("user", "last")],
    ]


def test_failed_turns_do_not_take_room(caller, model, worker, session):
    """Of four messages, all are of answered turns."""
    at = caller.at(worker(history_messages=4))
    for words in ("a", "[[status 400]] x", "b", "[[status 400]] y", "c"):
        at.chat(session, words)
    assert at.chat(session, "d").text == "echo 5: d"
    assert [call["roles"] for call in model.calls("d")] == [["user", "assistant"] * 2 + ["user"]]


def test_system_prompt_takes_no_room(caller, recorder, worker, session):
    at = caller.at(worker(llm_url=recorder.llm_url, history_messages=2, history_bytes=100, system_prompt="s" * 200))
    talk(at, session, ["one", "two"])
    assert recorder.contexts()[1] == [("system", "s" * 200)] + turn("one") + [("user", "two")]
