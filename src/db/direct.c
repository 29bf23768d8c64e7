#include "db/direct.h"

#include <stdlib.h>
#include <string.h>

#include "db/conn.h"

static void drop_notice(void *arg, const PGresult *notice)
{
    (void)arg;
    (void)notice;
}

PGconn *direct_open(const char *url, struct err *e)
{
    static const char *const names[] = {"fallback_application_name", "connect_timeout", "dbname",
                                        "client_encoding", NULL};
    const char *const values[] = {"hansard", "10", url, "UTF8", NULL};
    if (!conn_url_is_valid(url)) {
        err_set(e, ERR_BAD_FIELD, "the address of the database is not a libpq URL");
        return NULL;
    }
    PGconn *pg = PQconnectdbParams(names, values, 1);
    if (!pg)
        abort(); /* out of memory */
    if (PQstatus(pg) != CONNECTION_OK) {
        err_set(e, ERR_DB_DOWN, "cannot connect to the database: %s", conn_reason(pg));
        PQfinish(pg);
        return NULL;
    }
    PQsetNoticeReceiver(pg, drop_notice, NULL);
    return pg;
}

/* Line of the statement an error points at; 0: it points nowhere. */
static int error_line(const PGresult *result, const char *sql)
{
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    long left = position ? strtol(position, NULL, 10) : 0;
    int line = left > 0;
    for (; left > 1 && *sql; sql++) {
        line += *sql == '\n';
        if ((*sql & 0xC0) != 0x80) /* positions count characters */
            left--;
    }
    return line;
}

static void set_error(struct err *e, const PGconn *pg, const PGresult *result, const char *sql)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    int line = error_line(result, sql);
    if (!sqlstate || !message)
        err_set(e, ERR_DB_DOWN, "the connection was lost: %s", conn_reason(pg));
    else if (strncmp(sqlstate, "HS", 2) == 0)
        err_set(e, err_from_sqlstate(sqlstate), "%s", message);
    else if (strcmp(sqlstate, "55P03") == 0)
        err_set(e, ERR_BUSY, "%s (%s)", message, sqlstate);
    else if (strcmp(sqlstate, "3F000") == 0 || strcmp(sqlstate, "42883") == 0)
        err_set(e, ERR_INTERNAL, "%s (%s); is the schema up to date? See hansard migrate --status",
                message, sqlstate);
    else if (line > 0)
        err_set(e, ERR_INTERNAL, "line %d: %s (%s)", line, message, sqlstate);
    else
        err_set(e, ERR_INTERNAL, "%s (%s)", message, sqlstate);
}

static PGresult *check(PGconn *pg, PGresult *result, const char *sql, struct err *e)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY)
        return result;
    set_error(e, pg, result, sql);
    PQclear(result);
    return NULL;
}

PGresult *direct_ask(PGconn *pg, const char *sql, struct err *e)
{
    return check(pg, PQexec(pg, sql), sql, e);
}

PGresult *direct_ask_with(PGconn *pg, const char *sql, const char *const *params, size_t count,
                          struct err *e)
{
    return check(pg, PQexecParams(pg, sql, (int)count, NULL, params, NULL, NULL, 0), sql, e);
}

bool direct_do(PGconn *pg, const char *sql, struct err *e)
{
    PGresult *result = direct_ask(pg, sql, e);
    PQclear(result);
    return result != NULL;
}
