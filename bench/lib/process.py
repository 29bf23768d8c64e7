"""Processes: everything a run starts stays a descendant of it, is found by that, and is stopped by its id.

The benchmark makes itself the reaper of its orphans (prctl PR_SET_CHILD_SUBREAPER), so that daemons which leave their
parent (postgres, pgbouncer, the workers of a stack) still hang under it. Their CPU time can then be summed and none
can be left behind, however the run ends. Each is a process session of its own: Ctrl-C reaches the benchmark alone,
which then stops the others in order.
"""

import ctypes
import os
import signal
import subprocess
import tempfile
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Stat:
    """One line of /proc/PID/stat."""

    def __init__(self, pid, text):
        self.pid = pid
        self.name = text[text.index("(") + 1 : text.rindex(")")]
        fields = text[text.rindex(")") + 2 :].split()
        self.state = fields[0]
        self.parent = int(fields[1])
        # Own time and that of children that have ended and been waited for.
        self.cpu_s = sum(int(ticks) for ticks in fields[11:15]) / TICKS_PER_S


def read_stat(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return Stat(pid, file.read())
    except (FileNotFoundError, ProcessLookupError):
        return None


def all_stats():
    stats = (read_stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [stat for stat in stats if stat]


def descendants(root, stats=None):
    """Every living process below root, root left out."""
    children = {}
    for stat in stats or all_stats():
        children.setdefault(stat.parent, []).append(stat)
    found, queue = [], [root]
    while queue:
        for stat in children.get(queue.pop(), []):
            found.append(stat)
            queue.append(stat.pid)
    return found


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Processes:
    """What this run has started."""

    def __init__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
        self._started = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._reaper = threading.Thread(target=self._reap_orphans, daemon=True)
        self._reaper.start()

    def start(self, command, log, env=None, cwd=None):
        """A process that runs until it is stopped; its output goes to the file log."""
        with open(log, "ab") as out, self._lock:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
            )
            self._started.append(child)
        return child

    def run(self, command, env=None, stdin=None, timeout_s=None, check=True):
        """A process that is waited for; gives what it wrote to stdout."""
        with self._lock:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                text=True,
                start_new_session=True,
            )
            self._started.append(child)
        try:
            out, err = child.communicate(stdin, timeout=timeout_s)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if check and child.returncode != 0:
            raise RuntimeError(f"{' '.join(command)[:200]}: exit {child.returncode}\n{out[-2000:]}{err[-2000:]}")
        return out

    def measure(self, command, env=None):
        """A process that is waited for; gives its output and the CPU seconds it used."""
        with tempfile.TemporaryFile("w+") as out:
            with self._lock:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=env,
                    start_new_session=True,
                )
                self._started.append(child)
            try:
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
            finally:
                if child.returncode is None:
                    child.kill()
            out.seek(0)
            text = out.read()
        if child.returncode != 0:
            raise RuntimeError(f"{' '.join(command)[:200]}: exit {child.returncode}\n{text[-2000:]}")
        return text, usage.ru_utime + usage.ru_stime

    def stop(self, child, grace_s=10.0):
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(grace_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def stop_all(self):
        """Whatever still hangs under this process, asked first, then killed."""
        for sign, grace_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
            for stat in descendants(os.getpid()):
                try:
                    os.kill(stat.pid, sign)
                except ProcessLookupError:
                    pass
            until = time.monotonic() + grace_s
            while time.monotonic() < until:
                for child in self._started:
                    child.poll()
                if not any(stat.state != "Z" for stat in descendants(os.getpid())):
                    break
                time.sleep(0.1)
        self._stopping.set()
        self._reaper.join()

    def _reap_orphans(self):
        """Whoever stops a daemon waits for its id to vanish: an unreaped orphan would keep it waiting."""
        while not self._stopping.wait(0.2):
            with self._lock:
                self._started = [child for child in self._started if child.returncode is None]
                ours = {child.pid for child in self._started}
                for pid in children_of_self():
                    stat = read_stat(pid) if pid not in ours else None
                    if stat and stat.state == "Z":
                        os.waitpid(pid, os.WNOHANG)


def children_of_self():
    pids = set()
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                pids.update(int(pid) for pid in file.read().split())
        except (FileNotFoundError, ProcessLookupError):
            pass
    return pids
