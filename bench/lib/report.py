"""Report: medians over the repetitions, the ratios that matter, and whether they meet their targets."""

import json
import os
import statistics
import time

CHAIN_LEAST = 0.85  # of the turns/s without it
FOREIGN_SHARE_MAX = 0.10  # of the machine, used by others during a run: above, the run is marked
COLUMNS = (
    ("turns/s", "turns_per_s", "{:.0f}"),
    ("p50 ms", "p50_ms", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.2f}"),
    ("CPU s/1000", "cpu_s_per_1000", "{:.3f}"),
    ("with load gen", "cpu_s_per_1000_with_load", "{:.3f}"),
)


class Result:
    """The run of one contestant at one setting, or the medians over several."""

    def __init__(self, part, contestant, length, concurrency, round_no, load, cpu):
        self.part = part
        self.contestant = contestant
        self.length = length
        self.concurrency = concurrency
        self.values = dict(load, round=round_no, cpu=cpu)
        per_1000 = 1000.0 / max(1, load["turns"])
        self.values["cpu_s_per_1000"] = round(cpu["stack_s"] * per_1000, 4)
        self.values["cpu_s_per_1000_with_load"] = round((cpu["stack_s"] + cpu["load_s"]) * per_1000, 4)

    @property
    def key(self):
        return (self.part, self.contestant, self.length, self.concurrency)

    def marks(self):
        found = []
        if self.values["non_200"] or self.values["broken"]:
            found.append(f"{self.values['non_200']} non-200, {self.values['broken']} broken")
        if self.values.get("missing"):
            found.append(f"{self.values['missing']} ACKNOWLEDGED TURNS ARE NOT IN THE DATABASE")
        if self.values.get("wrong_contexts"):
            found.append(f"the model saw {' to '.join(map(str, self.values['contexts']))} messages")
        if self.values["cpu"]["foreign_share"] > FOREIGN_SHARE_MAX:
            found.append(f"others used {self.values['cpu']['foreign_share']:.0%} of the machine")
        return found

    def record(self):
        return {
            "part": self.part,
            "contestant": self.contestant,
            "history_messages": self.length,
            "concurrency": self.concurrency,
            "marks": self.marks(),
            **self.values,
        }


class Ratio:
    def __init__(self, name, value, target=None, at_least=True):
        self.name = name
        self.value = value
        self.target = target
        self.at_least = at_least

    def verdict(self):
        if self.target is None:
            return ""
        if self.value is None:
            return "no value"
        met = self.value >= self.target if self.at_least else self.value <= self.target
        return "pass" if met else "MISS"

    def record(self):
        return {"name": self.name, "value": self.value, "target": self.target, "verdict": self.verdict()}


class Report:
    def __init__(self, command, machine):
        self.command = command
        self.machine = machine
        self.began = time.time()
        self.results = []

    def add(self, result):
        self.results.append(result)
        values = result.values
        line = f"{describe(result.key):<44}{values['turns_per_s']:>9.0f} turns/s  p50 {values['p50_ms']:8.2f} ms"
        line += f"  p99 {values['p99_ms']:8.2f} ms  CPU {values['cpu_s_per_1000']:.3f} s/1000"
        marks = result.marks()
        print(line + (f"   [{'; '.join(marks)}]" if marks else ""), flush=True)

    def medians(self):
        groups = {}
        for result in self.results:
            groups.setdefault(result.key, []).append(result)
        table = {}
        for key, members in groups.items():
            table[key] = {
                name: statistics.median(member.values[name] for member in members) for _, name, _ in COLUMNS
            }
            table[key]["runs"] = len(members)
            table[key]["bad"] = sum(member.values["non_200"] + member.values["broken"] for member in members)
            table[key]["marked"] = sum(bool(member.marks()) for member in members)
        return table

    def ratios(self):
        table = self.medians()
        found = []
        for length in sorted({key[2] for key in table if key[0] == "turns"}):
            found += self._turn_ratios(table, length)
        alone = [find(table, "alone", name, "p50_ms") for name in ("service", "pgbench")]
        if all(alone):
            found.append(Ratio("alone: p50 of service / pgbench -c 1", alone[0] / alone[1], 1.5, at_least=False))
        cost = [find(table, "window", "service", "cpu_s_per_1000", length) for length in (2000, 20)]
        speed = [find(table, "window", "service", "turns_per_s", length) for length in (20, 2000)]
        if all(cost) and all(speed):
            name = "window of 20: 2000 stored / 20 stored, "
            found.append(Ratio(name + "CPU a turn", cost[0] / cost[1], 1.10, at_least=False))
            found.append(Ratio(name + "time a turn", speed[0] / speed[1], 1.10, at_least=False))
        for part, less, target in (("chain", "no chain", CHAIN_LEAST), ("times", "no indexes", None)):
            for label, value in (("turns/s", "turns_per_s"), ("CPU a turn", "cpu_s_per_1000")):
                goal = target if value == "turns_per_s" else None
                if ratios := self._by_round(part, less, value):
                    found.append(Ratio(f"{part}: {label} with / without, median of rounds", statistics.median(ratios), goal))
        return found

    def _by_round(self, part, less, value):
        """What the service came to in each round, next to the same with less to do."""
        rounds = {}
        for result in self.results:
            if result.part == part:
                rounds.setdefault(result.values["round"], {})[result.contestant] = result.values[value]
        return [a_round["service"] / a_round[less] for a_round in rounds.values() if len(a_round) == 2]

    @staticmethod
    def _turn_ratios(table, length):
        rates = {}
        for (part, contestant, at, concurrency), row in table.items():
            if part == "turns" and at == length:
                rates.setdefault(contestant, {})[concurrency] = row["turns_per_s"]
        found, service = [], rates.get("service", {})
        for peer, target in (("pgbench", 2.0), ("recipe", 5.0)):
            if not service or peer not in rates:
                continue
            name = f"history {length}: turns/s of service / {peer}, "
            best = max(rates[peer].values())
            found.append(Ratio(name + "each at its best", max(service.values()) / best, target))
            for mine, rate in sorted(service.items()):
                for other, peer_rate in sorted(rates[peer].items()):
                    if peer == "pgbench" or mine == other:
                        found.append(Ratio(f"{name}{mine} / {other}", rate / peer_rate))
        return found

    def show(self):
        print("\nMachine")
        show_facts(self.machine)
        print(f"\nCommand: {self.command}   ({time.time() - self.began:.0f} s)")
        print("\nMedians (CPU seconds per 1,000 turns over all processes of the stack; then with the load generator)")
        heads = "".join(f"{head:>15}" for head, _, _ in COLUMNS)
        print(f"{'':<44}{heads}{'runs':>6}{'bad':>6}{'marked':>8}")
        for key, row in sorted(self.medians().items(), key=lambda item: order(item[0])):
            cells = "".join(f"{form.format(row[name]):>15}" for _, name, form in COLUMNS)
            print(f"{describe(key):<44}{cells}{row['runs']:>6}{row['bad']:>6}{row['marked']:>8}")
        print("\nRatios of medians")
        for ratio in self.ratios():
            goal = "" if ratio.target is None else f"{'≥' if ratio.at_least else '≤'} {ratio.target:.2f}"
            print(f"{ratio.name:<72}{ratio.value:>8.2f}   {goal:<8}{ratio.verdict()}")
        marked = [result for result in self.results if result.marks()]
        if marked:
            print(f"\n{len(marked)} of {len(self.results)} runs are marked:")
            for result in marked:
                print(f"  {describe(result.key)}, round {result.values['round']}: {'; '.join(result.marks())}")

    def write(self, folder):
        """results-<time>.json, and the same as results.json."""
        document = {
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began)),
            "command": self.command,
            "machine": self.machine,
            "runs": [result.record() for result in self.results],
            "medians": [
                dict(zip(("part", "contestant", "history_messages", "concurrency"), key), **row)
                for key, row in sorted(self.medians().items(), key=lambda item: order(item[0]))
            ],
            "ratios": [ratio.record() for ratio in self.ratios()],
        }
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self.began))
        for name in (f"results-{stamp}.json", "results.json"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                json.dump(document, file, indent=1)
                file.write("\n")
        return os.path.join(folder, f"results-{stamp}.json")


def find(table, part, contestant, column, length=None):
    for key, row in table.items():
        if key[:2] == (part, contestant) and length in (None, key[2]):
            return row[column]
    return None


def order(key):
    part, contestant, length, concurrency = key
    parts = ("turns", "alone", "chain", "times", "window")
    contestants = ("service", "pgbench", "recipe", "no chain", "no indexes")
    return (parts.index(part), length, contestants.index(contestant), concurrency)


def describe(key):
    part, contestant, length, concurrency = key
    label = {"turns": "history", "alone": "alone, history", "window": "window 20, stored"}.get(part, f"{part}, history")
    who = "clients" if contestant == "pgbench" else "connections"
    return f"{label} {length}: {contestant}, {concurrency} {who if concurrency > 1 else who[:-1]}"


def show_facts(facts, indent="  "):
    for name, value in facts.items():
        if isinstance(value, dict):
            print(f"{indent}{name}: " + ", ".join(f"{key} {text}" for key, text in value.items()))
        else:
            print(f"{indent}{name}: {value}")
