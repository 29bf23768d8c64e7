#include "db/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static const struct {
    const char *name, *value;
} settings[] = {
    /* Before the URL in the list, so that the URL's own words win. */
    {"fallback_application_name", "hansard"},
    {"keepalives", "1"},
    {"keepalives_idle", "30"},
    {"keepalives_interval", "5"},
    {"keepalives_count", "3"},
    {"tcp_user_timeout", "10000"},
};

static void drop_notice(void *arg, const PGresult *notice)
{
    (void)arg;
    (void)notice;
}

bool conn_url_is_valid(const char *url)
{
    char *complaint = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &complaint);
    PQfreemem(complaint);
    if (!options)
        return false;
    PQconninfoFree(options);
    return true;
}

const char *conn_reason(const PGconn *pg)
{
    static const char *const words[][2] = {
        {"refused", "refused"},
        {"authentication", "authentication"},
        {"SASL", "authentication"},
        {"no such user", "authentication"},
        {"no password", "authentication"},
        {"too many", "too many connections"},
        {"no more connections", "too many connections"},
        {"remaining connection slots", "too many connections"},
        {"translate host name", "host name"},
        {"no such database", "no such database"},
        {"does not exist", "no such database or role"},
        {"starting up", "starting up"},
        {"shutting down", "shutting down"},
        {"query_wait_timeout", "the pooler waits for the database"},
        {"server_login", "the pooler waits for the database"},
        {"timeout", "timeout"},
        {"No such file", "no such socket"},
        {"SSL", "TLS"},
        {"certificate", "TLS"},
        {"conflict with recovery", "conflict with recovery"}, /* of a standby */
        {"closed the connection", "closed"},
    };
    const char *text = PQerrorMessage(pg);
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strstr(text, words[i][0]))
            return words[i][1];
    return "closed";
}

bool conn_is_transient(const char *sqlstate)
{
    static const char *const states[] = {
        "40001", "40P01", "55P03", "57014",
        "57P01", "57P02", "57P03", "25006", /* read-only: a standby about to be promoted */
    };
    for (size_t i = 0; i < COUNT_OF(states); i++)
        if (strcmp(sqlstate, states[i]) == 0)
            return true;
    return strncmp(sqlstate, "53", 2) == 0;
}

enum wait_result { WAIT_READY, WAIT_EXPIRED, WAIT_STOPPED };

/* Until the socket is ready for one of the events, or the deadline, in slices of a tick. */
static enum wait_result wait_for(struct conn *c, short events, int64_t deadline_ms, short *got)
{
    for (;;) {
        int64_t now = clock_mono_ms();
        int64_t left = deadline_ms - now;
        int slice = left < 0 ? 0 : left < CONN_TICK_MS ? (int)left : CONN_TICK_MS;
        struct pollfd fd = {.fd = PQsocket(c->pg), .events = events};
        int n = poll(&fd, 1, slice);
        *got = fd.revents;
        if (n > 0 || (n < 0 && errno != EINTR))
            return WAIT_READY;
        if (c->tick && !c->tick(c->tick_arg))
            return WAIT_STOPPED;
        if (left <= 0)
            return WAIT_EXPIRED;
    }
}

static const char *wait_reason(enum wait_result waited)
{
    return waited == WAIT_EXPIRED ? "timeout" : CONN_CLOSING;
}

static PGconn *start(const char *url)
{
    const char *names[COUNT_OF(settings) + 3], *values[COUNT_OF(settings) + 3];
    size_t n = 0;
    for (; n < COUNT_OF(settings); n++) {
        names[n] = settings[n].name;
        values[n] = settings[n].value;
    }
    names[n] = "dbname"; /* expanded: the whole URL */
    values[n++] = url;
    names[n] = "client_encoding";
    values[n++] = "UTF8";
    names[n] = values[n] = NULL;
    return PQconnectStartParams(names, values, 1);
}

bool conn_open(struct conn *c, int64_t deadline_ms)
{
    conn_close(c);
    c->pg = start(c->url);
    if (!c->pg)
        abort(); /* out of memory */
    PQsetNoticeReceiver(c->pg, drop_notice, NULL);
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    enum wait_result waited = WAIT_READY;
    while (PQstatus(c->pg) != CONNECTION_BAD && next != PGRES_POLLING_FAILED) {
        short got;
        waited = wait_for(c, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms, &got);
        if (waited != WAIT_READY)
            break;
        next = PQconnectPoll(c->pg);
        if (next == PGRES_POLLING_OK) {
            PQsetnonblocking(c->pg, 1);
            return true;
        }
    }
    c->reason = waited == WAIT_READY ? conn_reason(c->pg) : wait_reason(waited);
    conn_close(c);
    return false;
}

void conn_close(struct conn *c)
{
    if (c->pg)
        PQfinish(c->pg);
    c->pg = NULL;
}

bool conn_is_alive(struct conn *c)
{
    if (!c->pg)
        return false;
    bool is_alive = PQstatus(c->pg) == CONNECTION_OK;
    while (is_alive) {
        struct pollfd fd = {.fd = PQsocket(c->pg), .events = POLLIN};
        if (poll(&fd, 1, 0) <= 0)
            return true;
        is_alive = PQconsumeInput(c->pg) && PQstatus(c->pg) == CONNECTION_OK;
    }
    c->reason = "closed while idle";
    conn_close(c);
    return false;
}

/* Until every byte is out. Reads meanwhile: a server that cannot write would not read either. */
static bool flush(struct conn *c, int64_t deadline_ms)
{
    for (;;) {
        int left = PQflush(c->pg);
        if (left <= 0)
            return left == 0;
        short got;
        enum wait_result waited = wait_for(c, POLLIN | POLLOUT, deadline_ms, &got);
        if (waited != WAIT_READY) {
            c->reason = wait_reason(waited);
            return false;
        }
        if ((got & POLLIN) && !PQconsumeInput(c->pg))
            return false;
    }
}

/* The next result in *out, NULL after the last. false: the connection is lost. */
static bool read_result(struct conn *c, int64_t deadline_ms, PGresult **out)
{
    while (PQisBusy(c->pg)) {
        short got;
        enum wait_result waited = wait_for(c, POLLIN, deadline_ms, &got);
        if (waited != WAIT_READY) {
            c->reason = wait_reason(waited);
            return false;
        }
        if (!PQconsumeInput(c->pg))
            return false;
    }
    *out = PQgetResult(c->pg);
    return true;
}

static bool is_fatal(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (!severity)
        severity =
            PQresultErrorField(result, PG_DIAG_SEVERITY); /* what a pooler says has no other */
    return !severity || strcmp(severity, "ERROR") != 0;
}

/* PgBouncer says so to who waits for a server: the call has stayed with it. (1.18 to 1.25: janitor.c and
 * check_fast_fail in objects.c; both end the client before it is linked to one.) */
static bool is_not_passed_on(const PGresult *result)
{
    static const char *const words[] = {"query_wait_timeout", "server login has been failing"};
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    for (size_t i = 0; text && i < COUNT_OF(words); i++)
        if (strncmp(text, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

/* Takes the result: the first error stands, else the last rows do. */
static void note_result(struct conn_answer *out, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    bool is_fine = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
    if (out->outcome == CONN_FINE && is_fine) {
        PQclear(out->result);
        out->result = result;
        return;
    }
    if (!is_fine && out->outcome != CONN_LOST) {
        const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        out->outcome = is_fatal(result) ? CONN_LOST : CONN_REFUSED;
        if (out->outcome == CONN_LOST && is_not_passed_on(result))
            out->was_sent = false;
        if (sqlstate && strlen(sqlstate) == sizeof out->sqlstate - 1)
            memcpy(out->sqlstate, sqlstate, sizeof out->sqlstate);
    }
    PQclear(result);
}

void conn_run(struct conn *c, const struct conn_call *call, int64_t deadline_ms,
              struct conn_answer *out)
{
    *out = (struct conn_answer){.outcome = CONN_FINE};
    c->reason = NULL;
    bool is_whole = false;
    out->was_sent = PQsendQueryParams(c->pg, call->sql, call->count, call->types, call->values,
                                      call->lengths, call->formats, call->result_format);
    if (out->was_sent && flush(c, deadline_ms)) {
        PGresult *result = NULL;
        while ((is_whole = read_result(c, deadline_ms, &result)) && result)
            note_result(out, result);
    }
    if (!is_whole || PQstatus(c->pg) != CONNECTION_OK ||
        (out->outcome == CONN_FINE && !out->result))
        out->outcome = CONN_LOST;
    if (out->outcome != CONN_FINE) {
        PQclear(out->result);
        out->result = NULL;
    }
    if (out->outcome == CONN_LOST) {
        if (!c->reason)
            c->reason = conn_reason(c->pg);
        conn_close(c);
    }
}
