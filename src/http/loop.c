#include "http/loop.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "http/exchange.h"
#include "http/server_private.h"

#define CLOSE_MS 5000 /* how long clients may take their last answers */
/* Who is idle while the worker leaves is cut. A request that is on its way just then is lost, and
 * only the client's side can avoid that, by giving idle connections up first. nginx is told to do so
 * after 1 s (deploy/nginx); the other second is for when it is late. */
#define LEAVE_IDLE_MS 2000
#define RESTLESS_ROUNDS 32
#define RESTLESS_MS 10

/* Twice: beside the headers as sent, libmicrohttpd keeps a record of each in the same memory, and
 * our own answer's. So what is a little too large gets our 431, and only what is far too large
 * gets libmicrohttpd's. */
#define CONNECTION_BYTES ((size_t)2 * LIMIT_HEADER_BYTES)

static struct link *link_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* ---- what libmicrohttpd calls ---------------------------------------------------------------- */

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct loop *l = cls;
    l->has_moved = true;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        link_free(&l->links, *context);
        l->has_room = true;
        metrics_add(METRIC_HTTP_CONNECTIONS, 0, -1);
        return;
    }
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    const struct sockaddr *peer =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    struct link *link = link_new(&l->links, fd, l->now_ms);
    if (!addr_from_sockaddr(peer, &link->peer))
        LOG(LOG_ERROR, "peer_unknown", LOG_INT("family", peer->sa_family)); /* counted as :: */
    *context = link;
    metrics_add(METRIC_HTTP_CONNECTIONS, 0, 1);
}

/* The request line is complete and not yet cut up. */
static void *on_line(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct loop *l = cls;
    struct link *link = link_of(connection);
    struct exchange *x = exchange_new(l, link, connection, target ? target : "");
    assert(!link->exchange);
    link->exchange = x;
    l->exchanges++;
    l->has_moved = true;
    if (link->state != LINK_READING) /* a new connection reads since it was opened */
        link_move(&l->links, link, LINK_READING, l->now_ms);
    return x;
}

static size_t leave_escaped(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls;
    (void)connection;
    return strlen(text);
}

static enum MHD_Result on_step(void *cls, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *upload,
                               size_t *upload_len, void **context)
{
    struct exchange_call call = {method, version, upload, upload_len};
    struct loop *l = cls;
    l->has_moved = true;
    (void)connection;
    (void)url;
    return exchange_step(*context, &call);
}

static void on_end(void *cls, struct MHD_Connection *connection, void **context,
                   enum MHD_RequestTerminationCode code)
{
    struct loop *l = cls;
    struct exchange *x = *context;
    (void)connection;
    (void)code;
    l->has_moved = true;
    if (!x)
        return;
    struct link *link = x->link;
    *context = NULL;
    link->exchange = NULL;
    link_move(&l->links, link, LINK_IDLE, l->now_ms);
    exchange_free(x);
    assert(l->exchanges > 0);
    l->exchanges--;
}

/* ---- one round ------------------------------------------------------------------------------- */

static int poll_ms(struct loop *l)
{
    MHD_UNSIGNED_LONG_LONG pending;
    int64_t due = links_due_ms(&l->links);
    if (l->has_room) /* libmicrohttpd listens again only when it is run again */
        return 0;
    if (MHD_get_timeout(l->daemon, &pending) == MHD_YES && pending == 0)
        due = l->restless < RESTLESS_ROUNDS ? 0 : l->now_ms + RESTLESS_MS;
    if (l->phase == LOOP_CLOSING && l->give_up_ms < due)
        due = l->give_up_ms;
    if (due == INT64_MAX)
        return -1;
    int64_t left = due - l->now_ms;
    return left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

static void give_up_waiting(struct loop *l)
{
    struct list_node *next;
    for (struct list_node *n = list_first(&l->links.waiting); n; n = next) {
        struct exchange *x = CONTAINER_OF(n, struct link, node)->exchange;
        next = list_next(&l->links.waiting, n);
        if (x->state == EXCHANGE_WAITING)
            exchange_give_up(x);
    }
}

/* libmicrohttpd gives its duplicate back, and would do so each time it is asked. */
static void stop_accepting(struct loop *l)
{
    int fd = l->accepts ? MHD_quiesce_daemon(l->daemon) : -1;
    if (fd >= 0)
        close(fd);
    l->accepts = false;
}

static void enter(struct loop *l, enum loop_phase phase)
{
    if (phase == LOOP_LEAVING) {
        stop_accepting(l);
        links_hurry(&l->links, LEAVE_IDLE_MS, l->now_ms);
    }
    if (phase == LOOP_CLOSING) {
        stop_accepting(l);
        give_up_waiting(l);
        l->give_up_ms = l->now_ms + CLOSE_MS;
    }
    l->phase = phase;
}

static void take_posts(struct loop *l)
{
    struct list woken;
    struct list_node *n;
    list_init(&woken);
    pthread_mutex_lock(&l->lock);
    while ((n = list_take_first(&l->woken)))
        list_append(&woken, n);
    l->is_kicked = false;
    enum loop_phase asked = l->asked;
    pthread_mutex_unlock(&l->lock);

    while ((n = list_take_first(&woken)))
        exchange_resume(CONTAINER_OF(n, struct exchange, node));
    if (asked == l->phase)
        return;
    enter(l, asked);
    pthread_mutex_lock(&l->lock);
    l->reached = asked;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

/* libmicrohttpd sees the hang-up and closes. */
static void cut(struct loop *l, struct link *link)
{
    shutdown(link->fd, SHUT_RDWR);
    link_move(&l->links, link, LINK_CUT, l->now_ms);
}

static bool is_gone(const struct link *link)
{
    struct pollfd fd = {.fd = link->fd, .events = POLLRDHUP};
    int unread = 0;
    return poll(&fd, 1, 0) == 1 && ioctl(link->fd, SIOCINQ, &unread) == 0 && unread == 0;
}

static void cut_overdue(struct loop *l)
{
    struct link *link;
    while ((link = links_look(&l->links, l->now_ms)))
        if (is_gone(link))
            cut(l, link);
    while ((link = links_overdue(&l->links, l->now_ms))) {
        if (link->exchange)
            exchange_time_out(link->exchange);
        cut(l, link);
    }
}

/* A chunk's size line that does not end fills libmicrohttpd's buffer; it then neither reads on nor
 * gives up, and asks to be called again at once, for ever. Who does that is told so and cut; until
 * then, the loop takes pauses. */
static void cut_stuck(struct loop *l)
{
    struct list_node *next;
    for (struct list_node *n = list_first(&l->links.reading); n; n = next) {
        struct link *link = CONTAINER_OF(n, struct link, node);
        next = list_next(&l->links.reading, n);
        if (link->exchange && exchange_is_stuck(link->exchange))
            cut(l, link);
    }
}

static void tell_when_empty(struct loop *l)
{
    if (l->accepts || l->links.count > 0)
        return;
    pthread_mutex_lock(&l->lock);
    l->is_empty = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static bool has_ended(const struct loop *l)
{
    return l->phase == LOOP_CLOSING && (l->exchanges == 0 || l->now_ms >= l->give_up_ms);
}

static void *run(void *arg)
{
    struct loop *l = arg;
    while (!has_ended(l)) {
        struct pollfd fds[] = {{.fd = l->epoll_fd, .events = POLLIN},
                               {.fd = l->wake_fd, .events = POLLIN}};
        eventfd_t kicks;
        int ready = poll(fds, COUNT_OF(fds), poll_ms(l));
        assert(ready >= 0 || errno == EINTR);
        l->now_ms = clock_mono_ms();
        l->has_moved = ready > 0;
        l->has_room = false;
        if (ready > 0 && fds[1].revents)
            (void)!eventfd_read(l->wake_fd, &kicks);
        take_posts(l);
        MHD_run(l->daemon);
        cut_overdue(l);
        l->restless = l->has_moved ? 0 : l->restless + 1;
        if (l->restless >= RESTLESS_ROUNDS)
            cut_stuck(l);
        tell_when_empty(l);
    }
    return NULL;
}

/* ---- from outside ---------------------------------------------------------------------------- */

static void kick(struct loop *l, bool was_kicked)
{
    if (!was_kicked)
        (void)!eventfd_write(l->wake_fd, 1);
}

void loop_post(struct loop *l, struct exchange *x)
{
    pthread_mutex_lock(&l->lock);
    bool was_kicked = l->is_kicked;
    list_append(&l->woken, &x->node);
    l->is_kicked = true;
    pthread_mutex_unlock(&l->lock);
    kick(l, was_kicked);
}

void loop_ask(struct loop *l, enum loop_phase phase)
{
    pthread_mutex_lock(&l->lock);
    bool was_kicked = l->is_kicked;
    l->asked = phase;
    l->is_kicked = true;
    pthread_mutex_unlock(&l->lock);
    kick(l, was_kicked);
}

void loop_wait(struct loop *l, enum loop_phase phase)
{
    pthread_mutex_lock(&l->lock);
    while (l->reached < phase)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

void loop_wait_empty(struct loop *l, int64_t until_ms)
{
    pthread_mutex_lock(&l->lock);
    while (!l->is_empty && clock_mono_ms() < until_ms)
        thread_cond_wait_until(&l->changed, &l->lock, until_ms);
    pthread_mutex_unlock(&l->lock);
}

static struct MHD_Daemon *start_daemon(struct loop *l, int fd, unsigned connections)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_step, l,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_end,
        l, MHD_OPTION_NOTIFY_CONNECTION, on_connection, l, MHD_OPTION_URI_LOG_CALLBACK, on_line, l,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_STRICT_FOR_CLIENT, l->server->checks_seams ? 0 : 1, MHD_OPTION_END);
}

bool loop_open(struct loop *l, const struct loop_options *o, struct err *e)
{
    const struct config *config = o->server->config;
    memset(l, 0, sizeof(*l));
    l->server = o->server;
    l->now_ms = clock_mono_ms();
    links_init(&l->links, config->read_timeout, config->idle_timeout);
    list_init(&l->woken);
    pthread_mutex_init(&l->lock, NULL);
    thread_cond_init(&l->changed);
    int fd = dup(o->listen_fd); /* each daemon closes its own */
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd >= 0 && l->wake_fd >= 0)
        l->daemon = start_daemon(l, fd, o->connections);
    if (!l->daemon) {
        err_set(e, ERR_INTERNAL, "no event loop could be opened: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        if (l->wake_fd >= 0)
            close(l->wake_fd);
        return false;
    }
    l->accepts = true;
    l->epoll_fd = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    l->thread = thread_start(o->name, run, l);
    return true;
}

void loop_close(struct loop *l)
{
    pthread_join(l->thread, NULL);
    MHD_stop_daemon(l->daemon);
    close(l->wake_fd);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
}
