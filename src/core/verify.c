#include "core/verify.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/chain.h"
#include "base/clock.h"

/* No longer does one snapshot hold back the database's cleaning. */
#define SNAPSHOT_MS 10000
#define TURNS_MOST ((size_t)64 << 20) /* of one conversation; a byte each */
#define SALT_BYTES 16

enum turn_mark {
    TURN_IS_COMPLETED = 1,
    TURN_HAS_QUESTION = 2,
    TURN_HAS_ANSWER = 4,
    TURN_IS_BLANKED = 8,
};

/* Classes, in the order of what they tell. The words are those of hansard_audit.verify(). */
enum finding_class {
    FOUND_HEADER,
    FOUND_SHAPE,
    FOUND_ROW,
    FOUND_HEAD,
    FOUND_SEAL,
    FOUND_LATE,
    FOUND_NOTHING
};

/* A conversation under way. */
struct look {
    struct trail *trail;
    struct uuid id;
    bool has_header, is_erased, is_being_erased;
    struct hash start;  /* has_header */
    bool has_start;     /* ... and its time can be hashed */
    struct hash before; /* chain hash stored with the message before */
    bool has_before;
    struct hash session_head;
    bool has_session_head;
    struct buf *turns; /* turn_mark of turn 1, 2, 3 … */
    int32_t gap;       /* number that is missing; 0: none */
    int64_t messages, erased;
    bool is_dropped;

    enum finding_class class;
    struct verify_finding finding;
};

static void note(struct look *l, enum finding_class class, int32_t turn_no, int16_t position,
                 const char *problem)
{
    if (class >= l->class)
        return;
    l->class = class;
    l->finding = (struct verify_finding){
        .conversation = l->id, .turn_no = turn_no, .position = position, .problem = problem};
}

static bool is_here(const struct look *l, enum trail_stream s)
{
    const struct uuid *at = trail_at(l->trail, s);
    return at && memcmp(at, &l->id, sizeof l->id) == 0;
}

static bool take_hash(struct span bytes, struct hash *out)
{
    if (!bytes.data || bytes.len != sizeof out->bytes)
        return false;
    memcpy(out->bytes, bytes.data, sizeof out->bytes);
    return true;
}

static struct span span_of(const struct hash *h)
{
    return (struct span){(const char *)h->bytes, sizeof h->bytes};
}

/* ---- header ---------------------------------------------------------------------------------- */

static bool look_at_header(struct look *l, struct err *e)
{
    struct trail_header h;
    struct uuid user;
    l->has_header = is_here(l, TRAIL_HEADERS);
    if (!l->has_header)
        return true;
    trail_header(l->trail, &h);
    l->is_erased = !h.session_id.data;
    l->is_being_erased = h.is_being_erased;
    l->has_start = h.created_us != INT64_MIN;
    l->start = chain_start(&l->id, h.session_key, h.created_us);
    l->has_session_head = h.session_head.data != NULL;
    if (!take_hash(h.session_head, &l->session_head))
        memset(&l->session_head, 0, sizeof l->session_head);
    if (h.user.data)
        memcpy(user.bytes, h.user.data, sizeof user.bytes);
    if (!l->is_erased) {
        struct hash key = chain_session_key(h.user.data ? &user : NULL, h.session_id);
        if (!hash_is(&key, &h.session_key))
            note(l, FOUND_HEADER, 0, 0, "owner or session id changed");
    }
    return trail_step(l->trail, TRAIL_HEADERS, e);
}

/* ---- shape ----------------------------------------------------------------------------------- */

static bool look_at_turns(struct look *l, struct err *e)
{
    for (; is_here(l, TRAIL_TURNS);) {
        struct trail_turn t;
        char mark = 0;
        trail_turn(l->trail, &t);
        if (t.is_completed)
            mark |= TURN_IS_COMPLETED;
        if (t.is_blanked)
            mark |= TURN_IS_BLANKED;
        if (l->gap == 0 && ((size_t)t.turn_no != l->turns->len + 1 || !buf_add(l->turns, &mark, 1)))
            l->gap = (int32_t)l->turns->len + 1;
        if (!trail_step(l->trail, TRAIL_TURNS, e))
            return false;
    }
    return true;
}

/* After all messages were seen. */
static void judge_shape(struct look *l)
{
    for (size_t i = 0; i < l->turns->len; i++) {
        int mark = (unsigned char)l->turns->data[i];
        if (!(mark & TURN_HAS_QUESTION)) {
            note(l, FOUND_SHAPE, (int32_t)i + 1, 1, "question missing");
            return;
        }
        if ((mark & TURN_IS_COMPLETED) && !(mark & TURN_HAS_ANSWER)) {
            note(l, FOUND_SHAPE, (int32_t)i + 1, 2, "answer missing");
            return;
        }
    }
    if (l->gap > 0 || l->turns->len == 0)
        note(l, FOUND_SHAPE, l->gap > 0 ? l->gap : 1, 0, "turn missing");
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool words_fit(const struct trail_message *m)
{
    if (!m->text.data && !m->salt.data)
        return true;
    if (!m->text.data || m->salt.len != SALT_BYTES)
        return false;
    struct hash h = chain_text_hash(m->salt, m->text);
    return hash_is(&h, &m->text_hash);
}

static bool chain_fits(const struct look *l, const struct trail_message *m)
{
    bool is_first = l->messages == 1;
    if (is_first ? !l->has_header : !l->has_before)
        return is_first; /* of a chain without header nobody knows where it begins */
    if (m->created_us == INT64_MIN || (is_first && !l->has_start))
        return false;
    const struct chain_message hashed = {.turn_no = m->turn_no,
                                         .position = m->position,
                                         .role = m->role,
                                         .created_us = m->created_us,
                                         .text_hash = m->text_hash};
    struct hash h = chain_next(span_of(is_first ? &l->start : &l->before), &l->id, &hashed);
    return hash_is(&h, &m->chain_hash);
}

static bool is_word(struct span s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.data, word, s.len) == 0;
}

static const char *problem_of(const struct look *l, const struct trail_message *m)
{
    bool is_erased = !m->text.data && !m->salt.data;
    bool has_turn = m->turn_no > 0 && (size_t)m->turn_no <= l->turns->len;
    bool is_blanked = has_turn && (l->turns->data[m->turn_no - 1] & TURN_IS_BLANKED);
    if (!words_fit(m))
        return "words changed";
    if (is_erased && !is_blanked)
        return "words taken away, but not by erasing the conversation";
    if (!is_erased && l->has_header && l->is_erased && !l->is_being_erased)
        return "session id taken away, but not by erasing the conversation";
    if (!is_erased && is_blanked)
        return "words left in a turn that was blanked";
    if (!chain_fits(l, m))
        return "chain broken";
    if (!has_turn)
        return "turn missing";
    if (!(m->position == 1 && is_word(m->role, "user")) &&
        !(m->position == 2 && is_word(m->role, "assistant")))
        return "role out of place";
    return NULL;
}

static void note_seal(struct look *l, const struct verify_finding *f, enum finding_class class)
{
    if (class >= l->class)
        return;
    l->class = class;
    l->finding = *f;
    l->finding.conversation = l->id;
}

/* The seal before the first one that holds the message; the last one, when none does: it must not reach that far. */
static void judge_time(struct look *l, const struct trail_message *m)
{
    int64_t until_us = trail_sealed(l->trail)->until_us;
    int64_t seal_no = trail_sealed(l->trail)->seal_no;
    if (is_here(l, TRAIL_HEADS)) {
        struct trail_head h;
        trail_head(l->trail, &h);
        until_us = h.from_us;
        seal_no = h.seal_no - 1;
    }
    if (seal_no <= 0 || m->created_us > until_us)
        return;
    const struct verify_finding late = {.turn_no = m->turn_no,
                                        .position = m->position,
                                        .problem = "said before seal ",
                                        .seal_no = seal_no,
                                        .rest = ", but not in it"};
    note_seal(l, &late, FOUND_LATE);
}

/* Heads of seals that were taken when there were as many messages as now, or fewer than there can have been; now is after
 * the message m, or, when that is NULL, after the last. */
static bool look_at_heads(struct look *l, const struct trail_message *m, struct err *e)
{
    while (is_here(l, TRAIL_HEADS)) {
        struct trail_head h;
        struct hash head;
        trail_head(l->trail, &h);
        if (m && h.messages > l->messages)
            return true;
        bool is_there = m && h.messages == l->messages;
        const struct verify_finding other = {.turn_no = is_there ? m->turn_no : 0,
                                             .position = is_there ? m->position : 0,
                                             .problem = "not what seal ",
                                             .seal_no = h.seal_no,
                                             .rest = " holds"};
        if (!is_there || !take_hash(h.head, &head) || !hash_is(&head, &m->chain_hash))
            note_seal(l, &other, FOUND_SEAL);
        if (!trail_step(l->trail, TRAIL_HEADS, e))
            return false;
    }
    return true;
}

static bool look_at_messages(struct look *l, struct err *e)
{
    while (is_here(l, TRAIL_MESSAGES)) {
        struct trail_message m;
        trail_message(l->trail, &m);
        l->messages++;
        l->erased += !m.text.data && !m.salt.data;
        const char *problem = problem_of(l, &m);
        if (problem)
            note(l, FOUND_ROW, m.turn_no, m.position, problem);
        if (m.turn_no > 0 && (size_t)m.turn_no <= l->turns->len && m.position >= 1 &&
            m.position <= 2)
            l->turns->data[m.turn_no - 1] |= m.position == 1 ? TURN_HAS_QUESTION : TURN_HAS_ANSWER;
        l->has_before = take_hash(m.chain_hash, &l->before);
        judge_time(l, &m);
        if (!look_at_heads(l, &m, e) || !trail_step(l->trail, TRAIL_MESSAGES, e))
            return false;
    }
    return look_at_heads(l, NULL, e);
}

/* ---- a conversation -------------------------------------------------------------------------- */

static bool look_at_conversation(struct look *l, struct err *e)
{
    if (!look_at_header(l, e) || !look_at_turns(l, e) || !look_at_messages(l, e))
        return false;
    if (!l->has_header && l->turns->len == 0 && l->gap == 0 && l->messages == 0) {
        /* Only seals speak of it. */
        l->class = FOUND_NOTHING;
        l->is_dropped = trail_is_dropped(l->trail, &l->id);
        if (!l->is_dropped)
            note(l, FOUND_HEADER, 0, 0, "conversation missing");
        return true;
    }
    if (!l->has_header)
        note(l, FOUND_HEADER, 0, 0, "header missing");
    judge_shape(l);
    struct span newest = span_of(&l->before);
    if (l->has_session_head &&
        (l->messages == 0 || !l->has_before || !hash_is(&l->session_head, &newest)))
        note(l, FOUND_HEAD, 0, 0, "newest message missing");
    return true;
}

/* The first in the streams; false: they are at their ends. */
static bool next_id(const struct trail *t, struct uuid *out)
{
    bool found = false;
    for (int i = 0; i < TRAIL_STREAMS; i++) {
        const struct uuid *at = trail_at(t, (enum trail_stream)i);
        if (at && (!found || memcmp(at, out, sizeof *out) < 0)) {
            *out = *at;
            found = true;
        }
    }
    return found;
}

static void count(const struct look *l, const struct verify_watch *watch, struct verify_counts *c)
{
    c->conversations += !l->is_dropped;
    c->gone += l->is_dropped;
    c->messages += l->messages;
    c->erased += l->erased;
    if (l->class != FOUND_NOTHING) {
        c->broken++;
        watch->found(watch->arg, &l->finding);
    }
    watch->passed(watch->arg, &l->id);
}

struct walk {
    struct trail *trail;
    const struct verify_watch *watch;
    struct verify_counts *counts;
    struct trail_range rest;
    struct uuid at; /* the last one that is done with */
    int failures;   /* since then */
    struct buf turns;
};

/* One snapshot long. is_whole: the end was reached. */
static bool walk_a_while(struct walk *w, bool *is_whole, struct err *e)
{
    int64_t until_ms = clock_mono_ms() + SNAPSHOT_MS;
    if (!trail_begin(w->trail, &w->rest, e))
        return false;
    while (!*w->watch->is_stopped && clock_mono_ms() < until_ms) {
        struct look look = {.trail = w->trail, .turns = &w->turns, .class = FOUND_NOTHING};
        *is_whole = !next_id(w->trail, &look.id);
        if (*is_whole)
            break;
        buf_reset(&w->turns);
        if (!look_at_conversation(&look, e))
            return false;
        count(&look, w->watch, w->counts);
        w->at = look.id;
        w->rest.after = &w->at;
        w->failures = 0;
    }
    return trail_end(w->trail, e);
}

static void found_stray(void *arg, const struct uuid *id)
{
    struct walk *w = arg;
    w->counts->broken++;
    const struct verify_finding finding = {.conversation = *id, .problem = "conversation missing"};
    w->watch->found(w->watch->arg, &finding);
}

bool verify_conversations(struct trail *t, const struct trail_range *range,
                          const struct verify_watch *watch, struct verify_counts *counts,
                          struct err *e)
{
    struct walk w = {.trail = t, .watch = watch, .counts = counts, .rest = *range};
    bool is_whole = false, ok = true;
    buf_init(&w.turns, TURNS_MOST);
    while (ok && !is_whole && !*watch->is_stopped) {
        ok = walk_a_while(&w, &is_whole, e);
        is_whole = is_whole || (range->only && w.rest.after);
        ok = ok || trail_again(t, &w.failures, e);
    }
    while (ok && is_whole && (!range->only || counts->conversations == 0)) {
        if (trail_strays(t, range, found_stray, &w, e))
            break;
        ok = trail_again(t, &w.failures, e);
    }
    buf_fini(&w.turns);
    return ok;
}
