/* merkle — the root of a tree of hashes (RFC 6962, 2.1), leaf by leaf.
 *
 * Does:      leaves are SHA-256 of 00 and the data, nodes of 01 and both below; no leaf can be taken for a node.
 * Does not:  keep leaves: one hash a level is enough. Give proofs.
 * Threads:   one at a time.
 * Owns:      nothing.
 */
#pragma once

#include "base/hash.h"

struct merkle {
    uint64_t leaves;
    struct hash level[64]; /* of each bit set in leaves: the root over so many */
};

void merkle_init(struct merkle *m);
void merkle_add(struct merkle *m, struct span data);
struct hash merkle_root(const struct merkle *m); /* of no leaves: SHA-256 of nothing */
