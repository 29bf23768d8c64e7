"""Load: callers that ask all the time, and repeat each question under its key until they know what became of it."""

import concurrent.futures
import http.client
import random
import re
import threading
import time

from lib.client import Client, problem
from lib.program import PATIENCE
from lib.together import begin


def short_words(rng):
    """A question that the model thinks about for a moment."""
    return f"[[delay {rng.randrange(0, 60)}]] "


class Load:
    # After which a question is repeated; and what became of a turn that came to nothing.
    refusals = {(503, "database_unavailable"), (503, "draining"), (409, "conversation_busy")}
    failures = {(502, "worker_lost")}

    def __init__(
        self, ledger, place_of, key, sessions, seed, words=short_words, gives_up=0.0, hurries=0.0, timeout=35
    ):
        """place_of(rng): where to ask now; words(rng): how a question begins; gives_up: how likely a caller is not to
        repeat a question; hurries: how likely he is not to wait for his answer, but to ask again; timeout: who has no
        answer and no broken connection by then hangs."""
        self._ledger, self._place_of, self._key, self._sessions = ledger, place_of, key, sessions
        self._seed, self._words, self._gives_up, self._hurries = seed, words, gives_up, hurries
        self._timeout = timeout * PATIENCE
        self._is_over = threading.Event()
        self._callers = []

    def start(self, callers):
        self._callers = [begin(self._run, number) for number in range(callers)]
        return self

    def stop(self, seconds=90):
        """Let everybody learn the fate of the last question."""
        self._is_over.set()
        _, waiting = concurrent.futures.wait(self._callers, seconds * PATIENCE)
        if waiting:
            self._ledger.found_strange(None, f"{len(waiting)} callers still ask")
            self.abort()
        for caller in self._callers:
            caller.result()

    def abort(self):
        """The test has failed: wait for nobody."""
        self._is_over.set()
        self._gives_up = 1.0

    def _run(self, number):
        rng = random.Random(f"{self._seed} {number}")
        question = 0
        while not self._is_over.is_set():
            question += 1
            words = f"{self._words(rng)}{number}-{question} ü"
            promise = self._ledger.ask(rng.choice(self._sessions), f"{number}-{question}", words)
            self._choose(promise, rng)
            while not self._ask(promise, rng):
                if rng.random() < self._gives_up:
                    break
                time.sleep(rng.uniform(0.01, 0.1))

    def _choose(self, promise, rng):
        """How it is to be asked; before it is."""

    def _ask(self, promise, rng):
        """Once. True: its fate is known."""
        hurries = rng.random() < self._hurries
        timeout = rng.uniform(0.01, 2) if hurries else self._timeout
        client = Client(self._place_of(rng), self._key, timeout=timeout)
        try:
            answer, note = self._send(client, promise, rng)
        except TimeoutError:
            if not hurries:
                self._ledger.found_strange(promise, f"no answer within {timeout} s")
            return False
        except (OSError, http.client.HTTPException):
            return False
        return note(promise, answer)

    def _send(self, client, promise, _rng):
        """The answer, and who notes what it says."""
        return client.chat(promise.session, promise.words, key=promise.key), self._note

    def _note(self, promise, answer):
        if answer.status == 200:
            if not re.fullmatch(rf"echo \d+: {re.escape(promise.words)}", answer.text):
                self._ledger.found_strange(promise, answer.text)
            self._ledger.answered(promise, answer)
            return True
        if problem(answer) in self.failures:
            self._ledger.failed(promise, answer)
            return True
        return self._note_refusal(promise, answer)

    def _note_refusal(self, promise, answer):
        """True: there is nothing to wait for."""
        told = problem(answer)
        if told in self.refusals:
            return False
        self._ledger.found_strange(promise, told)
        return True
