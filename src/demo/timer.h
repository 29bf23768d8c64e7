/* timer — connections that wait: until a moment, or until their client leaves.
 *
 * Does:      resumes a suspended connection when its time has come or its client hung up.
 * Does not:  use a thread per wait, or look into the call.
 * Threads:   timer_wait from any; one thread of its own, which alone resumes.
 * Owns:      a heap of waits; a wait lies inside its call and is borrowed until it is resumed.
 */
#pragma once

#include "base/defs.h"

struct MHD_Connection;

#define TIMER_FOREVER INT64_MAX

struct timer_wait {
    struct MHD_Connection *connection;
    int64_t due_ms;
    size_t place; /* in the heap */
    int fd;       /* the connection's socket */
    bool hung_up; /* the client left while we waited; read after the resume */
};

void timer_start(void);
void timer_hurry(void); /* from now on nobody waits: all are resumed at once */
bool timer_is_hurried(void);
void timer_stop(void); /* ends the thread; nobody may wait any more */

int64_t timer_now_ms(void); /* monotonic */

/* The connection has just been suspended; it is resumed at due_ms or when its client hangs up. */
void timer_wait(struct timer_wait *w);
