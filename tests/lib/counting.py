"""CountingModel: a model that says how many messages it was shown, as demo-llm does, thinks as long as [[delay MS]] says,
and counts the calls it has at once.

A call is in flight until its answer is about to be sent, or its caller has hung up. Those of a caller that is about to be
killed are counted on (haunt): a model server may not notice, and works on for as long as a call may take.
"""

import dataclasses
import re
import select
import socket
import time

from lib.moody import MoodyModel

LOOK_S = 0.02


@dataclasses.dataclass(eq=False)
class _Call:
    caller: str
    words: str
    connection: socket.socket
    began: float
    is_ghost: bool = False

    def has_hung_up(self):
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def is_over(self, call_s):
        return time.monotonic() > self.began + call_s if self.is_ghost else self.has_hung_up()


class CountingModel(MoodyModel):
    def __init__(self, call_s):
        """call_s: how long a call may take at most."""
        self._call_s = call_s
        self._present = set()
        self._every = 1
        self.ghosts = 0
        self.worst = []  # who was there at high water
        super().__init__("echo")

    def say(self, messages):
        return f"echo {len(messages)}: {messages[-1]['content']}"

    def trouble(self, mood, every):
        """Every so-manieth call comes in this mood, others go well."""
        self._every = every
        self.set(mood)

    def haunt(self, api_key):
        """The caller with this key is frozen, and will be killed: its calls are counted on."""
        with self._changed:
            self._count()
            for call in self._present:
                if call.caller == f"Bearer {api_key}" and not call.is_ghost:
                    call.is_ghost = True
                    self.ghosts += 1

    def _count(self):
        """Who has hung up is seen here and now: its caller may have begun another call since."""
        self._present -= {call for call in self._present if call.is_over(self._call_s)}
        self.in_flight = len(self._present)
        if self.in_flight > self.high_water:
            self.high_water = self.in_flight
            now = time.monotonic()
            self.worst = [(call.caller, call.words, now - call.began, call.is_ghost) for call in self._present]

    def _leave(self, call):
        if not call.is_ghost:
            self._present.discard(call)
            self._count()

    def _hear(self, body, handler):
        words = body["messages"][-1]["content"]
        delay = re.search(r"\[\[delay (\d+)\]\]", words)
        call = _Call(handler.headers["Authorization"], words, handler.connection, time.monotonic())
        ready_at = call.began + (int(delay[1]) / 1000 if delay else 0)
        with self._changed:
            self.calls += 1
            self._present.add(call)
            self._count()
            mood = self._mood if self.calls % self._every == 0 else "well"
            while mood != "away" and (mood == self._mood == "stall" or time.monotonic() < ready_at):
                self._changed.wait(LOOK_S)
                if call.has_hung_up():
                    mood = "away"
            self._leave(call)
            return mood
