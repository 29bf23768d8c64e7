/* The request that the model gets. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "core/prompt.h"

static char *build(char *system_prompt, const char *history, const char *question)
{
    struct prompt p;
    size_t len;
    prompt_init(&p, "a \"model\"", system_prompt);
    char *body = prompt_build(&p, (struct span){history, strlen(history)}, question, &len);
    assert_int_equal(len, strlen(body));
    prompt_fini(&p);
    return body;
}

static void expect(char *system_prompt, const char *history, const char *question, const char *body)
{
    char *built = build(system_prompt, history, question);
    assert_string_equal(built, body);
    free(built);
}

static void in_order(void **state)
{
    (void)state;
    expect("", "", "hi",
           "{\"model\":\"a \\\"model\\\"\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    expect(
        "be kind", "", "hi",
        "{\"model\":\"a \\\"model\\\"\",\"messages\":[{\"role\":\"system\",\"content\":\"be kind\"},"
        "{\"role\":\"user\",\"content\":\"hi\"}]}");
    expect(
        "be kind",
        "{\"role\":\"user\",\"content\":\"1\"},{\"role\":\"assistant\",\"content\":\"2\"},", "a\nb",
        "{\"model\":\"a \\\"model\\\"\",\"messages\":[{\"role\":\"system\",\"content\":\"be kind\"},"
        "{\"role\":\"user\",\"content\":\"1\"},{\"role\":\"assistant\",\"content\":\"2\"},"
        "{\"role\":\"user\",\"content\":\"a\\nb\"}]}");
}

static void every_byte_escaped_still_fits(void **state)
{
    (void)state;
    char *question = malloc(100001);
    memset(question, 1, 100000);
    question[100000] = 0;
    char *body = build("", "", question);
    assert_int_equal(strlen(body), strlen("{\"model\":\"a \\\"model\\\"\",\"messages\":["
                                          "{\"role\":\"user\",\"content\":\"\"}]}") +
                                       600000);
    free(body);
    free(question);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(every_byte_escaped_still_fits),
    };
    return RUN(tests);
}
