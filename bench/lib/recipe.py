"""The recipe's stack: a Redis of its own and the app of peers/fastapi_redis on two uvicorn workers."""

import json
import os
import shutil
import socket
import time
import urllib.request

UVICORN_WORKERS = 2
UNLIMITED = 1000000000
PIPELINE = 200


class Redis:
    """A private Redis with the settings it comes with, and the few words of its protocol that a loader needs."""

    def __init__(self, processes, folder, port):
        self._processes = processes
        self._folder = folder
        self.port = port
        self._child = None
        self._socket = None

    def start(self):
        shutil.rmtree(self._folder, ignore_errors=True)
        os.makedirs(self._folder)
        # --bind and --port and --dir only: persistence stays as Redis sets it (snapshots, no append-only file).
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self._folder]
        self._child = self._processes.start(command, os.path.join(self._folder, "redis.log"))
        for _ in range(100):
            try:
                self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError("Redis does not answer")
        self._file = self._socket.makefile("rb")

    def stop(self):
        if self._socket:
            self._socket.close()
            self._socket = None
        if self._child:
            self._processes.stop(self._child)
            self._child = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, *words):
        self._socket.sendall(encode(words))
        return self._read()

    def fill(self, keys, value, ttl_s):
        """Give every key the same value."""
        value = value.encode()
        for start in range(0, len(keys), PIPELINE):
            part = keys[start : start + PIPELINE]
            self._socket.sendall(b"".join(encode(("SETEX", key, ttl_s, value)) for key in part))
            for _ in part:
                self._read()

    def save(self):
        """Snapshot what has changed, so that no snapshot of one run falls into the next contestant's."""
        self._wait_saved()
        if int(self._info("persistence")["rdb_changes_since_last_save"]) > 0:
            self.call("BGSAVE")
            self._wait_saved()

    def _wait_saved(self):
        for _ in range(600):
            if self._info("persistence")["rdb_bgsave_in_progress"] == "0":
                return
            time.sleep(0.1)
        raise RuntimeError("Redis does not finish its snapshot")

    def _info(self, section):
        lines = self.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _read(self):
        line = self._file.readline().rstrip(b"\r\n")
        if line[:1] == b"-":
            raise RuntimeError(line.decode())
        if line[:1] == b"$" and line != b"$-1":
            return self._file.read(int(line[1:]) + 2)[:-2]
        return line[1:]


def encode(words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Recipe:
    def __init__(self, processes, bench_dir, scratch_dir, port, llm_url, llm_concurrency):
        self._processes = processes
        self._home = os.path.join(bench_dir, "peers", "fastapi_redis")
        self._venv = os.path.join(scratch_dir, "venv")
        self._log = os.path.join(scratch_dir, "recipe.log")
        self._llm_url = llm_url
        self._llm_concurrency = llm_concurrency
        self._port = port
        self.url = f"http://127.0.0.1:{port}"
        self.redis = Redis(processes, os.path.join(scratch_dir, "redis"), port + 1)
        self._app = None

    def install(self):
        """The venv, made once and again when requirements.txt changes."""
        wanted = os.path.join(self._home, "requirements.txt")
        done = os.path.join(self._venv, "requirements.txt")
        with open(wanted, encoding="utf-8") as file:
            text = file.read()
        try:
            with open(done, encoding="utf-8") as file:
                if file.read() == text:
                    return
        except FileNotFoundError:
            pass
        shutil.rmtree(self._venv, ignore_errors=True)
        self._processes.run(["/usr/bin/python3", "-m", "venv", self._venv])
        pip = [os.path.join(self._venv, "bin", "python"), "-m", "pip"]
        self._processes.run([*pip, "install", "--quiet", "--disable-pip-version-check", "-r", wanted])
        with open(done, "w", encoding="utf-8") as file:
            file.write(text)

    def versions(self):
        pip = [os.path.join(self._venv, "bin", "python"), "-m", "pip", "freeze", "--disable-pip-version-check"]
        names = ("fastapi", "uvicorn", "uvloop", "httptools", "httpx", "redis", "hiredis", "pydantic", "starlette")
        pins = (line.split("==") for line in self._processes.run(pip).split() if "==" in line)
        return {name: version for name, version in pins if name in names}

    def load(self, target, messages):
        """Every session of the target holds that many messages and nothing else is in Redis."""
        self.redis.call("FLUSHALL")
        if messages:
            turn = [{"role": "user", "content": target.message}, {"role": "assistant", "content": target.answer}]
            keys = [f"conversation:{target.prefix}{i}" for i in range(target.sessions)]
            self.redis.fill(keys, json.dumps(turn * (messages // 2)), 24 * 60 * 60)
        self.redis.save()

    def start_app(self, window_messages):
        uvicorn = os.path.join(self._venv, "bin", "uvicorn")
        command = [uvicorn, "app:app", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--workers", str(UVICORN_WORKERS), "--loop", "uvloop", "--http", "httptools"]
        command += ["--no-access-log", "--log-level", "warning"]
        env = dict(
            os.environ,
            REDIS_URL=f"redis://127.0.0.1:{self.redis.port}/0",
            LLM_URL=self._llm_url,
            LLM_CONCURRENCY=str(self._llm_concurrency // UVICORN_WORKERS),
            HISTORY_MESSAGES=str(window_messages),
            RATE_LIMIT=str(UNLIMITED),
            PYTHONDONTWRITEBYTECODE="1",
        )
        self._app = self._processes.start(command, self._log, env=env, cwd=self._home)
        for _ in range(150):
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"the recipe does not answer; see {self._log}")

    def stop_app(self):
        if self._app:
            self._processes.stop(self._app)
            self._app = None

    def stop(self):
        self.stop_app()
        self.redis.stop()
