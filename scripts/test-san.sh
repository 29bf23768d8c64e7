#!/usr/bin/env bash
# Unit and end-to-end tests under a sanitizer; any report fails, also one of a program that went on.
# Usage: scripts/test-san.sh NAME FLAGS   (asan address,undefined; tsan thread), built by the Makefile before.
set -euo pipefail

name=$1 flags=$2
cd "$(dirname "$0")/.."
report=$PWD/build/$name/report
rm -f "$report".*

# What is found goes into files: processes of the stack have no terminal, and a test may not look at their logs.
common=log_path=$report:exitcode=99:print_summary=1
export ASAN_OPTIONS=$common:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=$common:print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=$common:halt_on_error=0:second_deadlock_stack=1:history_size=4
export STACK_READY_SECONDS=120
# These are about files around the programs, and take a while.
export PYTEST_ADDOPTS="${PYTEST_ADDOPTS:-} --ignore=tests/e2e/test_deploy.py --ignore=tests/e2e/test_fleet.py"
export TEST_SANITIZER=$name # tests may be more patient, and leave out what measures time

# ThreadSanitizer's memory map does not fit the wide address randomisation of newer kernels.
calm=()
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ]; then
    calm=(setarch "$(uname -m)" -R)
fi

failed=0
"${calm[@]}" "${MAKE:-make}" --no-print-directory SAN="$flags" test-unit || failed=1
"${calm[@]}" "${MAKE:-make}" --no-print-directory SAN="$flags" test-e2e || failed=1

for file in "$report".*; do
    [ -f "$file" ] || continue
    echo "== $file"
    cat "$file"
    failed=1
done
exit $failed
