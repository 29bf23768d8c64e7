/* hex — the value of a hexadecimal digit.
 *
 * Does:      upper and lower case.
 * Does not:  read numbers: who has digits knows how many there must be.
 * Threads:   any.
 * Owns:      nothing.
 */
#pragma once

/* -1: it is none. */
static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}
