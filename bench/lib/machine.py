"""Machine: what a reader must know of where the numbers come from."""

import os
import platform
import statistics
import time

FSYNC_TRIES = 200


def first_line(processes, command):
    try:
        return processes.run(command, check=False).strip().splitlines()[0]
    except (OSError, IndexError):
        return "not found"


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_gib():
    with open("/proc/meminfo", encoding="ascii") as file:
        return round(int(file.readline().split()[1]) / 1024 / 1024, 1)


def fdatasync_us(folder):
    """Median time of writing 8 kB to a file in place and having it on disk: the floor under a commit."""
    path = os.path.join(folder, "fsync_probe")
    block = os.urandom(8192)
    times = []
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        os.pwrite(handle, block, 0)
        os.fsync(handle)
        for _ in range(FSYNC_TRIES):
            begun = time.perf_counter()
            os.pwrite(handle, block, 0)
            os.fdatasync(handle)
            times.append((time.perf_counter() - begun) * 1e6)
    finally:
        os.close(handle)
        os.unlink(path)
    return round(statistics.median(times), 1)


def facts(processes, scratch_dir, hansard):
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": memory_gib(),
        "kernel": platform.release(),
        "fdatasync_8k_us": fdatasync_us(scratch_dir),
        "load_average": os.getloadavg()[0],
        "versions": {
            "hansard": first_line(processes, [hansard, "version"]),
            "commit": first_line(processes, ["git", "-C", os.path.dirname(hansard), "describe", "--always", "--dirty"]),
            "pgbouncer": first_line(processes, ["pgbouncer", "--version"]),
            "pgbench": first_line(processes, ["pgbench", "--version"]),
            "wrk": first_line(processes, ["wrk", "-v"]),
            "redis": first_line(processes, ["redis-server", "--version"]),
            "python": platform.python_version(),
        },
    }
