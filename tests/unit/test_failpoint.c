/* A failpoint kills at the step and the pass that were named, and only in test builds. */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"

/* How many times a child passes "here" (and "there" before each) until it is killed; 10: never. */
static int passes_survived(const char *setting)
{
    int pipe_fds[2], status = 0;
    char byte;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (setting)
            setenv("HANSARD_FAILPOINT", setting, 1);
        for (int i = 0; i < 10; i++) {
            FAILPOINT("there");
            FAILPOINT("here");
            if (write(pipe_fds[1], "x", 1) != 1)
                _exit(2);
        }
        _exit(0);
    }
    close(pipe_fds[1]);
    int passes = 0;
    while (read(pipe_fds[0], &byte, 1) == 1)
        passes++;
    close(pipe_fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (passes == 10)
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    else
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return passes;
}

static void kills_at_the_named_pass(void **state)
{
    (void)state;
#ifdef HANSARD_FAILPOINTS
    assert_int_equal(passes_survived("here"), 0);
    assert_int_equal(passes_survived("here:1"), 0);
    assert_int_equal(passes_survived("here:4"), 3);
#else
    assert_int_equal(passes_survived("here"), 10); /* does not exist in release builds */
#endif
}

static void others_pass(void **state)
{
    (void)state;
    assert_int_equal(passes_survived(NULL), 10);
    assert_int_equal(passes_survived(""), 10);
    assert_int_equal(passes_survived("her"), 10);
    assert_int_equal(passes_survived("here:11"), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_at_the_named_pass),
        cmocka_unit_test(others_pass),
    };
    return RUN(tests);
}
