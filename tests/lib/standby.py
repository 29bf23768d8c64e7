"""Standby: a hot standby of a stack's PostgreSQL, made by pg_basebackup and fed by streaming, on a port of its own."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import psycopg2
from psycopg2.extras import NamedTupleCursor

from lib.ports import free_port
from lib.program import PATIENCE
from lib.wait import until


class Standby:
    def __init__(self, stack):
        self._stack = stack
        self.port = free_port()
        # PostgreSQL refuses to be root: it runs as whoever the primary runs as.
        service = os.stat(stack.environment["PGHOST"])
        self._as_service = {"user": service.st_uid, "group": service.st_gid, "extra_groups": []} if os.getuid() == 0 else {}
        self._folder = tempfile.mkdtemp(prefix="hansard-standby-", dir="/var/tmp")
        if self._as_service:
            os.chown(self._folder, service.st_uid, service.st_gid)
        self._data = f"{self._folder}/data"
        self._log = f"{self._folder}/log"
        # The primary's own programs, whatever version it is.
        self._bin = pathlib.Path(os.readlink(f"/proc/{stack.pid('postgres')}/exe")).parent
        self._child = None

    def up(self, **settings):
        """Returns when it answers; settings: of postgresql.conf."""
        try:
            if not os.path.exists(self._data):
                self._copy()
            self._start(settings)
        except BaseException:
            self.destroy()
            raise
        return self

    def _copy(self):
        source = self._stack.migrate_url("postgres").rpartition("/")[0] + "/"
        done = subprocess.run(
            [f"{self._bin}/pg_basebackup", "-d", source, "-D", self._data, "-R", "-X", "stream", "--checkpoint=fast"],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120 * PATIENCE,
            check=False,
            **self._as_service,
        )
        assert done.returncode == 0, done.stderr

    def _start(self, settings):
        told = {"port": self.port, "unix_socket_directories": "", "cluster_name": "standby", **settings}
        words = [word for name, value in told.items() for word in ("-c", f"{name}={value}")]
        with open(self._log, "ab") as log:
            self._child = subprocess.Popen(
                [f"{self._bin}/postgres", "-D", self._data, *words],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_service,
            )
        until(self._answers, seconds=60)

    def _answers(self):
        assert self._child.poll() is None, self.log()
        try:
            return self.value("SELECT pg_is_in_recovery()")
        except psycopg2.OperationalError:
            return False

    def stop(self):
        if self._child is not None:
            self._child.send_signal(2)  # SIGINT: a fast shutdown
            self._child.wait(60 * PATIENCE)
            self._child = None

    def destroy(self):
        try:
            self.stop()
        finally:
            if self._child is not None:
                self._child.kill()
                self._child.wait()
            shutil.rmtree(self._folder, ignore_errors=True)

    def log(self):
        return pathlib.Path(self._log).read_text(encoding="utf-8", errors="replace")

    # ---- the database ----

    def url(self, url):
        """The same database and role as an address of the primary, here."""
        return re.sub(r"@127\.0\.0\.1:\d+/", f"@127.0.0.1:{self.port}/", url)

    def sql(self, query, *values, url=None):
        """As superuser of the stack's database, or whoever the primary's url is of; rows as named tuples."""
        connection = psycopg2.connect(self.url(url or self._stack.migrate_url()), connect_timeout=10)
        connection.autocommit = True
        try:
            with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
                cursor.execute(query, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def value(self, query, *values, url=None):
        ((value,),) = self.sql(query, *values, url=url)
        return value

    def catch_up(self):
        """Returns when all that is committed on the primary can be seen here."""
        at = self._stack.value("SELECT pg_logical_emit_message(true, 'standby', '')")
        until(lambda: self.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", at), seconds=30)

    def pause(self):
        """Nothing is replayed until resume()."""
        self.sql("SELECT pg_wal_replay_pause()")
        until(lambda: self.value("SELECT pg_get_wal_replay_pause_state()") == "paused")

    def resume(self):
        self.sql("SELECT pg_wal_replay_resume()")
