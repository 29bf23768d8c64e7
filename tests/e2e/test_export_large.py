"""Export of much: it takes no more memory than a little does, holds nothing in the database, and says so when it breaks off."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess

import pytest

from lib.evidence import Evidence
from lib.program import HANSARD, PATIENCE, SANITIZER, clean_environment, hansard, settings_environment
from lib.wait import until

KIB = 1024
MORE_TURNS = """
WITH t AS (
    INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, attempt, accepted_at,
                               finished_at)
    SELECT %s, n, 'completed', 'key ' || n, '', gen_random_uuid(), 1, now(), now() FROM generate_series(2, %s) AS n
    RETURNING conversation_id, turn_no
)
INSERT INTO hansard.messages (conversation_id, turn_no, position, role, text, created_at, salt, text_hash, chain_hash)
SELECT t.conversation_id, t.turn_no, p, (ARRAY['user', 'assistant'])[p]::hansard.message_role, 'said ' || t.turn_no, now(),
       '', '', ''
FROM t, generate_series(1, 2) AS p"""


@pytest.fixture(scope="module")
def database(stack):
    database = Evidence(stack)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def holder(database):
    """holder(conversations, turns): the name of a new user who has them, and their ids."""

    def make(conversations, turns):
        user = f"user {secrets.token_hex(4)}"
        assert hansard("keys", "add", user, migrate_url=database.migrate_url).returncode == 0
        owner = database.value("SELECT user_id FROM hansard.users WHERE name = %s", user)
        return user, database.fill(conversations, turns, owner=owner)

    return make


class Export:
    """An export under way, whose reader we are."""

    def __init__(self, database, user, **how):
        environment = {**clean_environment(), **settings_environment({"migrate_url": database.migrate_url})}
        self._child = subprocess.Popen(
            [HANSARD, "audit", "export", "--user", user],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **how,
        )
        self.peak = 0  # of its memory, in bytes, while it ran

    def read(self, most=64 * KIB):
        found = os.read(self._child.stdout.fileno(), most)
        status = re.search(r"^VmHWM:\s+(\d+) kB", self._status(), re.MULTILINE)
        self.peak = int(status[1]) * KIB if status else self.peak
        return found

    def _status(self):
        with open(f"/proc/{self._child.pid}/status", encoding="ascii") as file:
            return file.read()

    def is_blocked(self):
        """By us, who do not read."""
        with open(f"/proc/{self._child.pid}/wchan", encoding="ascii") as file:
            return "pipe" in file.read()

    def rest(self):
        return b"".join(iter(self.read, b""))

    def turn_away(self):
        self._child.stdout.close()

    def end(self):
        """Exit code, and what it said."""
        _, err = self._child.communicate(timeout=60 * PATIENCE)
        return self._child.returncode, err.decode()


@pytest.fixture
def export(database):
    with contextlib.ExitStack() as ends:

        def start(user, **how):
            one = Export(database, user, **how)
            ends.callback(one.end)
            ends.callback(one.turn_away)
            return one

        yield start


def whole(database, user):
    """How many turns, how many bytes the longest line had, and the peak of memory."""
    one = Export(database, user)
    turns = longest = 0
    left = b""
    for part in iter(one.read, b""):
        *lines, left = (left + part).split(b"\n")
        turns += len(lines)
        longest = max([longest, *map(len, lines)])
    assert left == b""
    assert one.end() == (0, "")
    return turns, longest, one.peak


@pytest.mark.skipif(bool(SANITIZER), reason="the sanitizers' own memory is what would be measured")
def test_memory_does_not_grow(database, holder):
    few, _ = holder(220, 5)
    many, _ = holder(22300, 5)
    long, (talk,) = holder(1, 1)
    database.sql(MORE_TURNS, talk, 50000)
    large, ids = holder(10, 1)
    database.sql("UPDATE hansard.messages SET text = repeat('\x01ü', 350000) WHERE conversation_id = ANY (%s::uuid[])", ids)
    turns, _, least = whole(database, few)
    assert turns == 1100
    for user, expected in ((many, 111500), (long, 50000)):
        turns, _, peak = whole(database, user)
        assert turns == expected
        assert peak < least + 2048 * KIB, (peak, least)
    # Of large messages it has one turn at a time, and libpq's room for it.
    turns, longest, peak = whole(database, large)
    assert turns == 10 and longest > 5000000
    assert peak < least + 4 * longest, (peak, least)


@pytest.fixture(scope="module")
def much(holder):
    """A user with more than a pipe holds."""
    user, _ = holder(2000, 2)
    return user


def lines_of(text):
    """All of them whole."""
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def test_a_slow_reader_holds_up_nobody(database, much, export):
    """While nobody reads, there is no transaction, and no snapshot."""
    slow = export(much)
    begun = slow.read()
    until(slow.is_blocked)
    mine = "SELECT state, xact_start, backend_xmin FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    assert [tuple(row) for row in database.sql(mine)] == [("idle", None, None)]
    assert len(lines_of(begun + slow.rest())) == 4000
    assert slow.end() == (0, "")


def test_a_reader_who_leaves(much, export):
    """As any program in a pipe; and where that signal is ignored, with an error that tells no secrets."""
    left = export(much)
    left.read()
    left.turn_away()
    assert left.end() == (-signal.SIGPIPE, "")
    left = export(much, restore_signals=False)
    left.read()
    left.turn_away()
    code, err = left.end()
    assert code == 1
    assert re.fullmatch(
        r"hansard: audit export: cannot write: Broken pipe\nhansard: audit export: unfinished: no more than \d+ turns were written\n",
        err,
    )


def lose(database):
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")


def test_a_connection_that_is_lost(database, much, export):
    """It connects anew and goes on where it was."""
    cut = export(much)
    begun = cut.read()
    until(cut.is_blocked)
    lose(database)
    lines = lines_of(begun + cut.rest())
    assert cut.end() == (0, "")
    assert len({(line["conversation_id"], line["turn"]) for line in lines}) == len(lines) == 4000


def test_a_database_that_is_away(stack, database, much, export):
    """It says that it is unfinished, and all that it wrote is whole."""
    cut = export(much)
    begun = cut.read()
    until(cut.is_blocked)
    stack.sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
    try:
        stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", database.name)
        lines = lines_of(begun + cut.rest())
        code, err = cut.end()
    finally:
        stack.sql(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
    assert code == 1
    assert re.fullmatch(
        r"hansard: audit export: cannot connect to the database: closed\n"
        rf"hansard: audit export: unfinished: no more than {len(lines)} turns were written\n",
        err,
    )
    assert 0 < len(lines) < 4000
