"""A rolling restart behind nginx: all workers are replaced, one after the other, and no caller notices."""

import http.client
import json
import random
import threading
import time

import pytest

from lib.client import Answer, Client
from lib.ledger import Ledger
from lib.metrics import scrape
from lib.program import PATIENCE
from lib.stack import Stack
from lib.together import begin, together
from lib.wait import until

WORKERS = 3
CALLERS = 24


@pytest.fixture(scope="module")
def trio():
    running = Stack(workers=WORKERS).up()
    running.make_tier("unlimited", None, 1000000)
    yield running
    running.destroy()


def test_idle_connections_are_given_up_by_the_proxy(trio, user):
    """Before a worker that leaves would cut them, 2 s after the signal: a request sent just then would be lost."""
    caller = Client(trio.url, trio.add_key(user, "unlimited"))
    answers = together(lambda n=n: caller.chat(f"{user} {n}", "[[delay 50]] x") for n in range(12))
    assert {answer.status for answer in answers} == {200}
    workers = [Client(f"http://127.0.0.1:{trio.port + 10 + n}") for n in range(1, WORKERS + 1)]
    # One is the connection that asks.
    until(lambda: all(scrape(place).get("hansard_http_connections") == 1 for place in workers), seconds=1.8)


class Caller:
    """Asks all the time and never repeats: what fails once has failed. Some keep their connection, some do not; some
    turns take a moment, some callers rest between them, so that connections of nginx grow cold."""

    def __init__(self, stack, key, ledger, number):
        self._place = ("127.0.0.1", stack.port)
        self._key, self._ledger, self._number = key, ledger, number
        self._keeps = number % 2 == 0
        self._rests = number % 4 >= 2
        self._connection = None
        self.slowest = 0.0

    def run(self, is_over):
        rng = random.Random(self._number)
        session = f"rolling {self._key[-8:]} {self._number}"
        question = 0
        while not is_over.is_set():
            question += 1
            words = f"[[delay 50]] {question}" if rng.random() < 0.5 else f"{question}"
            self._ask(self._ledger.ask(session, f"{question}", words))
            if self._rests:
                time.sleep(rng.choice((0.01, 0.1, 0.3, 1.0)))
        self._hang_up()
        return question

    def _ask(self, promise):
        began = time.monotonic()
        try:
            answer = self._request(promise)
        except (OSError, http.client.HTTPException) as failure:
            self._ledger.found_strange(promise, repr(failure))
            self._hang_up()
            return
        self.slowest = max(self.slowest, time.monotonic() - began)
        if answer.status == 200:
            self._ledger.answered(promise, answer)
        else:
            self._ledger.found_strange(promise, (time.time(), answer.status, answer.body))

    def _request(self, promise):
        if not self._connection:
            self._connection = http.client.HTTPConnection(*self._place, timeout=30 * PATIENCE)
        body = json.dumps({"session_id": promise.session, "message": promise.words})
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": promise.key}
        self._connection.request("POST", "/chat", body, {"Content-Type": "application/json", **headers})
        reply = self._connection.getresponse()
        answer = Answer(reply.status, reply.headers, reply.read())
        if not self._keeps:
            self._hang_up()
        return answer

    def _hang_up(self):
        if self._connection:
            self._connection.close()
        self._connection = None


@pytest.mark.parametrize("left", range(1, WORKERS + 1))
def test_one_worker_does_for_all(trio, user, left):
    """Those that are gone refuse connections, look idle to nginx, and are tried first."""
    gone = [n for n in range(1, WORKERS + 1) if n != left]
    caller = Client(trio.url, trio.add_key(user, "unlimited"))
    for n in gone:
        trio.stop(f"worker{n}")
    answers = together(lambda n=n: caller.chat(f"{user} {left} {n}", "[[delay 20]] x") for n in range(50))
    for n in gone:
        trio.start(f"worker{n}")
    assert {answer.status for answer in answers} == {200}


def test_rolling_restart_fails_nobody(trio, user):
    ledger, is_over = Ledger(), threading.Event()
    key = trio.add_key(user, "unlimited")
    callers = [Caller(trio, key, ledger, number) for number in range(CALLERS)]
    before = [trio.pid(f"worker{n}") for n in range(1, WORKERS + 1)]
    runs = [begin(caller.run, is_over) for caller in callers]
    try:
        time.sleep(1)
        trio.do("restart-workers")
        time.sleep(1)
    finally:
        is_over.set()
        asked = sum(run.result(60 * PATIENCE) for run in runs)
    after = [trio.pid(f"worker{n}") for n in range(1, WORKERS + 1)]
    assert not set(before) & set(after)
    print(f"{asked} asked, the slowest took {max(caller.slowest for caller in callers):.2f} s")
    ledger.check(trio)
    assert ledger.counts() == {"answered": asked}
