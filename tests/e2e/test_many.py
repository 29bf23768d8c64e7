"""Many: thousands of slow turns open at once on one worker, none fails, and each costs little memory."""

import asyncio
import json
import resource

import aiohttp
import pytest

from lib.metrics import scrape
from lib.program import SANITIZER

TURNS = 300 if SANITIZER else 5000
DELAY_MS = 5000
MOST_BYTES_EACH = 64 * 1024


@pytest.fixture
def many_files():
    """A socket a turn, for us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < TURNS + 500:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def post_all(client, session, words, count):
    """[(status, turn or code)] of count turns, each of a session and a connection of its own, all begun at once."""
    headers = {"Authorization": f"Bearer {client.key}"}
    timeout = aiohttp.ClientTimeout(total=client.timeout)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True), headers=headers, timeout=timeout
    ) as http:

        async def post(number):
            body = {"session_id": f"{session} {number}", "message": words}
            async with http.post(f"{client.url}/chat", data=json.dumps(body)) as answer:
                told = await answer.json(content_type=None)
                return answer.status, told.get("turn", told.get("code"))

        return await asyncio.gather(*(post(number) for number in range(count)))


def test_many_slow_turns_at_once(stack, caller, worker, model, session, many_files):
    running = worker(llm_concurrency=6000, connections=10000)
    at = caller.at(running)
    asyncio.run(post_all(at, f"{session} warm", "x", 100))
    before = running.memory_bytes()
    model.reset()

    answers = asyncio.run(post_all(at, session, f"[[delay {DELAY_MS}]] x", TURNS))

    assert set(answers) == {(200, 1)}
    assert model.stats()["high_water"] == TURNS, "they were not all open at once"
    assert scrape(running).get("hansard_gate_high_water") == TURNS
    completed = (
        "SELECT count(*) FROM hansard.sessions WHERE session_id LIKE %s AND open_turn IS NULL AND unanswered = 0"
    )
    assert stack.value(completed, f"{session} %") == TURNS + 100
    if not SANITIZER:
        assert (running.memory_bytes("VmHWM") - before) / TURNS < MOST_BYTES_EACH
