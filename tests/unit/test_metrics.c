/* Numbers in Prometheus' text format. */
#include "unit.h"

#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/metrics.h"
#include "base/thread.h"
#include "base/version.h"

static char *page(void)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_true(metrics_render(&b));
    return buf_take(&b, NULL);
}

/* The number of the series written exactly so; fails when it is not there once. */
static double value_of(const char *text, const char *name)
{
    char start[200];
    snprintf(start, sizeof start, "\n%s ", name);
    const char *at = strstr(text, start);
    if (!at)
        fail_msg("no %s", name);
    assert_null(strstr(at + 1, start));
    return strtod(at + strlen(start), NULL);
}

static void counters_and_gauges(void **state)
{
    (void)state;
    size_t busy = metrics_value_index(METRIC_REFUSALS, "conversation_busy");
    metrics_add(METRIC_REFUSALS, busy, 2);
    metrics_add(METRIC_REFUSALS, busy, 1);
    metrics_add(METRIC_TURNS_OPEN, 0, 5);
    metrics_add(METRIC_TURNS_OPEN, 0, -7);
    metrics_set(METRIC_GATE_PERMITS, 0, 10);
    assert_int_equal(metrics_get(METRIC_REFUSALS, busy), 3);
    assert_int_equal(metrics_get(METRIC_TURNS_OPEN, 0), -2);
    char *text = page();
    assert_true(value_of(text, "hansard_refusals_total{reason=\"conversation_busy\"}") == 3);
    assert_true(value_of(text, "hansard_refusals_total{reason=\"rate_limited\"}") == 0);
    assert_true(value_of(text, "hansard_turns_open") == -2);
    assert_true(value_of(text, "hansard_gate_permits") == 10);
    assert_non_null(strstr(text, "# HELP hansard_turns_open Turns this worker holds.\n"
                                 "# TYPE hansard_turns_open gauge\n"));
    assert_non_null(strstr(text, "# TYPE hansard_refusals_total counter\n"));
    free(text);
}

static void values_are_found_by_name(void **state)
{
    (void)state;
    assert_int_equal(metrics_value_index(METRIC_HTTP_REQUESTS, "200"), 0);
    assert_int_equal(metrics_value_index(METRIC_HTTP_REQUESTS, "202"), 1);
    size_t last = metrics_value_index(METRIC_HTTP_REQUESTS, "other");
    assert_int_equal(metrics_value_index(METRIC_HTTP_REQUESTS, "599"), last);
    assert_int_equal(metrics_value_index(METRIC_HTTP_REQUESTS, "20"), last);
    assert_int_equal(metrics_value_index(METRIC_HTTP_REQUESTS, ""), last);
    assert_int_equal(metrics_value_index(METRIC_HTTP_REQUESTS, "200,202"), last);
    assert_int_equal(metrics_value_index(METRIC_TURNS, "fenced"), 4);
    assert_int_equal(metrics_value_index(METRIC_TURNS_OPEN, "anything"), 0); /* no label */
    metrics_add(METRIC_HTTP_REQUESTS, last, 1);
    char *text = page();
    assert_true(value_of(text, "hansard_http_requests_total{status=\"other\"}") == 1);
    free(text);
}

static void histograms_cumulate(void **state)
{
    (void)state;
    const double values[] = {1, 2, 3, 64, 65, 1000, 0, -5};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        metrics_observe(METRIC_LANE_BATCH, 1, values[i]);
    char *text = page();
    const struct {
        const char *bound;
        double count;
    } buckets[] = {{"1", 3}, {"2", 4}, {"4", 5}, {"8", 5}, {"48", 5}, {"64", 6}, {"+Inf", 8}};
    for (size_t i = 0; i < COUNT_OF(buckets); i++) {
        char name[100];
        snprintf(name, sizeof name, "hansard_lane_batch_items_bucket{kind=\"finish\",le=\"%s\"}",
                 buckets[i].bound);
        assert_true(value_of(text, name) == buckets[i].count);
    }
    assert_true(value_of(text, "hansard_lane_batch_items_count{kind=\"finish\"}") == 8);
    assert_true(value_of(text, "hansard_lane_batch_items_sum{kind=\"finish\"}") == 1135);
    assert_true(value_of(text, "hansard_lane_batch_items_count{kind=\"accept\"}") == 0);
    assert_non_null(strstr(text, "# TYPE hansard_lane_batch_items histogram\n"));
    free(text);
}

static void seconds_keep_their_fractions(void **state)
{
    (void)state;
    metrics_observe(METRIC_GATE_SECONDS, 0, 0.0005); /* on a bound: belongs to it */
    metrics_observe(METRIC_GATE_SECONDS, 0, 0.000501);
    metrics_observe(METRIC_GATE_SECONDS, 0, 119.5);
    char *text = page();
    assert_true(value_of(text, "hansard_gate_wait_seconds_bucket{le=\"0.0005\"}") == 1);
    assert_true(value_of(text, "hansard_gate_wait_seconds_bucket{le=\"0.001\"}") == 2);
    assert_true(value_of(text, "hansard_gate_wait_seconds_bucket{le=\"60\"}") == 2);
    assert_true(value_of(text, "hansard_gate_wait_seconds_bucket{le=\"120\"}") == 3);
    assert_true(value_of(text, "hansard_gate_wait_seconds_bucket{le=\"+Inf\"}") == 3);
    assert_true(fabs(value_of(text, "hansard_gate_wait_seconds_sum") - 119.501001) < 1e-9);
    free(text);
}

static void what_is_no_number_does_no_harm(void **state)
{
    (void)state;
    metrics_observe(METRIC_LLM_SECONDS, 0, NAN);
    metrics_observe(METRIC_LLM_SECONDS, 0, INFINITY);
    metrics_observe(METRIC_LLM_SECONDS, 0, -INFINITY);
    char *text = page();
    assert_true(value_of(text, "hansard_llm_duration_seconds_count") == 3);
    assert_true(value_of(text, "hansard_llm_duration_seconds_sum") == 1e9);
    free(text);
}

/* Every line is a comment or `name{labels} number`; every name has its HELP and TYPE before. */
static void the_page_is_well_formed(void **state)
{
    (void)state;
    char *text = page(), *at = text, type_name[100] = "", *line;
    assert_int_equal(text[strlen(text) - 1], '\n');
    while ((line = strsep(&at, "\n")) && *line) {
        if (strncmp(line, "# HELP ", 7) == 0)
            continue;
        if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_int_equal(sscanf(line + 7, "%99s", type_name), 1);
            continue;
        }
        assert_int_equal(strncmp(line, type_name, strlen(type_name)), 0);
        size_t name_len = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
        char *number = strrchr(line, ' '), *end;
        assert_true(line[name_len] == ' ' || line[name_len] == '{');
        if (line[name_len] == '{')
            assert_int_equal(number[-1], '}');
        strtod(number + 1, &end);
        assert_true(end > number + 1 && *end == '\0');
    }
    assert_string_equal(line, "");
    free(text);
}

static void every_row_is_on_the_page(void **state)
{
    (void)state;
    char *text = page();
#define FIND(kind, id, name, help, label, values) assert_non_null(strstr(text, "# TYPE " name " "));
    METRIC_LIST(FIND)
#undef FIND
#define FIND(id, name, help, label, values, buckets)                                               \
    assert_non_null(strstr(text, "# TYPE " name " histogram\n"));
    METRIC_HISTOGRAM_LIST(FIND)
#undef FIND
    free(text);
}

static int open_files(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void the_process_is_measured(void **state)
{
    (void)state;
    char *text = page();
    double memory = value_of(text, "process_resident_memory_bytes");
    double fds = value_of(text, "process_open_fds");
    double start = value_of(text, "process_start_time_seconds");
    double cpu = value_of(text, "process_cpu_seconds_total");
    assert_true(memory > 500e3 && memory < 2e9);
    assert_true(fds == open_files());
    assert_true(fabs((double)time(NULL) - start) < 60);
    assert_true(cpu >= 0 && cpu < 60);
    assert_true(value_of(text, "hansard_build_info{version=\"" HANSARD_VERSION "\"}") == 1);
    free(text);
    int more[2];
    assert_int_equal(pipe(more), 0);
    volatile char *block = malloc(64 << 20);
    for (size_t i = 0; i < 64 << 20; i += 1024)
        block[i] = 1;
    while (clock() < (clock_t)((cpu + 0.02) * CLOCKS_PER_SEC))
        ;
    text = page();
    assert_true(value_of(text, "process_open_fds") == fds + 2);
    assert_true(value_of(text, "process_resident_memory_bytes") > memory + (60 << 20));
    assert_true(value_of(text, "process_cpu_seconds_total") >= cpu + 0.015);
    assert_true(value_of(text, "process_start_time_seconds") == start);
    free(text);
    free((void *)block);
    close(more[0]);
    close(more[1]);
}

static void a_full_buffer_is_told(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_false(metrics_render(&b));
    buf_fini(&b);
}

static void *count_often(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        metrics_add(METRIC_LLM_TOKENS, 1, 2);
        metrics_observe(METRIC_LANE_SECONDS, 2, 0.25);
    }
    return arg;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        threads[i] = thread_start("counter", count_often, NULL);
    free(page()); /* while they count */
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metrics_get(METRIC_LLM_TOKENS, 1), 160000);
    char *text = page();
    assert_true(value_of(text, "hansard_lane_duration_seconds_count{kind=\"single\"}") == 80000);
    assert_true(value_of(text, "hansard_lane_duration_seconds_sum{kind=\"single\"}") == 20000);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges),
        cmocka_unit_test(values_are_found_by_name),
        cmocka_unit_test(histograms_cumulate),
        cmocka_unit_test(seconds_keep_their_fractions),
        cmocka_unit_test(what_is_no_number_does_no_harm),
        cmocka_unit_test(the_page_is_well_formed),
        cmocka_unit_test(every_row_is_on_the_page),
        cmocka_unit_test(the_process_is_measured),
        cmocka_unit_test(a_full_buffer_is_told),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };
    return RUN(tests);
}
