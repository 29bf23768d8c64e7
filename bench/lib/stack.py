"""Stack: Hansard's own stack on this machine, started and stopped by deploy/local/stack.sh, and its database."""

import hashlib
import os
import secrets
import shlex
import time
import uuid

# More room than PostgreSQL takes by itself, so that a run measures turns and not checkpoints that the filling caused.
PG_CONF = "shared_buffers = 4GB\nmax_wal_size = 8GB\ncheckpoint_timeout = 30min\nlog_min_messages = warning\n"
SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
USER = "bench"
TIER = "bench"


class Window:
    """What of a conversation the model is shown."""

    def __init__(self, messages):
        self.messages = messages
        self.bytes = 16 * 1024 * 1024


class Stack:
    def __init__(self, processes, root, folder, port, llm_concurrency, workers=1, settings=None):
        """settings: of workers, {HANSARD_…: text}."""
        self._processes = processes
        self._settings = settings or {}
        self._script = os.path.join(root, "deploy", "local", "stack.sh")
        self._seed = os.path.join(root, "bench", "seed.sql")
        self._llm_concurrency = llm_concurrency
        self._base = {name: value for name, value in os.environ.items() if not name.startswith("HANSARD_")}
        self._base.update(STACK_DIR=folder, STACK_PORT=str(port), STACK_WORKERS=str(workers), STACK_PG_CONF=PG_CONF)
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.api_key = "hsk_" + secrets.token_urlsafe(32)
        self.key_hash = "\\x" + hashlib.sha256(self.api_key.encode()).hexdigest()
        self.worker_id = str(uuid.uuid4())
        self.window = Window(20)

    def _env(self):
        return dict(
            self._base,
            HANSARD_HISTORY_MESSAGES=str(self.window.messages),
            HANSARD_HISTORY_BYTES=str(self.window.bytes),
            HANSARD_LLM_CONCURRENCY=str(self._llm_concurrency),
            HANSARD_QUEUE_LIMIT="2000",
            HANSARD_HISTORY_CACHE="1024M",
            HANSARD_LOG_LEVEL="warn",
            **self._settings,
        )

    def _do(self, *words, **options):
        return self._processes.run([self._script, *words], env=self._env(), **options)

    def up(self):
        """Empty, with a caller that no limit holds."""
        os.makedirs(self.folder, exist_ok=True)
        self._base["STACK_RESET"] = "1"
        self._do("up", timeout_s=120)
        del self._base["STACK_RESET"]
        self.sql(
            f"INSERT INTO hansard.tiers VALUES ('{TIER}', NULL, 1000000);"
            f"SELECT hansard_admin.add_key('{USER}', '{TIER}', '{self.key_hash}')"
        )

    def down(self):
        self._do("down", timeout_s=60, check=False)

    def destroy(self):
        self._do("destroy", timeout_s=60, check=False)

    def show_window(self, messages):
        """Start the worker anew with another window."""
        self.window = Window(messages)
        self.restart_workers()

    def environment(self):
        """What the stack says of itself: {name: value}."""
        found = {}
        for line in self._do("env").splitlines():
            for word in shlex.split(line):
                name, separator, value = word.partition("=")
                if separator:
                    found[name] = value
        return found

    def sql(self, text):
        """One value, or rows as lines of fields split by |."""
        return self._do("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", stdin=text).strip()

    def psql(self, *words, timeout_s=60):
        return self._do("psql", "-v", "ON_ERROR_STOP=1", *words, timeout_s=timeout_s)

    def settings(self):
        names = ", ".join(f"'{name}'" for name in SETTINGS)
        rows = self.sql(f"SELECT name, current_setting(name) FROM pg_settings WHERE name IN ({names})")
        return dict(row.split("|", 1) for row in rows.splitlines())

    def fill(self, target, messages):
        variables = {
            "user": USER,
            "prefix": target.prefix,
            "sessions": target.sessions,
            "turns": messages // 2,
            "question": target.message,
            "answer": target.answer,
        }
        self.run_file(self._seed, **variables)

    def run_file(self, path, timeout_s=600, **variables):
        words = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
        self._do("psql", "-Xq", "-o", "/dev/null", *words, "-f", path, timeout_s=timeout_s)

    def tidy(self):
        """After filling: what autovacuum would do in the middle of a run otherwise."""
        self.sql("VACUUM (FREEZE, ANALYZE)")

    def enlist_pgbench(self):
        """A worker in name, for pgbench: it lives as long as a run may take, without a heart."""
        self.sql(
            "INSERT INTO hansard.workers (worker_id, name, version, started_at, heartbeat_at, permits) "
            f"VALUES ('{self.worker_id}', 'pgbench', 'pgbench', now(), now() + interval '1 day', 0)"
        )

    def restart_workers(self):
        self._do("restart-workers", timeout_s=60)

    def settle(self):
        """Wait until nothing of the run before is left, then put a checkpoint between it and the next."""
        busy = (
            "SELECT (SELECT count(*) FROM hansard.sessions WHERE open_turn IS NOT NULL) || ' open turns, ' "
            "|| count(*) || ' at vacuum' FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
        )
        until = time.monotonic() + 30
        while (left := self.sql(busy)) != "0 open turns, 0 at vacuum":
            if time.monotonic() > until:
                print(f"  not settled after 30 s: {left}")
                break
            time.sleep(0.2)
        self.sql("CHECKPOINT")

    def now(self):
        return self.sql("SELECT clock_timestamp()")

    def completed_since(self, moment):
        return int(self.sql(f"SELECT count(*) FROM hansard.turns WHERE state = 'completed' AND finished_at >= '{moment}'"))

    def stored_messages(self, target):
        """Mean number of stored messages a session has by now."""
        return float(
            self.sql(
                "SELECT coalesce(round(avg(2 * (next_turn - 1)), 1), 0) FROM hansard.sessions "
                f"WHERE session_id LIKE '{target.prefix}%'"
            )
        )
