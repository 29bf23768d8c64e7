"""Together: calls that run while the test goes on, or all at once."""

import concurrent.futures
import threading

_pool = concurrent.futures.ThreadPoolExecutor(max_workers=128, thread_name_prefix="caller")


def begin(call, *words, **options):
    """Start the call; its outcome is what .result() gives."""
    return _pool.submit(call, *words, **options)


def together(calls):
    """All of them, from one starting line; their results in the same order."""
    calls = list(calls)
    line = threading.Barrier(len(calls))

    def run(call):
        line.wait(60)
        return call()

    return [future.result() for future in [begin(run, call) for call in calls]]
