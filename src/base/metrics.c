#include "base/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/version.h"

#define VALUES_MAX 24  /* values of one label */
#define BUCKETS_MAX 20 /* upper bounds of one histogram */

struct labels {
    const char *name;   /* NULL: no label, one series */
    const char *values; /* comma-separated */
};

struct series {
    const char *kind, *name, *help;
    struct labels labels;
};

struct histogram {
    const char *name, *help;
    struct labels labels;
    enum metric_bounds bounds;
};

/* Ascending; 0 ends them. */
static const double bounds[METRIC_BOUNDS_COUNT][BUCKETS_MAX + 1] = {
    [METRIC_SECONDS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
                        10, 30, 60, 120},
    [METRIC_ITEMS] = {1, 2, 4, 8, 16, 32, 48, 64},
};

/* Sums are whole millionths (microseconds of a duration), so that adding is one atomic addition;
 * 64 bits hold 290,000 years of waiting. */
struct distribution {
    _Atomic uint64_t buckets[BUCKETS_MAX + 1]; /* one a bound, then one above every bound */
    _Atomic int64_t sum_millionths;
};

#define KIND_COUNTER "counter"
#define KIND_GAUGE "gauge"

static const struct series series[METRIC_COUNT] = {
#define METRIC_ROW(kind, id, name, help, label, values)                                            \
    [METRIC_##id] = {KIND_##kind, name, help, {label, values}},
    METRIC_LIST(METRIC_ROW)
#undef METRIC_ROW
};

static const struct histogram histograms[METRIC_HISTOGRAM_COUNT] = {
#define METRIC_ROW(id, name, help, label, values, set)                                             \
    [METRIC_##id] = {name, help, {label, values}, set},
    METRIC_HISTOGRAM_LIST(METRIC_ROW)
#undef METRIC_ROW
};

static _Atomic int64_t cells[METRIC_COUNT][VALUES_MAX];
static struct distribution distributions[METRIC_HISTOGRAM_COUNT][VALUES_MAX];

/* ---- labels ---- */

static size_t value_count(const struct labels *l)
{
    size_t count = 1;
    for (const char *at = l->values; l->name && (at = strchr(at, ',')); at++)
        count++;
    assert(count <= VALUES_MAX);
    return count;
}

/* The value at the index, in place. */
static struct span value_at(const struct labels *l, size_t index)
{
    const char *at = l->values;
    for (; index > 0; index--)
        at = strchr(at, ',') + 1;
    return (struct span){at, strcspn(at, ",")};
}

size_t metrics_value_index(enum metric_id id, const char *value)
{
    assert((unsigned)id < METRIC_COUNT);
    size_t len = strlen(value), index = 0;
    for (const char *at = series[id].labels.values;; index++) {
        size_t here = strcspn(at, ",");
        if ((here == len && memcmp(at, value, len) == 0) || !at[here])
            return index;
        at += here + 1;
    }
}

/* ---- counting ---- */

void metrics_add(enum metric_id id, size_t value_index, int64_t n)
{
    assert((unsigned)id < METRIC_COUNT && value_index < VALUES_MAX);
    atomic_fetch_add_explicit(&cells[id][value_index], n, memory_order_relaxed);
}

void metrics_set(enum metric_id id, size_t value_index, int64_t n)
{
    assert((unsigned)id < METRIC_COUNT && value_index < VALUES_MAX);
    atomic_store_explicit(&cells[id][value_index], n, memory_order_relaxed);
}

int64_t metrics_get(enum metric_id id, size_t value_index)
{
    assert((unsigned)id < METRIC_COUNT && value_index < VALUES_MAX);
    return atomic_load_explicit(&cells[id][value_index], memory_order_relaxed);
}

void metrics_observe(enum metric_histogram_id id, size_t value_index, double value)
{
    assert((unsigned)id < METRIC_HISTOGRAM_COUNT && value_index < VALUES_MAX);
    const double *bound = bounds[histograms[id].bounds];
    struct distribution *d = &distributions[id][value_index];
    size_t bucket = 0;
    if (!(value > 0))
        value = 0; /* also what is not a number */
    if (value > 1e9)
        value = 1e9; /* the sum cannot overflow */
    while (bound[bucket] > 0 && value > bound[bucket])
        bucket++;
    atomic_fetch_add_explicit(&d->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&d->sum_millionths, (int64_t)(value * 1e6 + 0.5),
                              memory_order_relaxed);
}

/* ---- the page ---- */

static bool render_head(struct buf *out, const char *name, const char *help, const char *kind)
{
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static bool render_series(struct buf *out, enum metric_id id)
{
    const struct series *s = &series[id];
    bool ok = render_head(out, s->name, s->help, s->kind);
    size_t count = value_count(&s->labels);
    for (size_t i = 0; ok && i < count; i++) {
        int64_t n = metrics_get(id, i);
        struct span value = value_at(&s->labels, i);
        ok = s->labels.name ? buf_printf(out, "%s{%s=\"%.*s\"} %" PRId64 "\n", s->name,
                                         s->labels.name, (int)value.len, value.data, n)
                            : buf_printf(out, "%s %" PRId64 "\n", s->name, n);
    }
    return ok;
}

static bool render_distribution(struct buf *out, enum metric_histogram_id id, size_t index)
{
    const struct histogram *h = &histograms[id];
    struct distribution *d = &distributions[id][index];
    const double *bound = bounds[h->bounds];
    uint64_t below = 0;
    size_t bucket = 0;
    char label[64] = "";
    if (h->labels.name) {
        struct span value = value_at(&h->labels, index);
        snprintf(label, sizeof label, "%s=\"%.*s\"", h->labels.name, (int)value.len, value.data);
    }
    const char *comma = *label ? "," : "";
    bool ok = true;
    for (; ok && bound[bucket] > 0; bucket++) {
        below += atomic_load_explicit(&d->buckets[bucket], memory_order_relaxed);
        ok = buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", h->name, label, comma,
                        bound[bucket], below);
    }
    below += atomic_load_explicit(&d->buckets[bucket], memory_order_relaxed);
    double sum = (double)atomic_load_explicit(&d->sum_millionths, memory_order_relaxed) / 1e6;
    const char *open = *label ? "{" : "", *close = *label ? "}" : "";
    return ok &&
           buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", h->name, label, comma,
                      below) &&
           buf_printf(out, "%s_sum%s%s%s %.15g\n", h->name, open, label, close, sum) &&
           buf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", h->name, open, label, close, below);
}

static bool render_histogram(struct buf *out, enum metric_histogram_id id)
{
    const struct histogram *h = &histograms[id];
    bool ok = render_head(out, h->name, h->help, "histogram");
    size_t count = value_count(&h->labels);
    for (size_t i = 0; ok && i < count; i++)
        ok = render_distribution(out, id, i);
    return ok;
}

/* ---- the process ---- */

static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static double start_seconds; /* since 1970 */

static double seconds_of(clockid_t id)
{
    struct timespec t = {0};
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Field 22 of /proc/self/stat: ticks from boot to our start. */
static void find_start(void)
{
    char text[1024];
    unsigned long long ticks = 0;
    start_seconds = seconds_of(CLOCK_REALTIME);
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return;
    size_t len = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[len] = '\0';
    const char *at = strrchr(text, ')'); /* ends field 2, which may hold anything */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at && sscanf(at, " %llu", &ticks) == 1)
        start_seconds -= seconds_of(CLOCK_BOOTTIME) - (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t resident_bytes(void)
{
    unsigned long long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_fds(void)
{
    uint64_t count = 0;
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return 0;
    for (const struct dirent *entry; (entry = readdir(d));)
        count += entry->d_name[0] != '.';
    closedir(d);
    return count - 1; /* its own */
}

static double cpu_seconds(void)
{
    struct rusage r = {0};
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static bool render_process(struct buf *out)
{
    pthread_once(&start_once, find_start);
    return render_head(out, "process_resident_memory_bytes", "Resident memory size in bytes.",
                       "gauge") &&
           buf_printf(out, "process_resident_memory_bytes %" PRIu64 "\n", resident_bytes()) &&
           render_head(out, "process_open_fds", "Number of open file descriptors.", "gauge") &&
           buf_printf(out, "process_open_fds %" PRIu64 "\n", open_fds()) &&
           render_head(out, "process_cpu_seconds_total",
                       "Total user and system CPU time spent in seconds.", "counter") &&
           buf_printf(out, "process_cpu_seconds_total %.6f\n", cpu_seconds()) &&
           render_head(out, "process_start_time_seconds",
                       "Start time of the process since unix epoch in seconds.", "gauge") &&
           buf_printf(out, "process_start_time_seconds %.2f\n", start_seconds) &&
           render_head(out, "hansard_build_info", "The version that runs; always 1.", "gauge") &&
           buf_printf(out, "hansard_build_info{version=\"%s\"} 1\n", HANSARD_VERSION);
}

bool metrics_render(struct buf *out)
{
    bool ok = true;
    for (size_t i = 0; ok && i < METRIC_COUNT; i++)
        ok = render_series(out, (enum metric_id)i);
    for (size_t i = 0; ok && i < METRIC_HISTOGRAM_COUNT; i++)
        ok = render_histogram(out, (enum metric_histogram_id)i);
    return ok && render_process(out);
}
