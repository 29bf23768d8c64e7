#include "db/direct.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "db/conn.h"

#define FAILURES_MOST 10 /* one after the other; also long enough for a restart */
#define PAUSE_S 1

/* Why the server has ended a connection that nobody was asking anything of: it says so at once, and libpq takes it for a
 * notice. Of the thread's last connection. */
static _Thread_local char last_words[200];

static void keep_last_words(void *arg, const PGresult *notice)
{
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    const char *sqlstate = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
    (void)arg;
    if (severity && strcmp(severity, "FATAL") == 0 && message && sqlstate)
        snprintf(last_words, sizeof last_words, "%s (%s)", message, sqlstate);
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
    last_words[0] = '\0';
    PQsetNoticeReceiver(pg, keep_last_words, NULL);
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

/* What passes when it is asked again: a conflict with what a standby has to replay, a restart, a pause of ours. */
static bool is_passing(const char *sqlstate)
{
    static const char *const states[] = {"40001", "40P01", "25P03", "57P01",
                                         "57P02", "57P03", "57P05"};
    for (size_t i = 0; i < COUNT_OF(states); i++)
        if (strcmp(sqlstate, states[i]) == 0)
            return true;
    return false;
}

static void set_error(struct err *e, const PGconn *pg, const PGresult *result, const char *sql)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    int line = error_line(result, sql);
    if (!sqlstate || !message)
        err_set(e, ERR_DB_DOWN, "the connection was lost: %s",
                *last_words ? last_words : conn_reason(pg));
    else if (strncmp(sqlstate, "HS", 2) == 0)
        err_set(e, err_from_sqlstate(sqlstate), "%s", message);
    else if (strcmp(sqlstate, "25006") == 0)
        err_set(e, ERR_INTERNAL, "%s (%s); is it a standby? What writes is for the primary",
                message, sqlstate);
    else if (strcmp(sqlstate, "55P03") == 0)
        err_set(e, ERR_BUSY, "%s (%s)", message, sqlstate);
    else if (is_passing(sqlstate))
        err_set(e, ERR_DB_DOWN, "%s (%s)", message, sqlstate);
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

bool direct_again(PGconn **pg, const char *url, int *failures, struct err *e)
{
    while (err_info(e->kind)->may_repeat && ++*failures < FAILURES_MOST) {
        if (*failures > 1)
            nanosleep(&(struct timespec){.tv_sec = PAUSE_S}, NULL);
        err_clear(e);
        PQfinish(*pg);
        *pg = direct_open(url, e);
        if (*pg)
            return true;
    }
    return false;
}
