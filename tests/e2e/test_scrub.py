"""Scrubbing beside traffic: turns do not stand behind its locks."""

import concurrent.futures
import re
import secrets
import time

from lib.program import PATIENCE, hansard
from lib.wait import until

WAITS = "SELECT count(*) FROM pg_locks WHERE relation = %s::regclass AND mode = 'AccessExclusiveLock' AND NOT granted"
MOST_S = 0.25 * PATIENCE


def test_turns_go_on_while_it_waits(stack, caller, session):
    """Somebody reads the month for long: each time scrubbing asks for the table, it gives up before anybody minds."""
    caller.chat(session, "secret"), caller.erase(session)
    table = "hansard.messages_" + stack.value("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')")
    reader = stack.connect()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        try:
            reader.autocommit = False
            reader.cursor().execute(f"SELECT count(*) FROM {table}")
            scrub = pool.submit(hansard, "audit", "scrub", migrate_url=stack.migrate_url())
            slowest = 0
            for number in range(60):
                if number % 10 == 0:
                    until(lambda: stack.value(WAITS, table), every=0.002)
                began = time.monotonic()
                assert caller.chat(f"{session} {number % 5}", "hello").status == 200
                slowest = max(slowest, time.monotonic() - began)
            print(f"slowest turn: {1000 * slowest:.0f} ms")
            assert slowest < MOST_S
            assert not scrub.done()
        finally:
            reader.close()
        done = scrub.result()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"rewritten  {table}\n" in done.stdout
    assert hansard("audit", "scrub", migrate_url=stack.migrate_url()).stdout == "nothing was erased since the last time\n"


def test_a_month_that_is_dropped_meanwhile(stack):
    """While a table of it is waited for: the files of the others are gone as well, and all else is rewritten."""
    parts = ("conversations", "messages", "turns")
    for part in parts:
        stack.sql("SELECT hansard.make_partition(%s, '2020-03-01')", part)
    stack.sql("SELECT hansard.note_event('retention_applied', NULL, '{\"month\": \"202003\"}')")
    first = "hansard.conversations_202003"
    reader = stack.connect()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        try:
            reader.autocommit = False
            reader.cursor().execute(f"LOCK TABLE {first} IN ACCESS SHARE MODE")
            scrub = pool.submit(hansard, "audit", "scrub", migrate_url=stack.migrate_url())
            until(lambda: stack.value(WAITS, first), every=0.002)
            for part in parts[1:]:
                stack.sql(f"DROP TABLE hansard.{part}_202003")
        finally:
            reader.close()
        done = scrub.result()
    stack.sql(f"DROP TABLE IF EXISTS {first}")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == [f"rewritten  {first}", "dropped    hansard.messages_202003", "dropped    hansard.turns_202003"]
    assert "rewritten  hansard.webhooks" in lines


def test_samples_need_a_superuser(stack, record, caller, session):
    """What ANALYZE had kept: an owner who is none rewrites the tables, and is told; the superuser clears it."""
    caller.chat(session, "hello")
    role = f"keeper_{secrets.token_hex(6)}"
    stack.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'secret' IN ROLE hansard_owner")
    stack.sql("ALTER TABLE hansard.webhooks ALTER COLUMN url SET STATISTICS -1")
    (turn,) = record.turns(session)
    stack.sql("SELECT hansard.queue_webhook(%s, 1, 'https://sampled.example/')", turn.conversation)
    stack.sql("ANALYZE hansard.webhooks")
    stack.sql("SELECT hansard.keep_out_of_statistics()")
    assert caller.erase(session).status == 200
    url = re.sub(r"//[^@]+@", f"//{role}:secret@", stack.migrate_url())
    done = hansard("audit", "scrub", migrate_url=url)
    assert done.returncode == 1 and "superuser" in done.stderr
    assert "rewritten  hansard.webhooks\n" in done.stdout
    done = hansard("audit", "scrub", migrate_url=stack.migrate_url())
    assert (done.returncode, done.stdout) == (0, "rewritten  pg_catalog.pg_statistic\n")
    assert hansard("audit", "scrub", migrate_url=url).stdout == "nothing was erased since the last time\n"
    stack.sql(f"DROP ROLE {role}")
