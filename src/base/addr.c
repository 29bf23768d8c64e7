#include "base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

static void set_ipv4(struct addr *a, const void *four_bytes)
{
    memcpy(a->bytes, mapped_prefix, sizeof mapped_prefix);
    memcpy(a->bytes + sizeof mapped_prefix, four_bytes, 4);
}

static bool is_ipv4(const struct addr *a)
{
    return memcmp(a->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
}

static struct span trimmed(struct span s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Decimal digits only, at most `digits` of them. */
static bool read_number(struct span s, size_t digits, unsigned *out)
{
    unsigned value = 0;
    if (s.len == 0 || s.len > digits)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(s.data[i] - '0');
    }
    *out = value;
    return true;
}

bool addr_parse(const char *text, size_t len, struct addr *out)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t four[4];
    if (len == 0 || len >= sizeof copy || memchr(text, '\0', len))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, four) == 1) {
        set_ipv4(out, four);
        return true;
    }
    return inet_pton(AF_INET6, copy, out->bytes) == 1;
}

bool addr_from_sockaddr(const struct sockaddr *sa, struct addr *out)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        set_ipv4(out, &in.sin_addr);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        memcpy(out->bytes, &in6.sin6_addr, sizeof out->bytes);
        return true;
    }
    return false;
}

static bool cidr_parse(struct span item, struct addr_cidr *out)
{
    const char *slash = memchr(item.data, '/', item.len);
    size_t address_len = slash ? (size_t)(slash - item.data) : item.len;
    if (!addr_parse(item.data, address_len, &out->net))
        return false;
    bool dotted = !memchr(item.data, ':', address_len);
    unsigned most = dotted ? 32 : 128, bits = most;
    if (slash) {
        struct span number = {slash + 1, item.len - address_len - 1};
        if (!read_number(number, 3, &bits) || bits > most)
            return false;
    }
    out->bits = dotted ? bits + 96 : bits;
    return true;
}

bool addr_cidrs_parse(const char *text, struct addr_cidrs *out)
{
    *out = (struct addr_cidrs){.count = 0};
    struct span rest = trimmed((struct span){text, strlen(text)});
    if (rest.len == 0)
        return true;
    for (;;) {
        const char *comma = memchr(rest.data, ',', rest.len);
        struct span item = {rest.data, comma ? (size_t)(comma - rest.data) : rest.len};
        if (out->count == ADDR_CIDRS || !cidr_parse(trimmed(item), &out->list[out->count])) {
            *out = (struct addr_cidrs){.count = 0};
            return false;
        }
        out->count++;
        if (!comma)
            return true;
        rest.len -= item.len + 1;
        rest.data = comma + 1;
    }
}

static bool is_within(const struct addr_cidr *cidr, const struct addr *a)
{
    unsigned whole = cidr->bits / 8, rest = cidr->bits % 8;
    if (memcmp(cidr->net.bytes, a->bytes, whole) != 0)
        return false;
    return rest == 0 || ((cidr->net.bytes[whole] ^ a->bytes[whole]) >> (8 - rest)) == 0;
}

bool addr_in(const struct addr_cidrs *list, const struct addr *a)
{
    for (size_t i = 0; i < list->count; i++)
        if (is_within(&list->list[i], a))
            return true;
    return false;
}

/* What is not public of IPv4, and of 2000::/3 (all the rest of IPv6 is not): the first 32 bits. */
struct block {
    uint32_t net;
    unsigned bits;
};

static bool is_in_block(const struct block *blocks, size_t count, uint32_t first)
{
    for (size_t i = 0; i < count; i++)
        if ((first ^ blocks[i].net) >> (32 - blocks[i].bits) == 0)
            return true;
    return false;
}

static bool is_public_ipv4(uint32_t address)
{
    static const struct block special[] = {
        {0x00000000, 8},  /* this network */
        {0x0A000000, 8},  /* private */
        {0x64400000, 10}, /* shared: carrier-grade NAT, and a cloud's metadata */
        {0x7F000000, 8},  /* loopback */
        {0xA83F8110, 32}, /* 168.63.129.16, the host of Azure's machines */
        {0xA9FE0000, 16}, /* link-local, and clouds' metadata */
        {0xAC100000, 12}, /* private */
        {0xC0000000, 24}, /* protocol assignments */
        {0xC0000200, 24}, /* documentation */
        {0xC0586300, 24}, /* 6to4 relays */
        {0xC0A80000, 16}, /* private */
        {0xC6120000, 15}, /* benchmarks */
        {0xC6336400, 24}, /* documentation */
        {0xCB007100, 24}, /* documentation */
        {0xE0000000, 4},  /* multicast */
        {0xF0000000, 4},  /* reserved, and broadcast */
    };
    return !is_in_block(special, COUNT_OF(special), address);
}

static bool is_public_ipv6(uint32_t first)
{
    static const struct block special[] = {
        {0x20010000, 23}, /* protocol assignments: Teredo, benchmarks, ORCHID */
        {0x20010DB8, 32}, /* documentation */
        {0x20020000, 16}, /* 6to4 */
        {0x3FFF0000, 20}, /* documentation */
    };
    return first >> 29 == 1 && !is_in_block(special, COUNT_OF(special), first);
}

bool addr_is_public(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        return is_public_ipv4(ntohl(in.sin_addr.s_addr));
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        uint32_t first;
        memcpy(&in6, sa, sizeof in6);
        memcpy(&first, &in6.sin6_addr, sizeof first);
        return is_public_ipv6(ntohl(first));
    }
    return false;
}

static bool is_port(struct span s)
{
    unsigned port;
    return read_number(s, 5, &port) && port <= 65535;
}

/* An element of X-Forwarded-For: an address, "ipv4:port", "[ipv6]" or "[ipv6]:port". */
static bool forwarded_parse(struct span item, struct addr *out)
{
    if (item.len == 0)
        return false;
    if (item.data[0] == '[') {
        const char *close = memchr(item.data, ']', item.len);
        if (!close)
            return false;
        size_t inner = (size_t)(close - item.data) - 1;
        struct span after = {close + 1, item.len - inner - 2};
        bool port_ok = after.len == 0 || (after.data[0] == ':' &&
                                          is_port((struct span){after.data + 1, after.len - 1}));
        return port_ok && memchr(item.data + 1, ':', inner) &&
               addr_parse(item.data + 1, inner, out);
    }
    const char *colon = memchr(item.data, ':', item.len);
    size_t before = colon ? (size_t)(colon - item.data) : item.len;
    if (colon && memchr(item.data, '.', before)) {
        struct span port = {colon + 1, item.len - before - 1};
        return is_port(port) && addr_parse(item.data, before, out);
    }
    return addr_parse(item.data, item.len, out);
}

struct addr addr_caller(const struct addr *peer, const char *forwarded_for,
                        const struct addr_cidrs *trusted)
{
    struct addr caller = *peer;
    size_t end = forwarded_for ? strlen(forwarded_for) : 0;
    bool more = end > 0;
    while (more && addr_in(trusted, &caller)) {
        size_t start = end;
        while (start > 0 && forwarded_for[start - 1] != ',')
            start--;
        struct addr next;
        if (!forwarded_parse(trimmed((struct span){forwarded_for + start, end - start}), &next))
            break;
        caller = next;
        more = start > 0;
        end = start - more; /* before the comma */
    }
    return caller;
}

void addr_limit_key(const struct addr *a, char out[LIMIT_ADDRESS_BYTES])
{
    static_assert(LIMIT_ADDRESS_BYTES >= INET6_ADDRSTRLEN + sizeof "/64", "the key fits");
    const char *done;
    if (is_ipv4(a)) {
        done = inet_ntop(AF_INET, a->bytes + sizeof mapped_prefix, out, LIMIT_ADDRESS_BYTES);
    } else {
        uint8_t net[16] = {0};
        memcpy(net, a->bytes, 8);
        done = inet_ntop(AF_INET6, net, out, LIMIT_ADDRESS_BYTES);
        memcpy(out + strlen(out), "/64", sizeof "/64");
    }
    assert(done);
    (void)done;
}
