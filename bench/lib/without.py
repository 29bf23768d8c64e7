"""Without: the service as it would be if it did less, to see what that costs. Only the benchmark's own database is changed,
for as long as a `with` lasts; the product has no switch for it.
"""

import contextlib

CHAIN = "p.pronamespace = 'hansard'::regnamespace AND p.proname IN ('text_hash', 'chain_hash')"
TIME_INDEXES = "i.oid IN ('hansard.turns_time'::regclass, 'hansard.messages_time'::regclass)"


@contextlib.contextmanager
def chain(stack):
    """No message is hashed, neither its words nor its place: both hashes are a constant."""
    real = stack.sql(f"SELECT pg_get_functiondef(p.oid) || ';' FROM pg_proc p WHERE {CHAIN}")
    stack.sql(
        stack.sql(
            "SELECT format('CREATE OR REPLACE FUNCTION %s(%s) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE RETURN %L::bytea;', "
            rf"p.oid::regproc, pg_get_function_arguments(p.oid), '\x' || repeat('00', 32)) FROM pg_proc p WHERE {CHAIN}"
        )
    )
    try:
        yield
    finally:
        stack.sql(real)


@contextlib.contextmanager
def time_indexes(stack):
    """No block range index on turns and messages."""
    real = stack.sql(f"SELECT replace(pg_get_indexdef(i.oid), ' ON ONLY ', ' ON ') || ';' FROM pg_class i WHERE {TIME_INDEXES}")
    stack.sql("DROP INDEX hansard.turns_time, hansard.messages_time")
    try:
        yield
    finally:
        stack.sql(real)
