"""What is done beside the turns: partitions, keys, and the settings of the roles that log in."""

import hashlib
import uuid

import psycopg2
from psycopg2.extensions import Binary
from stage.connection import Connection, watcher
from stage.tap import run, story
from stage.worker import Worker, new_session


def drop_last_month():
    """So that there are partitions to be made."""
    for parent in ("conversations", "turns", "messages"):
        (last,) = watcher().do(
            "SELECT max(inhrelid::regclass::text) AS name FROM pg_inherits WHERE inhparent = %s::regclass",
            f"hansard.{parent}",
        )
        watcher().do(f"DROP TABLE {last.name}")


MAKE = "SELECT hansard_api.make_partitions()"


@story("two make the partitions of a new month: one makes them, the other waits and finds them")
def two_make():
    a, b = Worker(), Worker()
    drop_last_month()
    assert a.begin().value(MAKE) == 3
    second = b.start(lambda: b.value(MAKE)).waits_for(a)
    a.commit()
    assert second.result() == 0


@story("the first of them is rolled back: the other makes them")
def make_rolled_back():
    a, b = Worker(), Worker()
    drop_last_month()
    assert a.begin().value(MAKE) == 3
    second = b.start(lambda: b.value(MAKE)).waits_for(a)
    a.rollback()
    assert second.result() == 3


@story("partitions are made while turns are opened and closed: neither waits for the other")
def make_beside_turns():
    a, b, c, session = Worker(), Worker(), Worker(), new_session()
    drop_last_month()
    turn = a.begin().accept(session)
    assert b.begin().value(MAKE) == 3
    assert c.accept(new_session()).outcome == "accepted"
    a.commit()
    assert a.finish(turn) == "finished"
    assert a.erase(session)["messages"] == 2
    b.commit()
    assert c.accept(new_session()).outcome == "accepted"


@story("two keys of one new user are added at once: one user, two keys")
def two_keys():
    a, b, user = Connection("postgres"), Connection("postgres"), str(uuid.uuid4())

    def add(connection, key):
        digest = Binary(hashlib.sha256(f"{user} {key}".encode()).digest())
        return connection.value("SELECT hansard_admin.add_key(%s, NULL, %s)", user, digest)

    a.begin()
    add(a, 1)
    second = b.start(lambda: add(b, 2)).waits_for(a)
    a.commit()
    assert second.result() == "free"
    assert watcher().value("SELECT count(*) FROM hansard_admin.list_keys() WHERE user_name = %s", user) == 2
    assert watcher().value("SELECT count(*) FROM hansard.users WHERE name = %s", user) == 1


@story("one key is revoked by two at once: one does it, and it is noted once")
def two_revocations():
    a, b, user = Connection("postgres"), Connection("postgres"), str(uuid.uuid4())
    digest = hashlib.sha256(user.encode())
    a.do("SELECT hansard_admin.add_key(%s, NULL, %s)", user, Binary(digest.digest()))
    revoke = "SELECT hansard_admin.revoke_key(%s)"
    assert a.begin().value(revoke, digest.hexdigest()[:16]) == user
    second = b.start(lambda: b.value(revoke, digest.hexdigest()[:16])).waits_for(a)
    a.commit()
    assert second.sqlstate() == "HS404"
    events = "SELECT count(*) FROM hansard.audit_events WHERE kind = 'key_revoked' AND detail ->> 'key_id' = %s"
    assert watcher().value(events, digest.hexdigest()[:16]) == 1


def refuses(cursor, *attempts):
    for attempt in attempts:
        try:
            cursor.execute(attempt)
        except psycopg2.errors.InsufficientPrivilege:
            continue
        raise AssertionError(f"it may: {attempt}")


@story("whoever logs in as a worker has the limits of its role, and may not raise itself")
def worker_login():
    login = psycopg2.connect(user="hansard_app")
    login.autocommit = True
    with login.cursor() as cursor:
        for setting, value in {
            "statement_timeout": "5s",
            "lock_timeout": "2s",
            "idle_in_transaction_session_timeout": "10s",
            "synchronous_commit": "on",
            "jit": "off",
        }.items():
            cursor.execute(f"SHOW {setting}")
            assert cursor.fetchone() == (value,), setting
        refuses(
            cursor,
            "SET ROLE hansard_owner",
            "SET ROLE postgres",
            "SET SESSION AUTHORIZATION postgres",
            "ALTER ROLE hansard_app SUPERUSER",
            "SELECT FROM hansard.sessions",
            "SELECT hansard.bury_worker(NULL)",
        )
    login.close()


@story("whoever logs in as an auditor may not raise itself either")
def auditor_login():
    login = psycopg2.connect(user="hansard_auditor")
    login.autocommit = True
    with login.cursor() as cursor:
        # It is read-only by a setting, which whoever logs in may change: it is the privileges that hold.
        cursor.execute("SET default_transaction_read_only = off")
        refuses(
            cursor,
            "SET ROLE hansard_owner",
            "SET ROLE hansard_app",
            "SELECT FROM hansard.messages",
            "SELECT hansard_api.make_partitions()",
            "CREATE TABLE hansard_audit.mine ()",
        )
    login.close()


run()
