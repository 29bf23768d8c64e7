"""The database is away: stopped, killed or frozen, PostgreSQL or PgBouncer. Callers are told in time and truly; what
the model has said is kept until it can be written; the service is back by itself as soon as the database is."""

import time

import pytest

from lib.client import problem
from lib.metrics import scrape
from lib.program import PATIENCE
from lib.together import begin, together
from lib.wait import until

TIMEOUT_S = 2 * PATIENCE
BACK_S = 2
UNREADY_S = 12
CROWD = 10
THINKING_MS = 1500  # time enough to stop a part
PARTS = ("postgres", "pgbouncer")


@pytest.fixture(scope="module")
def stack_settings():
    # As in the real settings, a pooler without a server says so before the worker's patience ends.
    return {"PGBOUNCER_CONF": f"query_wait_timeout = {PATIENCE}"}


@pytest.fixture
def running(worker):
    return worker(database_timeout=f"{TIMEOUT_S}s")


def timed(call, *words, **options):
    """The answer, and how long it took."""
    began = time.monotonic()
    answer = call(*words, **options)
    return answer, time.monotonic() - began


def check_refused_in_time(answer, seconds):
    assert problem(answer) == (503, "database_unavailable")  # with Retry-After
    assert seconds < TIMEOUT_S + 1


def check_crowd_refused_in_time(client, session):
    """Many at once, each in a session of its own, under the key "k"."""
    posts = [lambda n=n: timed(client.chat, f"{session} {n}", "x", key="k") for n in range(CROWD)]
    for answer, seconds in together(posts):
        check_refused_in_time(answer, seconds)
    check_refused_in_time(*timed(client.read, session))


def is_ready(client):
    return client.get("/readyz").status == 200


def is_back(client, session):
    """The first turn of another session."""
    answer = client.chat(f"{session} back", "x", key="k")
    assert answer.status == 200 or problem(answer) == (503, "database_unavailable")
    return answer.status == 200


def check_back_in_time(client, session):
    until(lambda: is_back(client, session), seconds=BACK_S)
    until(lambda: is_ready(client), seconds=BACK_S)


def is_settled(running):
    metrics = scrape(running)
    return [metrics.get(f"hansard_{name}") for name in ("turns_open", "lane_waiting", "finish_unwritten")] == [0, 0, 0]


@pytest.mark.parametrize("part", PARTS)
def test_stopped(stack, record, limited, running, model, session, part):
    client = limited(1, 2 * CROWD).at(running)
    assert client.chat(session, "before").turn == 1
    stack.stop(part)
    began = time.monotonic()
    check_crowd_refused_in_time(client, session)
    until(lambda: not is_ready(client), UNREADY_S)
    told = client.get("/readyz")
    assert told.status == 503 and told.json["database"] is False and int(told.headers["Retry-After"]) >= 1
    assert client.get("/livez").status == 200
    if time.monotonic() - began < TIMEOUT_S + 4:
        check_crowd_refused_in_time(client, session)

    stack.start(part)
    check_back_in_time(client, session)
    # Nothing of what was refused is stored, was asked or has cost quota: not even later.
    until(lambda: is_settled(running))
    assert [record.turns(f"{session} {n}") for n in range(CROWD)] == [[]] * CROWD
    assert len(model.calls("x")) == 1
    answer = client.chat(f"{session} 0", "x", key="k")
    assert (answer.turn, answer.headers["Idempotent-Replayed"]) == (1, None)
    assert answer.remaining == 2 * CROWD - 3


@pytest.mark.parametrize("part", PARTS)
def test_frozen(stack, record, limited, running, model, session, part):
    """Whether a question was stored cannot be known then. A repeat finds out: it is one turn, asked once, paid once."""
    client = limited(1, 2 * CROWD).at(running)
    assert client.chat(session, "before").turn == 1
    stack.kill(part, "STOP")
    check_crowd_refused_in_time(client, session)
    stack.kill(part, "CONT")
    check_back_in_time(client, session)

    answers = together([lambda n=n: client.chat(f"{session} {n}", "x", key="k") for n in range(CROWD)])
    assert [(answer.turn, answer.text) for answer in answers] == [(1, "echo 1: x")] * CROWD
    until(lambda: is_settled(running))
    assert [record.states(f"{session} {n}") for n in range(CROWD)] == [["completed"]] * CROWD
    assert len(model.calls("x")) == CROWD + 1
    assert client.chat(session, "after").remaining == 2 * CROWD - (CROWD + 3)


def is_answered(model):
    """Has the model said what it had to say?"""
    stats = model.stats()
    return stats["calls"] > 0 and stats["in_flight"] == 0


@pytest.mark.parametrize("how", ["stop postgres", "kill postgres", "kill pgbouncer"])
def test_restart_while_the_model_thinks(stack, record, caller, running, model, session, how):
    """The answer comes while the database is away. It is written, and its caller gets it."""
    verb, part = how.split()
    client = caller.at(running)
    words = f"[[delay {THINKING_MS}]] x"
    post = begin(client.chat, session, words)
    until(lambda: model.stats()["in_flight"] == 1)
    getattr(stack, verb)(part)
    until(lambda: is_answered(model))
    assert not post.done()
    stack.start(part)
    answer = post.result()
    assert (answer.turn, answer.text) == (1, f"echo 1: {words}")
    (turn,) = record.turns(session)
    assert (turn.state, turn.attempt, turn.said) == ("completed", 1, [words, answer.text])
    assert len(model.calls(words)) == 1
    until(lambda: is_settled(running))


def test_answer_outlives_its_callers_patience(stack, record, caller, worker, model, session):
    """The caller is told; the answer is kept until it can be written, and is there for his repeat."""
    patience = 4 * PATIENCE
    running = worker(database_timeout=f"{TIMEOUT_S}s", request_timeout=f"{patience}s")
    client = caller.at(running)
    words = f"[[delay {THINKING_MS}]] x"
    post = begin(timed, client.chat, session, words, key="k")
    until(lambda: model.stats()["in_flight"] == 1)
    stack.stop("postgres")
    answer, seconds = post.result()
    assert problem(answer) == (503, "database_unavailable")
    assert patience - 0.5 < seconds < patience + 1
    assert scrape(running).get("hansard_finish_unwritten") == 1
    stack.start("postgres")
    until(lambda: is_settled(running), seconds=BACK_S)
    assert record.states(session) == ["completed"]
    again = client.chat(session, words, key="k")
    assert (again.turn, again.headers["Idempotent-Replayed"]) == (1, "true")
    assert len(model.calls(words)) == 1
