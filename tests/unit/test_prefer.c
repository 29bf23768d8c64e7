/* The header Prefer: what is known is found wherever it stands; what breaks the grammar says nothing. */
#include "unit.h"

#include <string.h>

#include "http/prefer.h"

static void read_all(struct prefer *p, const char *const *fields, size_t count)
{
    *p = (struct prefer){.respond_async = false};
    for (size_t i = 0; i < count && fields[i]; i++)
        prefer_read(p, (struct span){fields[i], strlen(fields[i])});
}

static bool asks(const char *field)
{
    struct prefer p;
    read_all(&p, &field, 1);
    return p.respond_async;
}

static void it_is_found_wherever_it_stands(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "respond-async",
        "Respond-ASYNC",
        "respond-async, wait=100",
        "wait=100,respond-async",
        " \t respond-async \t ",
        ",,respond-async,,",
        "respond-async;",
        "respond-async ; ; a ;b=c; d=\"e;f,g\"",
        "respond-async=\"\"",
        "respond-async = \"\"",
        "a=\"b, c\", respond-async",
        "a=\"\\\"\", respond-async",
        "a=\"\xc3\xa4\t\", respond-async",
        "handling=lenient; x, respond-async",
        "a = b, respond-async",
    };
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        assert_true(asks(fields[i]));
}

static void what_is_something_else_is_not(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "",
        ",",
        "respond",
        "respond-async1",
        "respond-async=1",
        "respond-async=\"1\"",
        "respond-async=\"\\\"\"",
        "a=respond-async",
        "a; respond-async",
        "a=\"respond-async\"",
        "a=\", respond-async, \"",
    };
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        assert_false(asks(fields[i]));
}

static void a_field_that_breaks_the_grammar_says_nothing(void **state)
{
    (void)state;
    static const char *const rests[] = {
        ", a=",       ", =a",  ", a=\"",       ", a=\"b",  ", a=\"b\\", ", a=\"b\\\"", ", a b",
        ", a=b c",    "; =",   "; a=",         "; a=\"",   " x",        "/",           ", \"a\"",
        ", a=\"b\"c", ", (a)", ", a=\"\x01\"", ", a=\x7f", ", a=\xc3",  "; a b",       ", a==b",
    };
    char field[64];
    for (size_t i = 0; i < COUNT_OF(rests); i++) {
        strcpy(field, "respond-async");
        strcat(field, rests[i]);
        assert_false(asks(field));
    }
}

static void the_first_of_several_counts(void **state)
{
    (void)state;
    static const struct {
        const char *fields[3];
        bool asks;
    } rows[] = {
        {{"respond-async, respond-async=1"}, true},
        {{"respond-async=1, respond-async"}, false},
        {{"wait=1", "respond-async"}, true},
        {{"respond-async", "respond-async=1"}, true},
        {{"respond-async=1", "respond-async"}, false},
        {{"respond-async=", "respond-async"}, true}, /* the first says nothing */
        {{"respond-async", "respond-async="}, true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct prefer p;
        read_all(&p, rows[i].fields, COUNT_OF(rows[i].fields));
        assert_int_equal(p.respond_async, rows[i].asks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_found_wherever_it_stands),
        cmocka_unit_test(what_is_something_else_is_not),
        cmocka_unit_test(a_field_that_breaks_the_grammar_says_nothing),
        cmocka_unit_test(the_first_of_several_counts),
    };
    return RUN(tests);
}
