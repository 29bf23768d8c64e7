"""Framing: what two parsers could read differently is refused, the connection is closed, and whatever was smuggled in
behind it is not answered."""

import json
import re

import pytest

from lib.client import problem
from lib.wire import Wire, split_answers

BODY = b'{"session_id":"framing","message":"m"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"


def chat(headers, body=BODY, line=b"POST /chat HTTP/1.1"):
    return line + b"\r\n" + headers + b"\r\n" + body


CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
HOST = b"Host: h\r\n"
GOOD = chat(HOST + LENGTH)

REFUSED = {
    # two framings
    "Transfer-Encoding and Content-Length": chat(HOST + LENGTH + b"Transfer-Encoding: chunked\r\n", CHUNKED),
    "Content-Length and Transfer-Encoding": chat(HOST + b"Transfer-Encoding: chunked\r\n" + LENGTH, CHUNKED),
    "Content-Length twice": chat(HOST + LENGTH + LENGTH),
    "Content-Length twice, differing": chat(HOST + LENGTH + b"Content-Length: 0\r\n"),
    "Transfer-Encoding twice": chat(HOST + b"Transfer-Encoding: chunked\r\n" * 2, CHUNKED),
    # a framing that only some understand
    "blank before the colon of Content-Length": chat(HOST + b"Content-Length : %d\r\n" % len(BODY)),
    "blank before the colon of Transfer-Encoding": chat(HOST + b"Transfer-Encoding : chunked\r\n", CHUNKED),
    "xchunked": chat(HOST + b"Transfer-Encoding: xchunked\r\n", CHUNKED),
    "identity": chat(HOST + b"Transfer-Encoding: identity\r\n"),
    "gzip, chunked": chat(HOST + b"Transfer-Encoding: gzip, chunked\r\n", CHUNKED),
    "chunked, identity": chat(HOST + b"Transfer-Encoding: chunked, identity\r\n", CHUNKED),
    "chunked in HTTP/1.0": chat(HOST + b"Transfer-Encoding: chunked\r\n", CHUNKED, b"POST /chat HTTP/1.0"),
    # headers that begin or end in another way
    "folded": chat(HOST + b"X-One: a\r\n b\r\n" + LENGTH),
    "folded Transfer-Encoding": chat(HOST + LENGTH + b"Transfer-Encoding:\r\n chunked\r\n", CHUNKED),
    "blank before the first header": chat(b" " + HOST + LENGTH),
    "bare line feed": chat(HOST + b"X-One: a\n" + LENGTH),
    "bare line feed before a smuggled header": chat(HOST + b"X-One: a\nTransfer-Encoding: chunked\r\n" + LENGTH),
    "bare line feeds only": (b"POST /chat HTTP/1.1\nHost: h\n" + LENGTH.replace(b"\r", b"") + b"\n" + BODY),
    "bare carriage return": chat(HOST + b"X-One: a\rX-Two: b\r\n" + LENGTH),
    "NUL in a value": chat(HOST + b"X-One: a\x00b\r\n" + LENGTH),
    "control character in a value": chat(HOST + b"X-One: a\x01b\r\n" + LENGTH),
    "DEL in a value": chat(HOST + b"X-One: a\x7f\r\n" + LENGTH),
    "header without a name": chat(HOST + b": a\r\n" + LENGTH),
    "blank in a name": chat(HOST + b"X One: a\r\n" + LENGTH),
    "bracket in a name": chat(HOST + b"X(One): a\r\n" + LENGTH),
    # what may be there only once
    "no Host": chat(LENGTH),
    "Host twice": chat(HOST + HOST + LENGTH),
    "Host with a path": chat(b"Host: h/x\r\n" + LENGTH),
    "Authorization twice": chat(HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n" + LENGTH),
    "Idempotency-Key twice": chat(HOST + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n" + LENGTH),
    "Content-Type twice": chat(HOST + b"Content-Type: text/plain\r\nContent-Type: application/json\r\n" + LENGTH),
    "a hundred and one headers": chat(HOST + b"".join(b"X-%d: a\r\n" % n for n in range(100)) + LENGTH),
    # the request line
    "NUL in the path": chat(HOST + LENGTH, line=b"POST /chat\x00x HTTP/1.1"),
    "blank in the path": chat(HOST + LENGTH, line=b"POST /chat x HTTP/1.1"),
    "two blanks": chat(HOST + LENGTH, line=b"POST  /chat HTTP/1.1"),
    "whole URL": chat(HOST + LENGTH, line=b"POST http://h/chat HTTP/1.1"),
    "star": chat(HOST + LENGTH, line=b"OPTIONS * HTTP/1.1"),
    "fragment": chat(HOST + LENGTH, line=b"POST /chat#x HTTP/1.1"),
    "path of 2 kB": chat(HOST + LENGTH, line=b"POST /" + b"a" * 2050 + b" HTTP/1.1"),
    "method not a token": chat(HOST + LENGTH, line=b"PO(ST /chat HTTP/1.1"),
}

# libmicrohttpd 0.9.75 does not let these through to us, and answers in words of its own.
REFUSED_BY_LIBRARY = {
    "Content-Length with a sign": chat(HOST + b"Content-Length: +%d\r\n" % len(BODY)),
    "Content-Length negative": chat(HOST + b"Content-Length: -1\r\n"),
    "Content-Length in hexadecimal": chat(HOST + b"Content-Length: 0x26\r\n"),
    "Content-Length a list": chat(HOST + b"Content-Length: %d, %d\r\n" % (len(BODY), len(BODY))),
    "Content-Length empty": chat(HOST + b"Content-Length:\r\n"),
    "Content-Length beyond 64 bits": chat(HOST + b"Content-Length: 99999999999999999999\r\n"),
    "NUL in a name": chat(HOST + b"X-\x00One: a\r\n" + LENGTH),
    "header without a colon": chat(HOST + b"X-One\r\n" + LENGTH),
    "HTTP/0.9": chat(HOST + LENGTH, line=b"POST /chat"),
    "HTTP/3.0": chat(HOST + LENGTH, line=b"POST /chat HTTP/3.0"),
}


@pytest.fixture
def all_said(stack, record, stranger):
    """all_said(bytes): what came back before the connection was closed; nothing was stored, nothing smuggled in."""

    def send(request_bytes):
        before = record.counts()
        with Wire(stack.url, stranger.source) as wire:
            wire.send(request_bytes + SMUGGLED)
            wire.receive_all()
        assert wire.is_closed
        assert b"\r\nConnection: close\r\n" in wire.received
        assert not wire.received.endswith(b"ok\n")
        assert record.counts() == before
        return wire.received

    return send


@pytest.mark.parametrize("request_bytes", REFUSED.values(), ids=REFUSED.keys())
def test_refused_and_closed(all_said, request_bytes):
    (answer,) = split_answers(all_said(request_bytes))
    assert problem(answer) == (400, "malformed_request")


@pytest.mark.parametrize("request_bytes", REFUSED_BY_LIBRARY.values(), ids=REFUSED_BY_LIBRARY.keys())
def test_refused_by_the_library_and_closed(all_said, request_bytes):
    """With a bad Content-Length it says the head of its answer twice: so not more than the status is looked at."""
    statuses = set(re.findall(rb"HTTP/1\.1 (\d+) ", all_said(request_bytes)))
    assert len(statuses) == 1 and statuses <= {b"400", b"413", b"505"}


def test_two_good_requests_on_one_connection(stack, stranger):
    """Without this the tests above would mean nothing."""
    with Wire(stack.url, stranger.source) as wire:
        wire.send(GOOD + SMUGGLED)
        assert wire.receive_answer().status == 200
        assert wire.receive_answer().body == b"ok\n"
        wire.send(chat(HOST + b"transfer-encoding: Chunked\r\n", CHUNKED) + SMUGGLED)
        assert wire.receive_answer().status == 200
        assert wire.receive_answer().body == b"ok\n"
        assert not wire.is_closed


def test_http_1_0_is_answered_and_closed(stack, stranger):
    with Wire(stack.url, stranger.source) as wire:
        wire.send(chat(LENGTH, line=b"POST /chat HTTP/1.0"))
        wire.receive_all()
    assert wire.is_closed
    assert [answer.status for answer in split_answers(wire.received)] == [200]


def test_whoever_asks_may_send_his_body(stack, stranger):
    with Wire(stack.url, stranger.source) as wire:
        wire.send(chat(HOST + LENGTH + b"Expect: 100-continue\r\n", b""))
        assert wire.receive_answer().status == 100
        wire.send(BODY)
        assert wire.receive_answer().status == 200


# ---- too much ----


def too_much(stack, stranger, pieces):
    """The first answer, to what is sent piece by piece until there is one."""
    with Wire(stack.url, stranger.source) as wire:
        for piece in pieces:
            if not wire.send(piece) or wire.receive(0):
                break
        wire.receive_all()
    assert wire.is_closed
    (answer,) = split_answers(wire.received)
    return answer


def test_large_body_is_refused_by_its_length(stack, record, stranger):
    before = record.counts()
    head = chat(HOST + b"Content-Length: 1000000\r\n", b"")
    assert problem(too_much(stack, stranger, [head])) == (413, "request_too_large")
    assert record.counts() == before


def test_large_body_is_refused_instead_of_being_asked_for(stack, stranger):
    head = chat(HOST + b"Content-Length: 1000000\r\nExpect: 100-continue\r\n", b"")
    assert problem(too_much(stack, stranger, [head])) == (413, "request_too_large")


def test_large_body_is_refused_while_it_comes(stack, record, stranger):
    before = record.counts()
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    pieces = [chat(HOST + b"Transfer-Encoding: chunked\r\n", b"")] + [chunk] * 1000
    assert problem(too_much(stack, stranger, pieces)) == (413, "request_too_large")
    assert record.counts() == before


def test_body_to_another_path_is_counted_too(stack, stranger):
    head = chat(HOST + b"Content-Length: 1000000\r\n", b"", b"POST /nothing HTTP/1.1")
    assert too_much(stack, stranger, [head]).status == 413


def test_large_headers(stack, stranger):
    head = chat(HOST + b"X-Large: " + b"a" * 17000 + b"\r\n" + LENGTH)
    assert problem(too_much(stack, stranger, [head])) == (431, "headers_too_large")


def test_far_too_large_headers(stack, stranger):
    head = chat(HOST + b"X-Large: " + b"a" * 1000000 + b"\r\n" + LENGTH)
    assert too_much(stack, stranger, [head]).status == 431


def test_endless_chunk_size(stack, stranger):
    pieces = [chat(HOST + b"Transfer-Encoding: chunked\r\n", b"1;x=")] + [b"y" * 4096] * 100
    assert problem(too_much(stack, stranger, pieces)) == (400, "malformed_request")


@pytest.mark.parametrize("size", [b"xyz", b"-5", b"0x5", b"fffffffffffffffff", b""])
def test_bad_chunk_sizes(all_said, size):
    head = chat(HOST + b"Transfer-Encoding: chunked\r\n", size + b"\r\n" + BODY + b"\r\n0\r\n\r\n")
    (answer,) = split_answers(all_said(head))
    assert answer.status in (400, 413)


def test_worker_is_well_after_all_of_this(stack, caller, session):
    answer = caller.post(json.dumps({"session_id": session, "message": "m"}).encode())
    assert answer.turn == 1
