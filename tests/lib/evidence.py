"""Evidence: a record of its own to tamper with, and the program that an auditor has."""

import json
import re
import secrets

from lib.fill import fill
from lib.program import hansard

# A message's chain hash after a change to it, or to the one before: conversation, turn, position.
HASHED_ANEW = """
    UPDATE hansard.messages m
    SET chain_hash = hansard.chain_hash(
        coalesce((SELECT b.chain_hash FROM hansard.messages b WHERE b.conversation_id = m.conversation_id
                  AND (b.created_at, b.turn_no, b.position) < (m.created_at, m.turn_no, m.position)
                  ORDER BY b.created_at DESC, b.turn_no DESC, b.position DESC LIMIT 1),
                 (SELECT hansard.chain_start(c.conversation_id, c.session_key, c.created_at) FROM hansard.conversations c
                  WHERE c.conversation_id = m.conversation_id)),
        m.conversation_id, m.turn_no, m.position, m.role::text, m.created_at, m.text_hash)
    WHERE (m.conversation_id, m.turn_no, m.position) = (%s, %s, %s)"""


class Evidence:
    """A database of its own in the stack's cluster, and the program as an auditor of it."""

    def __init__(self, stack):
        self.name = f"evidence_{secrets.token_hex(6)}"
        self._stack = stack
        stack.sql(f"CREATE DATABASE {self.name}")
        assert hansard("migrate", migrate_url=self.migrate_url).returncode == 0
        password = secrets.token_hex(8)
        stack.sql(f"ALTER ROLE hansard_auditor PASSWORD '{password}'")
        self.url = re.sub("//.*@", f"//hansard_auditor:{password}@", self.migrate_url)

    @property
    def migrate_url(self):
        return self._stack.migrate_url(self.name)

    @property
    def worker_url(self):
        told = self._stack.environment
        url = told["HANSARD_DATABASE_URL"].replace(f":{told['POOLER_PORT']}/", f":{told['PGPORT']}/")
        return re.sub(r"/hansard$", f"/{self.name}", url)

    def drop(self):
        self._stack.sql(f"DROP DATABASE {self.name} WITH (FORCE)")

    def connect(self):
        return self._stack.connect(self.name)

    def sql(self, query, *values):
        return self._stack.sql(query, *values, database=self.name)

    def value(self, query, *values):
        return self._stack.value(query, *values, database=self.name)

    def fill(self, *size, **how):
        connection = self.connect()
        try:
            return fill(connection, *size, **how, prefix=secrets.token_hex(4))
        finally:
            connection.close()

    def verify(self, *options, **settings):
        return hansard("audit", "verify", *options, **{"audit_url": self.url, **settings})

    def seal(self, settled_ms=60000, most=20000):
        """What a worker would log; None: there is nothing to seal."""
        made = self.value("SELECT hansard_api.seal(0, %s, %s)", settled_ms, most)
        return made and json.loads(made)

    def seal_all(self, most):
        return list(iter(lambda: self.seal(most=most), None))
