"""What a caller may still ask is told on every answer, as far as it is known, and is true; open turns and tokens have exact
caps, and what a turn does not use is given back."""

import re
import time

import pytest

from lib.client import Client, problem
from lib.crowd import Ask, crowd
from lib.metrics import scrape
from lib.program import PATIENCE
from lib.together import begin
from lib.wait import until

DAY = 86400


def seconds(duration):
    """As OpenAI writes it: 1h2m3.5s, 250ms."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?|(\d+)ms", duration)
    assert found, duration
    if found[4]:
        return int(found[4]) / 1000
    return 3600 * int(found[1] or 0) + 60 * int(found[2] or 0) + float(found[3] or 0)


def read_quota(answer):
    """{"requests": (limit, remaining), "tokens": …} as all the headers say it."""
    policies = re.findall(r'"([^"]+)";q=(\d+);w=(\d+)', answer.headers["RateLimit-Policy"] or "")
    states = re.findall(r'"([^"]+)";r=(\d+);t=(\d+)', answer.headers["RateLimit"] or "")
    assert answer.headers["RateLimit-Policy"].count('"') == 2 * len(policies)
    assert [name for name, _, _ in policies] == [name for name, _, _ in states]
    told = {}
    for (name, limit, window), (_, left, reset) in zip(policies, states, strict=True):
        what = "tokens" if name.endswith("-tokens") else "requests"
        assert answer.headers[f"x-ratelimit-limit-{what}"] == limit
        assert answer.headers[f"x-ratelimit-remaining-{what}"] == left
        exact = seconds(answer.headers[f"x-ratelimit-reset-{what}"])
        assert exact <= int(reset) < exact + 1
        assert int(reset) <= int(window)
        assert what == "requests" or int(window) == DAY
        told[what] = (int(limit), int(left))
    return told


def left(answer):
    """(limit, remaining) of the turns, where there is no cap on tokens."""
    told = read_quota(answer)
    assert list(told) == ["requests"]
    return told["requests"]


@pytest.fixture
def capped(stack, user, session):
    """capped(parallel_turns=5): a caller with these caps."""

    def make(**caps):
        return Client(stack.url, stack.add_key(user, stack.make_tier(f"c{session[-16:]}", 60000, 1000, **caps)))

    return make


def test_on_every_answer(limited, session):
    caller = limited(1, 5)
    assert left(caller.chat(session, "one", key="k1")) == (5, 4)
    again = caller.chat(session, "one", key="k1")
    assert again.headers["Idempotent-Replayed"] == "true" and left(again) == (5, 4)
    reused = caller.chat(session, "other", key="k1")
    assert problem(reused) == (422, "idempotency_key_reused") and left(reused) == (5, 4)
    malformed = caller.post(b"{")
    assert problem(malformed) == (400, "invalid_json") and left(malformed) == (5, 4)
    failed = caller.chat(session, "[[status 400]]", key="k2")
    assert problem(failed) == (502, "model_failed") and left(failed) == (5, 3)
    failed = caller.chat(session, "[[status 400]]", key="k2")
    assert problem(failed) == (502, "model_failed") and left(failed) == (5, 3)
    for n in (2, 1, 0):
        assert left(caller.chat(session, "more")) == (5, n)
    for _ in range(3):
        refused = caller.chat(session, "more")
        assert problem(refused) == (429, "rate_limited") and left(refused) == (5, 0)
        assert 58 <= int(refused.headers["Retry-After"]) <= 60
        assert left(caller.chat(session, "one", key="k1")) == (5, 0)


def test_on_busy_and_late_answers(record, limited, worker, session):
    running = worker(request_timeout="1s")
    client = limited(1, 5)
    caller = client.at(running)
    elsewhere = begin(client.chat, session, "[[delay 1500]] x")  # by another worker, which has more time
    until(lambda: record.is_running(session))
    busy = caller.chat(session, "x")
    assert problem(busy) == (409, "conversation_busy") and left(busy) == (5, 4)
    late = caller.chat(f"{session} 2", "[[delay 3000]] x")
    assert problem(late) == (504, "model_timeout") and left(late) == (5, 3)
    assert elsewhere.result().status == 200


def test_on_a_full_queue(limited, worker, session):
    """Once the worker knows the caller."""
    running = worker(llm_concurrency=1, queue_limit=0)
    caller = limited(1, 5).at(running)
    slow = begin(caller.chat, session, "[[delay 700]] x")
    until(lambda: scrape(running).get("hansard_gate_in_use") == 1)
    refused = caller.chat(f"{session} 2", "x")
    assert problem(refused) == (503, "queue_full") and left(refused) == (5, 4)
    assert slow.result().status == 200


def test_nothing_is_told_of_others(limited, stranger, session):
    limited(1, 5).chat(session, "hi")
    unknown = Client(stranger.url, "hsk_nobody", source=stranger.source)
    for answer in (unknown.chat(session, "hi"), unknown.chat(session, "hi"), stranger.post(b"{")):
        assert answer.status in (400, 401)
        assert "RateLimit" not in answer.headers


def test_it_counts_down_between_answers(limited, session):
    """What a worker knows of the quota is as old as the last answer of the database; the time until it is whole is not."""
    caller = limited(60, 10)
    for n in range(10):
        caller.chat(session, "hi", key=f"k{n}")
    first = seconds(caller.post(b"{").headers["x-ratelimit-reset-requests"])
    time.sleep(0.5)
    assert 0.5 <= first - seconds(caller.post(b"{").headers["x-ratelimit-reset-requests"]) < 0.5 + PATIENCE


# ---- caps --------------------------------------------------------------------------------------------------------------


def test_open_turns_are_capped_over_the_fleet(fleet, member, session):
    """50 at once: as many as the cap are open, exactly; then as many again."""
    caller = member(60000, 1000, parallel_turns=5)
    for attempt in range(2):
        heard = crowd(Ask(caller, f"{session} {attempt} {n}", f"[[delay {2000 * PATIENCE}]] x") for n in range(50))
        told = [one.status for one in heard]
        assert (told.count(200), told.count(429)) == (5, 45)
        for one in heard:
            if one.status == 429:
                assert problem(one) == (429, "too_many_open_turns")
                assert one.headers["Retry-After"] == "1"
                assert left(one)[0] == 1000
    # The refused cost nothing.
    assert 980 < left(caller.chat(session, "x"))[1]
    assert fleet.value("SELECT count(*) FROM hansard.conversations WHERE session_id LIKE %s", f"{session} %") == 10


def test_tokens_are_reserved_and_settled(capped, session):
    caller = capped(tokens_per_day=10000, tokens_reserved=1000)
    words = "four bytes a token. "
    first = caller.chat(session, words)
    used = first.json["usage"]["total_tokens"]
    # While it was open: as if the answer used all that is reserved.
    assert read_quota(first)["tokens"] == (10000, 10000 - 1000 - len(words) // 4)
    second = caller.chat(session, words)
    # The first is settled; the second will see it in its prompt.
    assert read_quota(second)["tokens"] == (10000, 10000 - used - 1000 - len(words) // 4 - used)


def test_tokens_are_told_on_every_answer(capped, session):
    caller = capped(tokens_per_day=10000, tokens_reserved=1000)
    used = caller.chat(session, "hi", key="k1").json["usage"]["total_tokens"]
    again = caller.chat(session, "hi", key="k1")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert read_quota(again)["tokens"] == (10000, 10000 - used)
    reused = caller.chat(session, "other", key="k1")
    assert reused.status == 422
    assert read_quota(reused)["tokens"] == (10000, 10000 - used)


def test_failed_turn_gives_its_tokens_back(stack, capped, session):
    caller = capped(tokens_per_day=2500, tokens_reserved=2000)
    for _ in range(3):
        failed = caller.chat(session, "[[status 400]]")
        assert problem(failed) == (502, "model_failed")
        assert read_quota(failed)["tokens"] == (2500, 2500 - 2000 - len("[[status 400]]") // 4)
    assert caller.chat(session, "now").status == 200
    assert stack.value("SELECT count(*) FROM hansard.holds") == 0


def test_day_of_tokens_is_used_up(record, capped, session):
    caller = capped(tokens_per_day=600, tokens_reserved=100)
    answers = []
    while len(answers) < 20 and (answer := caller.chat(session, "[[tokens 120]]")).status == 200:
        answers.append(answer)
    assert problem(answer) == (429, "token_limit_reached")
    assert 2 <= len(answers) < 6
    used = sum(one.json["usage"]["total_tokens"] for one in answers)
    assert read_quota(answer)["tokens"] == (600, max(600 - used, 0))
    assert int(answer.headers["Retry-After"]) <= DAY
    before = record.counts()
    assert caller.chat(f"{session} 2", "[[tokens 120]]" * 100).status == 429
    assert record.counts() == before


def test_reservations_hold_over_the_fleet(member, session):
    """Of 30 at once as many are open as reservations fit into what is left of the day."""
    caller = member(60000, 1000, tokens_per_day=4100, tokens_reserved=1000)
    heard = crowd(Ask(caller, f"{session} {n}", f"[[delay {1500 * PATIENCE}]] x") for n in range(30))
    told = [one.status for one in heard]
    assert (told.count(200), told.count(429)) == (4, 26)
    assert {problem(one) for one in heard if one.status == 429} == {(429, "token_limit_reached")}
    assert caller.chat(session, "x").status == 200


def test_dead_workers_turns_do_not_count(stack, capped, worker, session):
    """As soon as it counts as dead."""
    running = worker()
    caller = capped(parallel_turns=1)
    lost = begin(caller.at(running).chat, session, "[[delay 60000]] x")
    until(lambda: scrape(running).get("hansard_gate_in_use") == 1)
    assert problem(caller.chat(f"{session} 2", "x")) == (429, "too_many_open_turns")
    running.kill()
    assert lost.exception() is not None
    time.sleep(0.2)
    assert problem(caller.chat(f"{session} 2", "x")) == (429, "too_many_open_turns")
    # As if 15 s had passed.
    stack.sql(
        "UPDATE hansard.workers SET heartbeat_at = heartbeat_at - interval '15 s' WHERE name = %s",
        running.url.removeprefix("http://"),
    )
    until(lambda: caller.chat(f"{session} 2", "x").status == 200)
