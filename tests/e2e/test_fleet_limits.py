"""Limits under a flood, over a fleet: exactly what the tier grants comes through, what is refused costs the database next to
nothing, and nobody else feels it."""

import itertools
import statistics
import time

import pytest

from lib.client import Client, problem
from lib.crowd import Ask, crowd
from lib.metrics import total
from lib.program import PATIENCE, SANITIZER
from lib.quota import check_told
from lib.record import Record
from lib.together import begin
from lib.wait import until

WORKERS = 3
FLOOD = 300 if SANITIZER else 1000
BATCH = 64  # turns in one call of the database at most
LANES = 4
# Of a refused caller, requests with a key that a worker asks the database about: at once, and one in so many seconds.
REPEATS, REPEAT_SECONDS = 5, 0.2
REMEMBERED_SECONDS = 10
HEADERS = ("RateLimit-Policy", "RateLimit", "x-ratelimit-limit-requests", "x-ratelimit-reset-requests")


@pytest.fixture
def record(fleet):
    return Record(fleet)


@pytest.fixture
def paid(fleet, user):
    return Client(fleet.url, fleet.add_key(f"paid {user}", "paid"))


def sorted_out(heard):
    """(granted, refused)"""
    assert None not in heard, "connections broke"
    assert {answer.status for answer in heard} <= {200, 429}
    return [one for one in heard if one.status == 200], [one for one in heard if one.status == 429]


def flood(client, session, count, keyed=False):
    """(granted, refused) of so many at once, a session each."""
    name = f"{session} {time.monotonic_ns()}"
    return sorted_out(crowd(Ask(client, f"{name} {n}", key=f"k{n}" if keyed else None) for n in range(count)))


def use_up(client, places, session):
    """Until every worker knows that he is refused; he at each of them."""
    everywhere = [client.at(place) for place in places]
    for caller in everywhere:
        until(lambda caller=caller: caller.chat(session, "hi").status == 429)
    return everywhere


def asked(places):
    """How often the workers have asked the database to open turns: (calls, turns in them)."""
    return total(places, "lane_calls_total", kind="accept"), total(places, "lane_batch_items_sum", kind="accept")


def ask_until(client, session, is_over):
    """Seconds of each turn of one caller who asks one after another."""
    seconds = []
    for number in itertools.count():
        began = time.monotonic()
        answer = client.chat(f"{session} beside", "hi")
        seconds.append(time.monotonic() - began)
        assert answer.status == 200, (number, answer.body)
        if is_over(number):
            return seconds


def test_flood_of_one_key(record, places, member, paid, session):
    """1,000 at once: as many as the burst come through, the others learn when to come back; a caller of another tier beside
    them is never refused and hardly waits."""
    hot = member(1, 10)
    quiet = ask_until(paid, session, lambda number: number == 40)
    before, calls = record.counts()[0], asked(places)[0]
    storm = begin(flood, hot, session, FLOOD)
    beside = ask_until(paid, f"{session} 2", lambda number: storm.done() or number == 70)
    granted, refused = storm.result()
    after = record.counts()[0]

    assert len(granted) == 10 and len(refused) == FLOOD - 10
    check_told(answer.remaining for answer in granted)
    for answer in refused:
        assert problem(answer) == (429, "rate_limited")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert all(name in answer.headers for name in HEADERS)
        assert answer.remaining == 0
    # Of those refused nothing is stored.
    assert after.turns - before.turns == 10 + len(beside)
    assert after.sessions - before.sessions == after.conversations - before.conversations == 10 + 1
    assert after.messages - before.messages == 2 * (10 + len(beside))

    # Each worker asked about those that were there before it knew, in batches.
    calls_for_flood = asked(places)[0] - calls - len(beside)
    assert calls_for_flood <= 10 + WORKERS * 2 * LANES + FLOOD / BATCH

    for n in (50, 95):
        calm, rough = (statistics.quantiles(seconds, n=100)[n - 1] for seconds in (quiet, beside))
        assert rough < 5 * calm + 0.2 * PATIENCE, f"p{n} {calm} alone, {rough} beside the flood"


def test_flood_that_is_known_does_not_reach_the_database(places, member, session):
    hot = member(1, 1)
    use_up(hot, places, session)
    calls, remembered = asked(places), total(places, "refusals_remembered_total")
    granted, refused = flood(hot, session, FLOOD)
    assert (len(granted), len(refused)) == (0, FLOOD)
    assert asked(places) == calls
    assert total(places, "refusals_remembered_total") - remembered == FLOOD


def test_then_one_at_a_time(record, member, session):
    """When the refusal is over, exactly one more is granted, however many ask."""
    hot = member(20, 2)  # one comes back every 3 s
    began = time.monotonic()
    granted, refused = flood(hot, session, 60)
    assert len(granted) == 2
    wait = max(int(answer.headers["Retry-After"]) for answer in refused)
    assert wait in (2, 3)
    latest = max(answer.ended for answer in granted)
    time.sleep(max(0, latest + wait - time.monotonic()))
    granted, refused = flood(hot, session, 60)
    if time.monotonic() - began < 6:
        assert len(granted) == 1
        assert granted[0].remaining == 0


def test_flood_with_keys(places, member, session):
    """They may be repeats, which cost nothing; the database is asked about a few of them."""
    hot = member(1, 1)
    use_up(hot, places, session)
    calls, began = asked(places), time.monotonic()
    granted, refused = flood(hot, session, FLOOD, keyed=True)
    took = time.monotonic() - began
    assert (len(granted), len(refused)) == (0, FLOOD)
    let_through = asked(places)[1] - calls[1]
    assert WORKERS <= let_through <= WORKERS * (REPEATS + took / REPEAT_SECONDS + 1)


def test_repeats_come_through_during_a_refusal(member, session):
    """Whoever is refused still learns what became of his turns."""
    hot = member(1, 3)
    answers = [hot.chat(session, f"words {n}", key=f"k{n}") for n in range(3)]
    assert [hot.chat(session, "more").status for _ in range(2 * WORKERS)] == [429] * 2 * WORKERS
    for n, first in enumerate(answers):
        again = hot.chat(session, f"words {n}", key=f"k{n}")
        assert (again.status, again.headers["Idempotent-Replayed"], again.body) == (200, "true", first.body)
    assert problem(hot.chat(session, "new words", key="new")) == (429, "rate_limited")
    assert problem(hot.chat(session, "other words", key="k1")) == (422, "idempotency_key_reused")


def test_changed_tier_counts_soon_for_the_refused(fleet, places, member, user, session):
    """At the latest when the workers' memory of the refusal ends."""
    hot = member(1, 1)
    everywhere = use_up(hot, places, session)
    assert {caller.chat(session, "hi").headers["Retry-After"] for caller in everywhere} <= {"58", "59", "60"}
    assert fleet.keys("tier", user, "unlimited").returncode == 0
    changed = time.monotonic()
    for caller in everywhere:
        until(lambda caller=caller: caller.chat(session, "hi").status == 200, seconds=REMEMBERED_SECONDS + 5, every=0.1)
    assert time.monotonic() - changed < REMEMBERED_SECONDS + 2 * PATIENCE
