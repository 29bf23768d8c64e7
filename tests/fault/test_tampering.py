"""Tampering: whoever may write to every table changes one thing at a random place, and whatever else has to be changed for
it to fit. It is found each time, and the place is named.

Each change is made as superuser, looked at with hansard_audit.verify() and undone. Some are committed, for the program,
which has to say the same. Who changes seals as well is found by the program alone, with the lines that were kept of them;
what it can name then is the seal.
"""

import json
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
ROWS = (
    "SELECT turn_no, position::integer FROM hansard.messages WHERE conversation_id = %s "
    "ORDER BY created_at, turn_no, position"
)
SESSION_FITTED = """
    UPDATE hansard.sessions s
    SET chain_head = m.chain_hash, last_activity = m.created_at, next_turn = m.turn_no + 1
    FROM (SELECT * FROM hansard.messages WHERE conversation_id = %s
          ORDER BY created_at DESC, turn_no DESC, position DESC LIMIT 1) AS m
    WHERE s.conversation_id = m.conversation_id"""
ROW = " WHERE (conversation_id, turn_no, position) = (%s, %s, %s)"


class Tamperer:
    """One who may write everything. Each way gives the places of which one has to be named first."""

    def __init__(self, cursor, id, chance):
        self._do = cursor.execute
        self._fetch = cursor.fetchall
        self.id = id
        self.chance = chance
        cursor.execute(ROWS, [id])
        self.rows = [tuple(row) for row in cursor.fetchall()]
        self.number = chance.randrange(len(self.rows))
        self.row = self.rows[self.number]
        cursor.execute("SELECT messages FROM hansard.seal_heads WHERE conversation_id = %s ORDER BY 1", [id])
        self._sealed = [row[0] for row in cursor.fetchall()]

    def _do_row(self, statement, *values, row=None):
        self._do(statement + ROW, [*values, self.id, *(row or self.row)])

    def _after(self, number):
        """The row after; nowhere: it was the last, and only the session knows."""
        return self.rows[number + 1] if number + 1 < len(self.rows) else NOWHERE

    def _chain_anew(self, number=0):
        """All hashes from there on, and the session knows the last."""
        self._do(ROWS, [self.id])
        rows = [tuple(row) for row in self._fetch()]
        for row in rows[number:]:
            self._do(HASHED_ANEW, [self.id, *row])
        self._do(SESSION_FITTED, [self.id])
        return rows

    def _sealed_from(self, number, rows):
        """Where the first seal ends that holds this row: there it does not fit. Nowhere: there is no row any more."""
        messages = next(messages for messages in self._sealed if messages > number)
        return rows[messages - 1] if messages <= len(rows) else NOWHERE

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

    def words_and_the_rest_of_the_chain_and_the_session(self):
        self.words_and_hash()
        return [self._sealed_from(self.number, self._chain_anew(self.number))]

    def another_conversation_in_its_place(self):
        """Other words, times and owner, all hashed as they should be."""
        self.owner_with_his_key()
        self._do(
            "UPDATE hansard.sessions SET session_key = c.session_key, user_id = c.user_id FROM hansard.conversations c "
            "WHERE c.conversation_id = sessions.conversation_id AND c.conversation_id = %s",
            [self.id],
        )
        self._do(
            "UPDATE hansard.messages SET text = 'never said', text_hash = hansard.text_hash(salt, 'never said'), "
            "created_at = created_at - interval '1 us' WHERE conversation_id = %s",
            [self.id],
        )
        return [self._sealed_from(0, self._chain_anew())]

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

    def cut_tail_and_the_session(self):
        self.cut_tail()
        self._do(SESSION_FITTED, [self.id])
        return [NOWHERE]

    def cut_tail_of_a_conversation_that_is_over(self):
        self._do("DELETE FROM hansard.sessions WHERE conversation_id = %s", [self.id])
        return self.cut_tail()

    def turn_taken_out_and_the_rest_moved_up(self):
        turn = self.chance.randrange(1, TURNS)
        self._cut_turns([turn])
        number = next(n for n, row in enumerate(self.rows) if row[0] == turn)
        up = "SET turn_no = turn_no - 1 WHERE conversation_id = %s AND turn_no = %s"
        for table in ("messages", "turns"):
            for later in range(turn + 1, TURNS + 1):
                self._do(f"UPDATE hansard.{table} {up}", [self.id, later])
        return [self._sealed_from(number, self._chain_anew())]

    def everything_of_a_conversation(self):
        for table in ("messages", "turns", "conversations", "sessions"):
            self._do(f"DELETE FROM hansard.{table} WHERE conversation_id = %s", [self.id])
        return [NOWHERE]

    def inserted_answer_and_the_rest_of_the_chain(self):
        """To a question that has none."""
        number = next(n for n, row in enumerate(self.rows) if (row[0], 2) not in self.rows)
        turn = self.rows[number][0]
        self._insert_after(self.rows[number], turn, 2)
        return [self._sealed_from(number + 1, self._chain_anew())]

    def inserted_turns_in_sealed_time(self):
        """Behind all that was said, but before the last seal; all fits, the session included."""
        before = self.rows[-1]
        turn, position = TURNS + 1, 1
        for _ in range(self.chance.randint(1, 4)):
            self._insert_after(before, turn, position)
            before = (turn, position)
            turn, position = (turn, 2) if position == 1 else (turn + 1, 1)
        self._add_turns(before[0])
        self._chain_anew(len(self.rows))
        return [(TURNS + 1, 1)]

    def inserted_conversation_in_sealed_time(self):
        """All as it should be, at the time of another one."""
        model, turns = self.id, self.chance.randint(1, TURNS)
        self._do("SELECT hansard.uuid_v7(clock_timestamp())::text")
        ((self.id,),) = self._fetch()
        for table in ("messages", "turns", "conversations", "sessions"):
            self._do(
                f"INSERT INTO hansard.{table} SELECT (jsonb_populate_record(t, jsonb_build_object('conversation_id', %s, "
                f"'session_id', 'x', 'session_key', hansard.session_key(NULL, 'x')))).* FROM hansard.{table} t "
                "WHERE conversation_id = %s",
                [self.id, model],
            )
        self._cut_turns(list(range(turns + 1, TURNS + 1)))
        self._chain_anew()
        return [(1, 1)]

    def _insert_after(self, row, turn, position):
        self._do_row(
            "INSERT INTO hansard.messages SELECT conversation_id, %s, %s, "
            "CASE %s WHEN 1 THEN 'user' ELSE 'assistant' END::hansard.message_role, 'never said', "
            "created_at + interval '1 us', salt, hansard.text_hash(salt, 'never said'), '' FROM hansard.messages",
            turn,
            position,
            position,
            row=row,
        )

    def _add_turns(self, last):
        for turn in range(TURNS + 1, last + 1):
            self._do(
                "INSERT INTO hansard.turns SELECT (jsonb_populate_record(t, jsonb_build_object("
                "'turn_no', %s, 'state', 'failed', 'idempotency_key', 'x' || %s))).* "
                "FROM hansard.turns t WHERE conversation_id = %s AND turn_no = 1",
                [turn, turn, self.id],
            )

    def inserted_row(self):
        """One more answer after a question that has none, or one more turn, hashed as it should be."""
        turn, position = self.row
        if (turn, 2) in self.rows:
            turn, position = TURNS + 1, 1
        else:
            position = 2
        before = self.rows[-1] if turn > TURNS else self.row
        self._insert_after(before, turn, position)
        self._do(HASHED_ANEW, [self.id, turn, position])
        if turn > TURNS and self.chance.random() < 0.5:
            self._add_turns(turn)
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
def evidence(common_stack, tmp_path_factory):
    """With a record that is sealed, many conversations in more than one seal; the lines of the seals; statements that put
    all back."""
    database = Evidence(common_stack)
    ids = database.fill(CONVERSATIONS, TURNS, every="5 ms")
    seals = database.seal_all(most=60)
    assert len(seals) > 3
    database.sql("CREATE SCHEMA kept")
    for table in TABLES:
        database.sql(f"CREATE TABLE kept.{table} AS TABLE hansard.{table}")
    restore = [f"TRUNCATE {', '.join('hansard.' + table for table in TABLES)}"]
    restore += [f"INSERT INTO hansard.{table} SELECT * FROM kept.{table}" for table in TABLES]
    database.record = ids, restore
    database.lines = tmp_path_factory.mktemp("seals") / "seals.log"
    logged = [json.dumps({"event": "sealed", **seal}, separators=(",", ":")) + "\n" for seal in seals]
    database.lines.write_text("".join(logged))
    done = database.verify("--seals", database.lines)
    assert done.returncode == 0, done
    yield database
    database.drop()


def line_of(id, found):
    """As the program prints it."""
    places = (("turn", found.turn_no), ("position", found.position))
    return f"conversation {id}" + "".join(f" {name} {n}" for name, n in places if n is not None) + f": {found.problem}"


def test_each_change_is_found_and_its_place_named(evidence, seed, tell):
    chance = random.Random(f"{seed} tampering")
    ids, restore = evidence.record
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
                id = tamperer.id
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


class Forger:
    """One who changes words, all that has to fit them, and seals. Each way gives the lines of which one has to be among those
    of the program, which knows the seals as they were logged."""

    def __init__(self, cursor, id, chance, count):
        self._do = cursor.execute
        self._fetch = cursor.fetchall
        self.id = id
        self.count = count  # of seals
        self._tamperer = Tamperer(cursor, id, chance)
        self._tamperer.words_and_the_rest_of_the_chain_and_the_session()
        self._do(
            "SELECT seal_no FROM hansard.seal_heads WHERE conversation_id = %s AND messages > %s ORDER BY 1",
            [id, self._tamperer.number],
        )
        self._seals = [row[0] for row in self._fetch()]  # that hold what was changed

    def _fit_heads(self):
        self._do(
            "UPDATE hansard.seal_heads h SET head = m.chain_hash FROM (SELECT conversation_id, chain_hash, "
            "row_number() OVER (ORDER BY created_at, turn_no, position) AS n "
            "FROM hansard.messages WHERE conversation_id = %s) AS m "
            "WHERE h.conversation_id = m.conversation_id AND h.messages = m.n",
            [self.id],
        )

    def _fit_seals(self):
        for seal in range(1, self.count + 1):
            self._do(
                "UPDATE hansard.seals s SET root = n.root, previous = n.previous, hash = hansard.seal_hash(s.seal_no, "
                "s.sealed_at, s.from_at, s.to_at, s.heads, n.root, n.previous) "
                "FROM (SELECT hansard.seal_root(%s) AS root, coalesce((SELECT hash FROM hansard.seals WHERE seal_no = %s - 1), "
                "decode(repeat('00', 32), 'hex')) AS previous) AS n WHERE s.seal_no = %s",
                [seal, seal, seal],
            )

    def nothing(self):
        return [f"not what seal {self._seals[0]} holds"]

    def heads(self):
        self._fit_heads()
        return [f"seal {self._seals[0]}: heads changed"]

    def heads_and_seals(self):
        self._fit_heads()
        self._fit_seals()
        return [f"seal {self._seals[0]}: not the seal that the file holds"]

    def last_seals_cut(self):
        for table in ("seals", "seal_heads"):
            self._do(f"DELETE FROM hansard.{table} WHERE seal_no >= %s", [self._seals[0]])
        return [f"seal {self._seals[0]}: missing, though the file holds it"]

    def last_seals_made_anew(self):
        self.last_seals_cut()
        self._do("SELECT hansard_api.seal(0, 60000, 20000)")
        return [f"seal {self._seals[0]}: not the seal that the file holds"]

    def all_seals_cut(self):
        self._do("TRUNCATE hansard.seals, hansard.seal_heads")
        return [f"seal {seal}: missing, though the file holds it" for seal in range(1, self.count + 1)]


FORGERIES = [name for name in vars(Forger) if not name.startswith("_")]


def test_who_changes_seals_as_well_is_found_by_those_that_were_kept(evidence, seed, tell):
    chance = random.Random(f"{seed} forging")
    ids, restore = evidence.record
    count = len(evidence.lines.read_text().splitlines())
    rounds = max(len(FORGERIES), TAMPERINGS // 10)
    connection = evidence.connect()
    connection.autocommit = False
    try:
        with connection.cursor() as cursor:
            for number in range(rounds):
                way = FORGERIES[number % len(FORGERIES)]
                forger = Forger(cursor, chance.choice(ids), chance, count)
                lines = getattr(forger, way)()
                connection.commit()
                done = evidence.verify("--seals", evidence.lines)
                what = f"seed {seed}, number {number}, {way} of {forger.id}: {done}, but not {lines}"
                assert done.returncode == 1, what
                assert any(line in done.stdout for line in lines), what
                for statement in restore:
                    cursor.execute(statement)
                connection.commit()
    finally:
        connection.close()
    assert evidence.verify("--seals", evidence.lines).returncode == 0, "it was not put back"
    tell(f"{rounds} forgeries found in {len(FORGERIES)} ways (seed {seed})")
