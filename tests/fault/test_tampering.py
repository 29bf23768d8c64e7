"""Tampering: whoever may write to every table changes one thing at a random place. It is found each time, and the place is
named.

Each change is made as superuser, looked at with hansard_audit.verify() and undone. Some are committed, for the program,
which has to say the same.
"""

import os
import random

import pytest
from psycopg2.extras import NamedTupleCursor

from lib.evidence import HASHED_ANEW, Evidence

TAMPERINGS = int(os.environ.get("TAMPERINGS", "100"))
FOR_THE_PROGRAM = 7  # every so many, in all ways as it goes on
CONVERSATIONS = 30
TURNS = 8
TABLES = ("sessions", "conversations", "turns", "messages", "seals", "seal_heads")
NOWHERE = (None, None)
ROW = " WHERE (conversation_id, turn_no, position) = (%s, %s, %s)"


class Tamperer:
    """One who may write everything. Each way gives the places of which one has to be named first."""

    def __init__(self, cursor, id, chance):
        self._do = cursor.execute
        self.id = id
        self.chance = chance
        cursor.execute(
            "SELECT turn_no, position::integer FROM hansard.messages WHERE conversation_id = %s "
            "ORDER BY created_at, turn_no, position",
            [id],
        )
        self.rows = [tuple(row) for row in cursor.fetchall()]
        self.number = chance.randrange(len(self.rows))
        self.row = self.rows[self.number]

    def _do_row(self, statement, *values, row=None):
        self._do(statement + ROW, [*values, self.id, *(row or self.row)])

    def _after(self, number):
        """The row after; nowhere: it was the last, and only the session knows."""
        return self.rows[number + 1] if number + 1 < len(self.rows) else NOWHERE

    def words(self):
        self._do_row("UPDATE hansard.messages SET text = overlay(text PLACING '*' FROM %s)", self.chance.randint(1, 30))
        return [self.row]

    def words_and_hash(self):
        self._do_row("UPDATE hansard.messages SET text = 'never said', text_hash = hansard.text_hash(salt, 'never said')")
        return [self.row]

    def words_and_both_hashes(self):
        self.words_and_hash()
        self._do(HASHED_ANEW, [self.id, *self.row])
        return [self._after(self.number)]

    def words_and_the_rest_of_the_chain(self):
        self.words_and_hash()
        for row in self.rows[self.number :]:
            self._do(HASHED_ANEW, [self.id, *row])
        return [NOWHERE]

    def words_taken_away(self):
        self._do_row("UPDATE hansard.messages SET text = NULL, salt = NULL")
        return [self.row]

    def words_left_in_a_blanked_turn(self):
        turn = self.row[0]
        self._do("UPDATE hansard.turns SET fingerprint = '' WHERE conversation_id = %s AND turn_no = %s", [self.id, turn])
        return [(turn, 1)]

    def salt(self):
        self._do_row("UPDATE hansard.messages SET salt = uuid_send(gen_random_uuid())")
        return [self.row]

    def role(self):
        other = "CASE role WHEN 'user' THEN 'assistant' ELSE 'user' END::hansard.message_role"
        self._do_row(f"UPDATE hansard.messages SET role = {other}")
        return [self.row]

    def time(self):
        span = self.chance.choice([-1, 1]) * 10 ** self.chance.randrange(12)
        self._do_row("UPDATE hansard.messages SET created_at = created_at + %s * interval '1 us'", span)
        return [self.row, self._after(self.number), self.rows[0]]  # it may come before or after others now

    def owner(self):
        self._do("UPDATE hansard.conversations SET user_id = gen_random_uuid() WHERE conversation_id = %s", [self.id])
        return [NOWHERE]

    def owner_with_his_key(self):
        self._do(
            "UPDATE hansard.conversations SET user_id = conversation_id, "
            "session_key = hansard.session_key(conversation_id, session_id) WHERE conversation_id = %s",
            [self.id],
        )
        return [self.rows[0]]

    def beginning(self):
        earlier = "UPDATE hansard.conversations SET created_at = created_at - interval '1 us' WHERE conversation_id = %s"
        self._do(earlier, [self.id])
        return [self.rows[0]]

    def deleted_row(self):
        self._do_row("DELETE FROM hansard.messages")
        return [self.row]

    def deleted_turn(self):
        turn = self.row[0]
        self._cut_turns([turn])
        return [NOWHERE] if turn == TURNS else [(turn, None)]

    def _cut_turns(self, turns):
        for table in ("messages", "turns"):
            self._do(f"DELETE FROM hansard.{table} WHERE conversation_id = %s AND turn_no = ANY (%s)", [self.id, turns])

    def cut_tail(self):
        self._cut_turns(list(range(self.chance.randint(2, TURNS), TURNS + 1)))
        return [NOWHERE]

    def cut_tail_of_a_conversation_that_is_over(self):
        self._do("DELETE FROM hansard.sessions WHERE conversation_id = %s", [self.id])
        return self.cut_tail()

    def inserted_row(self):
        """One more answer after a question that has none, or one more turn, hashed as it should be."""
        turn, position = self.row
        if (turn, 2) in self.rows:
            turn, position = TURNS + 1, 1
        else:
            position = 2
        before = self.rows[-1] if turn > TURNS else self.row
        self._do_row(
            "INSERT INTO hansard.messages SELECT conversation_id, %s, %s, "
            "CASE %s WHEN 1 THEN 'user' ELSE 'assistant' END::hansard.message_role, 'never said', "
            "created_at + interval '1 us', salt, hansard.text_hash(salt, 'never said'), '' FROM hansard.messages",
            turn,
            position,
            position,
            row=before,
        )
        self._do(HASHED_ANEW, [self.id, turn, position])
        if turn > TURNS and self.chance.random() < 0.5:
            self._do(
                "INSERT INTO hansard.turns SELECT (jsonb_populate_record(t, jsonb_build_object("
                "'turn_no', %s, 'state', 'failed', 'idempotency_key', 'x'))).* "
                "FROM hansard.turns t WHERE conversation_id = %s AND turn_no = 1",
                [turn, self.id],
            )
            return [NOWHERE]
        return [(turn, position) if turn > TURNS else self._after(self.number)]

    def swapped_words(self):
        first, second = sorted(self.chance.sample(range(len(self.rows)), 2))
        self._swap("text, salt, text_hash", first, second)
        return [self.rows[first]]

    def swapped_rows(self):
        first, second = sorted(self.chance.sample(range(len(self.rows)), 2))
        self._swap("text, salt, text_hash, chain_hash, created_at", first, second)
        return [self.rows[first], self.rows[second]]

    def _swap(self, columns, first, second):
        one, other = self.rows[first], self.rows[second]
        self._do(
            f"UPDATE hansard.messages m SET ({columns}) = (SELECT {columns} FROM hansard.messages o "
            "WHERE o.conversation_id = m.conversation_id AND (o.turn_no, o.position) IN ((%s, %s), (%s, %s)) "
            "AND (o.turn_no, o.position) <> (m.turn_no, m.position)) "
            "WHERE m.conversation_id = %s AND (m.turn_no, m.position) IN ((%s, %s), (%s, %s))",
            [*one, *other, self.id, *one, *other],
        )


WAYS = [name for name in vars(Tamperer) if not name.startswith("_")]


@pytest.fixture(scope="module")
def evidence(common_stack):
    database = Evidence(common_stack)
    yield database
    database.drop()


def line_of(id, found):
    """As the program prints it."""
    places = (("turn", found.turn_no), ("position", found.position))
    return f"conversation {id}" + "".join(f" {name} {n}" for name, n in places if n is not None) + f": {found.problem}"


def test_each_change_is_found_and_its_place_named(evidence, seed, tell):
    chance = random.Random(f"{seed} tampering")
    ids = evidence.fill(CONVERSATIONS, TURNS)
    evidence.seal()
    evidence.sql("CREATE SCHEMA kept")
    for table in TABLES:
        evidence.sql(f"CREATE TABLE kept.{table} AS TABLE hansard.{table}")
    assert evidence.verify().returncode == 0
    restore = [f"TRUNCATE {', '.join('hansard.' + table for table in TABLES)}"]
    restore += [f"INSERT INTO hansard.{table} SELECT * FROM kept.{table}" for table in TABLES]

    connection = evidence.connect()
    connection.autocommit = False
    told = 0
    try:
        with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
            for number in range(TAMPERINGS):
                way = WAYS[number % len(WAYS)]
                id = chance.choice(ids)
                tamperer = Tamperer(cursor, id, chance)
                places = getattr(tamperer, way)()
                cursor.execute("SELECT * FROM hansard_audit.verify(%s)", [id])
                found = cursor.fetchall()[0]
                what = f"seed {seed}, number {number}, {way} at {tamperer.row} of {id}: {found}"
                assert found.status == "broken", what
                assert (found.turn_no, found.position) in places, f"{what}, not one of {places}"
                if number % FOR_THE_PROGRAM:
                    connection.rollback()
                    continue
                connection.commit()
                done = evidence.verify("--conversation", id)
                assert (done.returncode, done.stdout.splitlines()[0]) == (1, line_of(id, found)), what
                for statement in restore:
                    cursor.execute(statement)
                connection.commit()
                told += 1
    finally:
        connection.close()
    assert evidence.verify().returncode == 0, "it was not put back"
    tell(f"{TAMPERINGS} changes found in {len(WAYS)} ways, {told} of them by the program (seed {seed})")
