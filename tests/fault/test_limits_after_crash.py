"""Limits after a crash of PostgreSQL: the counters are lost, on purpose, and the service works on: at most one burst
more. A clean restart keeps them. A worker that has refused a caller remembers it; so the database is asked by another."""

import os
import signal
import subprocess

import psycopg2

from lib.client import problem
from lib.wait import until

PER_MINUTE, BURST = 1, 5
ATTEMPTS = BURST + 3


def admitted(client, session, attempts=ATTEMPTS):
    """How many of the turns were let in; the others were refused for the limit and nothing else."""
    answers = [client.chat(session, "x") for _ in range(attempts)]
    refused = [answer for answer in answers if answer.status != 200]
    assert {problem(answer) for answer in refused} <= {(429, "rate_limited")}
    return attempts - len(refused)


def counters(stack):
    return stack.value("SELECT count(*) FROM hansard.rate_limits")


def is_stopped(stack, part):
    return stack.do("pid", part, check=False) == ""


def test_immediate_stop_gives_one_burst_more(stack, record, limited, worker, session):
    client = limited(PER_MINUTE, BURST).at(worker())
    assert admitted(client, session) == BURST
    stack.kill("postgres", "QUIT")  # immediate: no checkpoint, recovery at the start
    until(lambda: is_stopped(stack, "postgres"))
    stack.start("postgres")
    assert counters(stack) == 0
    assert admitted(client.at(worker()), session) == BURST
    assert admitted(client, session) == 0
    assert record.states(session) == ["completed"] * 2 * BURST


def test_crash_of_one_process_gives_one_burst_more(stack, record, limited, worker, session):
    """PostgreSQL ends all sessions and recovers by itself."""
    client = limited(PER_MINUTE, BURST).at(worker())
    assert admitted(client, session) == BURST
    before = stack.value("SELECT pg_postmaster_start_time()")
    child = subprocess.check_output(["pgrep", "-P", str(stack.pid("postgres"))], text=True).split()[0]
    os.kill(int(child), signal.SIGKILL)

    def has_recovered():
        try:
            return counters(stack) == 0
        except psycopg2.DatabaseError:
            return False

    until(has_recovered, seconds=30)
    assert stack.value("SELECT pg_postmaster_start_time()") == before  # only its children are new
    assert admitted(client.at(worker()), session) == BURST
    assert admitted(client, session) == 0
    assert record.states(session) == ["completed"] * 2 * BURST


def test_clean_restart_keeps_them(stack, record, limited, worker, session):
    client = limited(PER_MINUTE, BURST).at(worker())
    assert admitted(client, session) == BURST
    stack.stop("postgres")
    stack.start("postgres")
    assert admitted(client.at(worker()), session) == 0
    assert record.states(session) == ["completed"] * BURST
