#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/thread.h"
#include "cli.h"
#include "core/core.h"
#include "http/server.h"

static const char serve_help[] =
    "Usage: hansard serve\n\n"
    "Answers requests on HANSARD_LISTEN until SIGTERM or SIGINT: then new connections are refused\n"
    "for HANSARD_DRAIN_DELAY, then new work is, and running turns get HANSARD_DRAIN_TIMEOUT to\n"
    "end. A second signal ends it at once.\n\n"
    "Needs HANSARD_DATABASE_URL and HANSARD_LLM_URL. `hansard config --markdown` lists all.\n";

/* A connection each, and some for files, lanes and the model. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static enum log_level level_of(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(name, names[i]) == 0)
            return (enum log_level)i;
    return LOG_INFO;
}

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

static int wait_for_signal(void)
{
    sigset_t set = stop_signals();
    int signal_number;
    while (sigwait(&set, &signal_number) != 0)
        ;
    return signal_number;
}

/* Runs while the worker drains: who asks twice wants it now. What is committed stays committed. */
static void *quit_on_second_signal(void *arg)
{
    (void)arg;
    wait_for_signal();
    LOG(LOG_WARN, "stopped_at_once", LOG_TEXT("reason", "second signal"));
    _exit(CLI_FAILED);
}

static void run_until_stopped(const struct config *c, struct core *core, struct server *server)
{
    LOG(LOG_INFO, "listening", LOG_TEXT("address", c->listen), LOG_INT("pid", getpid()));
    int signal_number = wait_for_signal();
    LOG(LOG_INFO, "draining", LOG_TEXT("signal", strsignal(signal_number)));
    pthread_detach(thread_start("second-signal", quit_on_second_signal, NULL));
    core_leave(core);
    if (c->drain_delay > 0)
        server_leave(server, clock_mono_ms() + c->drain_delay);
    core_drain(core);
    server_drain(server);
    bool is_idle = core_wait_idle(core, clock_mono_ms() + c->drain_timeout);
    LOG(is_idle ? LOG_INFO : LOG_WARN, "drained",
        LOG_TEXT("turns", is_idle ? "all ended" : "some left"));
}

static int serve(const struct config *c)
{
    struct err e = {0};
    struct core *core = core_open(c, &e);
    if (!core)
        return cli_fail("serve", &e);
    struct server *server = server_open(c, core, &e);
    if (server) {
        run_until_stopped(c, core, server);
        server_refuse(server); /* before core goes: nobody may still be on the way into it */
    }
    core_close(core);
    server_close(server); /* after core: it answers what core has left */
    if (e.kind != ERR_NONE)
        return cli_fail("serve", &e);
    LOG(LOG_INFO, "stopped", LOG_INT("pid", getpid()));
    return CLI_OK;
}

static bool is_complete(const struct config *c)
{
    const char *missing = NULL;
    if (!c->llm_url[0])
        missing = "HANSARD_LLM_URL";
    if (!c->database_url[0])
        missing = "HANSARD_DATABASE_URL";
    if (missing)
        fprintf(stderr, "hansard: serve: %s is not set\n", missing);
    return !missing;
}

int cli_serve(int argc, char **argv)
{
    struct config c;
    sigset_t set = stop_signals();
    if (cli_wants_help(argc, argv)) {
        fputs(serve_help, stdout);
        return CLI_OK;
    }
    if (argc > 1)
        return cli_misuse("serve", "serve takes no arguments; settings come from the environment");
    if (!cli_config_read(&c))
        return CLI_FAILED;
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise_file_limit();
    log_setup(level_of(c.log_level), NULL);
    json_setup();
    int code = is_complete(&c) ? serve(&c) : CLI_FAILED;
    config_free(&c);
    return code;
}
