#include "base/merkle.h"

static struct hash node(const struct hash *left, const struct hash *right)
{
    const struct span parts[] = {{"\1", 1},
                                 {(const char *)left->bytes, HASH_BYTES},
                                 {(const char *)right->bytes, HASH_BYTES}};
    return hash_sha256_joined(parts, COUNT_OF(parts));
}

void merkle_init(struct merkle *m)
{
    m->leaves = 0;
}

void merkle_add(struct merkle *m, struct span data)
{
    const struct span parts[] = {{"\0", 1}, data};
    struct hash h = hash_sha256_joined(parts, COUNT_OF(parts));
    size_t level = 0;
    for (uint64_t full = m->leaves; full & 1; full >>= 1, level++)
        h = node(&m->level[level], &h);
    m->level[level] = h;
    m->leaves++;
}

struct hash merkle_root(const struct merkle *m)
{
    if (m->leaves == 0)
        return hash_sha256("", 0);
    size_t level = (size_t)__builtin_ctzll(m->leaves);
    struct hash h = m->level[level];
    while (++level < COUNT_OF(m->level))
        if (m->leaves >> level & 1)
            h = node(&m->level[level], &h);
    return h;
}
