#include "db/scrub.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/ids.h"
#include "db/direct.h"

#define STATEMENT_BYTES 200
/* Behind a lock that is not to be had, turns wait in line: for this long, then they go on while we pause. */
#define LOCK_MS "50"
#define PAUSE_MS 250
#define PATIENCE_MS 120000

static void pause_a_little(void)
{
    long ms = PAUSE_MS + (long)random_below(PAUSE_MS);
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Retention drops months meanwhile: their files go, too. */
static bool is_gone(PGconn *pg, const char *table)
{
    struct err e = {.kind = ERR_NONE};
    const char *const params[] = {table};
    PGresult *result =
        direct_ask_with(pg, "SELECT to_regclass($1::text) IS NULL", params, COUNT_OF(params), &e);
    bool answer = result && strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    PQclear(result);
    return answer;
}

/* The server quotes the name. What became of the table, in a word; NULL: e says why nothing did. */
static const char *rewrite(PGconn *pg, const char *table, struct err *e)
{
    char statement[STATEMENT_BYTES];
    int len = snprintf(statement, sizeof statement, "VACUUM (FULL) %s", table);
    if (len < 0 || len >= STATEMENT_BYTES) {
        err_set(e, ERR_INTERNAL, "the name of a table is too long");
        return NULL;
    }
    for (int64_t until_ms = clock_mono_ms() + PATIENCE_MS;;) {
        struct err tried = {.kind = ERR_NONE};
        if (direct_do(pg, statement, &tried))
            return "rewritten";
        if (is_gone(pg, table))
            return "dropped";
        if (tried.kind != ERR_BUSY) {
            err_set(e, tried.kind, "%s: %s", table, tried.detail);
            return NULL;
        }
        if (clock_mono_ms() > until_ms) {
            err_set(e, ERR_BUSY, "%s is in use all the time; look for long transactions", table);
            return NULL;
        }
        pause_a_little();
    }
}

static bool note(PGconn *pg, const char *month, const char *since, struct err *e)
{
    const char *const params[] = {month, since};
    PGresult *result = direct_ask_with(pg, "SELECT hansard_admin.note_scrub($1::text, $2::text)",
                                       params, COUNT_OF(params), e);
    PQclear(result);
    return result != NULL;
}

static bool rewrite_all(PGconn *pg, const PGresult *tables, FILE *out, struct err *e)
{
    int count = PQntuples(tables);
    for (int row = 0; row < count; row++) {
        const char *month = PQgetvalue(tables, row, 0);
        bool is_last = row + 1 == count || strcmp(month, PQgetvalue(tables, row + 1, 0)) != 0;
        const char *done = rewrite(pg, PQgetvalue(tables, row, 1), e);
        if (!done || (is_last && !note(pg, month, PQgetvalue(tables, row, 2), e)))
            return false;
        fprintf(out, "%-9s  %s\n", done, PQgetvalue(tables, row, 1));
        fflush(out); /* the next may take long */
    }
    return true;
}

/* ---- samples --------------------------------------------------------------------------------- */

static const char delete_samples_sql[] =
    "DELETE FROM pg_catalog.pg_statistic s USING pg_catalog.pg_attribute a, pg_catalog.pg_class c"
    " WHERE a.attrelid = s.starelid AND a.attnum = s.staattnum AND a.attstattarget = 0"
    " AND c.oid = s.starelid AND c.relnamespace = 'hansard'::regnamespace";

static bool ask_whether(PGconn *pg, const char *sql, bool *out, struct err *e)
{
    PGresult *result = direct_ask(pg, sql, e);
    *out = result && strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    PQclear(result);
    return result != NULL;
}

/* What ANALYZE kept of columns before it was told not to, and where it lay. */
static bool clear_samples(PGconn *pg, bool was_erased, FILE *out, struct err *e)
{
    bool are_samples, is_superuser;
    if (!ask_whether(pg, "SELECT hansard_admin.count_samples() > 0", &are_samples, e) ||
        !ask_whether(pg, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user",
                     &is_superuser, e))
        return false;
    if (!are_samples && !was_erased) {
        fputs("nothing was erased since the last time\n", out);
        return true;
    }
    if (!is_superuser && are_samples)
        return err_set(
            e, ERR_INTERNAL,
            "samples of words are left in pg_statistic, which only a superuser may clear: "
            "see docs/retention.md");
    if (!is_superuser)
        return true;
    if (!direct_do(pg, delete_samples_sql, e) || !rewrite(pg, "pg_catalog.pg_statistic", e))
        return false;
    fputs("rewritten  pg_catalog.pg_statistic\n", out);
    return true;
}

bool scrub_run(const char *url, FILE *out, struct err *e)
{
    PGconn *pg = direct_open(url, e);
    PGresult *tables = NULL;
    bool is_fine = false;
    if (!pg || !direct_do(pg, "SET lock_timeout = " LOCK_MS, e))
        goto out;
    tables =
        direct_ask(pg, "SELECT month, table_name, since FROM hansard_admin.list_unscrubbed()", e);
    is_fine = tables && rewrite_all(pg, tables, out, e) &&
              clear_samples(pg, PQntuples(tables) > 0, out, e);
out:
    PQclear(tables);
    PQfinish(pg);
    return is_fine;
}
