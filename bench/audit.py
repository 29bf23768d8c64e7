#!/usr/bin/python3
"""make bench-audit: the cookbook of docs/audit.md at volume. See bench/README.md, "Audit".

Fills a database of its own with conversations of a year up to now, indexes their words as the nightly job does, and runs each
query, and searches that are hard besides, as hansard_auditor, three times. The first time counts.
"""

import argparse
import concurrent.futures
import datetime
import hashlib
import itertools
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

MESSAGES_A_CONVERSATION = 6.8  # as audit_seed.sql makes them
MOST_S = 1
MOST_USAGE_S = 5  # what reads each turn of a month: usage_daily
MONTHS = 12
AT_ONCE = 2  # months that are filled, and indexed

# What is searched for besides the cookbook's. {1} is the word that comes most often, {2} the next; in this order and company:
# {1} {2} one after the other are in many messages, {never} are in none. Words as seldom as {1} come in nearly every answer, as
# {40} in every tenth, as {200} in one of thirty.
SEARCHES = (
    ("A word of two messages", "case{case}", True),
    ("A word of every answer", "{1}", True),
    ("Two words of every answer", "{1} {2}", True),
    ("Two words of some answers", "{40} {50}", True),
    ("Two words of few answers", "{100} {200}", True),
    ("A word, without one that comes often", "{40} -{1}", True),
    ("A phrase of words of every answer that comes often", '"{1} {2}"', True),
    ("A phrase of words of some answers", '"{some}"', True),
    ("A phrase of words of every answer that never comes", '"{never}"', False),
    ("This phrase or that", '"{never}" or "{some}"', True),
)
SIZES = """
    SELECT format('database %s, messages %s, their indexes of words %s', pg_size_pretty(pg_database_size(current_database())),
                  pg_size_pretty(sum(pg_table_size('hansard.' || partition_name))),
                  pg_size_pretty(sum(pg_relation_size('hansard.' || index_name))))
    FROM hansard.word_indexes()"""
SPANS = (("the last month", "now() - interval '1 month'"), ("all months", "'-infinity'"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    messages = int(os.environ.get("AUDIT_MESSAGES", "1000000"))
    parser.add_argument("--messages", type=int, default=messages, help="messages to be read, about (AUDIT_MESSAGES or 1000000)")
    parser.add_argument("--port", type=int, default=int(os.environ.get("BENCH_PORT", "18300")), help="base port (18300)")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    return parser.parse_args()


def months():
    """(first day, how much of it is over) of this month and those before, the oldest first."""
    now = datetime.datetime.now(datetime.timezone.utc)
    day = now.date().replace(day=1)
    found = [(day, (now.day - 1 + now.hour / 24) / 30)]
    while len(found) < MONTHS:
        day = (day - datetime.timedelta(days=1)).replace(day=1)
        found.append((day, 1))
    return found[::-1]


def cookbook():
    """(number, question, query, True) of each."""
    with open(os.path.join(ROOT, "docs", "audit.md"), encoding="utf-8") as file:
        found = re.findall(r"^(\d+)\. (.+?)\n\n```sql\n(.+?);\n```$", file.read(), re.DOTALL | re.MULTILINE)
    return [(*query, True) for query in found]


def word(place):
    """As audit_base.sql makes them."""
    return "w" + hashlib.md5(str(place).encode()).hexdigest()[:6]


class Bench:
    def __init__(self, options):
        self.options = options
        self.scratch = os.path.join(ROOT, "build", "bench")
        os.makedirs(self.scratch, exist_ok=True)
        self.processes = Processes()
        self.stack = Stack(self.processes, ROOT, os.path.join(self.scratch, "audit"), options.port, 10, workers=0)
        self.queries = []
        self.seconds = {}
        self.conversations = int(options.messages / MESSAGES_A_CONVERSATION / sum(share for _, share in months())) + 1  # a month

    def script(self, name, **values):
        self.stack.run_file(os.path.join(BENCH, name), timeout_s=1800, **values)

    def several(self, work, *items):
        """Does it with each, some at once; the first that fails ends it."""
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(work, *items):
                pass

    def fill(self):
        # It would be broken off by VACUUM while it works on an index, and leave that one slow.
        self.stack.sql("ALTER SYSTEM SET autovacuum = off; SELECT pg_reload_conf()")
        self.script("audit_base.sql", callers=max(20, self.options.messages // 20000))

        def fill_month(number, month):
            day, share = month
            many, first = int(self.conversations * share), number * self.conversations
            self.script("audit_seed.sql", month=day, conversations=max(many, 1), first=first, seed=number / 100)

        self.several(fill_month, range(MONTHS), months())
        self.script("audit_story.sql")

    def index(self):
        """What psql does at night, but for CONCURRENTLY: nobody writes."""
        statements = self.stack.sql("SELECT hansard_admin.word_index_statements()").replace("CONCURRENTLY ", "").splitlines()
        partitions = {}
        for statement in statements:
            partitions.setdefault(re.search("messages_[0-9]{6}", statement)[0], []).append(statement)
        self.several(lambda part: self.stack.sql(";".join(part)), partitions.values())

    def searches(self):
        """(number, question, query, is anything to be found) of each."""
        answers = self.stack.sql("SELECT answer FROM bench.texts")
        texts = answers + self.stack.sql("SELECT question FROM bench.texts")
        phrases = (" ".join(words) for words in itertools.permutations([word(place) for place in range(1, 6)], 4))
        values = {
            "case": (MONTHS - 1) * self.conversations * 10 + 1,
            "some": next(phrase for place in range(41, 20000) if (phrase := f"{word(40)} {word(place)}") in answers),
            "never": next(phrase for phrase in phrases if phrase not in texts),
        }
        places = [word(place) for place in range(201)]
        for number, (question, words, is_found) in enumerate(SEARCHES, 1):
            for letter, (span, begin) in zip("ab", SPANS):
                sought = words.format(*places, **values)
                yield f"s{number}{letter}", f"{question}, of {span}", f"SELECT * FROM hansard_audit.search('{sought}', {begin})", is_found

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
        for number, question, query, is_found in [*cookbook(), *self.searches()]:
            times = []
            for _ in range(3):
                began = time.monotonic()
                with auditor.cursor() as cursor:
                    cursor.execute(query)
                    rows = len(cursor.fetchall())
                times.append(time.monotonic() - began)
            most_s = MOST_USAGE_S if "usage_daily" in query else MOST_S
            self.queries.append(
                {"number": number, "question": question, "rows": rows, "seconds": times, "most_s": most_s,
                 "met": times[0] < most_s and (rows > 0) == is_found}
            )  # fmt: skip
            said = f"under {most_s} s: {'pass' if self.queries[-1]['met'] else 'MISS'}"
            print(
                f"  {number:>4} {times[0] * 1000:>8.1f} ms, then {min(times[1:]) * 1000:>8.1f} ms  {rows:>5} rows  {said}"
                f"  {question.splitlines()[0][:70]}",
                flush=True,
            )
        auditor.close()

    def run(self):
        """True: all targets are met."""
        self.stack.up()
        self.timed(f"{MONTHS} months filled", self.fill)
        self.timed("words indexed", self.index)
        self.timed("tidied", self.stack.tidy)
        messages = int(self.stack.sql("SELECT count(*) FROM hansard.messages"))
        sizes = self.stack.sql(SIZES)
        print(f"{messages:,} messages: {sizes}", flush=True)
        self.ask()
        path = os.path.join(self.scratch, "audit.json")
        with open(path, "w", encoding="utf-8") as file:
            facts = machine.facts(self.processes, self.scratch, os.path.join(ROOT, "build", "hansard"))
            json.dump(
                {"command": shlex.join(sys.argv), "machine": facts, "messages": messages, "sizes": sizes, "seconds": self.seconds,
                 "queries": self.queries}, file, indent=1,
            )  # fmt: skip
        missed = [query["number"] for query in self.queries if not query["met"]]
        print(f"{len(self.queries)} queries, missed: {', '.join(missed) or 'none'}. Every run: {os.path.relpath(path, ROOT)}")
        return not missed

    def timed(self, what, work):
        began = time.monotonic()
        work()
        self.seconds[what] = time.monotonic() - began
        print(f"  {what} in {self.seconds[what]:.0f} s", flush=True)

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
