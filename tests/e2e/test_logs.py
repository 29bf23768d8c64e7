"""Logs: one JSON object a line, enough to follow a request, and neither words nor keys of anyone."""

import json
from datetime import datetime

import pytest

from lib.client import Client
from lib.wait import until


def read(running):
    return [json.loads(line) for line in running.log_lines()]


def request_line(running, answer):
    """The line of this answer's request."""
    wanted = answer.headers["X-Request-Id"]
    lines = until(lambda: [line for line in read(running) if line.get("request_id") == wanted])
    (line,) = [line for line in lines if line["event"] == "request"]
    return line


def test_each_line_is_a_json_object(worker, caller, session):
    running = worker(log_level="debug", llm_first_byte_timeout="200ms")
    at = caller.at(running)
    for words in ("fine", "[[status 400]] x", "[[garbage]] x", "[[delay 2000]] x"):
        at.chat(session, words)
    at.post(b"{\xff")
    at.get("/livez")
    running.stop()
    lines = read(running)
    assert len(lines) > 6
    for line in lines:
        assert {"time", "level", "event"} <= set(line)
        assert line["level"] in ("debug", "info", "warn", "error")
        assert line["time"].endswith("Z") and datetime.fromisoformat(line["time"])
    events = [line["event"] for line in lines]
    assert events[-1] == "stopped"
    for event in ("listening", "request", "model_call_failed", "draining"):
        assert event in events


def test_request_can_be_followed(worker, caller, session):
    running = worker()
    at = caller.at(running)
    line = request_line(running, at.chat(session, "x"))
    assert (line["method"], line["route"], line["status"], line["turn_no"]) == ("POST", "/chat", 200, 1)
    assert line["duration_ms"] >= 0 and line["level"] == "info" and "code" not in line
    line = request_line(running, at.chat(session, "[[status 400]] x"))
    assert (line["status"], line["code"], line["turn_no"]) == (502, "model_failed", 2)
    line = request_line(running, at.read(session))
    assert (line["method"], line["route"]) == ("GET", "/conversations/{session_id}")
    line = request_line(running, at.get("/a/secret/path"))
    assert (line["route"], line["status"], line["code"]) == ("other", 404, "not_found")


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_words_and_no_keys(worker, caller, recorder, session, level):
    """Not even when everything goes wrong with them."""
    running = worker(log_level=level, llm_api_key="key-of-the-model", system_prompt="words-of-the-prompt")
    at = caller.at(running)
    secret = "words-nobody-shall-read"
    at.chat(session, secret, key="key-of-the-turn")
    for words in ("[[status 400]]", "[[garbage]]", "[[cut 5]]"):
        at.chat(session, f"{words} {secret}")
    for body in (f'{{"{secret}":1', f'{{"session_id":"s","message":"{secret}\\ud800"}}', f'"{secret}"'):
        at.post(body.encode())
    at.get(f"/{secret}"), at.get(f"/conversations/{secret}"), at.get(f"/conversations/a?{secret}=1")
    Client(running.url, f"hsk_{secret}").chat(session, "x")
    at.request("GET", "/livez", headers={"X-Secret": secret, "Cookie": secret})
    at.erase(session)
    running.stop()
    text = "\n".join(running.log_lines())
    assert text.count('"event":"request"') >= 10
    for word in (
        secret,
        caller.key,
        caller.key[4:],
        "key-of-the-model",
        "words-of-the-prompt",
        session,
        "postgresql://",
    ):
        assert word not in text, word


def test_level_is_obeyed(worker, caller, session):
    running = worker(log_level="error")
    caller.at(running).chat(session, "[[status 400]] x")
    running.stop()
    assert running.log_lines() == []


def test_probes_are_quiet(worker):
    running = worker()
    for path in ("/livez", "/readyz", "/metrics"):
        Client(running.url).get(path)
    running.stop()
    assert [line for line in read(running) if line["event"] == "request" and line["status"] == 200] == []
