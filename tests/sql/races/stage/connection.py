"""Connection: one session of the database, which can be left waiting for another one.

Nothing here sleeps for a time to pass. That a statement waits is read in pg_stat_activity: it waits for a lock, and the
one it waits for holds it.
"""

import threading
import time

import psycopg2
from psycopg2.extras import NamedTupleCursor

PATIENCE_S = 20
_connections = []


class Connection:
    def __init__(self, user="hansard_app"):
        # The limits of the role are for workers; here a slow machine must not end a wait.
        limits = f"-c statement_timeout={PATIENCE_S}s -c lock_timeout={PATIENCE_S}s"
        self._pg = psycopg2.connect(user=user, options=limits, cursor_factory=NamedTupleCursor)
        self._pg.autocommit = True
        self.pid = self._pg.info.backend_pid
        _connections.append(self)

    def do(self, statement, *values):
        """Rows of the statement; without any an empty list."""
        with self._pg.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement, *values):
        """The one value of the one row."""
        ((value,),) = self.do(statement, *values)
        return value

    def begin(self):
        self.do("BEGIN")
        return self

    def commit(self):
        self.do("COMMIT")

    def rollback(self):
        self.do("ROLLBACK")

    def start(self, call):
        """Runs the call, which uses this connection, on the side."""
        return Pending(self, call)

    def close(self):
        self._pg.close()


class Pending:
    """A call that is under way."""

    def __init__(self, connection, call):
        self._connection, self._call = connection, call
        self._result = self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._result = self._call()
        except Exception as error:  # given to whoever asks for the result
            self._error = error

    def is_under_way(self):
        return self._thread.is_alive()

    def waits_for(self, *others):
        """Asserts that it waits for a lock that one of the others holds or is in line for, and for nobody else."""
        pids = {other.pid for other in others}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert self._thread.is_alive(), f"it did not wait: {self._error or self._result!r}"
            ((event, blockers),) = watcher().do(
                "SELECT wait_event_type, pg_blocking_pids(pid) FROM pg_stat_activity WHERE pid = %s",
                self._connection.pid,
            )
            if event == "Lock" and set(blockers) == pids:
                return self
            assert time.monotonic() < deadline, f"it waits for {event} and {blockers}, not for a lock of {pids}"
            time.sleep(0.002)

    def result(self):
        """What the call gave, now that nothing is in its way."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "it still waits"
        if self._error:
            raise self._error
        return self._result

    def sqlstate(self):
        """The SQLSTATE it failed with."""
        try:
            result = self.result()
        except psycopg2.Error as error:
            return error.pgcode
        raise AssertionError(f"it did not fail: {result!r}")


_watcher = None


def watcher():
    """The superuser that looks on, never in a transaction."""
    global _watcher
    if _watcher is None:
        _watcher = Connection("postgres")
    return _watcher


def strike():
    """The end of a story: what it left open is undone, and its workers are gone, so that no reaper finds them later."""
    global _watcher
    _watcher = None
    while _connections:
        _connections.pop().close()
    watcher().do(
        "UPDATE hansard.sessions SET open_turn = NULL, open_worker = NULL, jobs = 0"
        " WHERE open_turn IS NOT NULL OR jobs > 0"
    )
    watcher().do("DELETE FROM hansard.jobs")
    watcher().do("DELETE FROM hansard.workers")
