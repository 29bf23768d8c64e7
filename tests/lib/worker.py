"""Worker: one more `hansard serve` beside those of a stack, with settings of its own.

It is our own child: its exit code can be asked for, and starting it takes a moment only.
"""

import signal
import subprocess
import urllib.request

from lib.ports import free_port
from lib.program import HANSARD, PATIENCE, clean_environment, settings_environment
from lib.wait import until


class Worker:
    def __init__(self, stack, **settings):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = f"{stack.folder}/log/extra-{self.port}.log"
        told = stack.environment
        self._settings = {
            "listen": f"127.0.0.1:{self.port}",
            "database_url": told["HANSARD_DATABASE_URL"],
            "llm_url": told["LLM_URL"],
            **settings,
        }
        self._child = None
        self._is_asked_to_end = False

    @property
    def pid(self):
        return self._child.pid

    def launch(self):
        with open(self.log, "ab") as log:
            self._child = subprocess.Popen(
                [HANSARD, "serve"],
                env={**clean_environment(), **settings_environment(self._settings)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self):
        """Returns when it is ready."""
        self.launch()
        try:
            until(lambda: self.answers("/readyz"), seconds=20)
        except BaseException:
            self.kill()
            raise
        return self

    def answers(self, path="/livez"):
        """Does it say that all is well?"""
        if self.has_ended():
            raise AssertionError(f"the worker ended with {self.wait()}: {self.log_lines()[-5:]}")
        try:
            with urllib.request.urlopen(self.url + path, timeout=5):
                return True
        except OSError:
            return False

    def signal(self, number):
        self._child.send_signal(number)
        self._is_asked_to_end |= number in (signal.SIGTERM, signal.SIGINT)

    def wait(self, seconds=20):
        """Its exit code, once it has ended."""
        return self._child.wait(seconds * PATIENCE)

    def has_ended(self):
        return self._child is None or self._child.poll() is not None

    def stop(self):
        """Ask it to end, once: asked twice it does not drain. Its exit code. After the longest drain, kill it."""
        if not self.has_ended() and not self._is_asked_to_end:
            self.signal(signal.SIGTERM)
        try:
            return self.wait(40)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def memory_bytes(self, name="VmRSS"):
        """VmRSS: resident now; VmHWM: the most there ever was."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(f"{name}:"):
                    return int(line.split()[1]) * 1024
        raise AssertionError(f"{name} is not known of a process that has ended")

    def log_lines(self):
        with open(self.log, encoding="utf-8") as log:
            return log.read().splitlines()
