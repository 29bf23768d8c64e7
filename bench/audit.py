#!/usr/bin/python3
"""make bench-audit: the cookbook of docs/audit.md at volume. See bench/README.md, "Audit".

Fills a database of its own with conversations of a year, indexes their words as the nightly job does, and runs each query as
hansard_auditor, three times. The first time counts.
"""

import argparse
import datetime
import json
import os
import re
import secrets
import shlex
import signal
import sys
import time

import psycopg2

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)
sys.dont_write_bytecode = True
sys.path.insert(0, BENCH)

from lib import machine  # noqa: E402
from lib.process import Processes  # noqa: E402
from lib.stack import Stack  # noqa: E402

MESSAGES_A_CONVERSATION = 6.9  # as audit_seed.sql makes them
MOST_S = 1
MOST_USAGE_S = 5  # what reads each turn of a month: usage_daily
MONTHS = 12


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    messages = int(os.environ.get("AUDIT_MESSAGES", "1000000"))
    parser.add_argument("--messages", type=int, default=messages, help="messages to be read, about (AUDIT_MESSAGES or 1000000)")
    parser.add_argument("--port", type=int, default=int(os.environ.get("BENCH_PORT", "18300")), help="base port (18300)")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    return parser.parse_args()


def months():
    """The first days of this month and those before, the oldest first."""
    day = datetime.datetime.now(datetime.timezone.utc).date().replace(day=1)
    found = [day]
    while len(found) < MONTHS:
        found.append((found[-1] - datetime.timedelta(days=1)).replace(day=1))
    return found[::-1]


def cookbook():
    """(number, question, query) of each."""
    with open(os.path.join(ROOT, "docs", "audit.md"), encoding="utf-8") as file:
        return re.findall(r"^(\d+)\. (.+?)\n\n```sql\n(.+?);\n```$", file.read(), re.DOTALL | re.MULTILINE)


class Bench:
    def __init__(self, options):
        self.options = options
        self.scratch = os.path.join(ROOT, "build", "bench")
        os.makedirs(self.scratch, exist_ok=True)
        self.processes = Processes()
        self.stack = Stack(self.processes, ROOT, os.path.join(self.scratch, "audit"), options.port, 10, workers=0)
        self.queries = []

    def script(self, name, **values):
        self.stack.run_file(os.path.join(BENCH, name), timeout_s=1800, **values)

    def fill(self):
        self.script("audit_base.sql", callers=max(20, self.options.messages // 20000))
        conversations = max(1, int(self.options.messages / MONTHS / MESSAGES_A_CONVERSATION))
        for number, month in enumerate(months()):
            began = time.monotonic()
            self.script("audit_seed.sql", month=month, conversations=conversations, first=number * conversations, seed=number / 100)
            print(f"  {month:%Y-%m} filled in {time.monotonic() - began:.0f} s", flush=True)
        self.script("audit_story.sql")
        self.stack.tidy()

    def index(self):
        began = time.monotonic()
        for statement in self.stack.sql("SELECT hansard_admin.word_index_statements()").splitlines():
            self.stack.psql("-Xq", "-c", statement, timeout_s=3600)
        print(f"  words indexed in {time.monotonic() - began:.0f} s", flush=True)
        self.stack.tidy()

    def ask(self):
        password = secrets.token_hex(16)
        self.stack.sql(f"ALTER ROLE hansard_auditor PASSWORD '{password}'")
        auditor = psycopg2.connect(
            host="127.0.0.1",
            port=self.stack.environment()["PGPORT"],
            user="hansard_auditor",
            password=password,
            dbname="hansard",
        )
        auditor.autocommit = True
        for number, question, query in cookbook():
            times = []
            for _ in range(3):
                began = time.monotonic()
                with auditor.cursor() as cursor:
                    cursor.execute(query)
                    rows = len(cursor.fetchall())
                times.append(time.monotonic() - began)
            most_s = MOST_USAGE_S if "usage_daily" in query else MOST_S
            self.queries.append(
                {"number": int(number), "question": question, "rows": rows, "seconds": times, "most_s": most_s,
                 "met": times[0] < most_s and rows > 0}
            )  # fmt: skip
            said = f"under {most_s} s: {'pass' if self.queries[-1]['met'] else 'MISS'}"
            print(
                f"  {number:>3} {times[0] * 1000:>8.1f} ms, then {min(times[1:]) * 1000:>8.1f} ms  {rows:>5} rows  {said}"
                f"  {question.splitlines()[0][:60]}",
                flush=True,
            )
        auditor.close()

    def run(self):
        """True: all targets are met."""
        self.stack.up()
        print(f"Filling {MONTHS} months", flush=True)
        self.fill()
        self.index()
        messages = int(self.stack.sql("SELECT count(*) FROM hansard.messages"))
        print(f"{messages:,} messages, {self.stack.sql('SELECT pg_size_pretty(pg_database_size(current_database()))')}", flush=True)
        self.ask()
        path = os.path.join(self.scratch, "audit.json")
        with open(path, "w", encoding="utf-8") as file:
            facts = machine.facts(self.processes, self.scratch, os.path.join(ROOT, "build", "hansard"))
            json.dump({"command": shlex.join(sys.argv), "machine": facts, "messages": messages, "queries": self.queries}, file, indent=1)
        print(f"Every run: {os.path.relpath(path, ROOT)}")
        return all(query["met"] for query in self.queries)

    def stop(self):
        if self.options.keep:
            return
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
