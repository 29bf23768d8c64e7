"""Wire: bytes to and from a socket, for what no client library would send."""

import email.parser
import socket
import time
import urllib.parse

from lib.client import Answer
from lib.program import PATIENCE


class Wire:
    """One connection. Use as a context."""

    def __init__(self, url, source=None):
        place = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection(
            (place.hostname, place.port), 30 * PATIENCE, (source, 0) if source else None
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.is_closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """False: the other side has closed."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def receive(self, seconds):
        """One piece of what comes; False when nothing came in that time, or nothing will any more."""
        self.socket.settimeout(max(seconds, 0.001))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return False
        except ConnectionResetError:
            data = b""
        self.received += data
        self.is_closed = not data
        return bool(data)

    def receive_all(self, seconds=10):
        """Until the other side closes; then is_closed is True."""
        deadline = time.monotonic() + seconds * PATIENCE
        while not self.is_closed and time.monotonic() < deadline:
            self.receive(deadline - time.monotonic())

    def receive_answer(self, seconds=10):
        """The first answer not taken yet; None when none comes in time."""
        deadline = time.monotonic() + seconds * PATIENCE
        while True:
            answer, rest = split_answer(self.received)
            if answer:
                self.received = rest
                return answer
            if self.is_closed or time.monotonic() >= deadline:
                return None
            self.receive(deadline - time.monotonic())


def split_answer(data):
    """(the first whole answer, what follows it), or (None, data)."""
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        return None, data
    line, _, lines = head.partition(b"\r\n")
    headers = email.parser.BytesHeaderParser().parsebytes(lines + b"\r\n\r\n")
    length = int(headers["Content-Length"] or 0)
    if len(rest) < length:
        return None, data
    return Answer(int(line.split()[1]), headers, rest[:length]), rest[length:]


def split_answers(data):
    """All of them; bytes that are not an answer fail."""
    answers = []
    while data:
        answer, data = split_answer(data)
        assert answer, data
        answers.append(answer)
    return answers
