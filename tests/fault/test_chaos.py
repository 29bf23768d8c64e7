"""Chaos: three workers behind nginx, fifty callers who repeat their questions on any failure, and every second something is
done to a worker, to PgBouncer, to PostgreSQL or to the model. Then all is left to settle, and the ledger is compared.

CHAOS_SECONDS says for how long (default 25), CHAOS_SEED repeats a run's plan: `make chaos`.
"""

import contextlib
import os
import threading

import psycopg2
import pytest

from lib.chaos import LONG_S, Chaos, plan
from lib.client import Client
from lib.counting import CountingModel
from lib.jobload import JobLoad
from lib.ledger import ANSWERED, Fleet
from lib.metrics import scrape
from lib.program import PATIENCE
from lib.settle import close_what_was_left
from lib.together import begin
from lib.tormented import running_stack
from lib.wait import until

SECONDS = int(os.environ.get("CHAOS_SECONDS", "25"))
WORKERS = ("worker1", "worker2", "worker3")
CALLERS, SESSIONS = 50, 100
PERMITS, CAP = 5, 9
REPEATS = 100
CALL_S = 8
SETTINGS = {
    "llm_concurrency": PERMITS,
    "cluster_concurrency": CAP,
    "llm_connect_timeout": "1s",
    "llm_first_byte_timeout": "2s",
    "llm_total_timeout": f"{CALL_S}s",
    "request_timeout": "15s",
    "database_timeout": f"{2 * PATIENCE}s",
}
ATTEMPTS = 5  # of a job, for the model's sake; and one more each time that something happens
HANGS_S = 45  # a worker may be frozen for 20 s, and then takes its 15 s


def thoughtful_words(rng):
    """A question that keeps the gates full."""
    return f"[[delay {rng.randrange(0, rng.choice([100, 400, 1600]))}]] "


class ChaosLoad(JobLoad):
    refusals = JobLoad.refusals | {
        (503, "model_unavailable"),
        (503, "queue_full"),
        (503, "queue_too_slow"),
        (429, "too_many_jobs"),
        (503, "job_queue_full"),
        (503, "worker_unavailable"),  # nginx
    }
    failures = JobLoad.failures | {(502, "model_failed"), (504, "model_timeout")}


class Watch:
    """The most deaths of a job in the queue, looked at all the time."""

    def __init__(self, stack):
        self._stack = stack
        self._is_over = threading.Event()
        self.deaths_most = 0
        self._looking = begin(self._look)

    def _look(self):
        while not self._is_over.wait(0.1):
            with contextlib.suppress(psycopg2.DatabaseError):  # it is being tormented
                deaths = self._stack.value("SELECT coalesce(max(deaths), 0) FROM hansard.jobs")
                self.deaths_most = max(self.deaths_most, deaths)

    def stop(self):
        self._is_over.set()
        self._looking.result()


@pytest.fixture
def model():
    counting = CountingModel(CALL_S)
    yield counting
    counting.close()


@pytest.fixture
def stack(model, logs):
    with running_stack({}, len(WORKERS), llm_url=model.llm_url, **SETTINGS) as running:
        logs.update({running.log(part): True for part in (*WORKERS, "nginx", "pgbouncer", "postgres")})
        for number, part in enumerate(WORKERS, 1):
            running.restart_worker(number, llm_api_key=part)
        yield running
        running.heal()


class Address:
    """Of a worker, past nginx."""

    def __init__(self, stack, number):
        self.url = stack.worker_url(number)
        self.name = self.url.removeprefix("http://")

    def has_settled(self):
        metrics = scrape(self)
        idle = ("turns_open", "lane_waiting", "finish_unwritten", "gate_in_use")
        return Client(self.url).get("/readyz").status == 200 and all(metrics.get(f"hansard_{n}") == 0 for n in idle)


def check_repeats(client, ledger, model):
    """Who asks again now gets the same answer, and the model is not asked for it."""
    calls = model.calls
    answered = [promise for promise in ledger.promises() if promise.fate == ANSWERED][-REPEATS:]
    for promise in answered:
        again = client.chat(promise.session, promise.words, key=promise.key)
        assert (again.turn, again.text) == (promise.turn, promise.reply)
        assert again.headers["Idempotent-Replayed"] == "true"
    assert model.calls == calls


def test_chaos(stack, model, key, ledger, session, seed, tell):
    seed = os.environ.get("CHAOS_SEED", seed)
    print(f"CHAOS_SECONDS={SECONDS} CHAOS_SEED={seed}")
    addresses = [Address(stack, number) for number, _ in enumerate(WORKERS, 1)]
    names = [address.name for address in addresses]
    chaos = Chaos(stack, model, dict(zip(WORKERS, names, strict=True)))
    events = plan(seed, SECONDS, WORKERS)
    watch = Watch(stack)
    load = ChaosLoad(
        ledger,
        place_of=lambda _: stack.url,
        key=key,
        sessions=[f"{session} {n}" for n in range(SESSIONS)],
        seed=seed,
        words=thoughtful_words,
        gives_up=0.01,
        hurries=0.05,
        timeout=HANGS_S,
    ).start(CALLERS)
    try:
        chaos.run(events)
        load.stop()
    except BaseException:
        load.abort()
        raise
    finally:
        watch.stop()
    close_what_was_left(stack, ledger, names, hurries=SECONDS < LONG_S)

    counts, jobs = ledger.counts(), ledger.jobs_answered()
    tell(f"CHAOS_SECONDS={SECONDS} CHAOS_SEED={seed}: survived {', '.join(f'{n} {v}' for v, n in chaos.survived.items())}")
    tell(f"{counts['answered']} acknowledged answers checked, {jobs} of them jobs'; {counts['queued']} jobs never asked for")
    tell(f"{counts['failed']} told as failed, {counts['cancelled']} as cancelled, {counts['open']} given up unknown")
    tell(f"{model.calls} calls to the model, {model.high_water} at once, {model.ghosts} of workers killed; the cap is {CAP}")
    print(f"calls at once: {model.worst}")
    ledger.check(stack, Fleet(CAP, model.high_water, ATTEMPTS + len(events), watch.deaths_most))
    assert counts["answered"] > 2 * SECONDS  # there was load all the time
    assert model.high_water >= PERMITS
    for address in addresses:
        until(address.has_settled)
    check_repeats(Client(stack.url, key), ledger, model)
