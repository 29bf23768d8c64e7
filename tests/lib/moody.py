"""MoodyModel: an OpenAI-compatible model in this process, on a fixed port, whose mood can be set while it runs.

Moods: "well"; a number: that status to every call; "stall": calls hang until the mood changes or it is closed; "away": its
port is closed. Probes (GET /v1/models) are answered in the same mood.
"""

import http.server
import json
import threading

from lib.ports import free_port


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256


class MoodyModel:
    def __init__(self, name="moody"):
        self.name = name
        self.port = free_port()
        self.llm_url = f"http://127.0.0.1:{self.port}/v1"
        self._changed = threading.Condition()
        self._mood = "away"
        self._server = None
        self.calls = 0
        self.probes = 0
        self.models = []
        self.in_flight = self.high_water = 0
        self.set("well")

    def _handler(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):  # the name is http.server's
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(outer._hear(body, self), body)

            def do_GET(self):
                with outer._changed:
                    outer.probes += 1
                    mood = outer._mood
                    outer._changed.wait_for(lambda: mood != "stall" or outer._mood != "stall")
                self._answer(mood, None)

            def _answer(self, mood, body):
                if mood in ("stall", "away"):
                    self.close_connection = True
                    return
                if mood != "well":
                    self._reply({"error": {"message": "not in the mood"}}, mood)
                    return
                message = {"role": "assistant", "content": outer.say(body["messages"]) if body else ""}
                self._reply(
                    {
                        "object": "chat.completion",
                        "model": body["model"] if body else "",
                        "choices": [{"index": 0, "message": message}],
                        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
                    }
                )

            def _reply(self, value, status=200):
                text = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        return Handler

    def say(self, messages):
        return f"{self.name}: {messages[-1]['content']}"

    def _hear(self, body, _handler):
        """A call comes in; the mood to answer it in, once it is time to."""
        with self._changed:
            self.calls += 1
            self.models.append(body["model"])
            self.in_flight += 1
            self.high_water = max(self.high_water, self.in_flight)
            mood = self._mood
            self._changed.wait_for(lambda: mood != "stall" or self._mood != "stall")
            self.in_flight -= 1
            return mood

    def set_for_new_calls(self, mood):
        """Calls that hang go on hanging."""
        with self._changed:
            self._mood = mood

    def set(self, mood):
        with self._changed:
            was, self._mood = self._mood, mood
            self._changed.notify_all()
        if mood == "away" and was != "away":
            self._server.shutdown()
            self._server.server_close()
        elif was == "away" and mood != "away":
            self._server = _Server(("127.0.0.1", self.port), self._handler())
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.set("away")
