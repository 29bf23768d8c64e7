"""History: what a model call sees is what was said, whatever the worker remembers of the conversation, and whatever
was said, failed, expired or erased elsewhere meanwhile."""

import random

import pytest

from lib.metrics import scrape
from lib.wait import until

MESSAGES, BYTES = 8, 220
STEPS = 120


class Said:
    """What has to be shown of one session: the rules of the API, in a few lines."""

    def __init__(self):
        self.turns, self.next_turn = [], 1

    def context(self, words):
        shown, used = [], 0
        for question, answer in reversed(self.turns):
            used += len(question.encode()) + len(answer.encode())
            if used > BYTES or 2 * len(shown) + 2 > MESSAGES:
                break
            shown.insert(0, (question, answer))
        pairs = [pair for q, a in shown for pair in (("user", q), ("assistant", a))]
        return pairs + [("user", words)]

    def add(self, words):
        if "[[refuse]]" not in words:
            self.turns.append((words, f"answer to {words}"))
        self.next_turn += 1

    def begin_anew(self):
        self.turns, self.next_turn = [], 1


def words_of(chance, step):
    """Now and then a failure, and lengths that fit the window many times, once, or not at all."""
    kind = chance.choice(["", "", "", "[[refuse]]", "ü" * 30, "x" * chance.randrange(120)])
    return f"{step} {kind}"


@pytest.mark.parametrize("cache", ["0", "1k", "128M"])
def test_three_workers_and_all_that_can_happen(record, caller, recorder, worker, session, cache):
    chance = random.Random(f"history {cache}")
    settings = {"llm_url": recorder.llm_url, "history_messages": MESSAGES, "history_bytes": BYTES}
    places = [caller.at(worker(history_cache=cache, **settings)) for _ in range(3)]
    sessions = {f"{session} {n}": Said() for n in range(3)}
    for step in range(STEPS):
        name, said = chance.choice(list(sessions.items()))
        at = chance.choice(places)
        what = chance.random()
        if what < 0.04 and said.next_turn > 1:
            assert at.erase(name).status == 200
            said.begin_anew()
        elif what < 0.08:
            record.let_rest(name, "25 h")
            said.begin_anew()
        words = words_of(chance, step)
        answer = at.chat(name, words)
        assert recorder.contexts()[-1] == said.context(words), (step, name)
        assert answer.json["turn"] == said.next_turn, (step, name)
        said.add(words)


def test_memory_is_bounded(caller, worker, session):
    running = worker(history_cache="64k")
    at = caller.at(running)
    for number in range(40):
        at.chat(f"{session} {number}", "[[big 5000]] x")
        at.chat(f"{session} {number}", "x")
    kept = scrape(running).get("hansard_history_cache_bytes")
    assert 0 < kept <= 65536
    assert at.chat(f"{session} 0", "again").text == "echo 5: again"


def test_nothing_is_kept_when_it_is_off(caller, worker, session):
    running = worker(history_cache=0)
    at = caller.at(running)
    for _ in range(3):
        at.chat(session, "x")
    until(lambda: scrape(running).get("hansard_turns_open") == 0)
    assert scrape(running).get("hansard_history_cache_bytes") == 0
