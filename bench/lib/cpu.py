"""CPU time: what a contestant's processes used between two moments, and what the rest of the machine used meanwhile.

A sample adds user and system time of every living descendant of the benchmark, and of the children these have waited
for. The load generator is a group of its own, so that its cost can be shown apart.
"""

import os
import time

from lib.process import TICKS_PER_S, all_stats, command_line, descendants

LOAD_GENERATORS = ("wrk", "pgbench")


def group_of(stat):
    """Name of the part of the stack a process belongs to."""
    if stat.name in ("postgres", "pgbouncer", "hansard", "demo-llm", "redis-server", "nginx"):
        return stat.name
    if stat.name in LOAD_GENERATORS:
        return "load"
    line = command_line(stat.pid)
    if "uvicorn" in line or "multiprocessing" in line:
        return "uvicorn"
    if line.startswith("postgres"):
        return "postgres"
    return "other"


class CpuSample:
    """CPU seconds used so far, by group; and by the whole machine."""

    def __init__(self):
        self.at = time.monotonic()
        self._own = os.times()
        self.groups = {}
        for stat in descendants(os.getpid(), all_stats()):
            group = group_of(stat)
            self.groups[group] = self.groups.get(group, 0.0) + stat.cpu_s
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
        # user nice system idle iowait irq softirq steal
        self.machine_s = (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_S

    def since(self, before, generator):
        """Use since the sample before: {'groups', 'stack_s', 'load_s', 'foreign_share'}.

        generator is what waitpid said of the load generator, which has ended by now."""
        groups = {
            name: round(value - before.groups.get(name, 0.0), 3)
            for name, value in self.groups.items()
            if value - before.groups.get(name, 0.0) >= 1.0 / TICKS_PER_S and name != "load"
        }
        stack_s = sum(groups.values())
        own_s = (self._own.user + self._own.system) - (before._own.user + before._own.system)
        foreign_s = self.machine_s - before.machine_s - stack_s - generator - own_s
        room_s = (self.at - before.at) * os.cpu_count()
        return {
            "groups": groups,
            "stack_s": round(stack_s, 3),
            "load_s": round(generator, 3),
            "foreign_share": round(max(0.0, foreign_s / room_s), 3),
        }
