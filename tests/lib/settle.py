"""Settle: after a storm, what the dead have left is closed by those who live."""

import contextlib

from lib.wait import until

_LATEST = "SELECT DISTINCT ON (name) worker_id FROM hansard.workers ORDER BY name, started_at DESC"
_DEAD = f"(worker_id NOT IN ({_LATEST}) OR name <> ALL (%s))"


def close_what_was_left(stack, ledger, alive, hurries):
    """Turns that nobody repeats are closed by the workers that live, of these names: 25 to 40 s after the last sign of
    the dead one. hurries: that time is made to pass."""

    def is_closed():
        if hurries:
            for column in ("heartbeat_at", "lost_at"):
                stack.sql(f"UPDATE hansard.workers SET {column} = {column} - interval '1 minute' WHERE {_DEAD}", alive)
        return ledger.running(stack) == 0

    with contextlib.suppress(AssertionError):  # what is left is for the ledger to tell, with all the rest
        until(is_closed, seconds=60, every=0.2)
