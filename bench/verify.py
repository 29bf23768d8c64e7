#!/usr/bin/python3
"""make bench-verify: how long `hansard audit verify` takes for a record of MESSAGES messages (1,000,000), and how much memory. See
bench/README.md, "Verifying".

The record is written by sets straight into the tables, over thirty days, and sealed as workers would. It has 100,000 audit
events, as a busy year leaves them.
"""

import os
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests"))

from lib.fill import fill  # noqa: E402
from lib.program import HANSARD, clean_environment  # noqa: E402
from lib.stack import Stack  # noqa: E402

TURNS = 11
SECONDS_MOST = 60
MIB_MOST = 64
DAYS = 30
EVENTS = 100000


def seal(stack):
    """(seals made, seconds of the longest call) until nothing is left to seal."""
    made, longest = 0, 0.0
    while True:
        begun = time.monotonic()
        done = stack.value("SELECT hansard_api.seal(3600000, 60000, 20000)")
        longest = max(longest, time.monotonic() - begun)
        if done is None:
            return made, longest
        made += 1


def memory_kib(pid):
    """The most it has had so far; what getrusage tells begins with what its parent had."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)


def verify(stack):
    """(its last line, seconds, MiB)."""
    begun = time.monotonic()
    environment = {**clean_environment(), "HANSARD_AUDIT_URL": stack.migrate_url()}
    peak = 0
    with subprocess.Popen([HANSARD, "audit", "verify"], env=environment, stdout=subprocess.PIPE, text=True) as child:
        while child.poll() is None:
            peak = max(peak, memory_kib(child.pid))
            time.sleep(0.02)
        return child.stdout.read().strip(), time.monotonic() - begun, peak / 1024


def main():
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    conversations = max(1, round(messages / (TURNS * 1.8)))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack = Stack(workers=0).up()
    try:
        begun = time.monotonic()
        connection = stack.connect()
        fill(connection, conversations, TURNS, age=f"{DAYS} days", every=f"{DAYS * 86400 // conversations} s")
        connection.close()
        stack.sql(
            "INSERT INTO hansard.audit_events SELECT hansard.uuid_v7(now()), now(), 'limit_reached', NULL, gen_random_uuid(), "
            "'{\"limit\": \"rate\", \"tier\": \"anonymous\", \"address\": \"192.0.2.1\"}' FROM generate_series(1, %s)",
            EVENTS,
        )
        stack.sql("VACUUM ANALYZE")
        print(f"filled in {time.monotonic() - begun:.0f} s: {conversations} conversations", flush=True)
        made, longest = seal(stack)
        print(f"seals: {made}, the longest call {longest:.2f} s; one more {seal(stack)[1] * 1000:.0f} ms", flush=True)
        said, seconds, mib = verify(stack)
        print(f"{said}\n{seconds:.1f} s (at most {SECONDS_MOST}), {mib:.0f} MiB (at most {MIB_MOST})")
        return 0 if said.startswith("ok: ") and seconds < SECONDS_MOST and mib < MIB_MOST else 1
    finally:
        stack.destroy()


if __name__ == "__main__":
    sys.exit(main())
