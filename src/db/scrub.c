#include "db/scrub.h"

#include "db/direct.h"

#define STATEMENT_BYTES 1000

/* The server quotes the names. */
static bool rewrite(PGconn *pg, const char *tables, struct err *e)
{
    char statement[STATEMENT_BYTES];
    int len = snprintf(statement, sizeof statement, "VACUUM (FULL) %s", tables);
    if (len < 0 || len >= STATEMENT_BYTES)
        return err_set(e, ERR_INTERNAL, "names of tables are too long");
    return direct_do(pg, statement, e);
}

static bool note(PGconn *pg, const char *month, const char *since, struct err *e)
{
    const char *const params[] = {month, since};
    PGresult *result = direct_ask_with(pg, "SELECT hansard_admin.note_scrub($1::text, $2::text)",
                                       params, COUNT_OF(params), e);
    PQclear(result);
    return result != NULL;
}

static bool scrub_months(PGconn *pg, FILE *out, struct err *e)
{
    /* Behind a lock that is not to be had, others would wait in line. */
    if (!direct_do(pg, "SET lock_timeout = '5s'", e))
        return false;
    PGresult *months =
        direct_ask(pg, "SELECT month, tables, since FROM hansard_admin.list_unscrubbed()", e);
    if (!months)
        return false;
    bool is_fine = true;
    for (int row = 0; is_fine && row < PQntuples(months); row++) {
        const char *month = PQgetvalue(months, row, 0);
        is_fine = rewrite(pg, PQgetvalue(months, row, 1), e) &&
                  note(pg, month, PQgetvalue(months, row, 2), e);
        if (is_fine)
            fprintf(out, "rewritten  %s\n", PQgetvalue(months, row, 1));
    }
    if (is_fine && PQntuples(months) == 0)
        fputs("nothing was erased since the last time\n", out);
    PQclear(months);
    return is_fine;
}

bool scrub_run(const char *url, FILE *out, struct err *e)
{
    PGconn *pg = direct_open(url, e);
    if (!pg)
        return false;
    bool is_fine = scrub_months(pg, out, e);
    PQfinish(pg);
    return is_fine;
}
