"""Ports: free ones on loopback, below those the kernel gives to outgoing connections."""

import random
import socket

LOWEST, HIGHEST = 10000, 30000
_choice = random.SystemRandom()


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_base(offsets):
    """A port p such that p + offset is free for each of the offsets."""
    for _ in range(1000):
        base = _choice.randrange(LOWEST, HIGHEST)
        if all(_is_free(base + offset) for offset in offsets):
            return base
    raise RuntimeError("no free ports")


def free_port():
    return free_base([0])
