"""Fixtures of the end-to-end tests: one stack for all of them; callers, workers and models for each.

Tests do not disturb each other: each has a user, session ids and addresses of its own. Whatever a fixture started, it
stops, also after Ctrl-C or SIGTERM.
"""

import itertools
import secrets
import signal

import pytest

from lib.client import Client
from lib.model import DemoModel, RecordingModel
from lib.record import Record
from lib.stack import Stack
from lib.worker import Worker

LOG_TAIL = 3000
_addresses = itertools.count(1)


def pytest_configure():
    # Both end the run as Ctrl-C does: fixtures are taken down.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what the workers it used have logged."""
    report = (yield).get_result()
    if not report.failed:
        return
    for log in getattr(item, "funcargs", {}).get("logs", {}):
        with open(log, encoding="utf-8", errors="replace") as file:
            report.sections.append((log, file.read()[-LOG_TAIL:]))


@pytest.fixture(scope="session")
def stack():
    running = Stack().up()
    running.make_tier("unlimited", None, 1000000)
    yield running
    running.destroy()


@pytest.fixture(scope="session")
def fleet():
    """Three workers behind nginx."""
    running = Stack(workers=3).up()
    running.make_tier("unlimited", None, 1000000)
    yield running
    running.destroy()


@pytest.fixture
def places(fleet):
    """Its workers, past nginx."""
    return [Client(fleet.worker_url(number)) for number in (1, 2, 3)]


@pytest.fixture
def member(fleet, user):
    """member(10, 10, parallel_turns=2): a caller of the fleet with a tier of its own; per minute, at once, caps."""

    def make(per_minute, burst, **caps):
        tier = f"t{secrets.token_hex(8)}"
        fleet.make_tier(tier, per_minute, burst, **caps)
        return Client(fleet.url, fleet.add_key(user, tier))

    return make


@pytest.fixture
def record(stack):
    return Record(stack)


@pytest.fixture
def logs():
    """Files to show when the test fails."""
    return {}


@pytest.fixture
def worker(stack, logs):
    """worker(llm_concurrency=3): one more worker of the stack, with these settings."""
    workers = []

    def start(**settings):
        workers.append(Worker(stack, **settings))
        logs[workers[-1].log] = True
        return workers[-1].start()

    yield start
    codes = [one.stop() for one in workers if not one.has_ended()]
    assert set(codes) <= {0}, "a worker did not end well"


@pytest.fixture
def session():
    """An id that nobody else uses."""
    return f"session {secrets.token_hex(8)}"


@pytest.fixture
def user():
    return f"user {secrets.token_hex(8)}"


@pytest.fixture
def caller(stack, user):
    """A user with a key, whom no limit holds."""
    return Client(stack.url, stack.add_key(user, "unlimited"))


@pytest.fixture
def limited(stack, user):
    """limited(per_minute, burst): a caller with a tier of its own."""

    def make(per_minute, burst):
        return Client(stack.url, stack.add_key(user, stack.make_tier(f"t{per_minute}-{burst}", per_minute, burst)))

    return make


@pytest.fixture
def stranger(stack):
    """A caller without a key, from an address that nobody else uses."""
    number = next(_addresses)
    return Client(stack.url, source=f"127.9.{number // 250}.{number % 250 + 1}")


@pytest.fixture
def model(stack):
    """demo-llm, its numbers at zero."""
    demo = DemoModel(stack.llm_url)
    demo.reset()
    return demo


@pytest.fixture
def recorder():
    recording = RecordingModel()
    yield recording
    recording.close()
