"""Metrics: Prometheus text, and numbers that move with what happens."""

import pytest

from lib.client import Client
from lib.metrics import scrape
from lib.together import together
from lib.wait import until


@pytest.fixture
def counted(worker):
    """A worker nobody else talks to."""
    return worker()


def test_every_line_is_prometheus_text(counted, caller, session):
    caller.at(counted).chat(session, "x")
    metrics = scrape(counted)  # which reads strictly
    assert metrics.get("hansard_build_info", version=version_of(metrics)) == 1
    for name in ("process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"):
        assert metrics.get(name) > 0
    for name, kind in metrics.types.items():
        assert (kind == "counter") == name.endswith("_total"), name


def version_of(metrics):
    (labels,) = [labels for name, labels in metrics.values if name == "hansard_build_info"]
    return dict(labels)["version"]


def test_histograms_are_whole(counted, caller, session):
    caller.at(counted).chat(session, "x")
    metrics = scrape(counted)
    for name in [name for name, kind in metrics.types.items() if kind == "histogram"]:
        series = {}
        for (sample, labels), value in metrics.values.items():
            if sample == f"{name}_bucket":
                bound = float(dict(labels)["le"])
                series.setdefault(frozenset(pair for pair in labels if pair[0] != "le"), []).append((bound, value))
        assert series, name
        for labels, buckets in series.items():
            values = [value for _, value in sorted(buckets)]
            assert values == sorted(values), name
            assert values[-1] == metrics.values[(f"{name}_count", labels)]
            assert metrics.values[(f"{name}_sum", labels)] >= 0


def moved(before, after, name, **labels):
    return after.get(name, **labels) - before.get(name, **labels)


def test_turns_move_them(counted, caller, session):
    at = caller.at(counted)
    before = scrape(counted)
    at.chat(session, "one", key="k")
    at.chat(session, "one", key="k")
    at.chat(session, "other", key="k")
    at.chat(session, "[[status 500 1]] x")
    at.chat(session, "[[status 400]] x")
    Client(counted.url, "hsk_unknown").chat(session, "x")
    at.post(b"{")
    at.read(session)
    at.read("unknown")
    after = scrape(counted)

    def by(name, **labels):
        return moved(before, after, name, **labels)

    statuses = {200: 4, 422: 1, 502: 1, 401: 1, 400: 1, 404: 1}
    for status, count in statuses.items():
        assert by("hansard_http_requests_total", status=str(status)) == count + (status == 200), status
    for outcome, count in {"completed": 2, "replayed": 1, "failed": 1, "refused": 2, "fenced": 0}.items():
        assert by("hansard_turns_total", outcome=outcome) == count, outcome
    assert by("hansard_refusals_total", reason="unauthorized") == 1
    assert by("hansard_refusals_total", reason="idempotency_key_reused") == 1
    for result, count in {"ok": 2, "http_5xx": 1, "rejected": 1}.items():
        assert by("hansard_llm_attempts_total", result=result) == count, result
    assert by("hansard_llm_retries_total") == 1
    assert by("hansard_llm_tokens_total", kind="completion") > 0
    assert by("hansard_llm_duration_seconds_count") == 4
    assert by("hansard_lane_calls_total", kind="accept") == 6
    assert by("hansard_lane_calls_total", kind="finish") == 3
    assert by("hansard_lane_batch_items_sum", kind="finish") == 3
    assert by("hansard_http_request_duration_seconds_count", route="chat") == 7
    assert by("hansard_http_request_duration_seconds_count", route="conversations") == 2
    assert by("hansard_gate_wait_seconds_count") == 3


def test_work_travels_in_batches(counted, caller, session):
    """What comes together goes to the database together: fewer calls than turns."""
    at = caller.at(counted)
    before = scrape(counted)
    posts = [lambda n=n: [at.chat(f"{session} {n}", "x").status for _ in range(5)] for n in range(60)]
    assert {status for statuses in together(posts) for status in statuses} == {200}
    after = scrape(counted)
    for kind in ("accept", "finish"):
        assert moved(before, after, "hansard_lane_batch_items_sum", kind=kind) == 300
        assert moved(before, after, "hansard_lane_calls_total", kind=kind) < 300


def test_gauges_return_to_nought(counted, caller, session):
    at = caller.at(counted)
    together([lambda n=n: at.chat(f"{session} {n}", "[[delay 50]] x") for n in range(20)])
    names = ("turns_open", "line_waiting", "gate_in_use", "gate_waiting", "lane_waiting", "finish_unwritten")
    until(lambda: [scrape(counted).get(f"hansard_{name}") for name in names] == [0] * len(names))
    until(lambda: scrape(counted).get("hansard_http_connections") == 1)  # ours


def test_rate_limited_is_counted(counted, limited, session):
    at = limited(1, 1).at(counted)
    assert [at.chat(session, "x").status for _ in range(3)] == [200, 429, 429]
    metrics = scrape(counted)
    assert metrics.get("hansard_refusals_total", reason="rate_limited") == 2
    assert metrics.get("hansard_http_requests_total", status="429") == 2
