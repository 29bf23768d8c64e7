#include "db/migrate.h"

#include <string.h>

#include "db/direct.h"
#include "db/record.h"

/* Waits its turn for as long as another run takes; then no lock of a live system for ever. The key
 * spells "hansard". An empty search path: what a file does not qualify must not land anywhere. */
static const char begin_sql[] = "BEGIN ISOLATION LEVEL READ COMMITTED;"
                                "SET LOCAL statement_timeout = 0;"
                                "SET LOCAL lock_timeout = 0;"
                                "SELECT pg_advisory_xact_lock(29380524587971172);"
                                "SET LOCAL lock_timeout = '30s';"
                                "SET LOCAL search_path = pg_catalog, pg_temp";

static const char insert_migration_sql[] =
    "INSERT INTO hansard.schema_migrations (version, name, checksum, applied_at)"
    " VALUES ($1::int, $2, $3, clock_timestamp())";
static const char insert_function_sql[] =
    "INSERT INTO hansard.schema_functions (name, checksum, applied_at)"
    " VALUES ($1, $2, clock_timestamp())";

int migrate_wanted_version(void)
{
    return embedded_migrations_count
               ? record_version(&embedded_migrations[embedded_migrations_count - 1])
               : 0;
}

static bool is_whole(const struct migrate_options *o)
{
    return o->to_version == 0 || o->to_version == migrate_wanted_version();
}

/* The first that is not applied; NULL: none up to the version asked for. */
static const struct embedded_sql *next_pending(const struct record *r,
                                               const struct migrate_options *o)
{
    for (size_t i = 0; i < embedded_migrations_count; i++) {
        const struct embedded_sql *m = &embedded_migrations[i];
        if (o->to_version > 0 && record_version(m) > o->to_version)
            return NULL;
        if (record_of_migration(r, m) == RECORD_PENDING)
            return m;
    }
    return NULL;
}

static size_t functions_to_apply(const struct record *r, const struct migrate_options *o)
{
    for (size_t i = 0; is_whole(o) && i < embedded_functions_count; i++)
        if (record_of_function(r, &embedded_functions[i]) != RECORD_CURRENT)
            return embedded_functions_count;
    return 0;
}

/* ---- applying -------------------------------------------------------------------------------- */

/* Runs a file within the transaction that has begun; an error names it. */
static bool run_file(PGconn *pg, const struct embedded_sql *sql, struct err *e)
{
    struct err cause = {.kind = ERR_NONE};
    if (!direct_do(pg, sql->text, &cause))
        return err_set(e, cause.kind, "%s: %s", sql->name, cause.detail);
    if (PQtransactionStatus(pg) != PQTRANS_INTRANS)
        return err_set(e, ERR_INTERNAL, "%s: it ended its transaction", sql->name);
    /* Whatever it set for itself: the bookkeeping is ours to write. */
    return direct_do(pg, "RESET ROLE; SET LOCAL search_path = pg_catalog, pg_temp", e);
}

static bool note(PGconn *pg, const char *statement, const char *const *params, size_t count,
                 struct err *e)
{
    PGresult *result = direct_ask_with(pg, statement, params, count, e);
    PQclear(result);
    return result != NULL;
}

static bool apply_migration(PGconn *pg, const struct embedded_sql *m, struct err *e)
{
    char version[16], checksum[CHECKSUM_TEXT_BYTES];
    snprintf(version, sizeof version, "%d", record_version(m));
    record_checksum(m, checksum);
    const char *const params[] = {version, m->name, checksum};
    return run_file(pg, m, e) && note(pg, insert_migration_sql, params, COUNT_OF(params), e);
}

static bool apply_functions(PGconn *pg, struct err *e)
{
    if (!direct_do(pg, "DELETE FROM hansard.schema_functions", e))
        return false;
    for (size_t i = 0; i < embedded_functions_count; i++) {
        const struct embedded_sql *f = &embedded_functions[i];
        char checksum[CHECKSUM_TEXT_BYTES];
        record_checksum(f, checksum);
        const char *const params[] = {f->name, checksum};
        if (!run_file(pg, f, e) || !note(pg, insert_function_sql, params, COUNT_OF(params), e))
            return false;
    }
    return true;
}

/* One transaction: the next migration, or all functions when no migration is left. */
static bool take_step(PGconn *pg, const struct migrate_options *o, bool *is_last, struct err *e)
{
    struct record r = {.migrations = NULL};
    bool ok = false;
    if (!direct_do(pg, begin_sql, e) || !record_make_tables(pg, e) || !record_read(pg, &r, e) ||
        !record_check(&r, e))
        goto out;
    const struct embedded_sql *next = next_pending(&r, o);
    size_t functions = next ? 0 : functions_to_apply(&r, o);
    *is_last = !next;
    if ((next && !apply_migration(pg, next, e)) || (functions && !apply_functions(pg, e)) ||
        !direct_do(pg, "COMMIT", e))
        goto out;
    if (next)
        fprintf(o->out, "applied %s\n", next->name);
    if (functions)
        fprintf(o->out, "functions: %zu re-applied\n", functions);
    if (!next && record_newest(&r) < migrate_wanted_version())
        fprintf(o->out, "at version %d of %d\n", record_newest(&r), migrate_wanted_version());
    else if (!next)
        fprintf(o->out, "up to date (version %d)\n", record_newest(&r));
    fflush(o->out); /* a later step may fail: what was done stays said */
    ok = true;
out:
    record_free(&r);
    return ok;
}

/* ---- looking --------------------------------------------------------------------------------- */

static void print_status(const struct record *r, FILE *out)
{
    static const char *const migration_words[] = {"pending", "applied", "changed"};
    static const char *const function_words[] = {"pending", "current", "changed"};
    for (size_t i = 0; i < embedded_migrations_count; i++)
        fprintf(out, "migration %-30s %s\n", embedded_migrations[i].name,
                migration_words[record_of_migration(r, &embedded_migrations[i])]);
    int unknown = record_unknown_row(r);
    if (unknown >= 0)
        fprintf(out, "migration %-30s not known to this release\n",
                PQgetvalue(r->migrations, unknown, 1));
    for (size_t i = 0; i < embedded_functions_count; i++)
        fprintf(out, "functions %-30s %s\n", embedded_functions[i].name,
                function_words[record_of_function(r, &embedded_functions[i])]);
    fprintf(out, "version %d of %d\n", record_newest(r), migrate_wanted_version());
}

static void print_plan(const struct record *r, const struct migrate_options *o)
{
    size_t count = 0;
    for (size_t i = 0; i < embedded_migrations_count; i++) {
        const struct embedded_sql *m = &embedded_migrations[i];
        bool is_asked = o->to_version == 0 || record_version(m) <= o->to_version;
        if (!is_asked || record_of_migration(r, m) != RECORD_PENDING)
            continue;
        fprintf(o->out, "would apply %s\n", m->name);
        count++;
    }
    size_t functions = functions_to_apply(r, o);
    if (functions)
        fprintf(o->out, "functions: %zu would be re-applied\n", functions);
    if (count + functions == 0)
        fprintf(o->out, "up to date (version %d)\n", record_newest(r));
}

static bool look(PGconn *pg, const struct migrate_options *o, struct err *e)
{
    struct record r = {.migrations = NULL};
    bool ok = direct_do(pg, "BEGIN READ ONLY", e) && record_read(pg, &r, e);
    if (ok && o->mode == MIGRATE_STATUS)
        print_status(&r, o->out);
    else if (ok && (ok = record_check(&r, e)))
        print_plan(&r, o);
    record_free(&r);
    return ok;
}

static bool is_carried_version(int version)
{
    for (size_t i = 0; i < embedded_migrations_count; i++)
        if (record_version(&embedded_migrations[i]) == version)
            return true;
    return false;
}

bool migrate_run(const struct migrate_options *o, struct err *e)
{
    if (o->to_version != 0 && !is_carried_version(o->to_version))
        return err_set(e, ERR_BAD_FIELD, "there is no migration %d; the newest is %d",
                       o->to_version, migrate_wanted_version());
    PGconn *pg = direct_open(o->url, e);
    if (!pg)
        return false;
    bool ok = true, is_last = false;
    if (o->mode != MIGRATE_APPLY)
        ok = look(pg, o, e);
    else
        while (ok && !is_last)
            ok = take_step(pg, o, &is_last, e);
    PQfinish(pg); /* rolls back what was not committed */
    return ok;
}
