"""One turn: what the caller gets, what the model sees, and that the record holds both before the answer is out."""

import json
import subprocess
import uuid

import pytest


def test_answer_says_five_things(caller, session):
    answer = caller.chat(session, "hello")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert uuid.UUID(answer.headers["X-Request-Id"]).version == 7
    body = answer.json
    usage = body.pop("usage")
    assert body == {"session_id": session, "turn": 1, "response": "echo 1: hello", "model": "demo"}
    assert set(usage) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_second_turn_goes_on_where_the_first_ended(caller, session):
    assert caller.chat(session, "one").turn == 1
    second = caller.chat(session, "two")
    assert second.turn == 2
    assert second.text == "echo 3: two"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        'APPLICATION/JSON;charset="UTF-8"',
        "application/x-www-form-urlencoded",
        "text/plain",
    ],
)
def test_content_type_is_optional(caller, session, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    body = json.dumps({"session_id": session, "message": "hello"})
    assert caller.request("POST", "/chat", body, headers).text == "echo 1: hello"


def test_as_the_readme_has_it(stack, session, stranger):
    done = subprocess.run(
        ["curl", "-s", "--interface", stranger.source, f"{stack.url}/chat"]
        + ["-d", json.dumps({"session_id": session, "message": "hi"})],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["response"] == "echo 1: hi"


def test_what_was_answered_is_in_the_record(stack, record, caller, user, session):
    answer = caller.chat(session, "keep this", key="my key")
    (row,) = record.turns(session)
    usage = answer.json["usage"]
    assert row.said == ["keep this", answer.text]
    assert row.state == "completed"
    assert row.request_id == answer.headers["X-Request-Id"]
    assert row.worker_id == caller.get("/readyz").json["worker"]
    assert row.owner == stack.value("SELECT user_id::text FROM hansard.users WHERE name = %s", user)
    assert (row.address, row.idempotency_key) == ("127.0.0.1", "my key")
    assert (row.attempt, row.model_attempts, row.model, row.error_code) == (1, 1, "demo", None)
    assert (row.prompt_tokens, row.completion_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert row.accepted_at <= row.first_byte_at <= row.finished_at


def test_anonymous_turn_is_kept_under_its_address(record, stranger, session):
    stranger.chat(session, "who am I")
    (row,) = record.turns(session)
    assert (row.address, row.owner) == (stranger.source, None)


@pytest.mark.parametrize(
    "words",
    [
        'quotes " and \\ backslashes \\" \\u0041',
        "lines\nand\ttabs\r\n",
        "control characters \x01\x1f\x7f",
        "Grüße, 世界, 👋🏽, e\u0301, \ufeffBOM, \u2028",
        "'; DROP TABLE hansard.messages; -- $1 %s {}",
        " ",
        "NULL",
        '{["a",null]}',
    ],
)
def test_words_come_through_unchanged(record, caller, recorder, worker, session, words):
    answer = caller.at(worker(llm_url=recorder.llm_url)).chat(session, words)
    assert answer.text == f"answer to {words}"
    assert recorder.contexts() == [[("user", words)]]
    assert record.messages(session) == [("user", words), ("assistant", f"answer to {words}")]


def test_largest_message_is_taken_whole(record, caller, session):
    words = "ü" * 16384  # 32k bytes, the ceiling
    assert caller.chat(session, words).status == 200
    assert record.messages(session)[0] == ("user", words)


def test_model_gets_what_it_needs(caller, recorder, worker, session):
    at = caller.at(worker(llm_url=recorder.llm_url, llm_model="some/model-1", llm_api_key="secret-of-the-model"))
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = at.chat(session, "hello", headers={"traceparent": trace})
    assert answer.json["model"] == "some/model-1"
    assert answer.json["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    (request,) = recorder.requests()
    assert request["path"] == "/v1/chat/completions"
    assert request["model"] == "some/model-1"
    assert request["headers"]["Authorization"] == "Bearer secret-of-the-model"
    assert request["headers"]["traceparent"] == trace
    assert request["headers"]["X-Request-Id"] == answer.headers["X-Request-Id"] + "-1"


def test_model_does_not_get_the_callers_key(caller, recorder, worker, session):
    at = caller.at(worker(llm_url=recorder.llm_url))
    at.chat(session, "hello", headers={"traceparent": "not a trace"})
    (request,) = recorder.requests()
    assert request["headers"]["Authorization"] is None
    assert request["headers"]["traceparent"] is None


def test_system_prompt_comes_first_every_time_and_is_not_kept(record, caller, recorder, worker, session):
    prompt = 'Be "brief".\nAlways.'
    at = caller.at(worker(llm_url=recorder.llm_url, system_prompt=prompt))
    at.chat(session, "one")
    at.chat(session, "two")
    assert recorder.contexts() == [
        [("system", prompt), ("user", "one")],
        [("system", prompt), ("user", "one"), ("assistant", "answer to one"), ("user", "two")],
    ]
    assert [text for _, text in record.messages(session)] == ["one", "answer to one", "two", "answer to two"]
