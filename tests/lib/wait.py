"""Wait: for something to become true, never for a time to pass."""

import time

from lib.program import PATIENCE


def until(what, seconds=10, every=0.01):
    """Call what until it gives something true, and give that; a failed test when the time is over."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not so within {seconds * PATIENCE} s: {getattr(what, '__name__', what)}, last {found!r}"
            )
        time.sleep(every)
