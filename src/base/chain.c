#include "base/chain.h"

#include "base/pack.h"

static struct span span_of(const void *bytes, size_t len)
{
    return (struct span){bytes, len};
}

struct hash chain_session_key(const struct uuid *user, struct span session_id)
{
    const struct span parts[] = {span_of(user ? "\1" : "\0", 1),
                                 span_of(user ? (const char *)user->bytes : "", user ? 16 : 0),
                                 session_id};
    return hash_sha256_joined(parts, COUNT_OF(parts));
}

struct hash chain_text_hash(struct span salt, struct span text)
{
    const struct span parts[] = {salt, text};
    return hash_sha256_joined(parts, COUNT_OF(parts));
}

struct hash chain_start(const struct uuid *conversation, struct span session_key,
                        int64_t created_us)
{
    static const char label[] = "hansard conversation 1";
    uint8_t at[8];
    pack_be(at, (uint64_t)created_us, sizeof at);
    const struct span parts[] = {span_of(label, sizeof label - 1), span_of(conversation->bytes, 16),
                                 session_key, span_of(at, sizeof at)};
    return hash_sha256_joined(parts, COUNT_OF(parts));
}

struct hash chain_next(struct span before, const struct uuid *conversation,
                       const struct chain_message *m)
{
    uint8_t place[4 + 2 + 4], at[8];
    uint8_t *end = pack_be(place, (uint32_t)m->turn_no, 4);
    end = pack_be(end, (uint16_t)m->position, 2);
    pack_be(end, m->role.len, 4);
    pack_be(at, (uint64_t)m->created_us, sizeof at);
    const struct span parts[] = {
        before,  span_of(conversation->bytes, 16), span_of(place, sizeof place),
        m->role, span_of(at, sizeof at),           m->text_hash};
    return hash_sha256_joined(parts, COUNT_OF(parts));
}
