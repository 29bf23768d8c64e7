"""Lengthen: conversations that are longer than anybody would talk in a test."""


def lengthen(stack, session, turns):
    """The session's conversation, which has one turn, gets answered ones up to so many; its id."""
    conversation = stack.value("SELECT conversation_id::text FROM hansard.sessions WHERE session_id = %s", session)
    stack.sql(
        "INSERT INTO hansard.turns (conversation_id, turn_no, state, idempotency_key, fingerprint, request_id, address,"
        " attempt, accepted_at, finished_at) SELECT conversation_id, n, state, 'k' || n, fingerprint, request_id, address,"
        " 1, accepted_at, finished_at FROM hansard.turns, generate_series(2, %s) n WHERE conversation_id = %s::uuid",
        *(turns, conversation),
    )
    stack.sql(
        "INSERT INTO hansard.messages SELECT conversation_id, n, position, role, text, created_at, salt, text_hash,"
        " chain_hash FROM hansard.messages, generate_series(2, %s) n WHERE conversation_id = %s::uuid",
        *(turns, conversation),
    )
    return conversation
