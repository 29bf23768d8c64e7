"""Whose address it is, when somebody lies about it: a thousand names of one peer are one row, thousands of real peers are
rows that go away again."""

import collections
import re
import socket
import urllib.parse

import pytest

from lib.client import Client
from lib.crowd import Ask, crowd
from lib.program import PATIENCE, SANITIZER
from lib.record import Record
from lib.together import together
from lib.wait import until
from lib.wire import Wire, split_answer

FORGED = 1000 if SANITIZER else 10000
REAL = 300 if SANITIZER else 3000
AT_ONCE = 100  # requests on their way on one connection
ROWS = "SELECT limit_key FROM hansard.rate_limits WHERE limit_key LIKE 'addr:' || %s ORDER BY 1"


def forge(place, source, addresses, session):
    """{status: how many}; one connection from the source, each request with another address in its header."""
    body = f'{{"session_id":"{session}","message":"hi"}}'.encode()
    host = urllib.parse.urlsplit(place.url).netloc
    requests = [
        f"POST /chat HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {address}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
        for address in addresses
    ]
    statuses = collections.Counter()
    with Wire(place.url, source) as wire:
        wire.socket.settimeout(30 * PATIENCE)
        for first in range(0, len(requests), AT_ONCE):
            page = requests[first : first + AT_ONCE]
            wire.socket.sendall(b"".join(page))
            data = b""
            for _ in page:
                while not (found := split_answer(data))[0]:
                    piece = wire.socket.recv(1 << 16)
                    assert piece, "the connection was closed"
                    data += piece
                answer, data = found
                statuses[answer.status] += 1
    return statuses


def test_ten_thousand_names_of_one_peer(stack, record, stranger, session):
    """From a peer that is no proxy of ours, the header says nothing."""
    rows, before = stack.value("SELECT count(*) FROM hansard.rate_limits"), record.counts()[0]
    names = [f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(FORGED)]
    parts = [names[n::4] for n in range(4)]
    told = sum(
        together([lambda part=part: forge(stranger, stranger.source, part, session) for part in parts]),
        collections.Counter(),
    )
    # Ten at once; one comes back every six seconds.
    assert set(told) == {200, 429} and 10 <= told[200] <= 10 + 2 * PATIENCE
    assert stack.value("SELECT count(*) FROM hansard.rate_limits") <= rows + 1
    assert [row.limit_key for row in stack.sql(ROWS, stranger.source)] == [f"addr:{stranger.source}"]
    assert stack.sql(ROWS, "198.18.%") == []
    assert record.counts()[0].turns - before.turns == told[200]
    assert {row.address for row in record.turns(session)} == {stranger.source}


def test_through_the_proxy_the_real_peer_counts(fleet, session):
    """What nginx appends wins over whatever the client sent."""
    source = "127.20.0.1"
    names = [f"203.0.113.{n % 256}, 10.0.0.{n % 256}, 127.0.0.2" for n in range(40)]
    told = forge(Client(fleet.url), source, names, session)
    assert told == {200: 10, 429: 30}
    assert [row.limit_key for row in fleet.sql(ROWS, source)] == [f"addr:{source}"]
    assert fleet.sql(ROWS, "203.%") == fleet.sql(ROWS, "10.%") == fleet.sql(ROWS, "127.0.%") == []
    assert {row.address for row in Record(fleet).turns(session)} == {source}


@pytest.mark.parametrize(
    "lines",
    [
        b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 203.0.113.8\r\n",
        b"X-Forwarded-For: 203.0.113.7,\r\n 203.0.113.8\r\n",
        b"X-Forwarded-For: 203.0.113.7\r\n\tX-Forwarded-For: 203.0.113.8\r\n",
        b"X-Forwarded-For:\r\nx-forwarded-for: 203.0.113.8\r\nX_Forwarded_For: 203.0.113.9\r\n",
        b"X-Forwarded-For: " + b"203.0.113.7, " * 500 + b"203.0.113.8\r\n",
        b"X-Forwarded-For: \xff\xfe, ;=\"\r\nForwarded: for=203.0.113.8\r\nX-Real-IP: 203.0.113.9\r\n",
    ],
    ids=["twice", "folded", "folded line", "empty and in other letters", "long", "nonsense and others"],
)
@pytest.mark.parametrize("way", ["worker", "nginx"])
def test_folded_and_repeated_headers_are_harmless(stack, fleet, session, way, lines):
    """They are refused, or say nothing."""
    place = stack if way == "worker" else fleet
    number = int(re.sub(r"\D", "", session)[-4:] or 0)
    source = f"127.21.{number // 250}.{number % 250 + 1}"
    body = f'{{"session_id":"{session}","message":"hi"}}'.encode()
    with Wire(place.url, source) as wire:
        wire.send(
            b"POST /chat HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n" % (lines, len(body)) + body
        )
        answer = wire.receive_answer()
    assert answer.status in (200, 400, 431)
    assert {row.address for row in Record(place).turns(session)} <= {source}
    assert place.sql(ROWS, "203.%") == []


def test_rows_of_thousands_of_peers_are_swept(fleet, session):
    """A row is needed as long as a quota is not whole."""
    fleet.sql("UPDATE hansard.tiers SET rate_per_minute = 6000 WHERE tier = 'anonymous'")
    try:
        peers = [Client(fleet.url, source=f"127.30.{n // 250}.{n % 250 + 1}") for n in range(REAL)]
        heard = crowd([Ask(peer, f"{session} {n}") for n, peer in enumerate(peers)], at_once=200)
        assert {one.status for one in heard} == {200}
        assert {one.remaining for one in heard} == {9}
        assert len(fleet.sql(ROWS, "127.30.%")) > 0.5 * REAL
        # One of them has used up more than comes back soon.
        fleet.sql("UPDATE hansard.rate_limits SET tat_us = tat_us + 3600000000 WHERE limit_key = 'addr:127.30.0.1'")
        # As if nobody had come for a while.
        fleet.sql("UPDATE hansard.rate_limits SET seen_us = seen_us - 11000000")
        until(lambda: len(fleet.sql(ROWS, "127.30.%")) == 1, seconds=30, every=0.1)
        assert [row.limit_key for row in fleet.sql(ROWS, "127.30.%")] == ["addr:127.30.0.1"]
        # Who comes again begins with a whole quota.
        assert peers[1].chat(session, "hi").remaining == 9
    finally:
        fleet.sql("UPDATE hansard.tiers SET rate_per_minute = 10 WHERE tier = 'anonymous'")
