"""Readiness: a worker says whether it can serve, and why not, and heals by itself; liveness is another matter."""

import time

import pytest

from lib.client import Client, problem
from lib.program import PATIENCE
from lib.stack import Stack
from lib.wait import until
from lib.worker import Worker

AWAY_S = 15 * PATIENCE


@pytest.fixture(scope="module")
def fragile():
    """A stack whose database may be broken."""
    running = Stack(database_timeout=f"{PATIENCE}s").up()
    running.make_tier("unlimited", None, 1000000)
    yield running
    running.destroy()


@pytest.fixture
def client(fragile, user):
    return Client(fragile.url, fragile.add_key(user, "unlimited"))


def readiness(client):
    answer = client.get("/readyz")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["ready"] == (answer.status == 200)
    assert (answer.headers["Retry-After"] is not None) == (answer.status == 503)
    return answer.json


def unready(client):
    """What it says when it is not."""
    told = readiness(client)
    return None if told["ready"] else told


def test_ready(fragile, client):
    told = readiness(client)
    assert told["ready"] and told["database"] and not told["draining"]
    version = fragile.value("SELECT max(version) FROM hansard.schema_migrations")
    assert told["schema_wanted"] == told["schema_found"] == version
    registered = fragile.value("SELECT worker_id::text FROM hansard.workers")
    assert told["worker"] == registered
    assert client.request("HEAD", "/readyz").body == b""


def test_live(client):
    answer = client.get("/livez")
    assert (answer.status, answer.body) == (200, b"ok\n")


def test_schema_of_another_release(fragile, client):
    wanted = readiness(client)["schema_wanted"]
    fragile.sql("INSERT INTO hansard.schema_migrations VALUES (9999, '9999_later', 'x', now())")
    told = until(lambda: unready(client), AWAY_S)
    assert (told["schema_wanted"], told["schema_found"], told["database"]) == (wanted, 9999, True)
    assert client.get("/livez").status == 200
    fragile.sql("DELETE FROM hansard.schema_migrations WHERE version = 9999")
    until(lambda: readiness(client)["ready"], AWAY_S)


@pytest.mark.parametrize("part, seconds", [("postgres", AWAY_S), ("pgbouncer", 0)])
def test_database_goes_and_comes_back(fragile, client, session, part, seconds):
    """For long enough to be noticed by its heartbeat, and for a moment."""
    assert client.chat(session, "before").turn == 1
    fragile.stop(part)
    refused = client.chat(session, "away", key="k")
    assert problem(refused) == (503, "database_unavailable")
    assert problem(client.read(session)) == (503, "database_unavailable")
    if seconds:
        assert until(lambda: unready(client), seconds)["database"] is False
    assert client.get("/livez").status == 200
    assert client.get("/metrics").status == 200

    fragile.start(part)
    until(lambda: readiness(client)["ready"], AWAY_S)
    # What was refused left nothing; the same request is done now.
    until(lambda: client.chat(session, "away", key="k").status == 200)
    assert client.chat(session, "away", key="k").turn == 2
    assert [turn["turn"] for turn in client.read(session).json["turns"]] == [1, 2]


def test_refusal_comes_in_time(fragile, client, session):
    """A caller is told within the request's time, not after the database's."""
    hurried = Worker(fragile, request_timeout="1s").start()
    try:
        fragile.stop("postgres")
        began = time.monotonic()
        assert problem(client.at(hurried).chat(session, "x")) == (503, "database_unavailable")
        assert time.monotonic() - began < 3 * PATIENCE
    finally:
        fragile.start("postgres")
        hurried.stop()


def test_starting_before_the_database(fragile, client, session):
    fragile.stop("postgres")
    early = Worker(fragile)
    try:
        early.launch()
        at = client.at(early)
        until(lambda: early.answers())
        assert readiness(at)["database"] is False
        assert readiness(at)["schema_found"] == -1
        fragile.start("postgres")
        until(lambda: readiness(at)["ready"], AWAY_S)
        assert at.chat(session, "x").turn == 1
    finally:
        fragile.start("postgres")
        early.stop()
