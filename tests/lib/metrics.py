"""Metrics: a /metrics page, every line of it read strictly."""

import re

from lib.client import Client

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (NaN|[+-]?Inf|[-+0-9.eE]+)")
_HELP = re.compile(rf"# HELP ({_NAME}) (\S.*)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram)")


class Metrics:
    """values: {(name, frozenset of (label, value)): number}; types: {name: type}."""

    def __init__(self, text):
        self.values, self.types, self.helps = {}, {}, {}
        assert text.endswith("\n")
        for line in text.splitlines():
            self._read(line)

    def _read(self, line):
        if helped := _HELP.fullmatch(line):
            assert helped[1] not in self.helps, line
            self.helps[helped[1]] = helped[2]
        elif typed := _TYPE.fullmatch(line):
            assert typed[1] in self.helps and typed[1] not in self.types, line
            self.types[typed[1]] = typed[2]
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, f"not Prometheus text: {line!r}"
            series = (sample[1], frozenset(re.findall(_LABEL, sample[2] or "")))
            assert series not in self.values, f"twice: {line!r}"
            assert self.family(sample[1]) in self.types, f"without a type: {line!r}"
            self.values[series] = float(sample[len(sample.groups())])

    def family(self, name):
        """The name a sample's type is given under."""
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        return base if self.types.get(base) == "histogram" else name

    def get(self, name, **labels):
        return self.values[(name, frozenset(labels.items()))]


def scrape(place):
    """Of a worker or a stack with one."""
    answer = Client(place.url).get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Metrics(answer.body.decode())


def total(places, name, **labels):
    """The sum over several workers."""
    return sum(scrape(place).get(f"hansard_{name}", **labels) for place in places)
