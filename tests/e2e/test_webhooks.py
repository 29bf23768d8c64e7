"""Webhooks as a release sends them: never to an address that is not public, whatever its name is configured as."""

import socket

from lib.client import Client
from lib.wait import until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_loopback_is_refused(stack, worker, record, caller, session):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        host = f"localhost:{listener.getsockname()[1]}"
        place = worker(webhook_hosts=host, webhook_secret=SECRET)
        assert Client(place.url, caller.key).chat(session, "hello").status == 200
        (turn,) = record.turns(session)
        stack.sql("SELECT hansard.queue_webhook(%s, 1, %s)", turn.conversation_id, f"https://{host}/")
        until(lambda: any("an address is not public" in line for line in place.log_lines()), seconds=15)
        try:
            listener.accept()
        except BlockingIOError:
            pass
        else:
            raise AssertionError("a connection was made")
    left = until(
        lambda: stack.sql(
            "DELETE FROM hansard.webhooks WHERE conversation_id = %s AND next_at < now() + interval '10 s' RETURNING attempts",
            turn.conversation_id,
        )
    )
    assert [row.attempts for row in left] == [1]


def test_a_worker_without_hosts_leaves_them_to_others(stack, worker, record, caller, session):
    place = worker()
    assert Client(place.url, caller.key).chat(session, "hello").status == 200
    (turn,) = record.turns(session)
    stack.sql("SELECT hansard.queue_webhook(%s, 1, 'https://hooks.example/')", turn.conversation_id)
    assert Client(place.url, caller.key).chat(session, "and now").status == 200
    left = stack.sql("DELETE FROM hansard.webhooks WHERE conversation_id = %s RETURNING attempts", turn.conversation_id)
    assert [row.attempts for row in left] == [0]
