/* fuzz_addr — addresses, CIDR lists and X-Forwarded-For.
 *
 * Run by `make fuzz`, or alone: build/fuzz/fuzz_addr -max_total_time=60 [corpus folder].
 * The input is a text used as each of the three in turn.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_same(const struct addr *a, const struct addr *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static struct addr known(const char *text)
{
    struct addr a;
    bool ok = addr_parse(text, strlen(text), &a);
    assert(ok);
    (void)ok;
    return a;
}

static void check_address(const char *text, size_t len)
{
    struct addr a, again, neighbour;
    char printed[INET6_ADDRSTRLEN], key[LIMIT_ADDRESS_BYTES], other[LIMIT_ADDRESS_BYTES];
    if (!addr_parse(text, len, &a))
        return;
    for (size_t i = 0; i < len; i++)
        assert(text[i] && strchr("0123456789abcdefABCDEF.:", text[i]));
    assert(inet_ntop(AF_INET6, a.bytes, printed, sizeof printed));
    again = known(printed);
    assert(is_same(&a, &again));
    memset(key, 'x', sizeof key);
    addr_limit_key(&a, key);
    assert(memchr(key, '\0', sizeof key));
    neighbour = a;
    neighbour.bytes[15] ^= 1;
    addr_limit_key(&neighbour, other);
    assert((strcmp(key, other) == 0) == (strchr(key, ':') != NULL)); /* one /64 is one caller */
}

static void check_list(const char *text)
{
    struct addr_cidrs list;
    if (!addr_cidrs_parse(text, &list)) {
        assert(list.count == 0);
        return;
    }
    assert(list.count <= ADDR_CIDRS);
    for (size_t i = 0; i < list.count; i++) {
        struct addr_cidr *cidr = &list.list[i];
        const struct addr_cidrs alone = {.list = {*cidr}, .count = 1};
        assert(cidr->bits <= 128 && addr_in(&list, &cidr->net) && addr_in(&alone, &cidr->net));
        for (unsigned bit = 0; bit < 128; bit++) {
            struct addr flipped = cidr->net;
            flipped.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
            assert(addr_in(&alone, &flipped) == (bit >= cidr->bits));
        }
    }
}

/* Whatever a caller writes in front changes nothing; an untrusted peer is itself. */
static void check_forwarded(const char *text)
{
    struct addr_cidrs trusted;
    struct addr proxy = known("10.0.0.1"), stranger = known("192.0.2.1");
    struct addr real = known("2001:db8::7"), got;
    struct buf longer;
    bool ok = addr_cidrs_parse("10.0.0.0/8,fd00::/8", &trusted);
    assert(ok);
    got = addr_caller(&stranger, text, &trusted);
    assert(is_same(&got, &stranger));
    buf_init(&longer, strlen(text) + 100);
    ok = buf_puts(&longer, text) && buf_puts(&longer, ", [2001:db8::7]:80 ,10.0.0.2");
    assert(ok);
    got = addr_caller(&proxy, longer.data, &trusted);
    assert(is_same(&got, &real));
    got = addr_caller(&proxy, text, &trusted);
    if (!addr_in(&trusted, &got)) { /* then the text ends in that address or in proxies after it */
        buf_reset(&longer);
        ok = buf_puts(&longer, text) && buf_puts(&longer, ",fd00::1");
        assert(ok);
        struct addr behind = addr_caller(&proxy, longer.data, &trusted);
        assert(is_same(&got, &behind));
    }
    buf_fini(&longer);
    (void)ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1), *text = malloc(size + 1);
    if (size) {
        memcpy(exact, data, size);
        memcpy(text, data, size);
    }
    text[size] = '\0';
    check_address(exact, size);
    check_list(text);
    check_forwarded(text);
    free(exact);
    free(text);
    return 0;
}
