#include "db/erase.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db/direct.h"

#define PART_TURNS "1000"   /* in one transaction; sessions that it locks wait that long */
#define PAUSE_NS 250000000L /* when nothing was left, but may still come */

static PGresult *ask(PGconn *pg, const struct erase_order *o, struct err *e)
{
    if (o->session) {
        const char *const params[] = {o->user, o->session, PART_TURNS};
        return direct_ask_with(
            pg, "SELECT * FROM hansard_admin.erase_session($1::text, $2::text, $3::int)", params,
            COUNT_OF(params), e);
    }
    const char *const params[] = {o->user, o->with_account ? "true" : "false", PART_TURNS};
    return direct_ask_with(pg,
                           "SELECT * FROM hansard_admin.erase_user($1::text, $2::boolean, $3::int)",
                           params, COUNT_OF(params), e);
}

static int64_t number_at(const PGresult *result, int column)
{
    return strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

static bool erase_part(PGconn *pg, const struct erase_order *o, struct erase_counts *out,
                       bool *is_done, struct err *e)
{
    PGresult *result = ask(pg, o, e);
    if (!result)
        return false;
    bool is_idle = number_at(result, 0) == 0 && number_at(result, 1) == 0;
    out->conversations += number_at(result, 0);
    out->turns += number_at(result, 1);
    out->messages += number_at(result, 2);
    out->cancelled += number_at(result, 3);
    *is_done = strcmp(PQgetvalue(result, 0, 4), "t") == 0;
    PQclear(result);
    if (is_idle && !*is_done)
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    return true;
}

bool erase_run(const char *url, const struct erase_order *o, struct erase_counts *out,
               struct err *e)
{
    bool is_done = false;
    *out = (struct erase_counts){.conversations = 0};
    PGconn *pg = direct_open(url, e);
    if (!pg)
        return false;
    while (!is_done && erase_part(pg, o, out, &is_done, e))
        ;
    PQfinish(pg);
    return is_done;
}
