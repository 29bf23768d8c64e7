/* Time is read in one place and printed in one form. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static void formats_known_moments(void **state)
{
    (void)state;
    const struct {
        int64_t ms;
        const char *text;
    } moments[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1767323045678, "2026-01-02T03:04:05.678Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {INT64_C(253402300800000), "9999-12-31T23:59:59.999Z"}, /* held at the last */
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < COUNT_OF(moments); i++) {
        char text[25];
        clock_format(moments[i].ms, text);
        assert_string_equal(text, moments[i].text);
    }
}

static void the_zone_of_the_machine_does_not_matter(void **state)
{
    (void)state;
    char text[25];
    setenv("TZ", "Asia/Kathmandu", 1);
    tzset();
    clock_format(0, text);
    unsetenv("TZ");
    tzset();
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
}

static void clocks_are_the_right_ones(void **state)
{
    (void)state;
    struct timespec t;
    int64_t before = clock_mono_us();
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t between = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    int64_t after = clock_mono_us();
    assert_true(before <= between && between <= after);
    assert_true(clock_mono_ms() >= after / 1000);
    assert_true(clock_mono_ms() <= clock_mono_us() / 1000);
    before = clock_unix_ms();
    clock_gettime(CLOCK_REALTIME, &t);
    between = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    assert_true(before <= between && between <= clock_unix_ms());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_known_moments),
        cmocka_unit_test(the_zone_of_the_machine_does_not_matter),
        cmocka_unit_test(clocks_are_the_right_ones),
    };
    return RUN(tests);
}
