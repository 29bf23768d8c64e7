"""Receiver: an https server that takes webhooks, with a certificate that nobody but a test trusts."""

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import ssl
import subprocess
import threading
import time

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Message:
    """One request as it came."""

    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, headers, body

    @property
    def id(self):
        return self.headers["webhook-id"]

    @property
    def json(self):
        return json.loads(self.body)

    def is_genuine(self, key=KEY):
        """As the Standard Webhooks specification has it, a minute of tolerance."""
        sent = self.headers["webhook-timestamp"]
        signed = b".".join([self.id.encode(), sent.encode(), self.body])
        wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return abs(time.time() - int(sent)) < 60 and hmac.compare_digest(wanted, self.headers["webhook-signature"])


class Receiver:
    """answers: {path: statuses, one for each request; the last one stays}; what is not there is answered 204.

    None: it is never answered; "endless": with 200 and a text that does not end.
    """

    def __init__(self, folder, answers=()):
        self.ca = str(folder / "ca.pem")
        self.messages = []
        self.connections = 0
        self.flooded = 0  # bytes of endless answers
        self.is_over = threading.Event()
        self._answers = {path: list(statuses) for path, statuses in dict(answers).items()}
        key = str(folder / "key.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-keyout", key, "-out", self.ca, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            check=True,
            capture_output=True,
            env={**os.environ, "OPENSSL_CONF": "/dev/null"},
        )  # fmt: skip
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, key)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.host = f"localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def url(self, path):
        return f"https://{self.host}{path}"

    def of(self, path):
        return [message for message in self.messages if message.path == path]

    def close(self):
        self.is_over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(receiver):  # noqa: N805 - self is the handler's
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def setup(self):
                super().setup()
                receiver.connections += 1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.messages.append(Message(self.path, self.headers, body))
                statuses = receiver._answers.get(self.path, [204])
                status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
                if status is None:
                    receiver.is_over.wait(60)  # as one that hangs
                    return
                if status == "endless":
                    self.flood()
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", receiver.url("/elsewhere"))
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def flood(self):
                """200, and then a text without end, until nobody reads it any more."""
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    while not receiver.is_over.is_set():
                        receiver.flooded += self.wfile.write(b"x" * 16384)

            def log_message(self, *_words):
                pass

        return Handler
