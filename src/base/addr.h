/* addr — who is calling, by address.
 *
 * Does:      reads addresses and CIDR lists; finds the caller behind trusted proxies; names the
 *            key of a limit; tells public addresses from all others.
 * Does not:  resolve names.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

#include <sys/socket.h>

#include "base/defs.h"
#include "base/limits.h"

struct addr {
    uint8_t bytes[16]; /* IPv6; IPv4 as mapped ::ffff:a.b.c.d */
};

#define ADDR_CIDRS 32
struct addr_cidr {
    struct addr net;
    unsigned bits; /* 0..128 over the mapped form */
};
struct addr_cidrs {
    struct addr_cidr list[ADDR_CIDRS];
    size_t count;
};

/* No port, no brackets, no zone. */
MUST_USE bool addr_parse(const char *text, size_t len, struct addr *out);
MUST_USE bool addr_from_sockaddr(const struct sockaddr *sa, struct addr *out);
/* "10.0.0.0/8, ::1"; an empty text is an empty list. false: malformed or too many. */
MUST_USE bool addr_cidrs_parse(const char *text, struct addr_cidrs *out);
/* Is this an address of the public internet, by IANA's registries of special-purpose addresses? false
 * for every other family, and for IPv4 within IPv6 in any of its forms. */
bool addr_is_public(const struct sockaddr *sa);
bool addr_in(const struct addr_cidrs *list, const struct addr *a);

/* The caller: the peer itself unless it is trusted; else the rightmost address of X-Forwarded-For
 * (NULL: none) that is not trusted; the last one read when all are trusted or the next is
 * malformed. */
struct addr addr_caller(const struct addr *peer, const char *forwarded_for,
                        const struct addr_cidrs *trusted);

/* The key a caller is counted under: "192.0.2.7", or the /64 of IPv6, "2001:db8:0:1::/64". */
void addr_limit_key(const struct addr *a, char out[LIMIT_ADDRESS_BYTES]);
