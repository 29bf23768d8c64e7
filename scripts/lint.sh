#!/usr/bin/env bash
# clang-format, clang-tidy, cppcheck and shellcheck over what is ours. All are run, then it fails if one did.
# Usage: scripts/lint.sh PREPROCESSOR-FLAGS...
#
# shellcheck disable=SC2317 # functions are called by name, through step
set -uo pipefail

cd "$(dirname "$0")/.." || exit
failed=0
step() {
    echo "lint: $1"
    shift
    "$@" || failed=1
}

mapfile -t c_files < <(find src tests -name '*.[ch]' | sort)
# Of the tests only the form is checked: clang-tidy cannot know that cmocka's fail() does not return.
mapfile -t sources < <(find src -name '*.c' | sort)
mapfile -t scripts < <(
    find scripts deploy tests bench .ci -type f 2>/dev/null | sort | while read -r file; do
        case $file in
        *.sh) echo "$file" ;;
        *) head -c 64 "$file" | head -n 1 | grep -qaE '^#!.*[/ ](ba|da)?sh( |$)' && echo "$file" ;;
        esac
    done
)

tidy() {
    # shellcheck disable=SC2016 # for the inner shell
    printf '%s\0' "${sources[@]}" |
        xargs -0 -n 4 -P "$(nproc)" sh -c 'flags=$1; shift; clang-tidy --quiet "$@" -- $flags 2>/dev/null' \
            sh "-std=gnu11 $*"
}

# unusedStructMember and the style checks are of another taste than this code; what is left is about defects.
#   missingInclude*            the compiler checks includes
#   normalCheckLevelMaxBranches  only says that cppcheck thought less than it could
check() {
    cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j "$(nproc)" \
        --enable=warning,performance,portability \
        --suppress=missingInclude --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
        -D_GNU_SOURCE -D__SSE2__ -Isrc src
}

step clang-format clang-format --dry-run -Werror "${c_files[@]}"
step clang-tidy tidy "$@"
step cppcheck check
step shellcheck shellcheck "${scripts[@]}"
exit $failed
