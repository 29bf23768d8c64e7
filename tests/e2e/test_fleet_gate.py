"""One cap on model calls for a fleet: never more than it allows, whichever worker dies, freezes, restarts, and when the
database is away; and all of it for whoever has use for it."""

import contextlib
import threading
import time

import pytest

from lib.client import Client
from lib.crowd import Ask, crowd, stubborn_crowd
from lib.metrics import scrape
from lib.model import DemoModel
from lib.program import PATIENCE, SANITIZER
from lib.stack import Stack
from lib.together import begin
from lib.wait import until

CAP = 10
TURNS = 500
LEASE_SECONDS = 6
CALL_SECONDS = 6 if SANITIZER else 3  # real seconds: they are waited for
# Of a worker that is heard no more, permits are free again after so long.
WITHHELD_SECONDS = LEASE_SECONDS + CALL_SECONDS + 2
COMPLETED = """
SELECT count(*) FROM hansard.turns t JOIN hansard.conversations c USING (conversation_id)
WHERE c.session_id LIKE %s AND t.state = 'completed'
"""
# When the silent workers' permits are free again, as the database has it.
FREE_AGAIN = "SELECT coalesce(max(permits_until), now()) FROM hansard.workers WHERE permits > 0 AND name = ANY (%s)"
HELD = "SELECT coalesce(sum(permits), 0)::integer FROM hansard.workers WHERE permits_until > clock_timestamp()"


@pytest.fixture(scope="module")
def capped():
    """Three workers behind nginx; each alone might take all of the fleet's permits."""
    running = Stack(
        workers=3, cluster_concurrency=CAP, llm_concurrency=CAP, llm_total_timeout=f"{CALL_SECONDS}s"
    ).up()
    running.make_tier("unlimited", None, 1000000)
    yield running
    running.destroy()


@pytest.fixture
def client(capped, user):
    return Client(capped.url, capped.add_key(user, "unlimited"))


@pytest.fixture
def model(capped):
    demo = DemoModel(capped.llm_url)
    demo.reset()
    return demo


@pytest.fixture
def places(capped):
    """The workers, by number, past nginx."""
    return {number: Client(capped.worker_url(number), timeout=2) for number in (1, 2, 3)}


def leased(place):
    """Permits of a worker that is heard by the database; none of one that is away."""
    try:
        if place.get("/readyz").status == 200:
            return scrape(place).get("hansard_permits_leased")
    except OSError:
        pass
    return 0


class Watch:
    """Looks all the time at how many permits are out. Use as a context."""

    def __init__(self, stack, places):
        self._stack, self._places = stack, places
        self._is_over = threading.Event()
        self.most_held = self.most_leased = self.looks = 0

    def __enter__(self):
        self._watching = [begin(self._watch_record), begin(self._watch_workers)]
        return self

    def __exit__(self, *_):
        self._is_over.set()
        for one in self._watching:
            one.result()

    def _watch_record(self):
        """What the database says, in one look."""
        while not self._is_over.wait(0.05):
            with contextlib.suppress(Exception):  # it is away for a while
                self.most_held = max(self.most_held, self._stack.value(HELD))

    def _watch_workers(self):
        """What the workers say of themselves; it was so at one moment if it was the same twice."""
        before = None
        while not self._is_over.wait(0.05):
            now = {number: leased(place) for number, place in self._places.items()}
            if now == before:
                self.most_leased = max(self.most_leased, sum(now.values()))
                self.looks += 1
            before = now


def asks(client, session, count, words="[[delay 100]] x"):
    return [Ask(client, f"{session} {n}", words, key=f"k{n}") for n in range(count)]


def leases(places):
    return [leased(place) for place in places.values()]


def test_permits_go_where_they_are_of_use(places, client, model, session):
    """A worker that is busy alone has all of them soon, and gives them back when the others are busy, too."""
    assert sum(leases(places)) <= CAP
    alone = begin(crowd, asks(client.at(places[1]), f"{session} 1", 7 * CAP, "[[delay 500]] x"))
    began = time.monotonic()
    until(lambda: leased(places[1]) >= CAP - 1)
    assert time.monotonic() - began < 4 * PATIENCE
    until(lambda: model.stats()["in_flight"] >= CAP - 1)
    others = [begin(crowd, asks(client.at(places[n]), f"{session} {n}", 5 * CAP, "[[delay 200]] x")) for n in (2, 3)]
    until(lambda: min(leases(places)) >= CAP // 3)
    for crowded in (alone, *others):
        assert {heard.status for heard in crowded.result()} == {200}
    assert model.stats()["high_water"] <= CAP


def test_restart_gives_its_permits_back_at_once(capped, places, client, model, session):
    """And a worker that comes back gets some."""
    with Watch(capped, places) as watch:
        busy = begin(stubborn_crowd, asks(client.at(places[1]), session, TURNS // 4, "[[delay 200]] x"))
        until(lambda: leased(places[1]) >= CAP - 1)
        capped.stop("worker1")
        others = begin(stubborn_crowd, asks(client.at(places[2]), f"{session} 2", TURNS // 4, "[[delay 200]] x"))
        began = time.monotonic()
        until(lambda: leased(places[2]) >= CAP - 1)
        assert time.monotonic() - began < min(WITHHELD_SECONDS, 5 * PATIENCE)
        capped.start("worker1")
        assert {heard.status for heard in busy.result()} <= {200, 502}
        assert {heard.status for heard in others.result()} == {200}
    assert 0 < watch.most_leased <= CAP
    assert watch.most_held <= CAP
    assert model.stats()["high_water"] <= CAP


def test_database_is_away_for_longer_than_a_lease(capped, places, client, model, session):
    """Then nobody calls the model any more; and all goes on when it is back."""
    with Watch(capped, places) as watch:
        busy = begin(stubborn_crowd, asks(client, session, TURNS // 2))
        until(lambda: model.stats()["calls"] > TURNS / 10)
        capped.stop("postgres")
        until(lambda: {scrape(place).get("hansard_permits_leased") for place in places.values()} == {0}, seconds=15)
        until(lambda: model.stats()["in_flight"] == 0)
        capped.start("postgres")
        statuses = [heard.status for heard in busy.result()]
    assert set(statuses) <= {200, 502, 504}
    assert statuses.count(200) > 0.8 * len(statuses)
    assert model.stats()["high_water"] <= CAP
    assert watch.most_held <= CAP and 0 < watch.most_leased <= CAP


def test_one_worker_is_killed_and_one_freezes(capped, places, client, user, model, session):
    with Watch(capped, places) as watch:
        busy = begin(stubborn_crowd, asks(client, f"{session} k", TURNS))
        until(lambda: model.stats()["calls"] > TURNS / 10 and model.stats()["high_water"] == CAP)
        until(lambda: min(leased(place) for place in places.values()) > 0)
        capped.kill("worker1")
        capped.kill("worker2", "STOP")
        gone = time.monotonic()
        free_again = capped.value(FREE_AGAIN, [capped.worker_url(number).partition("://")[2] for number in (1, 2)])
        # The third goes on, with what it has; another caller does not wait behind the first.
        another = Client(places[3].url, capped.add_key(f"another {user}", "unlimited"))
        assert {heard.status for heard in crowd(asks(another, f"{session} 3", CAP))} == {200}
        assert time.monotonic() - gone < WITHHELD_SECONDS
        # Then with all there are: who is silent begins no more calls, and those it had have ended.
        alone = begin(stubborn_crowd, asks(another, f"{session} 4", TURNS // 2, "[[delay 200]] x"))
        until(lambda: leased(places[3]) == CAP, seconds=WITHHELD_SECONDS + 5)
        assert capped.value("SELECT clock_timestamp()") >= free_again
        most_held = watch.most_held  # what it finds in use when it wakes up has ended long ago
        capped.kill("worker2", "CONT")
        capped.start("worker1")
        assert {heard.status for heard in alone.result()} == {200}
        until(lambda: places[2].get("/readyz").status == 200)
        for number in (1, 2):
            assert {heard.status for heard in crowd(asks(client.at(places[number]), f"{session} 5 {number}", CAP))} == {200}
        statuses = [heard.status for heard in busy.result()]
    # Lost are calls that were under way, and whatever the frozen worker held if it was away for so long that it counted as
    # dead. What was promised is stored.
    assert set(statuses) <= {200, 502, 504}
    assert statuses.count(200) >= TURNS / 3
    assert capped.value(COMPLETED, f"{session} k%") == statuses.count(200)
    assert model.stats()["high_water"] == CAP
    assert most_held <= CAP and 0 < watch.most_leased <= CAP
    assert watch.looks > 20
