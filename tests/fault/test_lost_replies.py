"""Lost replies: the connection to the database breaks between commit and reply, or before the call has arrived. The
worker asks again and finds out what happened; its callers notice nothing."""

import re

import pytest

from lib.client import problem
from lib.proxy import Proxy
from lib.together import together

STEPS = ("accept_turns", "finish_turns")
CROWD = 24


@pytest.fixture
def proxy(stack):
    between = Proxy(int(stack.environment["POOLER_PORT"]))
    yield between
    between.close()


@pytest.fixture
def behind(stack, worker, proxy):
    """behind(lanes=1): a worker that reaches PgBouncer through the proxy."""
    direct = stack.environment["HANSARD_DATABASE_URL"]
    url = re.sub(r":\d+/", f":{proxy.port}/", direct)
    assert url != direct
    return lambda **settings: worker(database_url=url, **settings)


def break_calls(proxy, what, step, times):
    getattr(proxy, f"lose_{what}")(step, times)


@pytest.mark.parametrize("what", ["replies", "calls"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("times", [1, 3])
def test_one(record, behind, proxy, limited, model, session, step, what, times):
    client = limited(1, 9).at(behind())
    words = f"{session} words"
    break_calls(proxy, what, step, times)
    answer = client.chat(session, words)
    assert proxy.is_done()
    assert (answer.turn, answer.text) == (1, f"echo 1: {words}")
    assert answer.headers["Idempotent-Replayed"] is None
    (turn,) = record.turns(session)
    assert (turn.state, turn.attempt, turn.said) == ("completed", 1, [words, answer.text])
    assert len(model.calls(words)) == 1
    after = client.chat(session, "and then")
    assert (after.turn, after.text, after.remaining) == (2, "echo 3: and then", 9 - 2)


@pytest.mark.parametrize("what", ["replies", "calls"])
@pytest.mark.parametrize("step", STEPS)
def test_crowd(stack, ledger, behind, proxy, caller, model, session, step, what):
    """Whole batches; two questions to each session, so that some are refused in the same batch."""
    client = caller.at(behind())
    promises = [ledger.ask(f"{session} {n % (CROWD // 2)}", f"{n}", f"[[delay {n % 5 * 9}]] {n}") for n in range(CROWD)]
    break_calls(proxy, what, step, 4)
    answers = together([lambda p=p: client.chat(p.session, p.words, key=p.key) for p in promises])
    assert proxy.is_done()
    for promise, answer in zip(promises, answers, strict=True):
        ledger.answered(promise, answer)
    ledger.check(stack)
    assert model.stats()["calls"] == CROWD


@pytest.mark.parametrize("step", STEPS)
def test_reply_that_does_not_come(record, behind, proxy, caller, model, session, step):
    """The worker's patience ends; it asks again on another connection. A late reply reaches nobody."""
    client = caller.at(behind(database_timeout="300ms"))
    proxy.hold_reply(step)
    answer = client.chat(session, "x", key="k")
    assert proxy.has_whole_reply.is_set()
    if step == "accept_turns":
        # For the caller that was too long; but it was stored, and is brought to its end.
        assert problem(answer) == (503, "database_unavailable")
        answer = client.chat(session, "x", key="k")
    proxy.released.set()
    assert (answer.turn, answer.text) == (1, "echo 1: x")
    assert record.messages(session) == [("user", "x"), ("assistant", "echo 1: x")]
    assert client.chat(session, "y").text == "echo 3: y"
    assert len(model.calls("x")) == 1
