"""TormentedStack: a stack that knows what was done to it, and heals."""

import contextlib

from lib.stack import Stack

PARTS = ("postgres", "pgbouncer", "llm")


class TormentedStack(Stack):
    def __init__(self, workers=0, **words):
        super().__init__(workers, **words)
        self._parts = (*PARTS, *(f"worker{n}" for n in range(1, workers + 1)))
        self._tormented = set()

    def stop(self, part):
        self._tormented.add(part)
        super().stop(part)

    def kill(self, part, signal="KILL"):
        self._tormented.add(part)
        super().kill(part, signal)

    def heal(self):
        """Everything goes on that was frozen, and runs that was stopped."""
        for part in (part for part in self._parts if part in self._tormented):
            self.do("kill", part, "CONT", check=False)
            self.start(part)
        self._tormented.clear()


@contextlib.contextmanager
def running_stack(settings, workers=0, **of_workers):
    running = TormentedStack(workers, stack=settings, **of_workers).up()
    try:
        running.make_tier("unlimited", None, 1000000)
        yield running
    finally:
        running.destroy()
