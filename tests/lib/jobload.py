"""JobLoad: as Load, but half of the questions are jobs. Who queued one waits until it has ended, or cancels it, or never
asks again; and who has asked live and got no answer may go on with the same key as a job."""

import re

from lib.client import problem
from lib.load import Load
from lib.program import PATIENCE


class JobLoad(Load):
    jobs = 0.5
    turns_to_jobs = 0.05  # each time before it is asked live
    forgets = 0.1
    cancels = 0.03  # with each look

    def _choose(self, promise, rng):
        promise.is_job = rng.random() < self.jobs

    def _send(self, client, promise, rng):
        if promise.is_job is False and rng.random() < self.turns_to_jobs:
            promise.is_job = None
        if promise.is_job is False:
            return super()._send(client, promise, rng)
        if promise.job_id is None:
            answer = client.queue(promise.session, promise.words, key=promise.key)
            forgets = rng.random() < self.forgets
            return answer, lambda *told: self._note_queued(*told) and forgets
        if promise.is_job and rng.random() < self.cancels:
            return client.cancel(promise.job_id), self._note_cancelled
        return client.job(promise.job_id, wait=rng.randrange(1, 10 * PATIENCE)), self._note_job

    def _note_queued(self, promise, answer):
        """True: it is acknowledged, or never will be."""
        if answer.status != 202:
            return self._note_refusal(promise, answer)
        self._ledger.queued(promise, answer)
        return True

    def _note_cancelled(self, promise, answer):
        if answer.status == 409 and problem(answer) == (409, "job_ended"):
            return False  # the next look will tell
        return self._note_job(promise, answer)

    def _note_job(self, promise, answer):
        if answer.status != 200:
            return self._note_refusal(promise, answer)
        job = answer.json
        if (job["session_id"], job["turn"], job["job_id"]) != (promise.session, promise.turn, promise.job_id):
            self._ledger.found_strange(promise, job)
        if job["status"] in ("queued", "running"):
            return False
        self._ledger.ended(promise, job)
        if promise.reply is not None and not re.fullmatch(rf"echo \d+: {re.escape(promise.words)}", promise.reply):
            self._ledger.found_strange(promise, job)
        return True
