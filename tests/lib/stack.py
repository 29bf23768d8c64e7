"""Stack: the whole service on this machine, by deploy/local/stack.sh, and its database as superuser."""

import re
import shlex
import shutil
import subprocess
import tempfile

import psycopg2
from psycopg2.extras import NamedTupleCursor

from lib.ports import free_base
from lib.program import DEMO_LLM, HANSARD, PATIENCE, ROOT, clean_environment, hansard, settings_environment

SCRIPT = str(ROOT / "deploy" / "local" / "stack.sh")


class Stack:
    def __init__(self, workers=1, stack=None, **settings):
        """settings: of the workers; stack: of stack.sh, as {"PG_CONF": "..."}."""
        self.folder = tempfile.mkdtemp(prefix="hansard-test-")
        self.port = free_base([0, 1, 2, 3, *range(11, 11 + workers)])
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **clean_environment(),
            "HANSARD_BIN": HANSARD,
            "DEMO_LLM_BIN": DEMO_LLM,
            "STACK_DIR": self.folder,
            "STACK_PORT": str(self.port),
            "STACK_WORKERS": str(workers),
            "STACK_SHARED_BUFFERS": "64MB",
            **{f"STACK_{name}": value for name, value in (stack or {}).items()},
            **settings_environment(settings),
        }
        self._told = None

    # ---- parts ----

    def do(self, *words, check=True, **settings):
        """`stack.sh WORDS`; settings for this command. Gives its output."""
        command = [SCRIPT, *words]
        child = subprocess.Popen(
            command,
            env={**self._environment, **settings_environment(settings)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests, which then stop what they have started
        )
        try:
            out, err = child.communicate(timeout=150 * PATIENCE)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        if check and child.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit {child.returncode}\n{out}{err}")
        return out

    def up(self):
        try:
            self.do("up")
        except BaseException:
            self.destroy()
            raise
        return self

    def destroy(self):
        """Stop everything, remove everything."""
        self.do("destroy", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, part, **settings):
        self.do("start", part, **settings)

    def stop(self, part):
        self.do("stop", part)

    def kill(self, part, signal="KILL"):
        self.do("kill", part, signal)

    def restart_worker(self, number=1, **settings):
        self.do("restart-worker", str(number), **settings)

    def pid(self, part):
        return int(self.do("pid", part))

    def is_running(self, part):
        return bool(self.do("pid", part, check=False))

    def log(self, part):
        return f"{self.folder}/log/{part}.log"

    # ---- what it says of itself ----

    def worker_url(self, number):
        """Of one of several workers, past nginx."""
        return f"http://127.0.0.1:{self.port + 10 + number}"

    @property
    def environment(self):
        if self._told is None:
            words = [shlex.split(line)[0] for line in self.do("env").splitlines()]
            self._told = dict(word.split("=", 1) for word in words)
        return self._told

    @property
    def llm_url(self):
        return self.environment["LLM_URL"]

    # ---- the database, as superuser over the unix socket ----

    def connect(self, database="hansard"):
        told = self.environment
        connection = psycopg2.connect(
            host=told["PGHOST"], port=told["PGPORT"], user=told["PGUSER"], dbname=database, connect_timeout=10
        )
        connection.autocommit = True
        return connection

    def sql(self, query, *values, database="hansard"):
        """Rows as named tuples; an empty list for a statement without."""
        connection = self.connect(database)
        try:
            with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
                cursor.execute(query, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def value(self, query, *values, database="hansard"):
        """The one value of the one row."""
        ((value,),) = self.sql(query, *values, database=database)
        return value

    def migrate_url(self, database="hansard"):
        return re.sub(r"/hansard$", f"/{database}", self.environment["HANSARD_MIGRATE_URL"])

    # ---- callers ----

    def make_tier(self, tier, per_minute, burst, **caps):
        """per_minute None: not limited; caps: parallel_turns, tokens_per_day, tokens_reserved."""
        columns = {"tier": tier, "rate_per_minute": per_minute, "burst": burst, **caps}
        places = ", ".join(["%s"] * len(columns))
        self.sql(
            f"INSERT INTO hansard.tiers ({', '.join(columns)}) VALUES ({places}) ON CONFLICT DO NOTHING",
            *columns.values(),
        )
        return tier

    def keys(self, *words):
        """`hansard keys WORDS`: returncode, stdout, stderr."""
        return hansard("keys", *words, migrate_url=self.migrate_url())

    def add_key(self, user, tier=None):
        """A new API key of the user."""
        done = self.keys("add", user, *(["--tier", tier] if tier else []))
        assert done.returncode == 0, done.stderr
        return re.search(r"^key +(hsk_\S+)$", done.stdout, re.MULTILINE)[1]
