#include "demo/timer.h"

#include <limits.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 256

static pthread_t thread;
static int epoll_fd = -1, wake_fd = -1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static struct timer_wait **heap;                         /* earliest first */
static size_t heap_len, heap_room;
static bool hurried, over;

int64_t timer_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void put_locked(size_t place, struct timer_wait *w)
{
    heap[place] = w;
    w->place = place;
}

static void sift_up_locked(size_t place, struct timer_wait *w)
{
    while (place > 0 && heap[(place - 1) / 2]->due_ms > w->due_ms) {
        put_locked(place, heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put_locked(place, w);
}

static void sift_down_locked(size_t place, struct timer_wait *w)
{
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= heap_len)
            break;
        if (child + 1 < heap_len && heap[child + 1]->due_ms < heap[child]->due_ms)
            child++;
        if (heap[child]->due_ms >= w->due_ms)
            break;
        put_locked(place, heap[child]);
        place = child;
    }
    put_locked(place, w);
}

static void remove_locked(struct timer_wait *w)
{
    size_t place = w->place;
    struct timer_wait *last = heap[--heap_len];
    if (last == w)
        return;
    if (place > 0 && heap[(place - 1) / 2]->due_ms > last->due_ms)
        sift_up_locked(place, last);
    else
        sift_down_locked(place, last);
}

static void wake(void)
{
    if (eventfd_write(wake_fd, 1) != 0)
        abort();
}

void timer_wait(struct timer_wait *w)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(w->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct epoll_event hangup = {.events = EPOLLRDHUP, .data.ptr = w};
    w->fd = info->connect_fd;
    w->hung_up = false;

    pthread_mutex_lock(&lock);
    if (hurried)
        w->due_ms = 0;
    if (heap_len == heap_room) {
        heap_room = heap_room > 0 ? 2 * heap_room : 1024;
        heap = realloc(heap, heap_room * sizeof(struct timer_wait *));
        if (heap == NULL)
            abort();
    }
    sift_up_locked(heap_len++, w);
    bool earliest = w->place == 0;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, w->fd, &hangup) != 0)
        abort();
    pthread_mutex_unlock(&lock);
    if (earliest)
        wake();
}

/* After this the call may be gone at any moment: the wait is not touched again. */
static void resume(struct timer_wait *w)
{
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    MHD_resume_connection(w->connection);
}

/* Takes out the first wait that is due, or tells how long there is none. */
static struct timer_wait *take_due(int *sleep_ms)
{
    struct timer_wait *due = NULL;
    int64_t now_ms = timer_now_ms();
    pthread_mutex_lock(&lock);
    *sleep_ms = INT_MAX;
    if (heap_len > 0 && (hurried || heap[0]->due_ms <= now_ms)) {
        due = heap[0];
        remove_locked(due);
    } else if (heap_len > 0 && heap[0]->due_ms - now_ms < INT_MAX) {
        *sleep_ms = (int)(heap[0]->due_ms - now_ms);
    }
    pthread_mutex_unlock(&lock);
    return due;
}

static bool is_over(void)
{
    pthread_mutex_lock(&lock);
    bool yes = over && heap_len == 0;
    pthread_mutex_unlock(&lock);
    return yes;
}

static void client_hung_up(struct timer_wait *w)
{
    pthread_mutex_lock(&lock);
    remove_locked(w);
    pthread_mutex_unlock(&lock);
    w->hung_up = true;
    resume(w);
}

static void *run(void *unused)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    (void)unused;
    while (!is_over()) {
        struct timer_wait *due;
        int sleep_ms;
        while ((due = take_due(&sleep_ms)) != NULL)
            resume(due);
        int n = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, sleep_ms);
        for (int i = 0; i < n; i++) {
            eventfd_t count;
            if (events[i].data.ptr != NULL)
                client_hung_up(events[i].data.ptr);
            else
                (void)eventfd_read(wake_fd, &count);
        }
    }
    return NULL;
}

void timer_start(void)
{
    struct epoll_event wakeup = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (epoll_fd < 0 || wake_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &wakeup) != 0 ||
        pthread_create(&thread, NULL, run, NULL) != 0)
        abort();
}

void timer_hurry(void)
{
    pthread_mutex_lock(&lock);
    hurried = true;
    pthread_mutex_unlock(&lock);
    wake();
}

bool timer_is_hurried(void)
{
    pthread_mutex_lock(&lock);
    bool yes = hurried;
    pthread_mutex_unlock(&lock);
    return yes;
}

void timer_stop(void)
{
    pthread_mutex_lock(&lock);
    over = true;
    pthread_mutex_unlock(&lock);
    wake();
    pthread_join(thread, NULL);
    close(epoll_fd);
    close(wake_fd);
    free(heap);
}
