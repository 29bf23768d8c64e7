#include "db/export.h"

#include <errno.h>
#include <string.h>

#include "base/ids.h"
#include "db/direct.h"

#define PAGE_TURNS "200"
#define PAGE_BYTES "1048576" /* of text; a longer turn is a page of its own */

struct place { /* the last turn written */
    char conversation[UUID_TEXT_BYTES];
    char turn[16];
};

static PGresult *ask(PGconn *pg, const char *user, const struct place *after, struct err *e)
{
    const char *const params[] = {user, after->conversation, after->turn, PAGE_TURNS, PAGE_BYTES};
    return direct_ask_with(pg,
                           "SELECT conversation_id, turn_no, line FROM hansard_admin.export_user("
                           "$1::text, $2::uuid, $3::int, $4::int, $5::int)",
                           params, COUNT_OF(params), e);
}

static bool write_page(const PGresult *page, FILE *out, struct err *e)
{
    for (int row = 0; row < PQntuples(page); row++)
        fprintf(out, "%s\n", PQgetvalue(page, row, 2));
    if (fflush(out) != 0 || ferror(out))
        return err_set(e, ERR_INTERNAL, "cannot write: %s", strerror(errno));
    return true;
}

static bool take_page(const PGresult *page, struct place *at, FILE *out, struct err *e)
{
    int last = PQntuples(page) - 1;
    if (last < 0)
        return true;
    snprintf(at->conversation, sizeof at->conversation, "%s", PQgetvalue(page, last, 0));
    snprintf(at->turn, sizeof at->turn, "%s", PQgetvalue(page, last, 1));
    return write_page(page, out, e);
}

bool export_user(const char *url, const char *user, FILE *out, int64_t *turns, struct err *e)
{
    struct place at = {.conversation = "00000000-0000-0000-0000-000000000000", .turn = "0"};
    int failures = 0;
    bool is_fine, is_whole = false;
    *turns = 0;
    PGconn *pg = direct_open(url, e);
    if (!pg)
        return false;
    do {
        PGresult *page = ask(pg, user, &at, e);
        if (page) {
            failures = 0;
            is_fine = take_page(page, &at, out, e);
            is_whole = PQntuples(page) == 0;
            *turns += PQntuples(page);
            PQclear(page);
        } else {
            is_fine = direct_again(&pg, url, &failures, e);
        }
    } while (is_fine && !is_whole);
    PQfinish(pg);
    return is_fine;
}
