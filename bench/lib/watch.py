"""Watch: what workers' statements do at the database, seen from there: how long calls of a function take, and who waits for a
lock. It looks at pg_stat_activity every few milliseconds, since no log tells the commit of a call together with it.
"""

import threading
import time

import psycopg2

EVERY_S = 0.002

LOOK = """
SELECT pid, extract(epoch FROM query_start)::float8, extract(epoch FROM clock_timestamp())::float8,
       wait_event_type = 'Lock', query LIKE %(function)s
FROM pg_stat_activity WHERE usename = 'hansard_app' AND state = 'active'
"""


class Span:
    """Seconds since 1970; how far apart two looks were is how wrong either end may be."""

    def __init__(self, began, ended):
        self.began = began
        self.ended = ended

    @property
    def ms(self):
        return (self.ended - self.began) * 1000


class Watch:
    """Calls of one function, and waits for locks of all other calls, from now until stop()."""

    def __init__(self, url, function):
        self._look = {"function": f"%{function}(%"}
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        self._stopping = threading.Event()
        self._calls = {}  # (pid, began): Span
        self._waits = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        with self._connection.cursor() as cursor:
            while not self._stopping.is_set():
                cursor.execute(LOOK, self._look)
                for pid, began, now, is_waiting, is_call in cursor.fetchall():
                    if is_call:
                        self._calls.setdefault((pid, began), Span(began, now)).ended = now
                    elif is_waiting:
                        self._waits.setdefault((pid, began), Span(now, now)).ended = now
                time.sleep(EVERY_S)

    def stop(self):
        """(calls, waits), each in the order of time."""
        self._stopping.set()
        self._thread.join()
        self._connection.close()
        return [sorted(spans.values(), key=lambda span: span.began) for spans in (self._calls, self._waits)]
