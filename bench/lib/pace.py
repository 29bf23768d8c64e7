"""Pace: turns at an even rate over kept connections, each with the moment it was sent and what it took.

wrk tells percentiles of a whole run; this tells what happened to the turns of any second of it. A process of its own, so that
whoever measures meanwhile does not slow it down.
"""

import http.client
import json
import subprocess
import sys
import threading
import time

CONNECTIONS = 16


class Turn:
    def __init__(self, sent_at, took_ms, status):
        self.sent_at = sent_at  # seconds since 1970
        self.took_ms = took_ms
        self.status = status  # 0: the connection broke


class Pace:
    """Turns from now until stop(), for the caller with this key."""

    def __init__(self, port, api_key, per_s):
        words = [str(port), api_key, str(per_s)]
        self._child = subprocess.Popen(
            [sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def stop(self):
        """All turns, in the order in which they were sent."""
        told, _ = self._child.communicate("stop\n")
        if self._child.returncode:
            raise RuntimeError(f"the load ended with {self._child.returncode}")
        return sorted((Turn(*row) for row in json.loads(told)), key=lambda turn: turn.sent_at)


def speak(number, port, api_key, per_s, stopping, turns):
    """One connection's turns, in conversations of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api_key}"}
    due, count = time.monotonic() + number / per_s, 0
    while not stopping.wait(max(0.0, due - time.monotonic())):
        count += 1
        body = json.dumps({"session_id": f"live {number} {count // 20}", "message": "hello"})
        sent_at, began = time.time(), time.monotonic()
        try:
            connection.request("POST", "/chat", body, headers)
            reply = connection.getresponse()
            reply.read()
            status = reply.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        turns.append((sent_at, (time.monotonic() - began) * 1000, status))
        due = max(due + CONNECTIONS / per_s, time.monotonic())


def main():
    port, api_key, per_s = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    stopping, turns = threading.Event(), []
    speakers = [
        threading.Thread(target=speak, args=(number, port, api_key, per_s, stopping, turns)) for number in range(CONNECTIONS)
    ]
    for speaker in speakers:
        speaker.start()
    sys.stdin.readline()
    stopping.set()
    for speaker in speakers:
        speaker.join()
    json.dump(turns, sys.stdout)


if __name__ == "__main__":
    main()
