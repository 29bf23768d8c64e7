/* How long a connection may take for what it does; and where the counter stands. Time is handed
 * in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/link.h"
#include "http/listener.h"

static void test_reading_has_one_deadline_in_all(void **state)
{
    (void)state;
    struct links all;
    links_init(&all, 100, 5000);
    struct link *l = link_new(&all, 3, 1000);
    assert_int_equal(links_due_ms(&all), 1100);
    assert_null(links_overdue(&all, 1099));
    assert_ptr_equal(links_overdue(&all, 1100), l);
    link_move(&all, l, LINK_CUT, 1100);
    assert_null(links_overdue(&all, 9000));
    link_move(&all, l, LINK_IDLE, 1100); /* once cut, it stays cut */
    assert_null(links_overdue(&all, 9000));
    link_free(&all, l);
    assert_int_equal(all.count, 0);
}

static void test_waiting_has_none(void **state)
{
    (void)state;
    struct links all;
    links_init(&all, 100, 200);
    struct link *l = link_new(&all, 3, 0);
    link_move(&all, l, LINK_WAITING, 50);
    assert_true(links_due_ms(&all) == INT64_MAX);
    assert_null(links_overdue(&all, INT64_MAX));
    link_move(&all, l, LINK_ANSWERING, 1000);
    assert_int_equal(links_due_ms(&all), 1200);
    link_free(&all, l);
}

static void test_the_first_due_comes_first(void **state)
{
    (void)state;
    struct links all;
    links_init(&all, 100, 70);
    struct link *a = link_new(&all, 3, 0), *b = link_new(&all, 4, 10);
    link_move(&all, a, LINK_IDLE, 20); /* due at 90 */
    assert_int_equal(links_due_ms(&all), 90);
    assert_ptr_equal(links_overdue(&all, 95), a);
    link_move(&all, a, LINK_READING, 95); /* due at 195, behind b */
    assert_ptr_equal(links_overdue(&all, 200), b);
    link_free(&all, b);
    assert_ptr_equal(links_overdue(&all, 200), a);
    link_free(&all, a);
}

static void test_who_is_idle_can_be_hurried(void **state)
{
    (void)state;
    struct links all;
    links_init(&all, 100000, 10000);
    struct link *soon = link_new(&all, 3, 0), *idle = link_new(&all, 4, 0);
    struct link *busy = link_new(&all, 5, 0);
    link_move(&all, soon, LINK_IDLE, 0); /* due at 10000 as it is */
    link_move(&all, idle, LINK_IDLE, 9000);
    link_move(&all, busy, LINK_ANSWERING, 9000);
    links_hurry(&all, 2000, 9000);
    assert_int_equal(soon->due_ms, 10000);
    assert_int_equal(idle->due_ms, 11000);
    assert_ptr_equal(links_overdue(&all, 10000), soon);
    link_free(&all, soon);
    assert_ptr_equal(links_overdue(&all, 11000), idle);
    link_free(&all, idle);
    assert_null(links_overdue(&all, 18999)); /* who takes an answer has the time he had */
    link_move(&all, busy, LINK_IDLE, 12000);
    assert_int_equal(busy->due_ms, 14000); /* who becomes idle later has as little */
    link_move(&all, busy, LINK_ANSWERING, 12000);
    assert_int_equal(busy->due_ms, 22000);
    link_free(&all, busy);
}

static void test_each_is_looked_at_once(void **state)
{
    (void)state;
    struct links all;
    links_init(&all, 100000, 100000);
    struct link *a = link_new(&all, 3, 0), *b = link_new(&all, 4, 10);
    assert_null(links_look(&all, 999));
    assert_int_equal(links_due_ms(&all), 1000);
    assert_ptr_equal(links_look(&all, 1005), a);
    assert_null(links_look(&all, 1005));
    link_move(&all, b, LINK_WAITING, 1006); /* nobody looks at who waits */
    assert_null(links_look(&all, 5000));
    link_move(&all, b, LINK_IDLE, 5000);
    assert_ptr_equal(links_look(&all, 6000), b);
    link_free(&all, a);
    link_free(&all, b);
}

static void test_listen_places(void **state)
{
    (void)state;
    const struct {
        const char *text, *host, *port;
    } good[] = {{"127.0.0.1:8080", "127.0.0.1", "8080"},
                {"[::1]:1", "::1", "1"},
                {":8080", "", "8080"},
                {"*:65535", "", "65535"},
                {"localhost:80", "localhost", "80"},
                {"[::]:8080", "::", "8080"}};
    const char *bad[] = {"",     "8080",     "x:",   "x:0",     "x:65536",
                         "x:8a", "::1:8080", "x:-1", "x:000080"};
    struct listener_place place;
    struct err e = {0};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(listener_read(good[i].text, &place, &e));
        assert_string_equal(place.host, good[i].host);
        assert_string_equal(place.port, good[i].port);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(listener_read(bad[i], &place, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading_has_one_deadline_in_all),
        cmocka_unit_test(test_waiting_has_none),
        cmocka_unit_test(test_the_first_due_comes_first),
        cmocka_unit_test(test_who_is_idle_can_be_hurried),
        cmocka_unit_test(test_each_is_looked_at_once),
        cmocka_unit_test(test_listen_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
