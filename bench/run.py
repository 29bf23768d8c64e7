#!/usr/bin/python3
"""make bench: the service, pgbench on the same functions, and the recipe people copy, in one run on one machine.

The contestants take turns (round robin) and every number is a median over the rounds. See bench/README.md.
"""

import argparse
import contextlib
import http.client
import json
import os
import shlex
import shutil
import signal
import sys
import time
import urllib.request

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)
sys.dont_write_bytecode = True
sys.path.insert(0, BENCH)

from lib import machine, without  # noqa: E402
from lib.cpu import CpuSample  # noqa: E402
from lib.load import Pgbench, Target, Wrk  # noqa: E402
from lib.process import Processes  # noqa: E402
from lib.recipe import Recipe  # noqa: E402
from lib.report import Report, Result  # noqa: E402
from lib.stack import Stack  # noqa: E402

PARTS = ("service", "pgbench", "recipe", "alone", "window", "chain", "times")
LENGTHS = (0, 20, 200)
SESSIONS = 10000
CONNECTIONS = (64, 256)
CLIENTS = (8, 32)
ALONE_LENGTH = 20
WINDOW = 20
WINDOW_LONG = 2000
WINDOW_SESSIONS = 500
WINDOW_CONNECTIONS = 64
WINDOW_SECONDS = 20  # long conversations lie on more pages, each logged whole at its first change after a checkpoint
COST_LENGTH = 20
COST_CONNECTIONS = 64
COST_ROUNDS = 7  # what is looked for is small next to what differs from run to run
LLM_CONCURRENCY = 10  # of both; with more, httpx slows the recipe down
WARM_UP_S = 2
TOOLS = ("wrk", "pgbench", "redis-server", "pgbouncer")
# demo-llm answers with as many words as it is asked for.
MESSAGE = "What did the member say about the harbour works, and who answered for the government that day? [[tokens 40]]"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, help="length of a run (5)")
    parser.add_argument("--repeat", type=int, help="rounds; medians are taken over them (3)")
    parser.add_argument("--lengths", help="history lengths in messages (0,20,200)")
    parser.add_argument("--only", help=f"parts to run, of {','.join(PARTS)} (all)")
    parser.add_argument("--quick", action="store_true", help="one round of 5 s runs at length 20")
    parser.add_argument("--keep", action="store_true", help="leave the stack's files for a look afterwards")
    parser.add_argument("--port", type=int, default=int(os.environ.get("BENCH_PORT", "18300")), help="base port (18300)")
    options = parser.parse_args()
    options.seconds = options.seconds or 5
    options.repeat = options.repeat or (1 if options.quick else 3)
    lengths = options.lengths.split(",") if options.lengths else (LENGTHS[1:2] if options.quick else LENGTHS)
    options.lengths = [int(length) for length in lengths]
    options.only = options.only.split(",") if options.only else list(PARTS)
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"--only knows {','.join(PARTS)}, not {','.join(sorted(unknown))}")
    if any(length < 0 or length % 2 for length in options.lengths):
        parser.error("--lengths takes even numbers: a turn is two messages")
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        parser.error(f"not installed: {', '.join(missing)} (make deps)")
    return options


class Bench:
    def __init__(self, options):
        self.options = options
        self.scratch = os.path.join(ROOT, "build", "bench")
        os.makedirs(self.scratch, exist_ok=True)
        self.processes = Processes()
        self.stack = Stack(
            self.processes, ROOT, os.path.join(self.scratch, "stack"), options.port, LLM_CONCURRENCY
        )
        self.wrk = Wrk(self.processes, BENCH, self.scratch)
        self.pgbench = Pgbench(self.processes, BENCH, self.scratch)
        self.recipe = None
        self.report = None
        self.answer = None
        self.pooler_url = None
        self.llm_url = None

    def has(self, part):
        return part in self.options.only

    # ---- setting up ------------------------------------------------------------------------------

    def prepare(self):
        print("Starting the stack", flush=True)
        self.stack.up()
        told = self.stack.environment()
        self.pooler_url = told["HANSARD_DATABASE_URL"]
        self.llm_url = told["LLM_URL"]
        self.recipe = Recipe(
            self.processes, BENCH, self.scratch, self.options.port + 80, self.llm_url, LLM_CONCURRENCY
        )
        facts = machine.facts(self.processes, self.scratch, os.path.join(ROOT, "build", "hansard"))
        facts["postgresql"] = self.stack.settings()
        if self.has("recipe"):
            self.recipe.install()
            self.recipe.redis.start()
            facts["recipe"] = self.recipe.versions()
        self.report = Report(shlex.join([os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]), facts)
        self.answer = self.ask()
        facts["texts"] = {"message_bytes": len(MESSAGE), "answer_bytes": len(self.answer.encode())}
        self.stack.enlist_pgbench()

    def ask(self):
        """One turn through the service: proof that it works, and the answer that the others are to store."""
        connection = http.client.HTTPConnection("127.0.0.1", self.options.port, timeout=10)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.stack.api_key}"}
        body = json.dumps({"session_id": "first", "message": MESSAGE})
        connection.request("POST", "/chat", body, headers)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        if reply.status != 200:
            raise RuntimeError(f"the service answers {reply.status}: {text}")
        return json.loads(text)["response"]

    def target(self, name, sessions=SESSIONS):
        return Target(f"{name}-", sessions, MESSAGE, self.answer)

    def fill(self, target, messages):
        if messages:
            print(f"Filling {target.sessions} sessions with {messages} messages each", flush=True)
            self.stack.fill(target, messages)

    # ---- one measurement -------------------------------------------------------------------------

    def measure(self, part, contestant, length, concurrency, round_no, load, target=None):
        """Settle, warm up, run; load is called with the seconds it may take."""
        load(WARM_UP_S)
        contexts = [] if contestant == "pgbench" else self.contexts_seen()
        self.stack.settle()
        if self.has("recipe"):
            self.recipe.redis.save()
        moment = self.stack.now()
        before = CpuSample()
        said = load(self.options.seconds)
        cpu = CpuSample().since(before, said["load_s"])
        said["contexts"] = contexts
        said["wrong_contexts"] = sum(count != self.stack.window.messages + 1 for count in contexts)
        if contestant != "recipe":
            self.verify(said, moment)
            said["stored_messages"] = self.stack.stored_messages(target)
        self.report.add(Result(part, contestant, length, concurrency, round_no, said, cpu))

    def contexts_seen(self):
        """Messages in each of the model's latest calls, as demo-llm counted them: the shortest and the longest."""
        with urllib.request.urlopen(self.llm_url.removesuffix("/v1") + "/stats/last", timeout=10) as reply:
            counts = [call["messages"] for call in json.load(reply)["calls"]]
        return [min(counts), max(counts)]

    def verify(self, said, moment):
        """Every turn that was acknowledged is in the database."""
        said["completed_in_database"] = self.stack.completed_since(moment)
        said["missing"] = max(0, said["turns"] - said["completed_in_database"])

    def measure_service(self, part, length, concurrency, round_no, target, contestant="service"):
        def load(seconds):
            return self.wrk.run(self.stack.url, target, concurrency, seconds, self.stack.api_key)

        self.measure(part, contestant, length, concurrency, round_no, load, target)

    def measure_pgbench(self, part, length, clients, round_no, target):
        def load(seconds):
            return self.pgbench.run(
                self.pooler_url,
                target,
                clients,
                seconds,
                self.stack.key_hash,
                self.stack.worker_id,
                self.stack.window,
            )

        self.measure(part, "pgbench", length, clients, round_no, load, target)

    def measure_recipe(self, part, length, concurrency, round_no, target):
        def load(seconds):
            return self.wrk.run(self.recipe.url, target, concurrency, seconds)

        self.measure(part, "recipe", length, concurrency, round_no, load)

    # ---- the parts -------------------------------------------------------------------------------

    def run(self):
        self.prepare()
        for length in self.options.lengths:
            self.run_length(length)
        if self.has("alone") and ALONE_LENGTH not in self.options.lengths:
            target = self.target(f"h{ALONE_LENGTH}")
            self.fill(target, ALONE_LENGTH)
            self.stack.tidy()
            self.stack.show_window(ALONE_LENGTH)
            self.run_alone(target)
        if self.has("chain"):
            self.run_cost("chain", "no chain", without.chain)
        if self.has("times"):
            self.run_cost("times", "no indexes", without.time_indexes)
        if self.has("window"):
            self.run_window()

    def run_length(self, length):
        """The window is exactly the length: every turn of every contestant sends the model as many messages."""
        turn_parts = [part for part in ("service", "pgbench", "recipe") if self.has(part)]
        alone = self.has("alone") and length == ALONE_LENGTH
        if not turn_parts and not alone:
            return
        target = self.target(f"h{length}")
        self.fill(target, length)
        self.stack.tidy()
        self.stack.show_window(length)
        if self.has("recipe"):
            self.recipe.load(target, length)
            self.recipe.start_app(length)
        for round_no in range(1, self.options.repeat + 1):
            for step in range(2):
                if self.has("service"):
                    self.measure_service("turns", length, CONNECTIONS[step], round_no, target)
                if self.has("pgbench"):
                    self.measure_pgbench("turns", length, CLIENTS[step], round_no, target)
                if self.has("recipe"):
                    self.measure_recipe("turns", length, CONNECTIONS[step], round_no, target)
        self.recipe.stop_app()
        if alone:
            self.run_alone(target)

    def run_alone(self, target):
        for round_no in range(1, self.options.repeat + 1):
            self.measure_service("alone", ALONE_LENGTH, 1, round_no, target)
            self.measure_pgbench("alone", ALONE_LENGTH, 1, round_no, target)

    def run_cost(self, part, contestant, less):
        """The service as it is, and with less to do; who goes first changes from round to round."""
        target = self.target(f"{part}-")
        self.fill(target, COST_LENGTH)
        self.stack.tidy()
        self.stack.show_window(COST_LENGTH)
        for round_no in range(1, (COST_ROUNDS if self.options.repeat > 1 else 1) + 1):
            for has_all in (True, False) if round_no % 2 else (False, True):
                with contextlib.nullcontext() if has_all else less(self.stack):
                    name = "service" if has_all else contestant
                    self.measure_service(part, COST_LENGTH, COST_CONNECTIONS, round_no, target, name)

    def run_window(self):
        """Every round has short conversations of its own: after a round they are not short any more."""
        self.options.seconds = max(self.options.seconds, WINDOW_SECONDS)
        rounds = range(1, self.options.repeat + 1)
        long = self.target(f"w{WINDOW_LONG}", WINDOW_SESSIONS)
        short = {round_no: self.target(f"w{WINDOW}r{round_no}", WINDOW_SESSIONS) for round_no in rounds}
        self.fill(long, WINDOW_LONG)
        for target in short.values():
            self.fill(target, WINDOW)
        self.stack.tidy()
        self.stack.show_window(WINDOW)
        for round_no in rounds:
            self.measure_service("window", WINDOW, WINDOW_CONNECTIONS, round_no, short[round_no])
            self.measure_service("window", WINDOW_LONG, WINDOW_CONNECTIONS, round_no, long)

    def stop(self):
        print("Stopping everything", flush=True)
        try:
            if self.recipe:
                self.recipe.stop()
            if self.options.keep:
                self.stack.down()
            else:
                self.stack.destroy()
        finally:
            self.processes.stop_all()


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    bench = Bench(options)
    status = 0
    try:
        bench.run()
    except KeyboardInterrupt:
        print("\nInterrupted")
        status = 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        bench.stop()
        if bench.report and bench.report.results:
            bench.report.show()
            print(f"\nEvery run: {os.path.relpath(bench.report.write(bench.scratch), ROOT)}")
    print(f"Done in {time.monotonic() - began:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
