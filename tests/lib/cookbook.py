"""Cookbook: the queries of docs/audit.md, the job it tells of, and a database in which each query finds something."""

import datetime
import re

from lib.program import ROOT

TEXT = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^(\d+)\. (.+?)\n\n```sql\n(.+?);\n```$", TEXT, re.DOTALL | re.MULTILINE)
ASKED = [number for number, _, _ in QUERIES]


def months():
    """The first days of the month before this and of this one, and conversations for each: the smaller half is old."""
    first = datetime.datetime.now(datetime.timezone.utc).date().replace(day=1)
    return [((first - datetime.timedelta(days=1)).replace(day=1), 100), (first, 400)]


def fill_cookbook(stack, database):
    def run(script, **values):
        variables = [word for pair in values.items() for word in ("-v", "{}={}".format(*pair))]
        stack.do("psql", "-X", "-q", "-d", database, "-o", "/dev/null", *variables, "-f", str(ROOT / "bench" / script))

    run("audit_base.sql", callers=20)
    first = 0
    for month, conversations in months():
        run("audit_seed.sql", month=month, conversations=conversations, first=first, seed=0.1)
        first += conversations
    run("audit_story.sql")


def nightly_job(stack, database):
    """As docs/audit.md has it."""
    (job,) = re.findall(r"^psql \"\$HANSARD_MIGRATE_URL\".*?<<'SQL'\n(.*?)^SQL$", TEXT, re.DOTALL | re.MULTILINE)
    path = f"{stack.folder}/nightly.sql"
    with open(path, "w", encoding="utf-8") as file:
        file.write(job)
    stack.do("psql", "-X", "-q", "-d", database, "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-c", "SELECT 1", "-f", path)
