#!/usr/bin/python3
"""make bench-jobs: background jobs, with an empty queue and with 100,000 others in it. See bench/README.md, "Jobs".

empty    nobody else is there.
blocked  100,000 jobs of 100 owners are queued behind others of their conversations, so that none of them can be claimed.
ready    100,000 jobs of 100 owners came before and could all be claimed.
"""

import argparse
import hashlib
import http.client
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
from lib.load import Target, Wrk, percentile  # noqa: E402
from lib.process import Processes  # noqa: E402
from lib.stack import TIER, Stack  # noqa: E402

OWNERS = 100  # of the load, and as many others of what else is queued
QUEUED = 100000
SESSIONS = 10000  # of the load
CONNECTIONS = 64
WARM_UP_S = 1
STARTS = 100
DRAIN_S = 60
MINE = "j.limit_key IN (SELECT 'user:' || u.user_id FROM hansard.users u WHERE u.name LIKE 'caller %')"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=4, help="for how long jobs are queued in a run (4)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are taken over them (3)")
    parser.add_argument("--workers", type=int, default=1, help="behind nginx, when there are several (1)")
    parser.add_argument("--concurrency", type=int, default=32, help="model calls of a worker at once (32)")
    parser.add_argument("--port", type=int, default=int(os.environ.get("BENCH_PORT", "18300")), help="base port (18300)")
    return parser.parse_args()


class Bench:
    def __init__(self, options):
        self.options = options
        self.scratch = os.path.join(ROOT, "build", "bench")
        os.makedirs(self.scratch, exist_ok=True)
        self.processes = Processes()
        folder = os.path.join(self.scratch, "jobs")
        self.stack = Stack(self.processes, ROOT, folder, options.port, options.concurrency, workers=options.workers)
        self.wrk = Wrk(self.processes, BENCH, self.scratch)
        self.keys = []
        self.stats_url = None
        self.batches = 0
        self.rounds = []

    # ---- who asks, and what else is queued -------------------------------------------------------

    def add_callers(self):
        words = []
        for number in range(OWNERS):
            self.keys.append("hsk_" + secrets.token_urlsafe(32))
            for name, key in (("caller", self.keys[-1]), ("owner", secrets.token_urlsafe(32))):
                key_hash = "\\x" + hashlib.sha256(key.encode()).hexdigest()
                words.append(f"SELECT hansard_admin.add_key('{name} {number}', '{TIER}', '{key_hash}');")
        self.stack.sql("".join(words))

    def fill(self, is_ready):
        """bench.waiting has QUEUED jobs of this kind; what was done of them is made up for."""
        there = int(self.stack.sql(f"SELECT count(*) FROM bench.waiting WHERE is_ready = {is_ready}"))
        jobs = 1 if is_ready else 100
        self.batches += 1
        self.stack.run_file(
            os.path.join(BENCH, "jobs.sql"),
            prefix=f"waiting {self.batches} ",
            conversations=(QUEUED - there) // jobs,
            jobs=jobs,
            ready=str(is_ready).lower(),
        )

    def put_in(self, is_ready):
        self.stack.sql(f"INSERT INTO hansard.jobs SELECT * FROM bench.waiting WHERE is_ready = {is_ready}")

    def take_out(self, is_ready):
        """What was claimed meanwhile is being done, and is not there any more."""
        self.stack.sql(
            f"DELETE FROM bench.waiting WHERE is_ready = {is_ready};"
            "WITH gone AS (DELETE FROM hansard.jobs j "
            f"             WHERE worker_id IS NULL AND is_ready = {is_ready} AND NOT ({MINE}) RETURNING j.*) "
            "INSERT INTO bench.waiting SELECT * FROM gone"
        )

    def settle(self):
        """All that can be claimed has ended; then a checkpoint, before the next run."""
        until = time.monotonic() + DRAIN_S
        while self.stack.sql(f"SELECT EXISTS (SELECT FROM hansard.jobs j WHERE worker_id IS NOT NULL OR {MINE})") == "t":
            if time.monotonic() > until:
                raise RuntimeError(f"jobs are left after {DRAIN_S} s")
            time.sleep(0.25)

    # ---- measuring -------------------------------------------------------------------------------

    def throughput(self, name):
        """Jobs queued for a while, and what is done of them meanwhile; in all until the last has ended."""
        target = Target("load ", SESSIONS, "hello", "")

        def load(seconds):
            keys = ",".join(self.keys)
            return self.wrk.run(self.stack.url, target, CONNECTIONS, seconds, keys, path="/jobs")

        load(WARM_UP_S)
        if name != "ready":
            self.settle()
            self.stack.sql("VACUUM hansard.jobs")
            self.stack.sql("CHECKPOINT")
        begun, before = self.stack.now(), CpuSample()
        said = load(self.options.seconds)
        done_per_s = float(
            self.stack.sql(
                f"SELECT count(*) / extract(epoch FROM clock_timestamp() - '{begun}') "
                f"FROM hansard.turns WHERE state = 'completed' AND finished_at >= '{begun}'"
            )
        )
        result = {
            "accepted_per_s": said["turns_per_s"],
            "accept_p50_ms": said["p50_ms"],
            "accept_p99_ms": said["p99_ms"],
            "done_per_s": done_per_s,
            "bad": said["non_200"] + said["broken"],
        }
        if name != "ready":
            self.settle()
            result.update(self.through(begun, said["turns"]))
        cpu = CpuSample().since(before, said["load_s"])
        if name != "ready":
            result["cpu_s_per_1000"] = cpu["stack_s"] * 1000 / result["jobs"]
        return {**result, "foreign_share": cpu["foreign_share"], "cpu": cpu["groups"]}

    def through(self, begun, accepted):
        """From the first that was accepted until the last has ended, by the database's clock."""
        count, took_s, failed = self.stack.sql(
            "SELECT count(*), extract(epoch FROM max(finished_at) - min(accepted_at)), "
            "count(*) FILTER (WHERE state <> 'completed') "
            f"FROM hansard.turns WHERE is_job AND accepted_at >= '{begun}' AND finished_at IS NOT NULL"
        ).split("|")
        if int(failed) or int(count) < accepted:
            raise RuntimeError(f"{accepted} were accepted, {count} have ended, {failed} of them badly")
        return {"jobs": int(count), "through_per_s": int(count) / float(took_s)}

    def model_stats(self):
        with urllib.request.urlopen(self.stats_url, timeout=10) as reply:
            return json.load(reply)

    def starts(self):
        """From just before a job is sent until the model has its call, one at a time, in ms."""
        connection = http.client.HTTPConnection("127.0.0.1", self.options.port, timeout=30)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.keys[0]}"}
        took_ms = []
        for number in range(STARTS):
            time.sleep(0.005)
            body = json.dumps({"session_id": f"start {number}", "message": "hello"}).encode()
            calls = self.model_stats()["calls"]
            sent_us = time.time_ns() // 1000
            connection.request("POST", "/jobs", body, headers)
            job = json.load(connection.getresponse())["job_id"]
            until, status = time.monotonic() + DRAIN_S, "queued"
            # Not ?wait=: another worker than the one that ran it hears of its end a second later.
            while status != "completed" and time.monotonic() < until:
                time.sleep(0.01)
                connection.request("GET", f"/jobs/{job}", headers=headers)
                status = json.load(connection.getresponse())["status"]
            after = self.model_stats()
            if status != "completed" or after["calls"] != calls + 1:
                raise RuntimeError(f"job {job} is {status} after {after['calls'] - calls} calls")
            took_ms.append((after["last_call_us"] - sent_us) / 1e3)
        connection.close()
        took_ms.sort()
        return {"start_p50_ms": statistics.median(took_ms), "start_p90_ms": percentile(took_ms, 90)}

    def measure(self, name):
        result = self.throughput(name)
        if name != "ready":
            result.update(self.starts())
        through = f"{result['through_per_s']:>6.0f}/s through" if "through_per_s" in result else " " * 16
        start = f"start p50 {result['start_p50_ms']:.2f} ms" if "start_p50_ms" in result else ""
        print(
            f"  {name:<8} accepted {result['accepted_per_s']:>6.0f}/s  done meanwhile {result['done_per_s']:>6.0f}/s"
            f"  {through}  {start}  bad: {result['bad']}  others used {result['foreign_share']:.0%}",
            flush=True,
        )
        return result

    def measure_with(self, name):
        is_ready = name == "ready"
        self.fill(is_ready)
        self.put_in(is_ready)
        self.stack.sql("ANALYZE hansard.jobs")
        result = self.measure(name)
        self.take_out(is_ready)
        self.settle()
        self.stack.sql("VACUUM hansard.jobs")
        return result

    def run(self):
        print("Starting the stack", flush=True)
        self.stack.up()
        self.stats_url = self.stack.environment()["LLM_URL"].removesuffix("/v1") + "/stats"
        self.stack.sql("CREATE SCHEMA bench; CREATE TABLE bench.waiting (LIKE hansard.jobs)")
        self.add_callers()
        for number in range(1, self.options.repeat + 1):
            print(f"Round {number}", flush=True)
            empty = self.measure("empty")
            self.rounds.append({"empty": empty, **{name: self.measure_with(name) for name in ("blocked", "ready")}})

    # ---- showing ---------------------------------------------------------------------------------

    def median(self, name, value):
        return statistics.median(a_round[name][value] for a_round in self.rounds)

    def ratio(self, name, value):
        return statistics.median(a_round[name][value] / a_round["empty"][value] for a_round in self.rounds)

    def show(self):
        rows = (
            ("queued to done, jobs/s", "through_per_s"),
            ("CPU of the stack, s for 1,000 jobs", "cpu_s_per_1000"),
            ("accepted, jobs/s", "accepted_per_s"),
            ("... p50, ms", "accept_p50_ms"),
            ("... p99, ms", "accept_p99_ms"),
            ("done while others are accepted, jobs/s", "done_per_s"),
            ("sent until the model is called, p50, ms", "start_p50_ms"),
            ("... p90, ms", "start_p90_ms"),
        )
        print(f"\nCommand: {shlex.join([os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])}")
        print(f"Medians of {len(self.rounds)} rounds of {self.options.seconds} s; ratios to the empty queue of the same round")
        print(f"{'':<42}{'empty':>10}{'blocked':>10}{'ratio':>8}{'ready':>10}{'ratio':>8}")
        for label, value in rows:
            line = f"{label:<42}{self.median('empty', value):>10.2f}"
            for name in ("blocked", "ready"):
                if value in self.rounds[0][name]:
                    line += f"{self.median(name, value):>10.2f}{self.ratio(name, value):>8.2f}"
                else:
                    line += f"{'':>18}"
            print(line)
        runs = [run for a_round in self.rounds for run in a_round.values()]
        marked = sum(run["foreign_share"] > 0.1 for run in runs)
        print(f"Others used more than a tenth of the machine in {marked} of {len(runs)} runs; refused: {sum(r['bad'] for r in runs)}")

    def write(self):
        path = os.path.join(self.scratch, "jobs.json")
        facts = machine.facts(self.processes, self.scratch, os.path.join(ROOT, "build", "hansard"))
        facts["postgresql"] = self.stack.settings()
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"command": shlex.join(sys.argv), "machine": facts, "rounds": self.rounds}, file, indent=1)
        print(f"Every run: {os.path.relpath(path, ROOT)}")

    def stop(self):
        try:
            self.stack.destroy()
        finally:
            self.processes.stop_all()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench, began = Bench(arguments()), time.monotonic()
    try:
        bench.run()
    finally:
        if bench.rounds:
            bench.show()
            bench.write()
        bench.stop()
    print(f"Done in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
