"""Forgotten: what was erased is not in the data files either, once they were scrubbed.

The cluster is stopped and its files are searched for the very bytes. The log of changes (pg_wal) is apart: it holds
what was written until it is recycled; docs/retention.md says what that means, and what backups mean.
"""

import pathlib
import secrets

import pytest

from lib.client import Client
from lib.program import hansard


@pytest.fixture(scope="module")
def stack_settings():
    return {"PG_CONF": "autovacuum = off"}  # nothing is cleared away by chance


def files_with(folder, words):
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and "pg_wal" not in path.parts:
            content = path.read_bytes()
            found |= {f"{path.relative_to(folder)}: {word}" for word in words if word.encode() in content}
    return sorted(found)


def test_words_of_an_erased_user(stack, worker):
    """Short words in the rows, long ones beside them; the session's name, the key, the user's name."""
    mark = secrets.token_hex(12)
    words = {kind: f"{kind}-{mark}" for kind in ("short", "long", "session", "key", "user")}
    running = worker()
    caller = Client(running.url, stack.add_key(words["user"], "unlimited"))
    other = Client(running.url, stack.add_key("somebody else", "unlimited"))
    for number in range(20):
        asked = caller.chat(f"{words['session']} {number % 3}", f"{words['short']} {number}", f"{words['key']} {number}")
        assert asked.status == 200
        assert other.chat(f"s {number}", f"kept-{mark}").status == 200
    assert caller.chat(words["session"], words["long"] + secrets.token_hex(10000)).status == 200
    folder = pathlib.Path(stack.value("SHOW data_directory"))
    stack.sql("ANALYZE"), stack.sql("CHECKPOINT")
    seen = "\n".join(files_with(folder, words.values()))
    assert all(word in seen for word in words.values()), "the search finds what is there"

    erased = hansard("audit", "erase", "--user", words["user"], "--account", "--yes", migrate_url=stack.migrate_url())
    assert erased.returncode == 0, erased.stderr
    stack.sql("VACUUM"), stack.sql("ANALYZE")
    scrubbed = hansard("audit", "scrub", migrate_url=stack.migrate_url())
    assert scrubbed.returncode == 0, scrubbed.stderr
    assert scrubbed.stdout.count("rewritten") == 2  # this month, and the tables without months
    again = hansard("audit", "scrub", migrate_url=stack.migrate_url())
    assert again.stdout == "nothing was erased since the last time\n"
    stack.sql("CHECKPOINT")
    stack.stop("postgres")
    assert files_with(folder, words.values()) == []
    assert files_with(folder, [f"kept-{mark}"]) != [], "the words of others are there"
