"""Proxy: a way to PgBouncer that loses or holds what a test says."""

import socket
import struct
import threading

READY = b"Z\x00\x00\x00\x05I"  # ReadyForQuery, in no transaction: what came before it is committed
PIECE = 1 << 20


class _Passage:
    """One connection: two sockets and what is to happen between them."""

    def __init__(self, proxy, client, server):
        self._proxy, self._client, self._server = proxy, client, server
        self._fate = None  # of the call on its way
        for run in (self._carry_calls, self._carry_replies):
            threading.Thread(target=run, daemon=True).start()

    def _carry_calls(self):
        while data := self._receive(self._client):
            fate = self._proxy.fate_of(data)
            if fate == "lose call":
                break
            self._fate = fate or self._fate
            if not self._send(self._server, data):
                break
        self.cut()

    def _carry_replies(self):
        held = b""
        while data := self._receive(self._server):
            if self._fate:
                held += data
                if not held.endswith(READY):
                    continue
                self._proxy.has_whole_reply.set()
                if self._fate == "lose reply":
                    break
                self._proxy.released.wait()
                data, held, self._fate = held, b"", None
            if not self._send(self._client, data):
                break
        self.cut()

    @staticmethod
    def _receive(end):
        try:
            return end.recv(PIECE)
        except OSError:
            return b""

    @staticmethod
    def _send(end, data):
        try:
            end.sendall(data)
            return True
        except OSError:
            return False

    def cut(self):
        """Both ways, with a reset, as when a machine on the way is gone."""
        for end in (self._client, self._server):
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


class Proxy:
    def __init__(self, port):
        """port: where the other side listens on this machine."""
        self._far = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._plan = None  # (word, fate, times left)
        self.has_whole_reply = threading.Event()
        self.released = threading.Event()
        self._passages = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._far)
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._passages.append(_Passage(self, near, far))

    def _intend(self, word, fate, times):
        with self._lock:
            self._plan = (word.encode(), fate, times)

    def lose_calls(self, word, times=1):
        """The next calls that hold the word do not arrive, and their connection breaks."""
        self._intend(word, "lose call", times)

    def lose_replies(self, word, times=1):
        """They arrive and are committed; the connection breaks before the reply."""
        self._intend(word, "lose reply", times)

    def hold_reply(self, word):
        """The next one is committed; has_whole_reply is set; the reply is given out when released is set."""
        self._intend(word, "hold reply", 1)

    def is_done(self):
        """Has all of the plan happened?"""
        with self._lock:
            return self._plan is None

    def fate_of(self, data):
        with self._lock:
            if not self._plan or self._plan[0] not in data:
                return None
            word, fate, times = self._plan
            self._plan = (word, fate, times - 1) if times > 1 else None
            return fate

    def close(self):
        self.released.set()
        self._listener.close()
        for passage in self._passages:
            passage.cut()
