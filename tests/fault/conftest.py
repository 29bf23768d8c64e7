"""Fixtures of the fault tests: a stack without workers; each test starts those it torments.

Whatever a test has stopped or frozen runs again after it. Whatever a fixture started, it stops, also after Ctrl-C or
SIGTERM. What a test counts it tells at the end of the run.
"""

import os
import secrets
import signal

import pytest

from lib.client import Client
from lib.ledger import Ledger
from lib.model import DemoModel
from lib.record import Record
from lib.tormented import running_stack
from lib.worker import Worker

LOG_TAIL = 3000
TOLD = pytest.StashKey()


def pytest_configure(config):
    config.stash[TOLD] = []
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


def pytest_terminal_summary(terminalreporter, config):
    for line in config.stash[TOLD]:
        terminalreporter.write_line(line)


@pytest.fixture
def tell(request):
    """tell(text): a line at the end of the run."""
    return lambda text: request.config.stash[TOLD].append(f"{request.node.name}: {text}")


@pytest.fixture(scope="session")
def seed():
    """What random choices grow from: FAULT_SEED, or a new one."""
    return os.environ.get("FAULT_SEED") or secrets.token_hex(4)


@pytest.fixture(scope="module")
def stack_settings():
    """Of stack.sh; a file that needs some says so in a fixture of this name, and has a stack of its own."""
    return {}


@pytest.fixture(scope="session")
def common_stack():
    with running_stack({}) as running:
        yield running


@pytest.fixture(scope="module")
def whole_stack(request, stack_settings):
    if not stack_settings:
        yield request.getfixturevalue("common_stack")
        return
    with running_stack(stack_settings) as running:
        yield running


@pytest.fixture
def stack(whole_stack):
    yield whole_stack
    whole_stack.heal()


@pytest.fixture
def record(stack):
    return Record(stack)


@pytest.fixture
def logs():
    """Files to show when the test fails."""
    return {}


@pytest.fixture
def worker(stack, logs):
    """worker(llm_concurrency=3): a worker with these settings. Those that still run at the end have to end well."""
    workers = []

    def start(**settings):
        workers.append(Worker(stack, **settings))
        logs[workers[-1].log] = True
        return workers[-1].start()

    yield start
    left = [one for one in workers if not one.has_ended()]
    for one in left:
        one.signal(signal.SIGCONT)
    stack.heal()
    codes = [one.stop() for one in left]
    assert set(codes) <= {0}, "a worker did not end well"


@pytest.fixture
def session():
    """An id that nobody else uses."""
    return f"session {secrets.token_hex(8)}"


@pytest.fixture
def key(stack):
    """Of a user whom no limit holds."""
    return stack.add_key(f"user {secrets.token_hex(8)}", "unlimited")


@pytest.fixture
def caller(stack, key):
    """At no place yet: caller.at(worker)."""
    return Client(None, key)


@pytest.fixture
def limited(stack):
    """limited(per_minute, burst): a caller with a tier of its own."""

    def make(per_minute, burst):
        tier = stack.make_tier(f"t{per_minute}-{burst}", per_minute, burst)
        return Client(None, stack.add_key(f"user {secrets.token_hex(8)}", tier))

    return make


@pytest.fixture
def model(stack):
    """demo-llm, its numbers at zero."""
    demo = DemoModel(stack.llm_url)
    demo.reset()
    return demo


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def silence(stack):
    """silence(worker): as if nothing had been heard of it for a minute, so that its time is over now."""

    def age(running):
        stack.sql(
            "UPDATE hansard.workers SET heartbeat_at = heartbeat_at - interval '1 minute' WHERE name = %s",
            f"127.0.0.1:{running.port}",
        )

    return age
