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

/* rows: how many there were; 0 is the end. */
static bool export_page(PGconn *pg, const char *user, struct place *at, FILE *out, int *rows,
                        struct err *e)
{
    PGresult *page = ask(pg, user, at, e);
    if (!page)
        return false;
    *rows = PQntuples(page);
    bool is_written = write_page(page, out, e);
    if (*rows > 0) {
        snprintf(at->conversation, sizeof at->conversation, "%s", PQgetvalue(page, *rows - 1, 0));
        snprintf(at->turn, sizeof at->turn, "%s", PQgetvalue(page, *rows - 1, 1));
    }
    PQclear(page);
    return is_written;
}

bool export_user(const char *url, const char *user, FILE *out, struct err *e)
{
    struct place at = {.conversation = "00000000-0000-0000-0000-000000000000", .turn = "0"};
    int rows = 1;
    PGconn *pg = direct_open(url, e);
    if (!pg)
        return false;
    bool is_fine = true;
    while (is_fine && rows > 0)
        is_fine = export_page(pg, user, &at, out, &rows, e);
    PQfinish(pg);
    return is_fine;
}
