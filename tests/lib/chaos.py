"""Chaos: every second something is done to one part of a stack, by a plan that grows from a seed.

Parts are tormented side by side: while PostgreSQL starts again, a worker may die. Whoever was killed is started again.
"""

import collections
import contextlib
import dataclasses
import os
import random
import signal
import time

import psycopg2

from lib.program import PATIENCE
from lib.together import begin
from lib.wait import until

WORKER_KILLED, WORKER_FROZEN, WORKER_LOST = "workers killed", "workers frozen", "workers frozen until they were lost"
WORKER_DRAINED = "workers drained"
POOLER, DATABASE = "restarts of PgBouncer", "crashes of PostgreSQL"
MODEL_FAILS, MODEL_STALLS, MODEL_AWAY = "failures of the model", "stalls of the model", "absences of the model"
OF_WORKERS = (WORKER_KILLED, WORKER_FROZEN, WORKER_LOST, WORKER_DRAINED)
OFTEN = (WORKER_KILLED, WORKER_FROZEN, POOLER, DATABASE, MODEL_FAILS, MODEL_STALLS, MODEL_AWAY)
SELDOM = (WORKER_LOST, WORKER_DRAINED)  # they take long
# From, to: how long it lasts, in seconds; what is not here is over at once.
LASTS = {
    WORKER_FROZEN: (0.1, 3),
    WORKER_LOST: (16, 20),  # longer than others are patient
    WORKER_DRAINED: (5, 10),  # as long as it takes
    MODEL_FAILS: (0.2, 2),
    MODEL_STALLS: (0.5, 4),
    MODEL_AWAY: (0.2, 2),
}
# How long a part is left alone after that: it has to start, PostgreSQL to recover, and there has to be some work to disturb.
RESTS_S = {"pgbouncer": 3, "postgres": 10, "model": 1}
WORKER_RESTS_S = 2
LONG_S = 60  # a run that has time for what happens seldom
# So many of the workers that die or stand still are dead for others at once, not only when their patience has ended.
HASTE = 0.6


@dataclasses.dataclass(frozen=True)
class Event:
    at: float
    kind: str
    part: str
    lasts: float
    hurries: bool
    status: int  # of a model that fails
    every: int  # so-manieth call to it


def _parts(kind, workers):
    if kind in OF_WORKERS:
        return workers
    return [{POOLER: "pgbouncer", DATABASE: "postgres"}.get(kind, "model")]


def plan(seed, seconds, workers):
    """An event a second, none for a part that is still busy with the last one; one of the workers is always left alone."""
    rng = random.Random(f"plan {seed}")
    busy_until = collections.Counter()
    events, deck = [], []

    def fitting(at):
        for kind in deck:
            parts = _parts(kind, workers)
            free = [part for part in parts if busy_until[part] <= at]
            if len(free) > (len(parts) > 1):
                return kind, free
        return None

    for second in range(seconds):
        at = second + rng.random()
        found = fitting(at)
        if not found:
            deck += rng.sample(OFTEN * 2, 2 * len(OFTEN))
            if seconds >= LONG_S:
                deck += SELDOM
            found = fitting(at)
        if found:
            kind, free = found
            deck.remove(kind)
            lasts = rng.uniform(*LASTS.get(kind, (0, 0)))
            part = rng.choice(free)
            busy_until[part] = at + lasts + RESTS_S.get(part, WORKER_RESTS_S)
            model = (rng.choice([429, 500, 503]), rng.choice([1, 2, 3]))
            events.append(Event(at, kind, part, lasts, rng.random() < HASTE, *model))
    return events


class Chaos:
    def __init__(self, stack, model, addresses):
        """addresses: of workers, by the names of their parts, which are their keys at the model, too."""
        self._stack, self._model, self._addresses = stack, model, addresses
        self._free = {}  # the last event of a part
        self.survived = collections.Counter()

    def run(self, events):
        """Returns when all have ended and everybody runs."""
        began = time.monotonic()
        for event in events:
            time.sleep(max(0, began + event.at * PATIENCE - time.monotonic()))
            self._free[event.part] = begin(self._do, event, self._free.get(event.part))
        for last in self._free.values():
            last.result()

    def _do(self, event, before):
        if before:
            before.result()  # it took longer than was planned
        {
            WORKER_KILLED: self._kill_worker,
            WORKER_FROZEN: self._freeze_worker,
            WORKER_LOST: self._freeze_worker,
            WORKER_DRAINED: self._drain_worker,
            POOLER: self._restart_pooler,
            DATABASE: self._crash_database,
        }.get(event.kind, self._torment_model)(event)
        self.survived[event.kind] += 1

    def start_worker(self, part):
        """As a supervisor would: again and again."""
        until(lambda: self._starts(part), seconds=60, every=0.2)

    def _starts(self, part):
        with contextlib.suppress(RuntimeError):
            self._stack.start(part, llm_api_key=part)
            return True

    def _silence(self, event):
        """As if nothing had been heard of the worker for a minute; in vain while the database is away."""
        if event.hurries:
            with contextlib.suppress(psycopg2.DatabaseError):
                self._stack.sql(
                    "UPDATE hansard.workers SET heartbeat_at = heartbeat_at - interval '1 minute' WHERE name = %s",
                    self._addresses[event.part],
                )

    def _kill_worker(self, event):
        """Frozen first, so that none of its calls ends between their being counted and its death."""
        os.kill(self._stack.pid(event.part), signal.SIGSTOP)
        self._model.haunt(event.part)
        self._stack.kill(event.part)
        self._silence(event)
        self.start_worker(event.part)

    def _freeze_worker(self, event):
        pid = self._stack.pid(event.part)
        os.kill(pid, signal.SIGSTOP)
        try:
            self._silence(event)
            time.sleep(event.lasts)
        finally:
            os.kill(pid, signal.SIGCONT)

    def _drain_worker(self, event):
        self._stack.stop(event.part)
        self.start_worker(event.part)

    def _restart_pooler(self, event):
        self._stack.stop(event.part)
        self._stack.start(event.part)

    def _crash_database(self, event):
        """pg_ctl stop -m immediate, and start."""
        pid = self._stack.pid(event.part)
        os.kill(pid, signal.SIGQUIT)
        until(lambda: not self._stack.is_running(event.part), seconds=30)
        self._stack.start(event.part)

    def _torment_model(self, event):
        self._model.trouble({MODEL_STALLS: "stall", MODEL_AWAY: "away"}.get(event.kind, event.status), event.every)
        time.sleep(event.lasts)
        self._model.set("well")
