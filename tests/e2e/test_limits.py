"""Limits: a rate is exact over all workers, says the truth about itself, and what it refuses leaves no trace."""

import re
import time

import pytest

from lib.client import Client, problem
from lib.program import SANITIZER
from lib.quota import check_told
from lib.together import together

SESSIONS = "SELECT count(*) FROM hansard.conversations WHERE session_id LIKE %s || '%%'"
HEADERS = ("RateLimit-Policy", "RateLimit", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
           "x-ratelimit-reset-requests")  # fmt: skip


def check_headers(answer, tier, limit):
    """They agree with each other; gives what is left."""
    assert re.fullmatch(rf'"{tier}";q={limit};w=\d+', answer.headers["RateLimit-Policy"])
    state = re.fullmatch(rf'"{tier}";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    assert int(state[1]) == answer.remaining
    assert answer.headers["x-ratelimit-limit-requests"] == str(limit)
    reset = re.fullmatch(r"(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?|(\d+)ms", answer.headers["x-ratelimit-reset-requests"])
    seconds = float(reset[3]) / 1000 if reset[3] else 60 * int(reset[1] or 0) + float(reset[2] or 0)
    assert seconds <= int(state[2]) < seconds + 1
    return answer.remaining


def check_ten_of_thirty(stack, clients, session):
    began = time.monotonic()
    posts = [lambda c=clients[n % len(clients)], n=n: c.chat(f"{session} {n}", "hi") for n in range(30)]
    answers = together(posts)
    took = time.monotonic() - began
    assert took < 6, "a sixth of a minute's quota has come back meanwhile"
    passed = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert (len(passed), len(refused)) == (10, 20)
    check_told(check_headers(answer, "anonymous", 10) for answer in passed)
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"anonymous";q=10;w=60'}
    for answer in refused:
        assert problem(answer) == (429, "rate_limited")
        assert check_headers(answer, "anonymous", 10) == 0
        # One comes back every 6 s: not before 6 s after the tenth was granted, and not later.
        assert 6 - took <= int(answer.headers["Retry-After"]) <= 6
    assert stack.value(SESSIONS, session) == 10


def test_30_posts_at_once_from_one_address(stack, stranger, session):
    check_ten_of_thirty(stack, [stranger], session)


def test_30_posts_at_once_over_three_workers(stack, stranger, worker, session):
    check_ten_of_thirty(stack, [stranger, stranger.at(worker()), stranger.at(worker())], session)


def test_retry_after_is_true(limited, session):
    caller = limited(20, 3)  # one comes back every 3 s
    assert [caller.chat(session, "hi").remaining for _ in range(3)] == [2, 1, 0]
    refused = caller.chat(session, "hi")
    assert problem(refused) == (429, "rate_limited")
    wait = int(refused.headers["Retry-After"])
    assert 1 <= wait <= 3
    # A flood of refused requests does not put it off.
    deadline = time.monotonic() + wait
    if wait == 3:
        assert {answer.status for answer in together([lambda: caller.chat(session, "hi")] * 20)} == {429}
    time.sleep(max(0, deadline - time.monotonic()))
    assert caller.chat(session, "hi").turn == 4
    if not SANITIZER:
        assert caller.chat(session, "hi").status == 429


def test_quota_comes_back_bit_by_bit(limited, session):
    caller = limited(60, 3)  # one a second
    assert [caller.chat(session, "hi").remaining for _ in range(2)] == [2, 1]
    time.sleep(2.1)
    assert caller.chat(session, "hi").remaining == 2


def test_burst_then_rate(limited, session):
    caller = limited(600, 5)  # ten a second
    began = time.monotonic()
    answers = [caller.chat(session, "hi") for _ in range(40)]
    took = time.monotonic() - began
    assert 5 <= sum(answer.status == 200 for answer in answers) <= 5 + 10 * took + 1


def test_refusal_does_not_begin_a_conversation(record, limited, session):
    caller = limited(1, 1)
    caller.chat(session, "one")
    before = record.counts()
    assert caller.chat(f"{session} 2", "two").status == 429
    assert caller.chat(session, "two").status == 429
    assert record.counts() == before
    assert problem(caller.read(f"{session} 2"))[0] == 404


def test_tier_is_changed_from_the_next_request_on(stack, user, session):
    caller = Client(stack.url, stack.add_key(user))
    assert check_headers(caller.chat(session, "hi"), "free", 20) == 19
    assert stack.keys("tier", user, "paid").returncode == 0
    # The turn before took 3 s of a minute: as much as six turns take now.
    assert check_headers(caller.chat(session, "hi"), "paid", 120) in range(113, 120)


def test_unlimited_caller_is_told_of_no_limit(caller, session):
    answer = caller.chat(session, "hi")
    assert [name for name in HEADERS if name in answer.headers] == []


def test_keys_of_one_user_share_his_quota(stack, limited, user, session):
    one = limited(1, 3)
    two = Client(stack.url, stack.add_key(user))
    assert [one.chat(session, "hi").remaining, two.chat(session, "hi").remaining] == [2, 1]
    assert one.chat(session, "hi").remaining == 0
    assert one.chat(session, "hi").status == two.chat(session, "hi").status == 429


def test_keys_are_not_counted_by_address(stranger, caller, session):
    for _ in range(10):
        assert stranger.chat(session, "hi").status == 200
    assert stranger.chat(session, "hi").status == 429
    same_place = Client(caller.url, caller.key, source=stranger.source)
    assert same_place.chat(session, "hi").status == 200


def test_reading_costs_nothing(limited, session):
    caller = limited(1, 2)
    caller.chat(session, "hi")
    for _ in range(5):
        assert caller.read(session).status == 200
    assert caller.chat(session, "hi").remaining == 0


# ---- whose address it is ----


def forwarded(client, session, chain):
    return client.chat(session, "hi", headers={"X-Forwarded-For": chain})


def addresses(record, session):
    """Under which the session's turns were counted."""
    return {row.address for row in record.turns(session)}


def test_untrusted_peer_cannot_name_another_address(record, stranger, session):
    statuses = [forwarded(stranger, session, f"203.0.113.{n}").status for n in range(11)]
    assert statuses == [200] * 10 + [429]
    assert addresses(record, session) == {stranger.source}


@pytest.mark.parametrize(
    "chain, address",
    [
        ("198.51.100.7", "198.51.100.7"),
        ("1.2.3.4, 198.51.100.8", "198.51.100.8"),
        ("1.2.3.4, 198.51.100.9, 10.1.2.3", "198.51.100.9"),
        ("nonsense, 198.51.100.10", "198.51.100.10"),
        ("::ffff:198.51.100.11", "198.51.100.11"),
        ("2001:db8:0:1:a:b:c:d", "2001:db8:0:1::/64"),
    ],
)
def test_trusted_proxy_names_the_rightmost_untrusted(record, stranger, worker, session, chain, address):
    behind = stranger.at(worker(trusted_proxies="127.0.0.0/8, 10.0.0.0/8"))
    assert forwarded(behind, session, chain).status == 200
    assert addresses(record, session) == {address}


def test_ipv6_is_counted_by_its_64(stranger, worker, session):
    behind = stranger.at(worker(trusted_proxies="127.0.0.0/8"))
    left = [forwarded(behind, session, f"2001:db8:0:2:{n}::1").remaining for n in range(3)]
    assert left == [9, 8, 7]
    assert forwarded(behind, session, "2001:db8:0:3::1").remaining == 9
