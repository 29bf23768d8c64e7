"""A limit that is reached is one event in the record, however many requests and workers it is noticed by; every refusal is
counted, by its reason."""

import collections
import itertools

import pytest

from lib.client import Client, problem
from lib.crowd import Ask, crowd
from lib.metrics import total
from lib.program import PATIENCE, SANITIZER
from lib.wait import until

EVENTS = "SELECT * FROM hansard.audit_events WHERE kind = 'limit_reached' AND {} ORDER BY happened_at"
OF_USER = EVENTS.format("user_id = (SELECT user_id FROM hansard.users WHERE name = %s)")
OF_ADDRESS = EVENTS.format("detail ->> 'address' = %s")
FLOOD = 150 if SANITIZER else 400
REASONS = ("rate_limited", "too_many_open_turns", "token_limit_reached", "unauthorized", "idempotency_key_reused")


@pytest.fixture
def events(fleet, user):
    """events(): those of the user."""
    return lambda: fleet.sql(OF_USER, user)


@pytest.fixture
def refused(places):
    """refused(): the refusals that all workers have counted since the fixture began, by reason."""

    def count():
        return {reason: total(places, "refusals_total", reason=reason) for reason in REASONS}

    before = count()
    return lambda: {reason: n - before[reason] for reason, n in count().items() if n != before[reason]}


def tier_of(fleet, user):
    return fleet.value("SELECT tier FROM hansard.users WHERE name = %s", user)


def codes(heard):
    return collections.Counter("granted" if one.status == 200 else problem(one)[1] for one in heard)


def test_rate(fleet, member, user, events, refused, session):
    caller = member(6, 2)
    heard = crowd(Ask(caller, f"{session} {n}") for n in range(FLOOD))
    assert codes(heard) == {"granted": 2, "rate_limited": FLOOD - 2}
    (event,) = events()
    assert event.detail == {"limit": "rate", "tier": tier_of(fleet, user)}
    assert event.request_id in {one.headers["X-Request-Id"] for one in heard if one.status == 429}
    assert event.event_id[:13].replace("-", "") == f"{int(event.happened_at.timestamp() * 1000):012x}"
    assert refused() == {"rate_limited": FLOOD - 2}
    # Within the time in which both turns come back, no other.
    heard = crowd(Ask(caller, f"{session} b {n}", key=f"b{n}") for n in range(FLOOD // 4))
    assert len(events()) == 1
    # As if that time had passed: the next refusal is one more.
    fleet.sql(
        "UPDATE hansard.rate_limits SET refused_us = refused_us - 21000000 "
        "WHERE limit_key = (SELECT 'user:' || user_id FROM hansard.users WHERE name = %s)",
        user,
    )
    again = itertools.count()
    until(lambda: caller.chat(session, "x", key=f"c{next(again)}").status == 429 and len(events()) == 2, every=0.1)


def test_open_turns(fleet, member, user, events, refused, session):
    caller = member(60000, 10000, parallel_turns=2)
    heard = crowd(Ask(caller, f"{session} {n}", f"[[delay {1500 * PATIENCE}]] x") for n in range(60))
    assert codes(heard) == {"granted": 2, "too_many_open_turns": 58}
    (event,) = events()
    assert event.detail == {"limit": "parallel", "tier": tier_of(fleet, user)}
    assert refused() == {"too_many_open_turns": 58}


def test_tokens(fleet, member, user, events, refused, session):
    caller = member(60000, 10000, tokens_per_day=1010, tokens_reserved=1000)
    assert caller.chat(session, "[[tokens 200]]").status == 200
    heard = crowd(Ask(caller, f"{session} {n}") for n in range(60))
    assert codes(heard) == {"token_limit_reached": 60}
    (event,) = events()
    assert event.detail == {"limit": "tokens", "tier": tier_of(fleet, user)}
    assert event.request_id in {one.headers["X-Request-Id"] for one in heard}
    assert refused() == {"token_limit_reached": 60}


def test_anonymous(fleet, refused, session):
    """By his address."""
    stranger = Client(fleet.url, source="127.8.0.1")
    heard = crowd(Ask(stranger, f"{session} {n}") for n in range(60))
    assert codes(heard) == {"granted": 10, "rate_limited": 50}
    (event,) = fleet.sql(OF_ADDRESS, stranger.source)
    assert event.detail == {"limit": "rate", "tier": "anonymous", "address": stranger.source}
    assert event.user_id is None
    assert refused() == {"rate_limited": 50}


def test_other_refusals_are_counted_and_no_events(fleet, member, events, refused, session):
    caller = member(60, 10)
    caller.chat(session, "one", key="k")
    assert problem(caller.chat(session, "two", key="k")) == (422, "idempotency_key_reused")
    for _ in range(3):
        assert problem(Client(fleet.url, "hsk_nobody").chat(session, "x")) == (401, "unauthorized")
    assert refused() == {"idempotency_key_reused": 1, "unauthorized": 3}
    assert events() == []
