#include "db/keys.h"

#include <string.h>

#include "base/hash.h"
#include "base/ids.h"
#include "db/direct.h"

#define KEY_ID_DIGITS 16

/* Opens, asks one thing, closes. */
static PGresult *ask(const char *url, const char *sql, const char *const *params, size_t count,
                     struct err *e)
{
    PGconn *pg = direct_open(url, e);
    if (!pg)
        return NULL;
    PGresult *result = direct_ask_with(pg, sql, params, count, e);
    PQfinish(pg);
    return result;
}

static const char *first_value(const PGresult *result)
{
    return PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "";
}

bool keys_add(const char *url, const char *user, const char *tier, FILE *out, struct err *e)
{
    char key[API_KEY_TEXT_BYTES];
    char hex[2 + 2 * HASH_BYTES + 1] = "\\x";
    api_key_make(key);
    struct hash hash = hash_sha256(key, strlen(key));
    hash_hex(&hash, hex + 2);
    const char *const params[] = {user, tier, hex};
    PGresult *result = ask(url, "SELECT hansard_admin.add_key($1::text, $2::text, $3::bytea)",
                           params, COUNT_OF(params), e);
    if (!result)
        return false;
    fprintf(out, "user    %s\ntier    %s\nkey id  %.*s\nkey     %s\n", user, first_value(result),
            KEY_ID_DIGITS, hex + 2, key);
    fputs("The key is shown this once; the database keeps only its hash.\n", out);
    PQclear(result);
    return true;
}

static int widest(const PGresult *result, int column)
{
    int most = (int)strlen(PQfname(result, column));
    for (int row = 0; row < PQntuples(result); row++)
        if (PQgetlength(result, row, column) > most)
            most = PQgetlength(result, row, column);
    return most;
}

static void print_row(const PGresult *result, int row, FILE *out)
{
    int columns = PQnfields(result);
    for (int i = 0; i < columns; i++) {
        const char *text = row < 0 ? PQfname(result, i) : PQgetvalue(result, row, i);
        if (i + 1 < columns)
            fprintf(out, "%-*s  ", widest(result, i), text);
        else
            fprintf(out, "%s\n", text);
    }
}

bool keys_list(const char *url, FILE *out, struct err *e)
{
    PGresult *result = ask(url,
                           "SELECT user_name AS \"user\", tier, key_id AS \"key id\","
                           " to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"')"
                           " AS created, coalesce(to_char(revoked_at AT TIME ZONE 'UTC',"
                           " 'YYYY-MM-DD HH24:MI:SS\"Z\"'), '-') AS revoked"
                           " FROM hansard_admin.list_keys()",
                           NULL, 0, e);
    if (!result)
        return false;
    for (int row = -1; row < PQntuples(result); row++)
        print_row(result, row, out);
    PQclear(result);
    return true;
}

bool keys_revoke(const char *url, const char *key_id, FILE *out, struct err *e)
{
    PGresult *result = ask(url, "SELECT hansard_admin.revoke_key($1::text)", &key_id, 1, e);
    if (!result)
        return false;
    fprintf(out, "revoked %s of %s\n", key_id, first_value(result));
    PQclear(result);
    return true;
}

bool keys_tier(const char *url, const char *user, const char *tier, FILE *out, struct err *e)
{
    const char *const params[] = {user, tier};
    PGresult *result =
        ask(url, "SELECT hansard_admin.set_tier($1::text, $2::text)", params, COUNT_OF(params), e);
    if (!result)
        return false;
    fprintf(out, "%s is %s now, keys concerned: %s\n", user, tier, first_value(result));
    PQclear(result);
    return true;
}
