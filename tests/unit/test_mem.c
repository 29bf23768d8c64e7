/* Allocation that ends the program instead of returning NULL. */
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

static void zero_is_zero(void **state)
{
    (void)state;
    unsigned char *p = mem_zero(4096);
    for (size_t i = 0; i < 4096; i++)
        assert_int_equal(p[i], 0);
    free(p);
    p = mem_zero(0);
    assert_non_null(p);
    free(p);
}

static void grow_keeps_what_was_there(void **state)
{
    (void)state;
    char *p = mem_grow(NULL, 4);
    memcpy(p, "abc", 4);
    p = mem_grow(p, 1 << 20);
    assert_string_equal(p, "abc");
    p = mem_grow(p, 0); /* not a hidden free */
    assert_non_null(p);
    free(p);
}

static void copies_are_terminated_and_apart(void **state)
{
    (void)state;
    char text[] = "abcdef";
    char *part = mem_copy(text, 3), *whole = mem_text(text), *none = mem_copy(NULL, 0);
    text[0] = 'x';
    assert_string_equal(part, "abc");
    assert_string_equal(whole, "abcdef");
    assert_string_equal(none, "");
    assert_null(mem_text(NULL));
    free(part);
    free(whole);
    free(none);
}

/* Sanitizers need their address space, and treat a refused allocation in their own way. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void shortage_aborts(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit small = {256 << 20, 256 << 20}, no_core = {0, 0};
        setrlimit(RLIMIT_AS, &small);
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        close(STDERR_FILENO);
        void *p = mem_zero((size_t)1 << 30);
        free(p);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_is_zero),
        cmocka_unit_test(grow_keeps_what_was_there),
        cmocka_unit_test(copies_are_terminated_and_apart),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(shortage_aborts),
#endif
    };
    return RUN(tests);
}
