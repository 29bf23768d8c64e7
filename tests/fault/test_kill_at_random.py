"""kill -9 of a worker, of PgBouncer, of PostgreSQL, or of one of PostgreSQL's processes, at random moments under load:
what a caller was told is in the database, once, in order.

FAULT_KILLS says how often (default 20), FAULT_SEED repeats a run's choices.
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
from lib.wait import until

KILLS = int(os.environ.get("FAULT_KILLS", "20"))
IS_LONG = KILLS >= 100
WORKERS, PERMITS = 2, 3
CALLERS, SESSIONS = 24, 12
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
        children = subprocess.check_output(["pgrep", "-P", str(self._stack.pid("postgres"))], text=True).split()
        os.kill(int(self._rng.choice(children)), signal.SIGKILL)
        until(self._database_answers, seconds=60)

    def _database_answers(self):
        try:
            return self._stack.value("SELECT 1")
        except psycopg2.OperationalError:
            return False

    def kill(self, victim):
        getattr(self, victim)()


def victims(rng):
    """Each as often as the others, in random order."""
    while True:
        yield from rng.sample(["worker", "pgbouncer", "postgres", "postgres_child", "worker", "pgbouncer"], 6)


def close_what_was_left(stack, ledger, workers):
    """Turns that nobody repeats are closed by the workers that live: 25 to 40 s after the last sign of the dead one. In
    a short run that time is made to pass."""
    alive = [f"127.0.0.1:{running.port}" for running in workers]
    latest = "SELECT DISTINCT ON (name) worker_id FROM hansard.workers WHERE name = ANY (%s) ORDER BY name, started_at DESC"
    dead = f"worker_id NOT IN ({latest})"

    def is_closed():
        if not IS_LONG:
            minute = "interval '1 minute'"
            stack.sql(f"UPDATE hansard.workers SET heartbeat_at = heartbeat_at - {minute} WHERE {dead}", alive)
            stack.sql(f"UPDATE hansard.workers SET lost_at = lost_at - {minute} WHERE {dead}", alive)
        return ledger.running(stack) == 0

    until(is_closed, seconds=60, every=0.2)


def test_nothing_that_was_told_is_lost(stack, worker, key, model, ledger, silence, session, seed, tell):
    print(f"FAULT_SEED={seed}")
    rng = random.Random(seed)
    workers = [worker(llm_concurrency=PERMITS, request_timeout="30s") for _ in range(WORKERS)]
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
            if killed.total() == KILLS:
                break
        load.stop()
    except BaseException:
        load.abort()
        raise
    lasted = time.monotonic() - began
    close_what_was_left(stack, ledger, workers)

    counts = ledger.counts()
    tell(f"FAULT_SEED={seed}: {KILLS} kills in {lasted:.0f} s ({', '.join(f'{n} {v}' for v, n in killed.items())})")
    tell(f"{counts['answered']} acknowledged turns checked, {counts['failed']} told as failed, {counts['open']} left")
    ledger.check(stack)
    assert counts["answered"] > 5 * KILLS  # there was load all the time
    assert PERMITS <= model.stats()["high_water"] <= WORKERS * PERMITS
