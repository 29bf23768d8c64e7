"""Client: one caller of the service, as an application would write it."""

import dataclasses
import http.client
import json
import urllib.parse

from lib.program import PATIENCE


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: object  # names in any case; get_all for repeated ones
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        """The words of a good answer."""
        assert self.status == 200, (self.status, self.body)
        return self.json["response"]

    @property
    def turn(self):
        assert self.status == 200, (self.status, self.body)
        return self.json["turn"]

    @property
    def remaining(self):
        """What is left of the caller's quota."""
        return int(self.headers["x-ratelimit-remaining-requests"])


def problem(answer):
    """(status, code) of an answer that has to be a whole error body."""
    assert answer.headers["Content-Type"] == "application/problem+json", (answer.status, answer.body)
    body = answer.json
    code = body["code"]
    assert body["status"] == answer.status
    assert body["type"] == f"urn:hansard:problem:{code}"
    assert body["title"] and body["detail"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert body["error"]["code"] == code
    assert body["error"]["message"] == body["detail"]
    assert body["error"]["type"]
    if answer.status in (429, 503):
        assert int(answer.headers["Retry-After"]) >= 1
    return answer.status, code


def conversation_path(session):
    return "/conversations/" + urllib.parse.quote(session, safe="")


@dataclasses.dataclass(frozen=True)
class Client:
    url: str
    key: str = None
    source: str = None  # address the calls come from; None: as the kernel likes
    timeout: float = 60 * PATIENCE

    def at(self, place):
        """The same caller at another worker or stack."""
        return dataclasses.replace(self, url=place.url)

    def request(self, method, path, body=None, headers=None):
        place = urllib.parse.urlsplit(self.url)
        source = (self.source, 0) if self.source else None
        connection = http.client.HTTPConnection(place.hostname, place.port, self.timeout, source)
        everything = dict(headers or {})
        if self.key:
            everything["Authorization"] = f"Bearer {self.key}"
        try:
            connection.request(method, path, body, everything)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def post(self, body, headers=None):
        """Bytes as they are to POST /chat."""
        return self.request("POST", "/chat", body, {"Content-Type": "application/json", **(headers or {})})

    def chat(self, session, message, key=None, headers=None):
        """One turn; key: the Idempotency-Key."""
        body = json.dumps({"session_id": session, "message": message}).encode()
        return self.post(body, {**({"Idempotency-Key": key} if key else {}), **(headers or {})})

    def queue(self, session, message, key=None, headers=None, **members):
        """The same as a job."""
        body = json.dumps({"session_id": session, "message": message, **members}).encode()
        return self.request("POST", "/jobs", body, {**({"Idempotency-Key": key} if key else {}), **(headers or {})})

    def job(self, job, wait=None):
        """Its state; wait: at most so many seconds until it has ended."""
        return self.get(f"/jobs/{job}" + (f"?wait={wait}" if wait else ""))

    def cancel(self, job):
        return self.request("DELETE", f"/jobs/{job}")

    def read(self, session, query=""):
        return self.get(conversation_path(session) + query)

    def erase(self, session):
        return self.request("DELETE", conversation_path(session))
