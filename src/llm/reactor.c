#include "llm/reactor.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "llm/due.h"

/* Transfers in one multi handle. Beginning a transfer costs curl a look at each connection there; a
 * TLS multi handle keeps its own copy of the certificate store, so those are fewer and larger. */
#define SHARD_TRANSFERS 64
#define SHARD_TRANSFERS_TLS 512
#define SHARD_IDLE_MS 60000 /* then its connections are closed: nobody watches them */
#define EVENTS 256
#define WAKE UINT64_MAX

struct shard {
    struct reactor *reactor;
    CURLM *multi; /* NULL: nothing was added for a long time */
    size_t index, running;
    struct due due;  /* curl's own timer, or, when nothing runs, when to close */
    bool is_closing; /* meaning of due */
};

/* What epoll knows of a descriptor. curl takes a socket off when its transfer ends and puts it back
 * when the next one uses the connection; leaving it in epoll meanwhile saves two system calls a
 * transfer. */
struct watch {
    uint32_t events; /* as epoll has them; 0: not in epoll */
    uint32_t shard;
    bool is_wanted; /* by curl, now */
    bool is_ours;   /* opened by open_socket, so that close_socket will tell when it is gone */
};

struct reactor {
    struct reactor_events events;
    int epoll_fd, wake_fd;
    size_t shard_transfers;
    CURLSH *share; /* resolved names and TLS sessions */
    struct shard **shards;
    size_t shard_count, lowest; /* no shard below lowest has room */
    struct due_heap timers;
    struct watch *watches; /* by descriptor */
    size_t watch_count;
    int64_t now_ms;
};

/* ---- sockets ---- */

static struct watch *get_watch(struct reactor *r, int fd)
{
    assert(fd >= 0);
    if ((size_t)fd >= r->watch_count) {
        size_t count = r->watch_count ? r->watch_count : 256;
        while (count <= (size_t)fd)
            count *= 2;
        r->watches = mem_grow(r->watches, count * sizeof(*r->watches));
        memset(r->watches + r->watch_count, 0, (count - r->watch_count) * sizeof(*r->watches));
        r->watch_count = count;
    }
    return &r->watches[fd];
}

static void unwatch(struct reactor *r, int fd, struct watch *w)
{
    if (w->events)
        epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    w->events = 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    (void)easy;
    (void)unused;
    struct shard *s = arg;
    struct reactor *r = s->reactor;
    struct watch *w = get_watch(r, fd);
    if (what == CURL_POLL_REMOVE) {
        w->is_wanted = false;
        if (!w->is_ours)
            unwatch(r, fd, w);
        return 0;
    }
    uint32_t events = 0;
    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    w->is_wanted = true;
    if (w->events == events && w->shard == s->index)
        return 0;
    struct epoll_event event = {.events = events,
                                .data.u64 = (uint64_t)s->index << 32 | (uint32_t)fd};
    int failed = epoll_ctl(r->epoll_fd, w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    assert(failed == 0); /* our bug, or the kernel is out of memory */
    (void)failed;
    w->events = events;
    w->shard = (uint32_t)s->index;
    return 0;
}

curl_socket_t reactor_open_socket(struct reactor *r, const struct curl_sockaddr *address)
{
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    *get_watch(r, fd) = (struct watch){.is_ours = true};
    return fd;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    return reactor_open_socket(arg, address);
}

static int close_socket(void *arg, curl_socket_t fd)
{
    *get_watch(arg, fd) = (struct watch){0}; /* close takes it out of epoll */
    return close(fd);
}

void reactor_prepare(struct reactor *r, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, r);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, r);
    curl_easy_setopt(easy, CURLOPT_SHARE, r->share);
}

/* ---- shards ---- */

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct shard *s = arg;
    if (s->is_closing)
        return 0;
    if (timeout_ms >= 0)
        due_set(&s->reactor->timers, &s->due, clock_mono_ms() + timeout_ms);
    else
        due_drop(&s->reactor->timers, &s->due);
    return 0;
}

static void open_multi(struct shard *s)
{
    s->multi = curl_multi_init();
    if (!s->multi)
        abort(); /* out of memory, as in base/mem */
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)s->reactor->shard_transfers);
    curl_multi_setopt(s->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
}

static struct shard *add_shard(struct reactor *r)
{
    struct shard *s = mem_zero(sizeof(*s));
    s->reactor = r;
    s->index = r->shard_count;
    r->shards = mem_grow(r->shards, (r->shard_count + 1) * sizeof(struct shard *));
    r->shards[r->shard_count++] = s;
    return s;
}

/* The lowest with room: load stays together and its connections are used again. */
static struct shard *find_room(struct reactor *r)
{
    while (r->lowest < r->shard_count && r->shards[r->lowest]->running == r->shard_transfers)
        r->lowest++;
    return r->lowest < r->shard_count ? r->shards[r->lowest] : add_shard(r);
}

size_t reactor_add(struct reactor *r, CURL *easy)
{
    struct shard *s = find_room(r);
    if (s->is_closing) {
        due_drop(&r->timers, &s->due);
        s->is_closing = false;
    }
    if (!s->multi)
        open_multi(s);
    s->running++;
    if (curl_multi_add_handle(s->multi, easy) != CURLM_OK)
        abort(); /* out of memory, or a handle added twice */
    return s->index;
}

void reactor_remove(struct reactor *r, CURL *easy, size_t shard)
{
    struct shard *s = r->shards[shard];
    assert(s->running > 0);
    curl_multi_remove_handle(s->multi, easy);
    s->running--;
    if (shard < r->lowest)
        r->lowest = shard;
    if (s->running == 0) {
        s->is_closing = true;
        due_set(&r->timers, &s->due, r->now_ms + SHARD_IDLE_MS);
    }
}

static void read_messages(struct shard *s)
{
    struct reactor *r = s->reactor;
    CURLMsg *m;
    int left;
    while (s->multi && (m = curl_multi_info_read(s->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        CURL *easy = m->easy_handle;
        CURLcode code = m->data.result;
        reactor_remove(r, easy, s->index);
        r->events.ended(r->events.arg, easy, code);
    }
}

static void close_multi(struct shard *s)
{
    assert(s->running == 0);
    if (s->multi)
        curl_multi_cleanup(s->multi);
    s->multi = NULL;
    s->is_closing = false;
    due_drop(&s->reactor->timers, &s->due); /* last: cleanup may have set it */
}

/* ---- the loop ---- */

static void run_event(struct reactor *r, const struct epoll_event *event)
{
    if (event->data.u64 == WAKE)
        return; /* edge-triggered and never read: its count cannot overflow in this program's life
                 */
    int fd = (int)(uint32_t)event->data.u64;
    struct shard *s = r->shards[event->data.u64 >> 32];
    struct watch *w = get_watch(r, fd);
    if (!w->is_wanted || !s->multi) {
        unwatch(r, fd, w); /* an idle connection that the server closed */
        return;
    }
    int bits = 0, running;
    if (event->events & (EPOLLIN | EPOLLHUP))
        bits |= CURL_CSELECT_IN;
    if (event->events & EPOLLOUT)
        bits |= CURL_CSELECT_OUT;
    if (event->events & EPOLLERR)
        bits |= CURL_CSELECT_IN | CURL_CSELECT_ERR;
    curl_multi_socket_action(s->multi, fd, bits, &running);
    read_messages(s);
}

static void run_timers(struct reactor *r)
{
    /* Bounded: a timer that is due again at once has its next turn after the sockets have had
     * theirs. */
    for (size_t turns = r->timers.count; turns > 0; turns--) {
        struct due *d = due_first(&r->timers);
        if (!d || d->at_ms > r->now_ms)
            return;
        struct shard *s = CONTAINER_OF(d, struct shard, due);
        due_drop(&r->timers, d);
        if (s->is_closing) {
            close_multi(s);
            continue;
        }
        int running;
        curl_multi_socket_action(s->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        read_messages(s);
    }
}

void reactor_run(struct reactor *r, int64_t until_ms)
{
    struct epoll_event events[EVENTS];
    const struct due *first = due_first(&r->timers);
    if (first && first->at_ms < until_ms)
        until_ms = first->at_ms;
    int64_t wait = until_ms - clock_mono_ms();
    int n = epoll_wait(r->epoll_fd, events, EVENTS,
                       wait <= 0        ? 0
                       : wait < INT_MAX ? (int)wait
                                        : INT_MAX);
    assert(n >= 0 || errno == EINTR);
    r->now_ms = clock_mono_ms();
    for (int i = 0; i < n; i++)
        run_event(r, &events[i]);
    run_timers(r);
}

int64_t reactor_now_ms(const struct reactor *r)
{
    return r->now_ms;
}

void reactor_wake(struct reactor *r)
{
    const uint64_t one = 1;
    ssize_t n = write(r->wake_fd, &one, sizeof one);
    assert(n == sizeof one);
    (void)n;
}

struct reactor *reactor_open(const struct reactor_events *events, bool is_tls, struct err *e)
{
    struct reactor *r = mem_zero(sizeof(*r));
    r->events = *events;
    r->shard_transfers = is_tls ? SHARD_TRANSFERS_TLS : SHARD_TRANSFERS;
    r->now_ms = clock_mono_ms();
    r->wake_fd = -1;
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (r->epoll_fd >= 0)
        r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = WAKE};
    if (r->wake_fd < 0 || epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->wake_fd, &event) != 0) {
        err_set(e, ERR_INTERNAL, "epoll: %s", strerror(errno));
        reactor_close(r);
        return NULL;
    }
    r->share = curl_share_init(); /* one thread: needs no locks */
    if (!r->share)
        abort();
    curl_share_setopt(r->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(r->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return r;
}

void reactor_close(struct reactor *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->shard_count; i++) {
        close_multi(r->shards[i]);
        free(r->shards[i]);
    }
    free(r->shards);
    curl_share_cleanup(r->share);
    due_fini(&r->timers);
    free(r->watches);
    if (r->wake_fd >= 0)
        close(r->wake_fd);
    if (r->epoll_fd >= 0)
        close(r->epoll_fd);
    free(r);
}
