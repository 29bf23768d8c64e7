"""kill -9 of a worker, of PgBouncer, of PostgreSQL, or of one of PostgreSQL's processes, at random moments under load:
what a caller was told is in the database, once, in order.

FAULT_KILLS says how often (default 20), FAULT_SEED repeats a run's choices. A run of 100 and more also freezes parts,
and lets true time pass where a short one sets clocks back.
"""

import collections
import os
import random
import signal
import subprocess
import time

import psycopg2

from lib.load import Load
from lib.program import PATIENCE
from lib.settle import close_what_was_left
from lib.wait import until

KILLS = int(os.environ.get("FAULT_KILLS", "20"))
IS_LONG = KILLS >= 100
WORKERS, PERMITS = 2, 3
CALLERS, SESSIONS = 24, 12
DATABASE_S = 2 * PATIENCE
# Five of six dead workers count as dead at once; else the load would stand still for most of the time.
HASTE = 5 / 6


class Torment:
    """Kills one, and starts it again at once."""

    def __init__(self, stack, workers, silence, rng):
        self._stack, self._workers, self._silence, self._rng = stack, workers, silence, rng

    def worker(self):
        running = self._rng.choice(self._workers)
        hurries = self._rng.random() < HASTE
        running.kill()
        if hurries:
            self._silence(running)
        running.start()

    def part(self, part):
        self._stack.kill(part)
        self._stack.start(part)

    def pgbouncer(self):
        self.part("pgbouncer")

    def postgres(self):
        self.part("postgres")

    def postgres_child(self):
        """As the out-of-memory killer would: PostgreSQL ends all sessions and recovers by itself."""
        before = self._incarnation()
        children = subprocess.check_output(["pgrep", "-P", str(self._stack.pid("postgres"))], text=True).split()
        for child in self._rng.sample(children, len(children)):
            try:
                os.kill(int(child), signal.SIGKILL)
                break
            except ProcessLookupError:
                pass  # it has ended meanwhile; another will do
        until(lambda: self._incarnation() not in (None, before), seconds=60)

    def _freeze(self, part):
        """For up to twice as long as the worker waits for a call."""
        self._stack.kill(part, "STOP")
        time.sleep(self._rng.uniform(0, 2 * DATABASE_S))
        self._stack.kill(part, "CONT")

    def frozen_pgbouncer(self):
        self._freeze("pgbouncer")

    def frozen_postgres(self):
        self._freeze("postgres")

    def frozen_worker(self):
        running = self._rng.choice(self._workers)
        running.signal(signal.SIGSTOP)
        self._silence(running)
        time.sleep(self._rng.uniform(0, 1))
        running.signal(signal.SIGCONT)

    def _incarnation(self):
        """Another one after each recovery; None: nobody is there to ask."""
        try:
            return self._stack.value("SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
        except (psycopg2.DatabaseError, ValueError):  # also while it breaks, or has no checkpointer yet
            return None

    def kill(self, victim):
        getattr(self, victim)()


def victims(rng):
    """Each as often as the others, in random order."""
    deaths = ["worker", "pgbouncer", "postgres", "postgres_child", "worker", "pgbouncer"]
    while True:
        if IS_LONG:
            deaths[6:] = rng.sample(["frozen_worker", "frozen_pgbouncer", "frozen_postgres"], 1)
        yield from rng.sample(deaths, len(deaths))


def test_nothing_that_was_told_is_lost(stack, worker, key, model, ledger, silence, session, seed, tell):
    print(f"FAULT_SEED={seed}")
    rng = random.Random(seed)
    settings = {"llm_concurrency": PERMITS, "request_timeout": "30s", "database_timeout": f"{DATABASE_S}s"}
    workers = [worker(**settings) for _ in range(WORKERS)]
    torment = Torment(stack, workers, silence, rng)
    load = Load(
        ledger,
        place_of=lambda r: r.choice(workers).url,
        key=key,
        sessions=[f"{session} {n}" for n in range(SESSIONS)],
        seed=seed,
        gives_up=0.02,
    )
    killed = collections.Counter()
    began = time.monotonic()
    load.start(CALLERS)
    try:
        for victim in victims(rng):
            time.sleep(rng.uniform(0, 0.6 * PATIENCE))
            torment.kill(victim)
            killed[victim] += 1
            if sum(n for name, n in killed.items() if "frozen" not in name) == KILLS:
                break
        load.stop()
    except BaseException:
        load.abort()
        raise
    lasted = time.monotonic() - began
    close_what_was_left(stack, ledger, [f"127.0.0.1:{running.port}" for running in workers], hurries=not IS_LONG)

    counts = ledger.counts()
    tell(f"FAULT_SEED={seed}: {KILLS} kills in {lasted:.0f} s ({', '.join(f'{n} {v}' for v, n in killed.items())})")
    tell(f"{counts['answered']} acknowledged turns checked, {counts['failed']} told as failed, {counts['open']} left")
    ledger.check(stack)
    assert counts["answered"] > 5 * KILLS  # there was load all the time
    assert PERMITS <= model.stats()["high_water"] <= WORKERS * PERMITS
