"""An operator erases a user or a session from the command line, is asked first, and is told what went."""

import subprocess

import pytest

from lib.client import problem
from lib.program import HANSARD, PATIENCE, clean_environment, hansard

WORDS = "SELECT count(*) FROM hansard.messages WHERE text LIKE '%%' || %s || '%%'"


def erase(stack, *words, typed=None):
    return subprocess.run(
        [HANSARD, "audit", "erase", *words],
        env={**clean_environment(), "HANSARD_MIGRATE_URL": stack.migrate_url()},
        **({"stdin": subprocess.DEVNULL} if typed is None else {"input": typed}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * PATIENCE,
    )


def counts(done):
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return {name: int(number) for name, number in (line.split() for line in done.stdout.splitlines())}


def test_user(stack, caller, user, stranger, session):
    """All of his sessions; he may go on."""
    for number in range(3):
        caller.chat(f"{session} {number}", f"secret {session}")
    caller.chat(f"{session} 0", "more")
    stranger.chat(session, f"{session} of another")
    assert stack.value(WORDS, f"secret {session}") == 6
    done = erase(stack, "--user", user, "--yes")
    assert counts(done) == {"conversations": 3, "turns": 4, "messages": 8, "cancelled": 0}
    assert stack.value(WORDS, f"secret {session}") == 0
    assert stack.value(WORDS, f"{session} of another") == 2
    assert caller.get("/conversations").json["conversations"] == []
    assert caller.chat(f"{session} 0", "again").turn == 1
    (event,) = stack.sql(
        "SELECT e.detail FROM hansard.audit_events e JOIN hansard.users u USING (user_id)"
        " WHERE u.name = %s AND e.kind = 'user_erased'",
        user,
    )
    assert event.detail == {"conversations": 3, "account": False, "by": "postgres"}


def test_many_turns_go_in_parts(stack, caller, user, session):
    for number in range(3):
        caller.chat(f"{session} {number}", "hello")
    stack.sql(
        "INSERT INTO hansard.turns SELECT t.conversation_id, n, 'completed', 'k' || n, t.fingerprint, t.request_id, 'x',"
        " t.worker_id, 1, 1, t.accepted_at, NULL, t.finished_at, 'demo', 1, 1, NULL FROM hansard.turns t"
        " JOIN hansard.conversations c USING (conversation_id) JOIN hansard.users u USING (user_id),"
        " generate_series(2, 600) n WHERE u.name = %s",
        user,
    )
    done = erase(stack, "--user", user, "--yes")
    assert counts(done) == {"conversations": 3, "turns": 1800, "messages": 6, "cancelled": 0}
    parts = stack.value(
        "SELECT count(*) FROM hansard.audit_events e JOIN hansard.users u USING (user_id)"
        " WHERE u.name = %s AND e.kind = 'conversation_erased'",
        user,
    )
    assert parts == 3


def test_with_the_account(stack, caller, user, session):
    """It takes 6 s: as long as a message that was let in before the keys were revoked may be on its way."""
    caller.chat(session, "secret")
    assert counts(erase(stack, "--user", user, "--account", "--yes"))["messages"] == 2
    assert problem(caller.chat(session, "again")) == (401, "unauthorized")
    assert user not in stack.keys("list").stdout
    again = erase(stack, "--user", user, "--yes")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f'hansard: audit erase: there is no user "{user}"\n'


def test_session(stack, caller, user, stranger, session):
    caller.chat(session, "hers"), stranger.chat(session, "nobody's"), caller.chat(f"{session} other", "hers, too")
    assert counts(erase(stack, "--session", session, "--yes")) == {
        "conversations": 1,
        "turns": 1,
        "messages": 2,
        "cancelled": 0,
    }
    assert problem(stranger.read(session)) == (404, "not_found")
    assert caller.read(session).json["turns"][0]["messages"][0]["content"] == "hers"
    counts(erase(stack, "--user", user, "--session", session, "--yes"))
    assert problem(caller.read(session)) == (404, "not_found")
    assert caller.read(f"{session} other").status == 200
    again = erase(stack, "--session", session, "--yes")
    assert (again.returncode, again.stdout) == (1, "")
    assert session in again.stderr


def test_it_asks_first(stack, caller, user, session):
    caller.chat(session, "kept for now")
    for typed in ("", "no\n", "y\n", "yes", None):
        done = erase(stack, "--user", user, typed=typed)
        assert (done.returncode, done.stdout) == (1, "")
        assert f'"{user}"' in done.stderr and "nothing was erased" in done.stderr
    assert caller.read(session).status == 200
    done = erase(stack, "--user", user, typed="yes\n")
    assert done.returncode == 0 and "messages       2\n" in done.stdout
    assert problem(caller.read(session)) == (404, "not_found")


@pytest.mark.parametrize(
    "words",
    [
        ["--yes"],
        ["--user"],
        ["--session"],
        ["--account", "--yes"],
        ["--session", "s", "--account", "--yes"],
        ["--user", "u", "--everything"],
        ["u"],
    ],
)
def test_misuse(stack, words):
    done = erase(stack, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "hansard audit erase --help" in done.stderr


def test_scrub_takes_no_words(stack):
    done = hansard("audit", "scrub", "now", migrate_url=stack.migrate_url())
    assert (done.returncode, done.stdout) == (2, "")


def test_help():
    assert "export" in hansard("audit", "--help").stdout
    assert "--account" in hansard("audit", "erase", "--help").stdout
    assert hansard("audit").returncode == 2
