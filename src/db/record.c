#include "db/record.h"

#include <stdlib.h>
#include <string.h>

#include "db/direct.h"

static const char has_tables_sql[] = "SELECT to_regclass('hansard.schema_migrations') IS NOT NULL"
                                     " AND to_regclass('hansard.schema_functions') IS NOT NULL";

static const char make_tables_sql[] =
    "CREATE SCHEMA IF NOT EXISTS hansard;"
    "CREATE TABLE IF NOT EXISTS hansard.schema_migrations ("
    " version integer PRIMARY KEY CHECK (version > 0),"
    " name text NOT NULL,"
    " checksum text NOT NULL,"
    " applied_at timestamptz NOT NULL);"
    "COMMENT ON TABLE hansard.schema_migrations IS 'Migrations applied to this database.';"
    "COMMENT ON COLUMN hansard.schema_migrations.version IS 'Number the file begins with.';"
    "COMMENT ON COLUMN hansard.schema_migrations.name IS 'File, without .sql.';"
    "COMMENT ON COLUMN hansard.schema_migrations.checksum IS"
    " 'SHA-256 of its text: an applied file must not change.';"
    "COMMENT ON COLUMN hansard.schema_migrations.applied_at IS 'When it was applied.';"
    "CREATE TABLE IF NOT EXISTS hansard.schema_functions ("
    " name text PRIMARY KEY,"
    " checksum text NOT NULL,"
    " applied_at timestamptz NOT NULL);"
    "COMMENT ON TABLE hansard.schema_functions IS 'Files of functions applied to this database.';"
    "COMMENT ON COLUMN hansard.schema_functions.name IS 'File, without .sql.';"
    "COMMENT ON COLUMN hansard.schema_functions.checksum IS"
    " 'SHA-256 of its text: when one differs, all are applied again.';"
    "COMMENT ON COLUMN hansard.schema_functions.applied_at IS 'When it was last applied.'";

static bool has_tables(PGconn *pg, bool *has, struct err *e)
{
    PGresult *result = direct_ask(pg, has_tables_sql, e);
    if (!result)
        return false;
    *has = strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    PQclear(result);
    return true;
}

bool record_make_tables(PGconn *pg, struct err *e)
{
    bool has;
    if (!has_tables(pg, &has, e))
        return false;
    return has || direct_do(pg, make_tables_sql, e);
}

bool record_read(PGconn *pg, struct record *r, struct err *e)
{
    bool has;
    *r = (struct record){.migrations = NULL};
    if (!has_tables(pg, &has, e))
        return false;
    if (!has)
        return true;
    r->migrations = direct_ask(
        pg, "SELECT version, name, checksum FROM hansard.schema_migrations ORDER BY version", e);
    if (!r->migrations)
        return false;
    r->functions = direct_ask(pg, "SELECT name, checksum FROM hansard.schema_functions", e);
    if (!r->functions)
        record_free(r);
    return r->functions != NULL;
}

void record_free(struct record *r)
{
    PQclear(r->migrations);
    PQclear(r->functions);
    *r = (struct record){.migrations = NULL};
}

int record_version(const struct embedded_sql *migration)
{
    return (int)strtol(migration->name, NULL, 10);
}

void record_checksum(const struct embedded_sql *sql, char out[CHECKSUM_TEXT_BYTES])
{
    struct hash hash = hash_sha256(sql->text, sql->len);
    hash_hex(&hash, out);
}

static int row_count(const PGresult *rows)
{
    return rows ? PQntuples(rows) : 0;
}

static int version_at(const struct record *r, int row)
{
    return (int)strtol(PQgetvalue(r->migrations, row, 0), NULL, 10);
}

static enum record_state compare(const struct embedded_sql *sql, const char *recorded)
{
    char checksum[CHECKSUM_TEXT_BYTES];
    record_checksum(sql, checksum);
    return strcmp(checksum, recorded) == 0 ? RECORD_CURRENT : RECORD_CHANGED;
}

enum record_state record_of_migration(const struct record *r, const struct embedded_sql *migration)
{
    for (int row = 0; row < row_count(r->migrations); row++)
        if (version_at(r, row) == record_version(migration))
            return compare(migration, PQgetvalue(r->migrations, row, 2));
    return RECORD_PENDING;
}

enum record_state record_of_function(const struct record *r, const struct embedded_sql *function)
{
    for (int row = 0; row < row_count(r->functions); row++)
        if (strcmp(PQgetvalue(r->functions, row, 0), function->name) == 0)
            return compare(function, PQgetvalue(r->functions, row, 1));
    return RECORD_PENDING;
}

int record_newest(const struct record *r)
{
    int rows = row_count(r->migrations);
    return rows > 0 ? version_at(r, rows - 1) : 0;
}

static bool is_carried(int version)
{
    for (size_t i = 0; i < embedded_migrations_count; i++)
        if (record_version(&embedded_migrations[i]) == version)
            return true;
    return false;
}

int record_unknown_row(const struct record *r)
{
    for (int row = 0; row < row_count(r->migrations); row++)
        if (!is_carried(version_at(r, row)))
            return row;
    return -1;
}

bool record_check(const struct record *r, struct err *e)
{
    int unknown = record_unknown_row(r);
    if (unknown >= 0)
        return err_set(e, ERR_INTERNAL,
                       "the database has migration %s, which this release does not know;"
                       " use the release that made it, or a newer one",
                       PQgetvalue(r->migrations, unknown, 1));
    for (size_t i = 0; i < embedded_migrations_count; i++) {
        const struct embedded_sql *m = &embedded_migrations[i];
        enum record_state state = record_of_migration(r, m);
        if (state == RECORD_CHANGED)
            return err_set(e, ERR_INTERNAL,
                           "%s was applied with another text; an applied migration must not change",
                           m->name);
        if (state == RECORD_PENDING && record_version(m) < record_newest(r))
            return err_set(e, ERR_INTERNAL, "%s was not applied, but a later one was", m->name);
    }
    return true;
}
