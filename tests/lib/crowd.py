"""Crowd: hundreds of requests at once, each on a connection of its own, without a thread for each."""

import asyncio
import dataclasses
import json
import resource
import time
import urllib.parse

from lib.client import Answer, Client
from lib.wire import split_answer

FILES = 10000  # sockets and what else is open


@dataclasses.dataclass(frozen=True)
class Ask:
    client: Client
    session: str
    words: str = "hi"
    key: str = None  # the Idempotency-Key


@dataclasses.dataclass(frozen=True)
class Heard(Answer):
    began: float  # monotonic
    ended: float

    @property
    def seconds(self):
        return self.ended - self.began


def _request(ask, host):
    body = json.dumps({"session_id": ask.session, "message": ask.words}).encode()
    lines = ["POST /chat HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    if ask.client.key:
        lines.append(f"Authorization: Bearer {ask.client.key}")
    if ask.key:
        lines.append(f"Idempotency-Key: {ask.key}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


async def _post(ask):
    """What was heard; None when the connection broke."""
    place = urllib.parse.urlsplit(ask.client.url)
    source = (ask.client.source, 0) if ask.client.source else None
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection(place.hostname, place.port, local_addr=source)
        try:
            writer.write(_request(ask, place.netloc))
            answer, _ = split_answer(await reader.read())
        finally:
            writer.close()
    except OSError:
        return None
    if not answer:
        return None
    return Heard(answer.status, answer.headers, answer.body, began, time.monotonic())


def _is_known(heard):
    """Is this the end of it, or is the same to be asked again?"""
    return heard is not None and heard.status not in (429, 503) and b"conversation_busy" not in heard.body


async def _post_until_known(ask, until):
    while True:
        heard = await _post(ask)
        if _is_known(heard) or time.monotonic() > until:
            return heard
        await asyncio.sleep(0.2)


async def _run(asks, at_once, post):
    places = asyncio.Semaphore(at_once)

    async def run(ask):
        async with places:
            return await post(ask)

    return await asyncio.gather(*(run(ask) for ask in asks))


def _start(asks, at_once, post, timeout):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    return asyncio.run(asyncio.wait_for(_run(asks, at_once, post), timeout))


def crowd(asks, at_once=1000):
    """What each heard, in the same order; None for a connection that broke."""
    asks = list(asks)
    return _start(asks, at_once, _post, asks[0].client.timeout)


def stubborn_crowd(asks, at_once=1000):
    """Each asks, under its key, until it knows what became of its turn."""
    asks = list(asks)
    assert all(ask.key for ask in asks)
    timeout = asks[0].client.timeout
    until = time.monotonic() + timeout - 5
    return _start(asks, at_once, lambda ask: _post_until_known(ask, until), timeout)
