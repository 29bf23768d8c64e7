#include <string.h>

#include "core/verify.h"

static bool is_same(const struct hash *a, const struct hash *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static bool is_signed_well(const struct seal *s, const struct verify_kept *kept)
{
    for (size_t i = 0; i < kept->keys_count; i++)
        if (seal_is_signed_by(s, kept->keys[i]))
            return true;
    return false;
}

/* The words are those of hansard_audit.verify_seals(), as far as it looks. NULL: fine, so far. */
static const char *seal_problem(const struct seal *s, const struct seal *before,
                                const struct trail_root *root)
{
    struct hash hash = seal_hash(s);
    if (s->no != before->no + 1)
        return "seal before missing";
    if (!is_same(&s->previous, &before->hash) || s->from_us != before->to_us)
        return "not made after the seal before";
    if (!is_same(&s->hash, &hash))
        return "hash does not fit";
    if (s->heads != root->heads)
        return "heads missing or added";
    return is_same(&s->root, &root->root) ? NULL : "heads changed";
}

static const char *signature_problem(const struct seal *s, const struct verify_kept *kept,
                                     struct verify_counts *counts)
{
    if (!s->is_signed)
        counts->unsigned_seals++;
    else if (kept->keys_count == 0)
        counts->unchecked_seals++;
    else if (!is_signed_well(s, kept))
        return "signature does not fit, or is by a key that is not known";
    return NULL;
}

/* A seal of the file that a standby need not have yet, or not its signature. */
static bool is_newer(const struct seal *k, const struct verify_kept *kept)
{
    return k->sealed_us > kept->until_us;
}

/* Against those of the file with numbers below or equal; at: the first that was not looked at. */
static const char *kept_problem(const struct seal *s, const struct verify_kept *kept, size_t *at,
                                struct verify_counts *counts)
{
    const char *problem = NULL;
    for (; *at < kept->count && kept->seals[*at].no == s->no; (*at)++) {
        const struct seal *k = &kept->seals[*at];
        struct hash hash = seal_hash(k);
        if (!is_same(&k->hash, &hash))
            problem = "the file's line is not a seal's";
        else if (!is_same(&k->hash, &s->hash))
            problem = "not the seal that the file holds";
        else if (k->is_signed && kept->keys_count > 0 && !is_signed_well(k, kept))
            problem = "the file's signature does not fit";
        else if (k->is_signed && !s->is_signed && is_newer(k, kept))
            counts->newer_seals++;
        else if (k->is_signed && !s->is_signed)
            problem = "signature missing, which the file holds";
    }
    return problem;
}

static void report_seal(int64_t no, const char *problem, const struct verify_watch *watch,
                        struct verify_counts *counts)
{
    counts->broken_seals++;
    watch->found_seal(watch->arg, no, problem);
}

/* Kept ones below this number that were not met. */
static void report_missing(int64_t below, const struct verify_kept *kept, size_t *at,
                           const struct verify_watch *watch, struct verify_counts *counts)
{
    for (; *at < kept->count && kept->seals[*at].no < below; (*at)++) {
        if (below == INT64_MAX && is_newer(&kept->seals[*at], kept))
            counts->newer_seals++;
        else
            report_seal(kept->seals[*at].no, "missing, though the file holds it", watch, counts);
    }
}

/* The next one after a number, and the root over its heads. */
static bool next_seal(struct trail *t, int64_t after, struct seal *s, struct trail_root *root,
                      bool *found, struct err *e)
{
    int failures = 0;
    while (!trail_seal(t, after, s, found, e) ||
           (*found && !trail_seal_root(t, s->no, s->heads, root, e)))
        if (!trail_again(t, &failures, e))
            return false;
    return true;
}

static bool lost_seal(struct trail *t, int64_t *lost, struct err *e)
{
    int failures = 0;
    while (!trail_lost_seal(t, lost, e))
        if (!trail_again(t, &failures, e))
            return false;
    return true;
}

bool verify_seals(struct trail *t, const struct verify_kept *kept, const struct verify_watch *watch,
                  struct verify_counts *counts, struct err *e)
{
    struct seal before = {.no = 0}, s;
    struct trail_root root;
    size_t at = 0;
    bool found = true;
    while (!*watch->is_stopped) {
        if (!next_seal(t, before.no, &s, &root, &found, e))
            return false;
        if (!found)
            break;
        counts->seals++;
        report_missing(s.no, kept, &at, watch, counts);
        const char *problem = seal_problem(&s, &before, &root);
        const char *signature = signature_problem(&s, kept, counts);
        const char *other = kept_problem(&s, kept, &at, counts);
        problem = problem ? problem : signature ? signature : other;
        if (problem)
            report_seal(s.no, problem, watch, counts);
        before = s;
    }
    if (found)
        return true; /* stopped */
    report_missing(INT64_MAX, kept, &at, watch, counts);
    int64_t lost;
    if (!lost_seal(t, &lost, e))
        return false;
    if (lost > before.no)
        report_seal(lost, "seal missing", watch, counts);
    return true;
}
