#!/usr/bin/python3
"""make bench-retention: a worker drops a past month of RETENTION_MESSAGES (5000000) messages while turns go on. See
bench/README.md, "Retention".
"""

import argparse
import datetime
import glob
import json
import os
import re
import shlex
import shutil
import signal
import sys
import time

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)
sys.dont_write_bytecode = True
sys.path.insert(0, BENCH)

from lib import machine  # noqa: E402
from lib.cpu import CpuSample  # noqa: E402
from lib.load import percentile  # noqa: E402
from lib.pace import Pace  # noqa: E402
from lib.process import Processes  # noqa: E402
from lib.stack import Stack  # noqa: E402
from lib.watch import Watch  # noqa: E402

MESSAGES_A_CONVERSATION = 6.9  # as audit_seed.sql makes them
MONTHS_AGO = 6
PARTS = ("conversations", "turns", "messages")
WALK_S = 3600
AROUND_S = 1  # before and after the drop
MOST_DROP_MS = 1000
MOST_TURN_MS = 100
# Sealing what was never sealed would be at it all the time.
SETTINGS = {"HANSARD_RETENTION": "90d", "HANSARD_SEAL_INTERVAL": "0"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    messages = int(os.environ.get("RETENTION_MESSAGES", "5000000"))
    parser.add_argument("--messages", type=int, default=messages, help="of the month, about (RETENTION_MESSAGES or 5000000)")
    parser.add_argument("--rate", type=float, default=200, help="turns a second meanwhile (200)")
    parser.add_argument("--before", type=int, default=30, help="seconds of turns without a walk (30)")
    parser.add_argument("--port", type=int, default=int(os.environ.get("BENCH_PORT", "18300")), help="base port (18300)")
    return parser.parse_args()


def past_month():
    day = datetime.datetime.now(datetime.timezone.utc).date()
    for _ in range(MONTHS_AGO):
        day = day.replace(day=1) - datetime.timedelta(days=1)
    return day.replace(day=1)


def told(turns):
    """What became of turns: {count, p50_ms, p99_ms, longest_ms, bad}."""
    took = sorted(turn.took_ms for turn in turns) or [0.0]
    return {
        "count": len(turns),
        "p50_ms": percentile(took, 50),
        "p99_ms": percentile(took, 99),
        "longest_ms": took[-1],
        "bad": sum(turn.status != 200 for turn in turns),
    }


class Bench:
    def __init__(self, options):
        self.options = options
        self.scratch = os.path.join(ROOT, "build", "bench")
        os.makedirs(self.scratch, exist_ok=True)
        self.processes = Processes()
        folder = os.path.join(self.scratch, "retention")
        self.stack = Stack(self.processes, ROOT, folder, options.port, 10, settings=SETTINGS)
        self.month = past_month()
        self.copies = []
        self.result = {}

    def partitions(self):
        return [f"hansard.{part}_{self.month:%Y%m}" for part in PARTS]

    def fill(self):
        """The worker's walk has ended before; the next is an hour away."""
        began = time.monotonic()
        conversations = max(1, round(self.options.messages / MESSAGES_A_CONVERSATION))
        self.stack.run_file(os.path.join(BENCH, "audit_base.sql"), callers=max(20, self.options.messages // 20000))
        self.stack.run_file(
            os.path.join(BENCH, "audit_seed.sql"), timeout_s=3600, month=self.month, conversations=conversations, first=0, seed=0.5
        )
        self.stack.run_file(os.path.join(BENCH, "retention.sql"), timeout_s=3600, month=self.month)
        self.stack.tidy()
        self.stack.sql("CHECKPOINT")
        os.sync()
        counts = ", ".join(f"(SELECT count(*) FROM {name})" for name in self.partitions())
        sizes = " + ".join(f"pg_total_relation_size('{name}')" for name in self.partitions())
        rows = self.stack.sql(f"SELECT {counts}, {sizes}").split("|")
        self.result["month"] = dict(zip((*PARTS, "bytes"), map(int, rows)))
        print(
            f"{self.month:%Y-%m} filled in {time.monotonic() - began:.0f} s: "
            + ", ".join(f"{self.result['month'][part]:,} {part}" for part in PARTS)
            + f", {self.result['month']['bytes'] / 2**20:,.0f} MiB",
            flush=True,
        )

    def copy_files(self):
        """The month's files beside the database, to be deleted without it: what the file system asks for that."""
        folder = self.stack.sql("SHOW data_directory")
        names = ", ".join(f"'{name}'::regclass" for name in self.partitions())
        paths = self.stack.sql(
            f"WITH t AS (SELECT oid, reltoastrelid FROM pg_class WHERE oid IN ({names})), "
            "h AS (SELECT oid FROM t UNION SELECT reltoastrelid FROM t) "
            "SELECT pg_relation_filepath(oid) FROM h "
            "UNION ALL SELECT pg_relation_filepath(indexrelid) FROM pg_index JOIN h ON indrelid = h.oid"
        ).splitlines()
        for path in paths:
            for found in glob.glob(os.path.join(folder, path) + "*"):
                if re.fullmatch(r"\d+(_fsm|_vm)?(\.\d+)?", os.path.basename(found)):
                    self.copies.append(shutil.copy(found, self.scratch))
        os.sync()

    def delete_copies(self):
        began = time.monotonic()
        while self.copies:
            os.unlink(self.copies.pop())
        self.result["rm_ms"] = (time.monotonic() - began) * 1000

    def speak(self):
        return Pace(self.options.port, self.stack.api_key, self.options.rate)

    def walk(self):
        """Turns without a walk, then turns while the worker, started anew, makes one."""
        self.stack.restart_workers()
        pace = self.speak()
        time.sleep(self.options.before)
        before = pace.stop()
        self.stack.sql("UPDATE hansard.retention_walk SET began_at = NULL, ended_at = NULL")
        watch = Watch(self.stack.environment()["HANSARD_MIGRATE_URL"], "hansard_api.apply_retention")
        cpu = CpuSample()
        self.stack.restart_workers()
        pace = self.speak()
        until = time.monotonic() + WALK_S
        while self.stack.sql("SELECT ended_at IS NULL FROM hansard.retention_walk") == "t":
            if time.monotonic() > until:
                raise RuntimeError(f"the walk has not ended after {WALK_S} s")
            time.sleep(0.5)
        time.sleep(AROUND_S)
        turns = pace.stop()
        self.result["cpu"] = CpuSample().since(cpu, 0.0)
        calls, waits = watch.stop()
        self.judge(before, turns, calls, waits)

    def judge(self, before, turns, calls, waits):
        dropped_at = float(
            self.stack.sql("SELECT extract(epoch FROM max(happened_at)) FROM hansard.audit_events WHERE kind = 'partition_dropped'")
        )
        began_at = float(self.stack.sql("SELECT extract(epoch FROM began_at) FROM hansard.retention_walk"))
        first = max(number for number, call in enumerate(calls) if call.began <= dropped_at)
        survey, drop = calls[:first], calls[first:]
        around = [turn for turn in turns if dropped_at - AROUND_S <= turn.sent_at <= drop[-1].ended + AROUND_S]
        self.result.update(
            {
                "survey_calls": len(survey),
                "survey_ms": sum(call.ms for call in survey),
                "survey_longest_ms": max(call.ms for call in survey),
                "survey_took_s": dropped_at - began_at,
                "drop_calls_ms": [call.ms for call in drop],
                "drop_began_ms": [(call.began - dropped_at) * 1000 for call in drop],
                "waits": len(waits),
                "wait_longest_ms": max((wait.ms for wait in waits), default=0.0),
                "turns_before": told(before),
                "turns_walk": told(turns),
                "turns_drop": told(around),
                "slowest_around": [
                    {"sent_ms": (turn.sent_at - dropped_at) * 1000, "took_ms": turn.took_ms}
                    for turn in sorted(around, key=lambda turn: -turn.took_ms)[:10]
                ],
            }
        )

    # ---- showing ---------------------------------------------------------------------------------

    def show(self):
        """True: all targets are met."""
        r = self.result
        print(f"\nCommand: {shlex.join([os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])}")
        print(f"{'turns':<30}{'count':>8}{'p50 ms':>10}{'p99 ms':>10}{'longest ms':>12}{'not 200':>9}")
        for label, name in (("without a walk", "turns_before"), ("during the walk", "turns_walk"), ("around the drop", "turns_drop")):
            t = r[name]
            print(f"{label:<30}{t['count']:>8}{t['p50_ms']:>10.2f}{t['p99_ms']:>10.2f}{t['longest_ms']:>12.1f}{t['bad']:>9}")
        print(
            f"survey: {r['survey_calls']} calls of {r['survey_ms'] / 1000:.1f} s in all (the longest {r['survey_longest_ms']:.0f} ms), "
            f"within {r['survey_took_s']:.0f} s"
        )
        print(f"waits for locks of other calls: {r['waits']}, the longest {r['wait_longest_ms']:.0f} ms")
        print(
            f"drop: out of the record in {r['drop_calls_ms'][0]:.0f} ms, files deleted in "
            f"{' + '.join(f'{ms:.0f}' for ms in r['drop_calls_ms'][1:])} = {sum(r['drop_calls_ms'][1:]):.0f} ms; "
            f"rm of the same files: {r['rm_ms']:.0f} ms"
        )
        print(f"others used {r['cpu']['foreign_share']:.0%} of the machine during the walk")
        targets = (
            ("no transaction of the drop takes", max(r["drop_calls_ms"]), MOST_DROP_MS),
            ("no call waits for a lock for", r["wait_longest_ms"], MOST_TURN_MS),
            ("no turn around the drop takes", r["turns_drop"]["longest_ms"], MOST_TURN_MS),
        )
        for promise, longest, most in targets:
            print(f"{promise} {most} ms; the longest {longest:.0f}: {'kept' if longest < most else 'MISSED'}")
        path = os.path.join(self.scratch, "retention.json")
        facts = machine.facts(self.processes, self.scratch, os.path.join(ROOT, "build", "hansard"))
        facts["postgresql"] = self.stack.settings()
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"command": shlex.join(sys.argv), "machine": facts, **r}, file, indent=1)
        print(f"Every figure: {os.path.relpath(path, ROOT)}")
        return all(longest < most for _, longest, most in targets) and not any(r[name]["bad"] for name in ("turns_before", "turns_walk"))

    def run(self):
        print("Starting the stack", flush=True)
        self.stack.up()
        self.fill()
        self.copy_files()
        self.walk()
        self.delete_copies()
        return self.show()

    def stop(self):
        for copy in self.copies:
            os.unlink(copy)
        try:
            self.stack.destroy()
        finally:
            self.processes.stop_all()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench, began = Bench(arguments()), time.monotonic()
    try:
        is_fine = bench.run()
    finally:
        bench.stop()
    print(f"Done in {time.monotonic() - began:.0f} s")
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
