"""Models: what demo-llm saw of its callers, and a model of our own that keeps whole requests."""

import http.server
import json
import threading
import urllib.request


class DemoModel:
    """demo-llm's /stats."""

    def __init__(self, llm_url):
        self._base = llm_url.rsplit("/v1", 1)[0]

    def _ask(self, path, method="GET"):
        request = urllib.request.Request(self._base + path, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def reset(self):
        """Numbers start anew; what is in flight stays counted."""
        return self._ask("/stats/reset", "POST")

    def stats(self):
        return self._ask("/stats")

    def calls(self, content=None):
        """The last 200 calls, oldest first; content: only those whose last message this was."""
        return [call for call in self._ask("/stats/last")["calls"] if content in (None, call["content"])]


class RecordingModel:
    """An OpenAI-compatible model in this process: keeps every request whole, answers "answer to WORDS", and refuses to
    when they contain [[refuse]]."""

    def __init__(self):
        outer = self
        self._lock = threading.Lock()
        self._requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):  # the name is http.server's
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer._keep({"path": self.path, "headers": self.headers, **body})
                if "[[refuse]]" in body["messages"][-1]["content"]:
                    self._reply({"error": {"message": "no"}}, 400)
                    return
                self._reply(
                    {
                        "object": "chat.completion",
                        "model": body["model"],
                        "choices": [{"index": 0, "message": {"role": "assistant", "content": outer.answer_to(body)}}],
                        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
                    }
                )

            def do_GET(self):
                outer._keep({"path": self.path, "headers": self.headers})
                self._reply({})

            def _reply(self, value, status=200):
                text = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.llm_url = f"{self.origin}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @staticmethod
    def answer_to(body):
        return f"answer to {body['messages'][-1]['content']}"

    def _keep(self, request):
        with self._lock:
            self._requests.append(request)

    def requests(self):
        with self._lock:
            return list(self._requests)

    def contexts(self):
        """The messages of each call, as (role, content) pairs, oldest call first."""
        return [[(m["role"], m["content"]) for m in request["messages"]] for request in self.requests()]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
