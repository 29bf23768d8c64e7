"""Load: one run of wrk or of pgbench, and what it says of itself.

Both give the same record: turns, seconds, turns_per_s, p50_ms, p99_ms, max_ms, non_200, broken and load_s (CPU seconds
of the generator). wrk's percentiles come from its own histogram, pgbench's from its log of every transaction.
"""

import json
import os

WRK_TIMEOUT_S = 30


class Target:
    """What the load speaks to and about: the same for every contestant."""

    def __init__(self, prefix, sessions, message, answer):
        self.prefix = prefix
        self.sessions = sessions
        self.message = message
        self.answer = answer


class Wrk:
    def __init__(self, processes, bench_dir, scratch_dir):
        self._processes = processes
        self._script = os.path.join(bench_dir, "wrk", "turn.lua")
        self._result = os.path.join(scratch_dir, "wrk.json")

    def run(self, url, target, connections, seconds, api_key="", delay_ms=0, path="/chat"):
        """api_key: several, with commas between, share the sessions out."""
        threads = min(2, connections)
        env = dict(
            os.environ,
            BENCH_SESSION_PREFIX=target.prefix,
            BENCH_SESSIONS=str(target.sessions),
            BENCH_THREADS=str(threads),
            BENCH_MESSAGE_JSON=json.dumps(target.message, ensure_ascii=False),
            BENCH_API_KEY=api_key,
            BENCH_PATH=path,
            BENCH_DELAY_MS=str(delay_ms),
            BENCH_WRK_RESULT=self._result,
        )
        command = ["wrk", "--latency", f"-t{threads}", f"-c{connections}", f"-d{seconds}s"]
        command += [f"--timeout={WRK_TIMEOUT_S}s", "-s", self._script, url]
        _, load_s = self._processes.measure(command, env=env)
        with open(self._result, encoding="ascii") as file:
            said = json.load(file)
        took_s = said["duration_us"] / 1e6
        turns = said["requests"] - said["non_200"]
        return {
            "turns": turns,
            "seconds": round(took_s, 3),
            "turns_per_s": round(turns / took_s, 1),
            "p50_ms": said["p50_us"] / 1e3,
            "p99_ms": said["p99_us"] / 1e3,
            "max_ms": said["max_us"] / 1e3,
            "requests_per_s": round(said["requests"] / took_s, 1),
            "non_200": said["non_200"],
            "broken": said["connect"] + said["read"] + said["write"] + said["timeout"],
            "load_s": load_s,
        }


class Pgbench:
    """The two functions of a turn, called one turn at a time."""

    def __init__(self, processes, bench_dir, scratch_dir):
        self._processes = processes
        self._script = os.path.join(bench_dir, "pgbench", "turn.sql")
        self._scratch = scratch_dir

    def run(self, url, target, clients, seconds, key_hash, worker_id, window):
        jobs = min(2, clients)
        prefix = os.path.join(self._scratch, "pgbench_log")
        self._forget_logs(prefix)
        variables = {
            "prefix": target.prefix,
            "share": target.sessions // clients,
            "clients": clients,
            "message": target.message,
            "answer": target.answer,
            "key_hash": key_hash,
            "worker_id": worker_id,
            "history_messages": window.messages,
            "history_bytes": window.bytes,
        }
        command = ["pgbench", "-n", "-M", "extended", "-f", self._script, "-T", str(seconds)]
        command += ["-c", str(clients), "-j", str(jobs), "-l", f"--log-prefix={prefix}"]
        for name, value in variables.items():
            command += ["-D", f"{name}={value}"]
        _, load_s = self._processes.measure(command + [url])
        took_us, first_us, last_us = self._read_logs(prefix)
        took_s = (last_us - first_us) / 1e6
        return {
            "turns": len(took_us),
            "seconds": round(took_s, 3),
            "turns_per_s": round(len(took_us) / took_s, 1),
            "p50_ms": percentile(took_us, 50) / 1e3,
            "p99_ms": percentile(took_us, 99) / 1e3,
            "max_ms": took_us[-1] / 1e3,
            "non_200": 0,
            "broken": 0,
            "load_s": load_s,
        }

    def _read_logs(self, prefix):
        """Sorted durations in µs, and the moments at which the first transaction began and the last one ended."""
        took_us, first_us, last_us = [], None, 0
        for path in self._logs(prefix):
            with open(path, encoding="ascii") as file:
                for line in file:
                    _, _, took, _, end_s, end_us = line.split()[:6]
                    took, end = int(took), int(end_s) * 1000000 + int(end_us)
                    took_us.append(took)
                    last_us = max(last_us, end)
                    first_us = end - took if first_us is None else min(first_us, end - took)
        self._forget_logs(prefix)
        if not took_us:
            raise RuntimeError("pgbench logged no transaction")
        took_us.sort()
        return took_us, first_us, last_us

    @staticmethod
    def _logs(prefix):
        folder, name = os.path.split(prefix)
        return [os.path.join(folder, entry) for entry in os.listdir(folder) if entry.startswith(name + ".")]

    def _forget_logs(self, prefix):
        for path in self._logs(prefix):
            os.unlink(path)


def percentile(ordered, percent):
    """The smallest value that at least percent of all do not exceed."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, rank - 1)]
