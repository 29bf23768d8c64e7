/* Who is calling, and who only says so. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/addr.h"

static struct addr addr(const char *text)
{
    struct addr a;
    if (!addr_parse(text, strlen(text), &a))
        fail_msg("not an address: %s", text);
    return a;
}

static void expect_same(struct addr a, const char *text)
{
    struct addr b = addr(text);
    assert_memory_equal(&a, &b, sizeof a);
}

static void reads_both_families(void **state)
{
    (void)state;
    const uint8_t four[16] = {[10] = 0xFF, [11] = 0xFF, [12] = 192, [13] = 0, [14] = 2, [15] = 7};
    const uint8_t six[16] = {0x20, 0x01, 0x0D, 0xB8, [15] = 1};
    assert_memory_equal(addr("192.0.2.7").bytes, four, 16);
    assert_memory_equal(addr("::ffff:192.0.2.7").bytes, four, 16);
    assert_memory_equal(addr("2001:db8::1").bytes, six, 16);
    assert_memory_equal(addr("2001:0DB8:0000:0000:0000:0000:0000:0001").bytes, six, 16);
    struct addr a;
    assert_true(addr_parse("10.0.0.1,junk", 8, &a)); /* the length counts, not a NUL */
    expect_same(a, "10.0.0.1");
}

static void refuses_everything_else(void **state)
{
    (void)state;
    const char *const texts[] = {
        "",
        " ",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "1.2.3.04",
        "0x1.2.3.4",
        " 1.2.3.4",
        "1.2.3.4 ",
        "1.2.3.4:80",
        "[::1]",
        ":",
        ":::",
        "1::2::3",
        "::12345",
        "fe80::1%lo",
        "::1%1",
        "localhost",
        "1.2.3.-4",
        "1.2.3.+4",
        "::1/64",
        "1.2.3.4/8",
        "::1.2.3.256",
        "1:2:3:4:5:6:7:8:9",
        "0000:0000:0000:0000:0000:ffff:192.168.100.2280",
    };
    struct addr a;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (addr_parse(texts[i], strlen(texts[i]), &a))
            fail_msg("accepted: %s", texts[i]);
    assert_false(addr_parse("1.2.3.4\0", 8, &a));
    assert_false(addr_parse("::1\0x", 5, &a));
}

static void reads_sockets(void **state)
{
    (void)state;
    struct addr a;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000001)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    assert_true(addr_from_sockaddr((struct sockaddr *)&in, &a));
    expect_same(a, "127.0.0.1");
    assert_true(addr_from_sockaddr((struct sockaddr *)&in6, &a));
    expect_same(a, "::1");
    assert_false(addr_from_sockaddr((struct sockaddr *)&un, &a));
}

static bool is_in(const char *list, const char *text)
{
    struct addr_cidrs cidrs;
    if (!addr_cidrs_parse(list, &cidrs))
        fail_msg("not a list: %s", list);
    struct addr a = addr(text);
    return addr_in(&cidrs, &a);
}

static void blocks_hold_what_they_say(void **state)
{
    (void)state;
    const struct {
        const char *list, *inside, *outside;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.0.0.0/9", "10.127.255.255", "10.128.0.0"},
        {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
        {"192.0.2.6/31", "192.0.2.7", "192.0.2.8"},
        {"10.1.2.3/8", "10.200.0.1", "12.0.0.1"}, /* bits beyond the prefix do not count */
        {"0.0.0.0/0", "203.0.113.9", "::1"},
        {"::/0", "203.0.113.9", NULL},
        {"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
        {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"},
        {"::1", "::1", "::2"},
        {"::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.1"},
        {" 10.0.0.0/8 ,\t::1 ", "::1", "::2"},
        {"10.0.0.0/8,192.168.0.0/16,172.16.0.0/12", "172.31.255.255", "172.32.0.0"},
        {"", NULL, "127.0.0.1"},
        {"  ", NULL, "::"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (cases[i].inside && !is_in(cases[i].list, cases[i].inside))
            fail_msg("%s lacks %s", cases[i].list, cases[i].inside);
        if (cases[i].outside && is_in(cases[i].list, cases[i].outside))
            fail_msg("%s holds %s", cases[i].list, cases[i].outside);
    }
}

static void malformed_lists_are_refused(void **state)
{
    (void)state;
    const char *const texts[] = {
        ",",           "10.0.0.0/8,", ",10.0.0.0/8",    "10.0.0.0/8,,::1", "10.0.0.0/33",
        "::/129",      "10.0.0.0/",   "10.0.0.0/-1",    "10.0.0.0/+8",     "10.0.0.0/8x",
        "10.0.0.0 /8", "10.0.0.0/ 8", "10.0.0.0/0008",  "10.0.0.0/8 ::1",  "/8",
        "host/8",      "10.0.0.0//8", "10.0.0.0/8;::1",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct addr_cidrs cidrs;
        if (addr_cidrs_parse(texts[i], &cidrs))
            fail_msg("accepted: %s", texts[i]);
        assert_int_equal(cidrs.count, 0); /* nothing is trusted by half a list */
    }
}

static void a_list_has_an_exact_ceiling(void **state)
{
    (void)state;
    char text[ADDR_CIDRS * 16 + 32] = "";
    struct addr_cidrs cidrs;
    for (int i = 0; i < ADDR_CIDRS; i++)
        sprintf(text + strlen(text), "%s10.0.0.%d", i ? "," : "", i);
    assert_true(addr_cidrs_parse(text, &cidrs));
    assert_int_equal(cidrs.count, ADDR_CIDRS);
    strcat(text, ",10.1.0.0");
    assert_false(addr_cidrs_parse(text, &cidrs));
}

static struct addr caller(const char *peer, const char *forwarded_for)
{
    struct addr_cidrs trusted;
    struct addr p = addr(peer);
    assert_true(addr_cidrs_parse("10.0.0.0/8, fd00::/8", &trusted));
    return addr_caller(&p, forwarded_for, &trusted);
}

static void the_rightmost_untrusted_address_calls(void **state)
{
    (void)state;
    const struct {
        const char *peer, *forwarded_for, *caller;
    } cases[] = {
        {"10.0.0.1", NULL, "10.0.0.1"},
        {"10.0.0.1", "", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.7", "192.0.2.7"},
        {"10.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"}, /* the left one is only claimed */
        {"10.0.0.1", "192.0.2.7, 10.0.0.2,10.0.0.3", "192.0.2.7"},
        {"10.0.0.1", "192.0.2.7 ,\tfd00::5 , 10.0.0.3 ", "192.0.2.7"},
        {"10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"}, /* all trusted: the last one read */
        {"fd00::1", "2001:db8::7", "2001:db8::7"},
        /* an untrusted peer may say what it likes */
        {"192.0.2.1", "198.51.100.1", "192.0.2.1"},
        {"192.0.2.1", "10.0.0.5", "192.0.2.1"},
        {"::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"},
        /* ports, as some proxies add them */
        {"10.0.0.1", "192.0.2.7:4711", "192.0.2.7"},
        {"10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"},
        {"10.0.0.1", "[2001:db8::7]", "2001:db8::7"},
        {"10.0.0.1", "192.0.2.7, 10.0.0.2:65535", "192.0.2.7"},
        {"10.0.0.1", "192.0.2.7, [fd00::2]:1", "192.0.2.7"},
        /* malformed: the last one read counts */
        {"10.0.0.1", "unknown", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.7, unknown, 10.0.0.2", "10.0.0.2"},
        {"10.0.0.1", "192.0.2.7,", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.7,,10.0.0.2", "10.0.0.2"},
        {"10.0.0.1", "192.0.2.7:", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.7:65536", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.7:80:80", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.7:8x", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7]80", "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7]:", "10.0.0.1"},
        {"10.0.0.1", "[192.0.2.7]:80", "10.0.0.1"},
        {"10.0.0.1", "[]", "10.0.0.1"},
        {"10.0.0.1", "2001:db8::7%eth0", "10.0.0.1"},
        {"10.0.0.1", "[fe80::1%eth0]:80", "10.0.0.1"},
        {"10.0.0.1", "192.0.2.7 192.0.2.8", "10.0.0.1"},
        {"10.0.0.1", "for=192.0.2.7", "10.0.0.1"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct addr got = caller(cases[i].peer, cases[i].forwarded_for);
        struct addr want = addr(cases[i].caller);
        if (memcmp(&got, &want, sizeof got) != 0)
            fail_msg("%s, \"%s\": not %s", cases[i].peer,
                     cases[i].forwarded_for ? cases[i].forwarded_for : "(none)", cases[i].caller);
    }
}

static void nobody_is_trusted_by_default(void **state)
{
    (void)state;
    struct addr_cidrs none = {.count = 0};
    struct addr peer = addr("127.0.0.1");
    expect_same(addr_caller(&peer, "192.0.2.7", &none), "127.0.0.1");
}

static void ten_kilobytes_of_junk(void **state)
{
    (void)state;
    char text[10240 + 32];
    const char *const patterns[] = {",", " ", "10.0.0.2,", "[",       "]",
                                    ":", "a", "1.",        "[::1]:,", ", \t"};
    for (size_t p = 0; p < COUNT_OF(patterns); p++) {
        size_t n = strlen(patterns[p]);
        for (size_t i = 0; i < 10240; i++)
            text[i] = patterns[p][i % n];
        strcpy(text + 10240, ",192.0.2.7");
        expect_same(caller("10.0.0.1", text), "192.0.2.7");
        strcpy(text + 10240, ",192.0.2.7,10.0.0.4");
        expect_same(caller("10.0.0.1", text), "192.0.2.7");
        text[10240] = '\0';
        caller("10.0.0.1", text);
    }
}

static void keys_of_limits(void **state)
{
    (void)state;
    const struct {
        const char *address, *key;
    } cases[] = {
        {"192.0.2.7", "192.0.2.7"},
        {"::ffff:192.0.2.7", "192.0.2.7"},
        {"2001:db8:0:1::1", "2001:db8:0:1::/64"},
        {"2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"},
        {"2001:db8:0:2::1", "2001:db8:0:2::/64"},
        {"::1", "::/64"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::/64"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char key[LIMIT_ADDRESS_BYTES];
        struct addr a = addr(cases[i].address);
        addr_limit_key(&a, key);
        assert_string_equal(key, cases[i].key);
    }
}

static bool is_public(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return addr_is_public((const struct sockaddr *)&in);
    if (inet_pton(AF_INET6, text, &in6.sin6_addr) != 1)
        fail_msg("not an address: %s", text);
    return addr_is_public((const struct sockaddr *)&in6);
}

/* First and last address of each block that is not public, and the neighbours that are. */
static void what_is_public(void **state)
{
    (void)state;
    const struct {
        const char *before, *first, *last, *after; /* NULL: another block lies there */
    } blocks[] = {
        {NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0"},
        {"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
        {"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
        {"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
        {"168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"},
        {"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
        {"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
        {"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
        {"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
        {"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
        {"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
        {"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
        {"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
        {"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
        {"223.255.255.255", "224.0.0.0", "255.255.255.255", NULL},
        {NULL, "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"},
        {"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
         "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"},
        {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
         "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
        {"2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
         "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"},
        {"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
         "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"},
        {"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
         "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        if (is_public(blocks[i].first) || is_public(blocks[i].last))
            fail_msg("public: %s or %s", blocks[i].first, blocks[i].last);
        if ((blocks[i].before && !is_public(blocks[i].before)) ||
            (blocks[i].after && !is_public(blocks[i].after)))
            fail_msg("not public: a neighbour of %s", blocks[i].first);
    }
    /* Public or not, IPv4 within IPv6 is neither; nor is what has another family. */
    const char *const within[] = {
        "::1",     "::ffff:8.8.8.8", "::8.8.8.8",     "64:ff9b::8.8.8.8", "64:ff9b:1::1",
        "fe80::1", "fec0::1",        "fd00:ec2::254", "2002:808:808::",   "2001:0:808::",
        "ff02::1", "100::1",         "5f00::1",       "::ffff:0:8.8.8.8"};
    for (size_t i = 0; i < COUNT_OF(within); i++)
        if (is_public(within[i]))
            fail_msg("public: %s", within[i]);
    const struct sockaddr_un un = {.sun_family = AF_UNIX};
    assert_false(addr_is_public((const struct sockaddr *)&un));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_both_families),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(reads_sockets),
        cmocka_unit_test(blocks_hold_what_they_say),
        cmocka_unit_test(malformed_lists_are_refused),
        cmocka_unit_test(a_list_has_an_exact_ceiling),
        cmocka_unit_test(the_rightmost_untrusted_address_calls),
        cmocka_unit_test(nobody_is_trusted_by_default),
        cmocka_unit_test(ten_kilobytes_of_junk),
        cmocka_unit_test(keys_of_limits),
        cmocka_unit_test(what_is_public),
    };
    return RUN(tests);
}
