#!/usr/bin/python3
"""make bench-limits: what the limits cost, through nginx with three workers. See bench/README.md, "Limits".

hot      1,000 turns a second of one caller whose rate is counted, against one whose rate is not: what the counting adds.
refused  requests of a caller whose quota is used up, as fast as they go: how many a second, and what of them reaches the
         database.
"""

import argparse
import hashlib
import json
import os
import secrets
import shlex
import signal
import statistics
import sys
import time
import urllib.request

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)
sys.dont_write_bytecode = True
sys.path.insert(0, BENCH)

from lib import machine  # noqa: E402
from lib.cpu import CpuSample  # noqa: E402
from lib.load import Target, Wrk  # noqa: E402
from lib.process import Processes  # noqa: E402
from lib.stack import Stack  # noqa: E402

WORKERS = 3
HOT_CONNECTIONS = 100
HOT_DELAY_MS = 92  # with some 8 ms for an answer: 1,000 a second
REFUSED_CONNECTIONS = 64
MOST_ADDED_P50_MS = 3
MOST_ADDED_P99_MS = 20
LEAST_REFUSED_PER_S = 20000
MOST_DATABASE_CALLS_PER_S = 10  # beside what the workers do anyway


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10, help="length of a run (10)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are taken over them (3)")
    parser.add_argument("--port", type=int, default=int(os.environ.get("BENCH_PORT", "18300")), help="base port (18300)")
    return parser.parse_args()


class Bench:
    def __init__(self, options):
        self.options = options
        scratch = os.path.join(ROOT, "build", "bench")
        os.makedirs(scratch, exist_ok=True)
        self.processes = Processes()
        self.stack = Stack(self.processes, ROOT, os.path.join(scratch, "limits"), options.port, 10, workers=WORKERS)
        self.wrk = Wrk(self.processes, BENCH, scratch)
        self.scratch = scratch
        self.rounds = []

    def add_caller(self, tier, rate, burst):
        key = "hsk_" + secrets.token_urlsafe(32)
        key_hash = "\\x" + hashlib.sha256(key.encode()).hexdigest()
        self.stack.sql(
            f"INSERT INTO hansard.tiers VALUES ('{tier}', {rate}, {burst});"
            f"SELECT hansard_admin.add_key('{tier}', '{tier}', '{key_hash}')"
        )
        return key

    def database_calls(self):
        """Turns asked for at the database, by the workers' own count."""
        calls = 0
        for number in range(1, WORKERS + 1):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.options.port + 10 + number}/metrics", timeout=10) as page:
                for line in page.read().decode().splitlines():
                    if line.startswith('hansard_lane_calls_total{kind="accept"}'):
                        calls += int(line.split()[-1])
        return calls

    def load(self, name, url, connections, key, delay_ms=0):
        target = Target(f"{name}-", 10000, "hello", "")

        def once(seconds):
            return self.wrk.run(url, target, connections, seconds, key, delay_ms)

        once(2)
        self.stack.settle()
        calls, before = self.database_calls(), CpuSample()
        said = once(self.options.seconds)
        said["cpu"] = CpuSample().since(before, said["load_s"])
        said["database_calls_per_s"] = round((self.database_calls() - calls) / said["seconds"], 1)
        print(
            f"  {name:<16} {said['requests_per_s']:>8.0f} requests/s  p50 {said['p50_ms']:.2f} ms  p99 {said['p99_ms']:.2f} ms"
            f"  not 200: {said['non_200']}  accept calls/s: {said['database_calls_per_s']}"
            f"  others used {said['cpu']['foreign_share']:.0%}",
            flush=True,
        )
        return said

    def run(self):
        self.stack.up()
        free = self.add_caller("unlimited", "NULL", 1)
        hot = self.add_caller("hot", 6000000, 1000000)
        tight = self.add_caller("tight", 1, 1)
        worker = f"http://127.0.0.1:{self.options.port + 11}/chat"
        for number in range(1, self.options.repeat + 1):
            print(f"Round {number}", flush=True)
            url = self.stack.url + "/chat"
            self.rounds.append(
                {
                    "not limited": self.load("not limited", url, HOT_CONNECTIONS, free, HOT_DELAY_MS),
                    "hot": self.load("hot key", url, HOT_CONNECTIONS, hot, HOT_DELAY_MS),
                    "refused, nginx": self.load("refused, nginx", url, REFUSED_CONNECTIONS, tight),
                    "refused": self.load("refused, worker", worker, REFUSED_CONNECTIONS, tight),
                }
            )

    def median(self, name, value):
        return statistics.median(a_round[name][value] for a_round in self.rounds)

    def added(self, value):
        return statistics.median(r["hot"][value] - r["not limited"][value] for r in self.rounds)

    def show(self):
        """True: all targets are met."""
        checks = (
            ("requests/s of the hot key", self.median("hot", "requests_per_s"), 900, True),
            ("added at the median, ms", self.added("p50_ms"), MOST_ADDED_P50_MS, False),
            ("added at p99, ms", self.added("p99_ms"), MOST_ADDED_P99_MS, False),
            ("refused a second, one worker", self.median("refused", "requests_per_s"), LEAST_REFUSED_PER_S, True),
            ("accept calls/s meanwhile", self.median("refused", "database_calls_per_s"), MOST_DATABASE_CALLS_PER_S, False),
            ("refused a second, nginx and three workers", self.median("refused, nginx", "requests_per_s"), None, True),
        )
        is_fine = True
        print(f"\nMedians of {len(self.rounds)} rounds of {self.options.seconds} s")
        for name, value, bound, at_least in checks:
            met = bound is None or (value >= bound if at_least else value <= bound)
            is_fine = is_fine and met
            wanted = "" if bound is None else f"  (at {'least' if at_least else 'most'} {bound}: {'pass' if met else 'MISS'})"
            print(f"  {name:<44} {value:>10.2f}{wanted}")
        path = os.path.join(self.scratch, "limits.json")
        with open(path, "w", encoding="utf-8") as file:
            facts = machine.facts(self.processes, self.scratch, os.path.join(ROOT, "build", "hansard"))
            json.dump({"command": shlex.join(sys.argv), "machine": facts, "rounds": self.rounds}, file, indent=1)
        print(f"Every run: {os.path.relpath(path, ROOT)}")
        return is_fine

    def stop(self):
        try:
            self.stack.destroy()
        finally:
            self.processes.stop_all()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench, began = Bench(arguments()), time.monotonic()
    is_fine = True
    try:
        bench.run()
    finally:
        if bench.rounds:
            is_fine = bench.show()
        bench.stop()
    print(f"Done in {time.monotonic() - began:.0f} s")
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
