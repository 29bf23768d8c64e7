#include "base/config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "base/utf8.h"

enum kind { KIND_TEXT, KIND_SECRET, KIND_COUNT, KIND_BYTES, KIND_DURATION, KIND_CHOICE };

struct row {
    enum kind kind;
    size_t offset; /* of the field in struct config */
    const char *variable;
    const char *choices; /* KIND_CHOICE: "a|b|c" */
    int64_t least, most; /* every other kind */
    const char *preset, *unit, *help;
};

#define BOUNDS_TEXT(low, high) .least = (low), .most = (high)
#define BOUNDS_SECRET(low, high) .least = (low), .most = (high)
#define BOUNDS_COUNT(low, high) .least = (low), .most = (high)
#define BOUNDS_BYTES(low, high) .least = (low), .most = (high)
#define BOUNDS_DURATION(low, high) .least = (low), .most = (high)
#define BOUNDS_CHOICE(names, unused) .choices = (names)

static const struct row rows[] = {
#define CONFIG_ROW(k, field, name, low, high, value, units, text)                                  \
    {.kind = KIND_##k,                                                                             \
     .offset = offsetof(struct config, field),                                                     \
     .variable = (name),                                                                           \
     BOUNDS_##k(low, high),                                                                        \
     .preset = (value),                                                                            \
     .unit = (units),                                                                              \
     .help = (text)},
    CONFIG_LIST(CONFIG_ROW)
#undef CONFIG_ROW
};

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first: a number is printed in the first unit that divides it. */
static const struct unit duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                             {"s", 1000},     {"ms", 1},      {NULL, 0}};
static const struct unit byte_units[] = {{"M", 1048576}, {"k", 1024}, {"", 1}, {NULL, 0}};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum kind kind)
{
    return kind == KIND_DURATION ? duration_units : kind == KIND_BYTES ? byte_units : count_units;
}

static bool is_number(const struct row *row)
{
    return row->kind == KIND_COUNT || row->kind == KIND_BYTES || row->kind == KIND_DURATION;
}

static char **text_field(struct config *c, const struct row *row)
{
    return (char **)((char *)c + row->offset);
}

static int64_t *number_field(struct config *c, const struct row *row)
{
    return (int64_t *)((char *)c + row->offset);
}

#define NUMBER_TEXT_BYTES 24
static const char *number_text(const struct row *row, int64_t value, char out[NUMBER_TEXT_BYTES])
{
    const struct unit *unit = units_of(row->kind);
    while (value == 0 ? unit[1].name != NULL : value % unit->factor != 0)
        unit++;
    snprintf(out, NUMBER_TEXT_BYTES, "%" PRId64 "%s", value / unit->factor, unit->name);
    return out;
}

static bool bounds_err(const struct row *row, struct err *e)
{
    char low[NUMBER_TEXT_BYTES], high[NUMBER_TEXT_BYTES];
    if (row->kind == KIND_CHOICE)
        return err_set(e, ERR_BAD_FIELD, "%s must be one of %s", row->variable, row->choices);
    number_text(row, row->least, low);
    number_text(row, row->most, high);
    if (is_number(row))
        return err_set(e, ERR_BAD_FIELD, "%s must be from %s to %s (%s)", row->variable, low, high,
                       row->unit);
    return err_set(e, ERR_BAD_FIELD, "%s must have from %s to %s bytes", row->variable, low, high);
}

/* A number and one of the kind's units, no blank between; a bare 0 is a duration too. */
static bool read_number(const struct row *row, const char *text, int64_t *out)
{
    int64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *at - '0', &value))
            return false;
    if (at == text)
        return false;
    for (const struct unit *unit = units_of(row->kind); unit->name; unit++)
        if (strcmp(at, unit->name) == 0)
            return !__builtin_mul_overflow(value, unit->factor, out);
    *out = 0;
    return value == 0 && *at == '\0';
}

static bool is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);
    for (const char *at = choices;; at++) {
        size_t choice_len = strcspn(at, "|");
        if (choice_len == len && memcmp(at, text, len) == 0)
            return true;
        at += choice_len;
        if (!*at)
            return false;
    }
}

static bool read_row(struct config *c, const struct row *row, const char *text, struct err *e)
{
    if (is_number(row)) {
        int64_t *field = number_field(c, row);
        return (read_number(row, text, field) && *field >= row->least && *field <= row->most) ||
               bounds_err(row, e);
    }
    size_t len = strlen(text);
    if (row->kind == KIND_CHOICE ? !is_choice(row->choices, text)
                                 : len < (size_t)row->least || len > (size_t)row->most)
        return bounds_err(row, e);
    if (!utf8_is_valid(text, len))
        return err_set(e, ERR_BAD_FIELD, "%s must be valid UTF-8", row->variable);
    *text_field(c, row) = mem_copy(text, len);
    return true;
}

/* "host:port", "[ipv6]:port"; ":port" and "*:port" for every address. */
static bool is_listen(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (!colon || utf8_has_control(text, strlen(text)))
        return false;
    size_t host_len = (size_t)(colon - text), digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] || atoi(colon + 1) > 65535 ||
        atoi(colon + 1) == 0)
        return false;
    if (text[0] == '[') {
        struct addr ignored;
        return host_len > 2 && text[host_len - 1] == ']' && memchr(text, ':', host_len) &&
               addr_parse(text + 1, host_len - 2, &ignored);
    }
    return strcspn(text, ":[]/ ") == host_len;
}

static bool is_base_url(const char *text)
{
    size_t scheme = strncmp(text, "http://", 7) == 0    ? 7
                    : strncmp(text, "https://", 8) == 0 ? 8
                                                        : 0;
    return scheme > 0 && text[scheme] != '\0' && text[scheme] != '/' && !strpbrk(text, " ?#");
}

/* "host" or "host:port". */
static bool is_host(struct span item)
{
    const char *colon = memchr(item.data, ':', item.len);
    size_t host_len = colon ? (size_t)(colon - item.data) : item.len;
    size_t port_len = item.len - host_len - (colon != NULL);
    long port = colon ? strtol(colon + 1, NULL, 10) : 1;
    return host_len > 0 && host_len <= 253 &&
           strspn(item.data, "abcdefghijklmnopqrstuvwxyz0123456789.-") == host_len &&
           (!colon || (port_len > 0 && strspn(colon + 1, "0123456789") == port_len)) &&
           port_len <= 5 && port >= 1 && port <= 65535;
}

static bool is_host_list(const char *text)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        if (!is_host((struct span){text, len}))
            return false;
        if (!text[len])
            return true;
        text += len + 1;
    }
}

#define KEY_BYTES_LEAST 24
static bool read_webhook_key(struct config *c)
{
    static const char prefix[] = "whsec_";
    size_t prefix_len = sizeof prefix - 1;
    struct config_key *key = &c->webhook_key;
    return strncmp(c->webhook_secret, prefix, prefix_len) == 0 &&
           base64_decode(c->webhook_secret + prefix_len, sizeof key->bytes, key->bytes,
                         &key->len) &&
           key->len >= KEY_BYTES_LEAST;
}

static bool check_webhooks(struct config *c, struct err *e)
{
    if (*c->webhook_hosts && !is_host_list(c->webhook_hosts))
        return err_set(e, ERR_BAD_FIELD,
                       "HANSARD_WEBHOOK_HOSTS must be host names in lower case, each with or "
                       "without a port, with commas and no blanks between");
    if ((*c->webhook_hosts || *c->webhook_secret) && !read_webhook_key(c))
        return err_set(e, ERR_BAD_FIELD,
                       "HANSARD_WEBHOOK_SECRET must be whsec_ and %d to %d bytes in base64",
                       KEY_BYTES_LEAST, CONFIG_KEY_BYTES_MOST);
    return true;
}

struct setting {
    const char *variable, *text;
};

/* What one row alone cannot say. */
static bool check_shapes(struct config *c, struct err *e)
{
    const struct setting one_line[] = {
        {"HANSARD_LLM_URL", c->llm_url},
        {"HANSARD_LLM_API_KEY", c->llm_api_key},
        {"HANSARD_LLM_MODEL", c->llm_model},
        {"HANSARD_LLM_FALLBACK_URL", c->llm_fallback_url},
        {"HANSARD_LLM_FALLBACK_API_KEY", c->llm_fallback_api_key},
        {"HANSARD_LLM_FALLBACK_MODEL", c->llm_fallback_model},
    };
    const struct setting bases[] = {
        {"HANSARD_LLM_URL", c->llm_url},
        {"HANSARD_LLM_FALLBACK_URL", c->llm_fallback_url},
    };
    for (size_t i = 0; i < COUNT_OF(one_line); i++)
        if (utf8_has_control(one_line[i].text, strlen(one_line[i].text)))
            return err_set(e, ERR_BAD_FIELD, "%s must not hold control characters",
                           one_line[i].variable);
    if (!is_listen(c->listen))
        return err_set(e, ERR_BAD_FIELD, "HANSARD_LISTEN must be host:port");
    for (size_t i = 0; i < COUNT_OF(bases); i++)
        if (*bases[i].text && !is_base_url(bases[i].text))
            return err_set(e, ERR_BAD_FIELD, "%s must be an http:// or https:// URL without query",
                           bases[i].variable);
    if (!addr_cidrs_parse(c->trusted_proxies, &c->trusted))
        return err_set(e, ERR_BAD_FIELD,
                       "HANSARD_TRUSTED_PROXIES must be at most %d addresses or CIDR blocks with "
                       "commas between",
                       ADDR_CIDRS);
    return check_webhooks(c, e);
}

static bool is_known(const char *name, size_t len)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (strlen(rows[i].variable) == len && memcmp(rows[i].variable, name, len) == 0)
            return true;
#ifdef HANSARD_FAILPOINTS
    static const char *const for_tests[] = {"HANSARD_FAILPOINT", "HANSARD_WEBHOOK_TEST_CA"};
    for (size_t i = 0; i < COUNT_OF(for_tests); i++)
        if (strlen(for_tests[i]) == len && memcmp(for_tests[i], name, len) == 0)
            return true;
#endif
    return false;
}

static bool all_known(char *const *environment, struct err *e)
{
    for (; *environment; environment++) {
        size_t len = strcspn(*environment, "=");
        if (strncmp(*environment, "HANSARD_", 8) == 0 && !is_known(*environment, len))
            return err_set(e, ERR_BAD_FIELD, "%.*s is not a setting", len > 100 ? 100 : (int)len,
                           *environment);
    }
    return true;
}

static const char *value_of(const char *variable, char *const *environment)
{
    size_t len = strlen(variable);
    for (; *environment; environment++)
        if (strncmp(*environment, variable, len) == 0 && (*environment)[len] == '=')
            return *environment + len + 1;
    return NULL;
}

bool config_read(struct config *c, char *const *environment, struct err *e)
{
    *c = (struct config){.listen = NULL};
    bool ok = all_known(environment, e);
    for (size_t i = 0; ok && i < COUNT_OF(rows); i++) {
        const char *text = value_of(rows[i].variable, environment);
        ok = read_row(c, &rows[i], text ? text : rows[i].preset, e);
    }
    ok = ok && check_shapes(c, e);
    if (!ok)
        config_free(c);
    return ok;
}

void config_free(struct config *c)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (is_number(&rows[i]))
            continue;
        char *text = *text_field(c, &rows[i]);
        if (text && rows[i].kind == KIND_SECRET)
            explicit_bzero(text, strlen(text));
        free(text);
    }
    explicit_bzero(&c->webhook_key, sizeof c->webhook_key);
    *c = (struct config){.listen = NULL};
}

static void print_text(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if ((unsigned char)*text < 0x20 || *text == 0x7F)
            fprintf(out, "\\x%02x", (unsigned)*text);
        else
            fputc(*text, out);
    }
}

void config_print(const struct config *c, FILE *out)
{
    struct config copy = *c; /* the field helpers want one they could write to */
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        char number[NUMBER_TEXT_BYTES];
        fprintf(out, "%s=", row->variable);
        if (is_number(row))
            fputs(number_text(row, *number_field(&copy, row), number), out);
        else if (row->kind == KIND_SECRET)
            fputs(**text_field(&copy, row) ? "******" : "", out);
        else
            print_text(*text_field(&copy, row), out);
        fputc('\n', out);
    }
}

static void document_bounds(const struct row *row, FILE *out)
{
    char low[NUMBER_TEXT_BYTES], high[NUMBER_TEXT_BYTES];
    if (row->kind != KIND_CHOICE) {
        fprintf(out, "%s to %s%s", number_text(row, row->least, low),
                number_text(row, row->most, high), is_number(row) ? "" : " bytes");
        return;
    }
    for (const char *at = row->choices; *at; at++)
        if (*at == '|')
            fputs(", ", out);
        else
            fputc(*at, out);
}

void config_document(FILE *out)
{
    fputs(
        "# Configuration\n\n"
        "Every setting is an environment variable, read once at start. This page is generated\n"
        "by `hansard config --markdown`; `hansard config` prints the values in force, secrets\n"
        "masked. Durations are written `250ms`, `10s`, `5m`, `24h`, `90d`; sizes `65536`, `64k`,\n"
        "`1M`. An unknown `HANSARD_` name, a malformed value and a value out of its bounds are\n"
        "errors.\n\n"
        "| Variable | Default | Bounds | Unit | Meaning |\n"
        "|---|---|---|---|---|\n",
        out);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        fprintf(out, "| `%s` | ", row->variable);
        if (*row->preset)
            fprintf(out, "`%s`", row->preset);
        else
            fputs("(empty)", out);
        fputs(" | ", out);
        document_bounds(row, out);
        fprintf(out, " | %s | %s |\n", row->unit, row->help);
    }
}
