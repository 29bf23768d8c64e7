"""Bad input: each kind gets its clear 4xx, stores nothing and costs no quota."""

import json

import pytest

from lib.client import problem

JSON = {"Content-Type": "application/json"}
GOOD = b'{"session_id": "bad input", "message": "good"}'
MESSAGE_BYTES = 32768


def with_session(session):
    return json.dumps({"session_id": session, "message": "m"}).encode()


def with_message(message):
    return json.dumps({"session_id": "s", "message": message}).encode()


@pytest.fixture
def leaves_no_trace(record, stranger):
    """leaves_no_trace(call): the answer; nothing was stored, and the whole quota is left."""

    def check(call):
        before = record.counts()
        answer = call(stranger)
        assert record.counts() == before
        good = stranger.post(GOOD)
        assert (good.status, good.remaining) == (200, 9), good.body
        return answer

    return check


def nested(depth):
    return b'{"session_id":"s","message":"m","x":' + b"[" * depth + b"]" * depth + b"}"


NOT_JSON = {
    "empty": b"",
    "blanks": b" \r\n",
    "not JSON at all": b"session_id=s&message=m",
    "open object": b'{"session_id":"s","message":"m"',
    "open string": b'{"session_id":"s","message":"m',
    "an array": b'["s","m"]',
    "a string": b'"session"',
    "a number": b"1",
    "null": b"null",
    "two objects": with_session("s") * 2,
    "something behind": with_session("s") + b"x",
    "something before": b"x" + with_session("s"),
    "byte order mark": b"\xef\xbb\xbf" + with_session("s"),
    "single quotes": b"{'session_id':'s','message':'m'}",
    "a comment": b'{"session_id":"s",/* */"message":"m"}',
    "a comma too many": b'{"session_id":"s","message":"m",}',
    "a comma too few": b'{"session_id":"s" "message":"m"}',
    "bare name": b'{session_id:"s","message":"m"}',
    "NaN": b'{"session_id":"s","message":"m","x":NaN}',
    "leading zero": b'{"session_id":"s","message":"m","x":01}',
    "number out of range": b'{"session_id":"s","message":"m","x":1e400}',
    "endless number": b'{"session_id":"s","message":"m","x":' + b"1" * 600 + b"}",
    "a name twice": b'{"session_id":"s","message":"m","message":"n"}',
    "a name twice, spelled differently": b'{"session_id":"s","message":"m","messag\\u0065":"n"}',
    "a name twice, deep inside": b'{"session_id":"s","message":"m","x":{"y":1,"y":2}}',
    "too deep": nested(32),
    "far too deep": nested(50000),
    "wrong brackets": b'{"session_id":"s","message":"m","x":[}',
    "too many members": json.dumps({"session_id": "s", "message": "m", **{f"x{n}": n for n in range(63)}}).encode(),
    "too many values": b'{"session_id":"s","message":"m","x":[' + b"1," * 9000 + b"1]}",
    "escaped NUL": b'{"session_id":"s","message":"a\\u0000b"}',
    "escaped NUL in a name": b'{"session_id":"s","message":"m","x\\u0000":1}',
    "NUL": b'{"session_id":"s","message":"a\x00b"}',
    "NUL behind": with_session("s") + b"\x00",
    "bare line feed in a string": b'{"session_id":"s","message":"a\nb"}',
    "bad escape": b'{"session_id":"s","message":"a\\xb"}',
    "short escape": b'{"session_id":"s","message":"\\u12"}',
    "invalid UTF-8": b'{"session_id":"s","message":"\xff"}',
    "Latin-1": '{"session_id":"s","message":"ü"}'.encode("latin-1"),
    "UTF-16": '{"session_id":"s","message":"m"}'.encode("utf-16"),
    "overlong UTF-8": b'{"session_id":"s","message":"\xc0\xaf"}',
    "cut UTF-8": b'{"session_id":"s","message":"\xe2\x82"}',
    "surrogate in UTF-8": b'{"session_id":"s","message":"\xed\xa0\x80"}',
    "beyond Unicode": b'{"session_id":"s","message":"\xf4\x90\x80\x80"}',
    "lone high surrogate": b'{"session_id":"s","message":"\\ud800"}',
    "lone low surrogate": b'{"session_id":"s","message":"\\udc00 x"}',
    "surrogates swapped": b'{"session_id":"s","message":"\\udc00\\ud800"}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_not_json(leaves_no_trace, body):
    assert problem(leaves_no_trace(lambda client: client.post(body))) == (400, "invalid_json")


NOT_A_TURN = {
    "empty object": b"{}",
    "no message": b'{"session_id":"s"}',
    "no session id": b'{"message":"m"}',
    "names in another case": b'{"Session_Id":"s","Message":"m"}',
    "message null": with_message(None),
    "message a number": with_message(1),
    "message true": with_message(True),
    "message a list": with_message(["m"]),
    "message an object": with_message({"text": "m"}),
    "message empty": with_message(""),
    "message a byte too long": with_message("m" * (MESSAGE_BYTES + 1)),
    "message too long in bytes, not in characters": with_message("ü" * (MESSAGE_BYTES // 2 + 1)),
    "session id null": with_session(None),
    "session id a number": with_session(7),
    "session id a list": with_session(["s"]),
    "session id empty": with_session(""),
    "session id of 201 bytes": with_session("s" * 201),
    "session id of 101 characters in 202 bytes": with_session("ü" * 101),
    "session id with a line feed": with_session("a\nb"),
    "session id with a tab": with_session("a\tb"),
    "session id with DEL": with_session("a\x7fb"),
    "session id with a C1 control": with_session("a\u0085b"),
    "stream neither true nor false": b'{"session_id":"s","message":"m","stream":"yes"}',
}


@pytest.mark.parametrize("body", NOT_A_TURN.values(), ids=NOT_A_TURN.keys())
def test_not_a_turn(leaves_no_trace, body):
    assert problem(leaves_no_trace(lambda client: client.post(body))) == (400, "invalid_request")


@pytest.mark.parametrize("session", ["s" * 200, "ü" * 100, "a/b?c#d%e &+", "\u2028", "👋🏽", "."])
def test_odd_session_ids_that_are_fine(caller, session):
    assert caller.post(with_session(session)).json["session_id"] == session
    assert caller.read(session).json["session_id"] == session


def test_what_is_just_not_too_much(caller):
    assert caller.post(nested(31)).status == 200
    assert caller.post(b" " * 1000 + with_session("s") + b"\n").status == 200
    escaped = b"\\u0061" * MESSAGE_BYTES  # six bytes each in the body, one in the message
    assert caller.post(b'{"session_id":"s","message":"' + escaped + b'"}').status == 200


@pytest.mark.parametrize(
    "key", ["", "k" * 201, "tab\there", "k\x7f", "schlüssel".encode().decode("latin-1")], ids=lambda key: f"{len(key)}"
)
def test_bad_idempotency_keys(leaves_no_trace, key):
    answer = leaves_no_trace(lambda client: client.post(GOOD, {"Idempotency-Key": key}))
    assert answer.status == 400
    assert problem(answer)[1] in ("invalid_request", "malformed_request")


def test_longest_idempotency_key(caller):
    assert caller.post(GOOD, {"Idempotency-Key": "k" * 200}).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/json; charset=iso-8859-1",
        "application/jsonp",
        "text/html",
        "json",
    ],
)
def test_other_content_types(leaves_no_trace, content_type):
    answer = leaves_no_trace(lambda client: client.post(GOOD, {"Content-Type": content_type}))
    assert problem(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/chat/", "/CHAT", "//chat", "/chat/x", "/conversationsx", "/conversations/", "/conversations/a/b"]
    + ["/livez/", "/%63hat", "/chat%2f", "/livez%00", "/../livez", "/livez;x"],
)
def test_unknown_paths(leaves_no_trace, path):
    assert problem(leaves_no_trace(lambda client: client.request("POST", path, GOOD, JSON))) == (404, "not_found")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT", "BREW"])
def test_unknown_path_by_any_method(leaves_no_trace, method):
    assert leaves_no_trace(lambda client: client.request(method, "/nothing")).status == 404


@pytest.mark.parametrize(
    "method, path, allow",
    [
        ("GET", "/chat", "POST"),
        ("PUT", "/chat", "POST"),
        ("DELETE", "/chat", "POST"),
        ("OPTIONS", "/chat", "POST"),
        ("BREW", "/chat", "POST"),
        ("post", "/chat", "POST"),
        ("POST", "/conversations/a", "GET, HEAD, DELETE"),
        ("PATCH", "/conversations/a", "GET, HEAD, DELETE"),
        ("POST", "/livez", "GET, HEAD"),
        ("DELETE", "/readyz", "GET, HEAD"),
        ("PUT", "/metrics", "GET, HEAD"),
    ],
)
def test_wrong_methods(leaves_no_trace, method, path, allow):
    answer = leaves_no_trace(lambda client: client.request(method, path, GOOD, JSON))
    assert problem(answer) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == allow


@pytest.mark.parametrize(
    "path",
    [
        "/conversations/a%zz",
        "/conversations/a%2",
        "/conversations/a%",
        "/conversations/a%00b",
        "/conversations/a%0ab",
        "/conversations/%ff",
        "/conversations/%c2%85",
        "/conversations/" + "s" * 201,
        "/conversations/a?limit=0",
        "/conversations/a?limit=201",
        "/conversations/a?limit=ten",
        "/conversations/a?limit=",
        "/conversations/a?limit",
        "/conversations/a?limit=1&limit=2",
        "/conversations/a?after=-1",
        "/conversations/a?after=2147483648",
        "/conversations/a?after=99999999999999999999",
        "/conversations/a?page=2",
        "/conversations/a?LIMIT=1",
    ],
)
def test_bad_reads(leaves_no_trace, path):
    assert problem(leaves_no_trace(lambda client: client.get(path))) == (400, "invalid_request")


def test_bad_erasure(leaves_no_trace):
    answer = leaves_no_trace(lambda client: client.request("DELETE", "/conversations/a?limit=1"))
    assert problem(answer) == (400, "invalid_request")


def test_detail_names_the_place(stranger):
    detail = stranger.post(b'{\n  "session_id": "s",\n  "message": "\xff"\n}').json["detail"]
    assert "line 3" in detail
    assert '"message" is missing' in stranger.post(b'{"session_id":"s"}').json["detail"]


def test_detail_does_not_repeat_what_was_sent(stranger):
    for body in (b'{"session_id":"s","message":"very private"', b'{"very private":1,"very private":2}'):
        assert b"private" not in stranger.post(body).body
