/* unit — what every unit test includes: cmocka with its prerequisites, in the order it wants. */
#pragma once

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#define RUN(tests) cmocka_run_group_tests(tests, NULL, NULL)
