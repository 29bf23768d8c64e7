"""An erasure that is too long for one step, and its worker dies between two: another one goes on."""

import time

from lib.client import Client, problem
from lib.lengthen import lengthen
from lib.program import PATIENCE
from lib.together import begin
from lib.wait import until

TURNS = 30000
BLANKED = "SELECT coalesce(sum(turns), 0) FROM hansard.erasures WHERE conversation_id = %s::uuid"
WORDS = """
SELECT count(*) FROM hansard.messages WHERE conversation_id = %s::uuid AND (text IS NOT NULL OR salt IS NOT NULL)
"""


def test_killed_between_two_steps(stack, worker, tell):
    running = worker()
    caller = Client(running.url, stack.add_key("who is to be forgotten", "unlimited"))
    assert caller.chat("left", "secret").status == 200
    conversation = lengthen(stack, "left", TURNS)
    begin(caller.erase, "left")
    blanked = until(lambda: stack.value(BLANKED, conversation))
    running.kill()
    left = stack.value(WORDS, conversation)
    assert 0 < left < 2 * TURNS

    other = worker()
    caller = Client(other.url, caller.key)
    assert problem(caller.read("left")) == (404, "not_found"), "nobody reads what is left"
    assert caller.get("/conversations").json["conversations"] == []
    assert caller.chat("left", "anew").turn == 1, "the session is free"
    stack.sql("UPDATE hansard.erasures SET step_at = step_at - interval '30 seconds'")
    until(lambda: stack.value(WORDS, conversation) == 0, seconds=60)
    until(lambda: stack.value("SELECT count(*) = 0 FROM hansard.erasures"))
    turns, requests, steps = stack.sql(
        "SELECT sum((detail ->> 'turns')::int), count(DISTINCT request_id) AS requests, count(*) AS steps"
        " FROM hansard.audit_events WHERE detail -> 'conversation_ids' ? %s",
        conversation,
    )[0]
    assert (turns, requests) == (TURNS, 1)
    assert caller.read("left").json["turns"][0]["messages"][0]["content"] == "anew", "what was said since is left alone"
    tell(f"killed after {blanked} of {TURNS} turns; {steps} steps in all")


def test_stopped_between_two_steps(stack, worker):
    """It says so and ends at once; the rest is another's."""
    running = worker()
    caller = Client(running.url, stack.add_key("whose worker stops", "unlimited"))
    assert caller.chat("stopped", "secret").status == 200
    conversation = lengthen(stack, "stopped", TURNS)
    erasure = begin(caller.erase, "stopped")
    until(lambda: stack.value(BLANKED, conversation))
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 3 * PATIENCE, "nobody waits for the rest"
    assert problem(erasure.result()) == (503, "draining")
    answer = Client(worker().url, caller.key).erase("stopped")
    assert answer.json["erased"]["turns"] == TURNS


def test_asked_for_again(stack, worker):
    """Whoever repeats his DELETE, for it was never answered, gets the counts of the whole."""
    running = worker()
    caller = Client(running.url, stack.add_key("who asks again", "unlimited"))
    assert caller.chat("again", "secret").status == 200
    conversation = lengthen(stack, "again", TURNS)
    begin(caller.erase, "again")
    until(lambda: stack.value(BLANKED, conversation))
    running.kill()
    answer = Client(worker().url, caller.key).erase("again")
    assert answer.json["erased"] == {"conversations": 1, "turns": TURNS, "messages": 2 * TURNS, "cancelled": 0}
    assert stack.value(WORDS, conversation) == 0
