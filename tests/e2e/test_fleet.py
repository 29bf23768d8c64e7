"""A fleet of the shipped files: every command of docker-compose.yml, with addresses of this machine put in.

There is no container engine here. Whatever else Compose does is left out; programs, settings, scripts, health checks and
the order are those of the file. PostgreSQL is the stack's, started with the file's own settings.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import psycopg2
import pytest

from lib.client import Client
from lib.deploy import WORKERS, compose, dockerfile, text_of
from lib.ports import free_port
from lib.program import DEMO_LLM, HANSARD, PATIENCE, ROOT
from lib.stack import Stack
from lib.wait import until

SCRIPTS = ROOT / "deploy" / "compose"
PASSWORD = """it's "odd" \\ and $long, 100% of it"""
NAMES = {"migrate-fleet": "migrate.sh", "start-pgbouncer": "pgbouncer.sh", "healthy": "healthy.sh"}


def nobody_special():
    """Popen's words for a user who is not root: PgBouncer refuses to be root, nginx would change its user."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def shared_folder():
    """A new folder that this user may write to."""
    folder = tempfile.mkdtemp(prefix="hansard-fleet-", dir="/var/tmp")
    who = nobody_special()
    if who:
        os.chown(folder, who["user"], who["group"])
    return folder


def settings_of_postgres(parts):
    """-cname=value, as lines of postgresql.conf."""
    words = parts["postgres"]["command"]
    assert words[0] == "postgres"
    return "\n".join("{} = '{}'".format(*re.fullmatch(r"-c(\w+)=(.*)", word).groups()) for word in words[1:])


class Fleet:
    def __init__(self, stack):
        self.folder = shared_folder()
        told = stack.environment
        self._password = re.search(r"//postgres:([^@]*)@", told["HANSARD_MIGRATE_URL"])[1]
        self.parts = compose(POSTGRES_PASSWORD=self._password, APP_PASSWORD=PASSWORD)["services"]
        self.ports = {name: free_port() for name in (*WORKERS, "pgbouncer", "nginx", "demo-llm")}
        self._postgres = re.search(r"@127.0.0.1:(\d+)/", told["HANSARD_MIGRATE_URL"])[1]
        self.children = {}
        self._bin = os.path.join(self.folder, "bin")
        for name in ("bin", "run", "run/nginx", "etc", "etc/local"):
            os.mkdir(os.path.join(self.folder, name))
        self._put_programs()
        self._put_configuration()
        self._give_away()

    def _write(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.here(text))
        os.chmod(path, mode)

    def _put_programs(self):
        for name, file in NAMES.items():
            self._write(f"bin/{name}", (SCRIPTS / file).read_text(encoding="utf-8"), 0o755)
        # Each notes its arguments, then becomes the real one.
        real = {"hansard": HANSARD, "demo-llm": DEMO_LLM}
        for name in ("hansard", "demo-llm", "psql", "sed", "env"):
            path = real.get(name) or shutil.which(name)
            self._write(f"bin/{name}", f'#!/bin/sh\necho {name} "$@" >>{self.folder}/words\nexec {path} "$@"\n', 0o755)

    def _put_configuration(self):
        """The files that the images hold and those that are mounted, at places of ours."""
        shutil.copy(ROOT / "deploy/pgbouncer/pgbouncer.ini", f"{self.folder}/etc/pgbouncer.ini")
        shutil.copy(ROOT / "deploy/nginx/nginx.conf", f"{self.folder}/etc/nginx.conf")
        self._write("etc/local/pgbouncer.ini", text_of("deploy/compose/pgbouncer/pgbouncer.ini"))
        for path in (SCRIPTS / "nginx").glob("*.conf"):
            self._write(f"etc/local/{path.name}", path.read_text(encoding="utf-8"))
            os.symlink(f"local/{path.name}", f"{self.folder}/etc/{path.name}")

    def _give_away(self):
        who = nobody_special()
        if who:
            for place, folders, files in os.walk(self.folder):
                for name in folders + files:
                    os.chown(os.path.join(place, name), who["user"], who["group"], follow_symlinks=False)

    def here(self, text, name=None):
        """The same words with this machine's addresses; name: the part whose own they are."""
        for worker in WORKERS:
            text = text.replace(f"{worker}:8080", f"127.0.0.1:{self.ports[worker]}")
        text = text.replace("host=postgres port=5432", f"host=127.0.0.1 port={self._postgres}")
        text = text.replace("pgbouncer:6432", f"127.0.0.1:{self.ports['pgbouncer']}")
        text = text.replace("demo-llm:8083", f"127.0.0.1:{self.ports['demo-llm']}")
        text = text.replace("listen_addr = *", "listen_addr = 127.0.0.1")
        text = text.replace("listen 8080", f"listen 127.0.0.1:{self.ports['nginx']}")
        text = re.sub(r"^listen_port = 6432$", f"listen_port = {self.ports['pgbouncer']}", text, flags=re.M)
        text = re.sub(r"172\.31\.240\.10/32", "127.0.0.1/32", text)
        text = text.replace("/etc/hansard", f"{self.folder}/etc").replace("/run/pgbouncer", f"{self.folder}/run")
        text = text.replace("/run/nginx", f"{self.folder}/run/nginx")
        if name:
            text = re.sub(r"^(\*:|0\.0\.0\.0:|)(8080|8083|6432)$", lambda match: self._port(match, name), text)
        return text

    def _port(self, match, name):
        return ("127.0.0.1:" if match[1] else "") + str(self.ports[name])

    def environment(self, name):
        """What the container would have, and a PATH; nothing else."""
        given = {key: self.here(value, name) for key, value in self.parts[name]["environment"].items()}
        if "PGHOST" in given:
            given.update(PGHOST="127.0.0.1", PGPORT=self._postgres)
        return {"PATH": f"{self._bin}:/usr/sbin:{os.environ['PATH']}", "HOME": self.folder, **given}

    def command(self, name):
        part = self.parts[name]
        stage = dockerfile()[part["build"]["target"]]
        words = part.get("entrypoint") or stage.words("ENTRYPOINT")
        words = words + (part.get("command") or ([] if "entrypoint" in part or name == "nginx" else stage.words("CMD")))
        return [self.here(word, name) for word in words]

    def launch(self, name):
        with open(f"{self.folder}/{name}.log", "ab") as log:
            self.children[name] = subprocess.Popen(
                self.command(name),
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **nobody_special(),
            )
        return self

    def log(self, name):
        with open(f"{self.folder}/{name}.log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def is_healthy(self, name):
        """By the part's own check."""
        kind, *words = self.parts[name]["healthcheck"]["test"]
        assert kind == "CMD"
        words = [self.here(word, name) for word in words]
        return subprocess.run(words, env=self.environment(name), capture_output=True, timeout=20).returncode == 0

    def start(self, name):
        """Returns when it is healthy."""
        self.launch(name)

        def is_up():
            if self.children[name].poll() is not None:
                raise AssertionError(f"{name} ended: {self.log(name)}")
            return self.is_healthy(name)

        until(is_up, seconds=30, every=0.1)

    def once(self, name):
        self.launch(name)
        return self.children.pop(name).wait(60 * PATIENCE)

    def stop(self, name):
        """As Compose does. Its exit code."""
        part, child = self.parts[name], self.children.pop(name)
        stage = dockerfile()[part["build"]["target"]]
        child.send_signal(signal.Signals[part.get("stop_signal") or stage.last("STOPSIGNAL")])
        return child.wait(40 * PATIENCE)

    def close(self):
        for child in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def base():
    """What the fleet lacks here, PostgreSQL, with the settings of docker-compose.yml; two workers make nginx run."""
    parts = compose(POSTGRES_PASSWORD="x", APP_PASSWORD="x")["services"]
    running = Stack(
        workers=2, stack={"PG_CONF": settings_of_postgres(parts), "PGBOUNCER_CONF": "disable_pqexec = 0"}
    ).up()
    yield running
    running.destroy()


@pytest.fixture(scope="module")
def fleet(base):
    """All of it, started in the order of depends_on."""
    base.stop("worker1"), base.stop("worker2")  # the password of hansard_app changes under them
    whole = Fleet(base)
    try:
        assert whole.once("migrate") == 0, whole.log("migrate")
        for name in ("pgbouncer", "demo-llm", *WORKERS, "nginx"):
            whole.start(name)
        yield whole
    finally:
        whole.close()


@pytest.fixture
def client(fleet):
    return Client(f"http://127.0.0.1:{fleet.ports['nginx']}")


# ---- the stack of the tests runs what is shipped ----


def shipped_settings():
    text = text_of("deploy/pgbouncer/pgbouncer.ini")
    return dict(re.findall(r"^(\w+) = (.*)$", text, re.M))


def test_pooler_runs_the_shipped_settings(base):
    """Asked of the running one. disable_pqexec alone is turned off here: with it the console answers nobody."""
    rows = base.do("pooler", "-At", "-F", "\t", "-c", "show config").splitlines()
    running = {key: value for key, value, *_ in (row.split("\t") for row in rows)}
    shipped = shipped_settings()
    assert len(shipped) >= 30
    assert shipped.pop("disable_pqexec") == "1"
    assert {key: running.get(key) for key in shipped} == shipped
    # Those without which a failure of seconds becomes one of minutes, or a full pool hides.
    must = {"pool_mode": "transaction", "query_wait_timeout": "3", "server_login_retry": "1", "tcp_user_timeout": "10000"}
    assert must.items() <= running.items()
    assert int(running["idle_transaction_timeout"]) > 0 and int(running["max_client_conn"]) >= 1000


def test_nginx_runs_the_shipped_file(base):
    with open(f"/proc/{base.pid('nginx')}/cmdline", "rb") as file:
        words = file.read().replace(b"\0", b" ").split()
    running = words[words.index(b"-c") + 1].decode()
    with open(running, "rb") as file:
        assert file.read() == (ROOT / "deploy/nginx/nginx.conf").read_bytes()


def test_postgres_takes_the_settings(base):
    assert base.value("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == 0
    for line in settings_of_postgres(compose(POSTGRES_PASSWORD="x", APP_PASSWORD="x")["services"]).splitlines():
        name, value = re.fullmatch(r"(\w+) = '(.*)'", line).groups()
        assert base.value(f"SHOW {name}") == value


# ---- the fleet ----


def test_a_turn_through_all_of_it(fleet, client, session):
    answers = [client.chat(session, f"m{n}") for n in range(6)]
    assert [answer.turn for answer in answers] == [1, 2, 3, 4, 5, 6]
    assert answers[0].text == "echo 1: m0"
    assert len({client.get("/readyz").json["worker"] for _ in range(9)}) == len(WORKERS)


def test_fleets_pooler_has_the_shipped_settings(fleet):
    """By one that no pooler has unasked: simple queries are refused. The password is right, so it comes that far."""
    pooler = psycopg2.connect(
        host="127.0.0.1", port=fleet.ports["pgbouncer"], user="hansard_app", password=PASSWORD, dbname="hansard"
    )
    with contextlib.closing(pooler), pytest.raises(psycopg2.Error):
        pooler.autocommit = True
        pooler.cursor().execute("SELECT 1")
    assert "PQexec disallowed" in fleet.log("pgbouncer")


def test_callers_are_told_apart(fleet, session):
    """Workers believe nginx, by the address the file names."""
    url = f"http://127.0.0.1:{fleet.ports['nginx']}"
    one, two = Client(url, source="127.7.0.1"), Client(url, source="127.7.0.2")
    assert [one.chat(f"{session} {n}", "x").status for n in range(11)] == [200] * 10 + [429]
    assert two.chat(session, "x").status == 200


def test_password_is_in_no_argument(fleet):
    """Not in those of long-lived programs, nor of any that the scripts have called."""
    with open(f"{fleet.folder}/words", encoding="utf-8") as file:
        words = file.read()
    assert "hansard migrate" in words and "psql -X" in words
    for child in fleet.children.values():
        with open(f"/proc/{child.pid}/cmdline", "rb") as file:
            words += file.read().decode()
    assert "odd" not in words and fleet.parts["migrate"]["environment"]["PGPASSWORD"] not in words


def test_password_is_kept_where_only_pgbouncer_reads(fleet):
    place = f"{fleet.folder}/run/userlist.txt"
    assert os.stat(place).st_mode & 0o777 == 0o600
    with open(f"/proc/{fleet.children['pgbouncer'].pid}/environ", "rb") as file:
        assert b"APP_PASSWORD" not in file.read()
    for name in ("migrate", "pgbouncer", *WORKERS):
        assert "odd" not in fleet.log(name)


def test_database_has_not_logged_the_password(fleet, base):
    with open(base.log("postgres"), encoding="utf-8", errors="replace") as file:
        assert "odd" not in file.read()


def test_migrating_again_changes_nothing(fleet, client, session):
    """Each `up` does it."""
    assert fleet.once("migrate") == 0
    assert client.chat(session, "x").turn == 1


def test_migrate_fails_when_it_cannot(fleet):
    """So that workers, which wait for it, are not started."""
    environment = {**fleet.environment("migrate"), "PGDATABASE": "nowhere"}
    done = subprocess.run(fleet.command("migrate"), env=environment, capture_output=True, timeout=60)
    assert done.returncode != 0
    del environment["APP_PASSWORD"]
    done = subprocess.run(fleet.command("migrate"), env=environment, capture_output=True, timeout=60)
    assert b"APP_PASSWORD" in done.stderr and done.returncode != 0


def test_admin_makes_keys(fleet, client, session):
    words = [*fleet.command("admin")[:-1], "keys", "add", session]
    done = subprocess.run(words, env=fleet.environment("admin"), capture_output=True, text=True, timeout=60)
    key = re.search(r"^key +(hsk_\S+)$", done.stdout, re.M)[1]
    assert Client(client.url, key).chat(session, "x").status == 200


# ---- health checks ----


@pytest.mark.parametrize("name", ["pgbouncer", "worker1", "demo-llm"])
def test_a_part_that_hangs_is_unhealthy(fleet, name):
    """The kernel takes its connections; that is not enough."""
    child = fleet.children[name]
    child.send_signal(signal.SIGSTOP)
    try:
        assert not fleet.is_healthy(name)
    finally:
        child.send_signal(signal.SIGCONT)
    until(lambda: fleet.is_healthy(name), every=0.1)


def test_a_worker_without_database_is_unhealthy(fleet):
    fleet.stop("pgbouncer")
    assert not fleet.is_healthy("pgbouncer")
    until(lambda: not fleet.is_healthy("worker1"), every=0.2)
    assert fleet.is_healthy("nginx")  # which is not to blame
    fleet.start("pgbouncer")
    until(lambda: all(fleet.is_healthy(name) for name in WORKERS), seconds=20, every=0.2)


def test_health_script_wants_http():
    """Who answers something else, or nothing, is not healthy."""
    script = SCRIPTS / "healthy.sh"
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = str(mute.getsockname()[1])
        for words in (["http", port, "/"], ["pgbouncer", port], ["else", port]):
            assert subprocess.run([script, *words], capture_output=True, timeout=20).returncode != 0


# ---- what is not on by default ----


def test_tls_example(fleet, tmp_path):
    """The lines that hansard-listen.conf holds behind #, with a certificate."""
    folder = tmp_path / "etc"
    shutil.copytree(f"{fleet.folder}/etc", folder, symlinks=True)
    listen = text_of("deploy/compose/nginx/hansard-listen.conf")
    on = re.sub(r"^#(listen|ssl_)", r"\1", listen, flags=re.M).replace("listen 8080 backlog=4096;\n", "", 1)
    assert "ssl_certificate_key" in on
    (folder / "local" / "hansard-listen.conf").write_text(fleet.here(on), encoding="utf-8")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        + ["-keyout", folder / "local" / "privkey.pem", "-out", folder / "local" / "fullchain.pem"],
        check=True,
        capture_output=True,
    )
    words = [word.replace(f"{fleet.folder}/etc", str(folder)) for word in fleet.command("nginx")]
    done = subprocess.run([*words, "-t"], env=fleet.environment("nginx"), capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


def test_machines_own_pooler_file(fleet, base):
    """machine.ini.example, and the SCRAM secret in place of a password as its comment says."""
    folder, port = shared_folder(), free_port()
    secret = base.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'hansard_app'")
    example = text_of("deploy/pgbouncer/userlist.txt.example")
    shape = r'"hansard_app" "SCRAM-SHA-256\$4096:[^$]+\$[^:]+:[^"]+"\n'
    users = f'"hansard_app" "{secret}"\n'
    assert re.fullmatch(shape, example) and re.fullmatch(shape, users)
    text = text_of("deploy/pgbouncer/machine.ini.example").replace("/etc/pgbouncer", folder)
    text = text.replace("host=db.internal port=5432", f"host=127.0.0.1 port={fleet.environment('migrate')['PGPORT']}")
    text = text.replace("listen_port = 6432", f"listen_port = {port}").replace("/run/postgresql", folder)
    shutil.copy(ROOT / "deploy/pgbouncer/pgbouncer.ini", f"{folder}/hansard.ini")
    for name, content in (("pgbouncer.ini", text), ("userlist.txt", users)):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(content)
    child = subprocess.Popen(
        [shutil.which("pgbouncer", path=fleet.environment("nginx")["PATH"]), f"{folder}/pgbouncer.ini"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **nobody_special(),
    )
    try:
        check = [SCRIPTS / "healthy.sh", "pgbouncer", str(port)]
        until(lambda: subprocess.run(check, capture_output=True).returncode == 0, every=0.1)
        ready = free_port()
        environment = {**fleet.environment("worker1"), "HANSARD_LISTEN": f"127.0.0.1:{ready}"}
        environment["HANSARD_DATABASE_URL"] = f"postgresql://hansard_app@127.0.0.1:{port}/hansard"
        worker = subprocess.Popen([HANSARD, "serve"], env=environment, stderr=subprocess.DEVNULL)
        try:
            check = [SCRIPTS / "healthy.sh", "http", str(ready), "/readyz", "200"]
            until(lambda: subprocess.run(check, capture_output=True).returncode == 0, every=0.1)
        finally:
            worker.terminate()
            worker.wait(40 * PATIENCE)
    finally:
        child.kill()
        child.wait()
        shutil.rmtree(folder)


def test_parts_stop_when_asked(fleet):
    """The last test: by their own signals, well before Docker would kill. PgBouncer's way out is 0 too."""
    for name in ("nginx", *WORKERS, "pgbouncer", "demo-llm"):
        assert fleet.stop(name) == 0, (name, fleet.log(name)[-500:])
