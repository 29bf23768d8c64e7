#include "base/failpoint.h"

#ifdef HANSARD_FAILPOINTS

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char *wanted; /* NULL: none */
static atomic_long passes_left;

static void read_variable(void)
{
    const char *text = getenv("HANSARD_FAILPOINT");
    if (!text || !*text)
        return;
    wanted = strdup(text);
    long nth = 1;
    char *colon = wanted ? strrchr(wanted, ':') : NULL;
    if (colon) {
        *colon = '\0';
        nth = strtol(colon + 1, NULL, 10);
    }
    atomic_store(&passes_left, nth);
}

void failpoint_pass(const char *name)
{
    pthread_once(&once, read_variable);
    if (wanted && strcmp(wanted, name) == 0 && atomic_fetch_sub(&passes_left, 1) == 1)
        raise(SIGKILL);
}

#endif
