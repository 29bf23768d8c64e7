#!/usr/bin/env bash
# Runs test suites and adds up what they say. The last line is the sum: N passed, N failed, N skipped.
# Usage: scripts/test-all.sh SUITE...   each is `make test-SUITE` (layers: `make layers`)
#        scripts/test-all.sh --sum      only the sum of all suites that build/test knows
# A suite that fails without naming a test, or that runs none, counts as one failure.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
results=build/test
mkdir -p "$results"

# What cmocka, pg_prove or bare TAP, and pytest say in a log: "passed failed skipped".
count() {
    awk '
        { gsub(/\033\[[0-9;]*m/, "") }

        # cmocka: "[  PASSED  ] 3 test(s)." The same words without a number name one test each.
        /^\[  PASSED  \] [0-9]+ test/ { passed += $4 }
        /^\[  FAILED  \] [0-9]+ test/ { failed += $4 }
        /^\[  SKIPPED \] [0-9]+ test/ { skipped += $4 }

        # pg_prove: "Files=3, Tests=40, ..." and, for each bad file, "... Tests: 12 Failed: 2)"
        /^Files=[0-9]+, Tests=[0-9]+/ { split($2, part, /[=,]/); proved += part[2]; has_prove = 1 }
        /\(Wstat: .* Failed: [0-9]+\)/ { text = $0; sub(/.*Failed: /, "", text); unproved += text }
        /less [0-9]+ skipped subtest/ { text = $0; sub(/.*less /, "", text); unasked += text }
        # bare TAP
        /^ok [0-9]+/ { if (tolower($0) ~ /# *skip/) tap_skipped++; else tap_passed++ }
        /^not ok [0-9]+/ { if (tolower($0) ~ /# *todo/) tap_skipped++; else tap_failed++ }

        # pytest: "== 1 failed, 3 passed, 2 skipped in 1.20s ==", with or without the frame
        /^(=+ )?[0-9]+ (passed|failed|skipped|error|errors|deselected|xfailed|xpassed|warnings?)(,.*)? in [0-9.]+s/ {
            line = $0
            gsub(/[=,]/, " ", line)
            n = split(line, word, " ")
            for (i = 2; i <= n; i++) {
                if (word[i] == "passed" || word[i] == "xpassed") passed += word[i - 1]
                if (word[i] == "failed" || word[i] ~ /^errors?$/) failed += word[i - 1]
                if (word[i] == "skipped" || word[i] == "xfailed") skipped += word[i - 1]
            }
        }

        END {
            if (has_prove) { passed += proved - unproved - unasked; failed += unproved; skipped += unasked }
            else { passed += tap_passed; failed += tap_failed; skipped += tap_skipped }
            print passed + 0, failed + 0, skipped + 0
        }' "$1"
}

run_suite() {
    local suite=$1 target=test-$1 status passed failed skipped
    [ "$suite" != layers ] || target=layers
    echo "==== $suite"
    "${MAKE:-make}" --no-print-directory "$target" 2>&1 | tee "$results/$suite.log"
    status=${PIPESTATUS[0]}
    read -r passed failed skipped < <(count "$results/$suite.log")
    if [ "$suite" = layers ] && [ "$status" = 0 ]; then passed=1; fi
    if [ "$status" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
    if [ $((passed + failed)) = 0 ]; then failed=1; fi
    echo "$passed $failed $skipped" >"$results/$suite.count"
}

# sum FILE...: a line a suite, then the sum; false when anything failed.
sum() {
    local file passed failed skipped total=(0 0 0)
    echo
    for file; do
        [ -f "$file" ] || continue
        read -r passed failed skipped <"$file"
        printf '%-8s %6d passed %4d failed %4d skipped\n' "$(basename "$file" .count)" "$passed" "$failed" "$skipped"
        total=($((total[0] + passed)) $((total[1] + failed)) $((total[2] + skipped)))
    done
    echo "${total[0]} passed, ${total[1]} failed, ${total[2]} skipped"
    [ "${total[1]}" = 0 ] && [ "${total[0]}" -gt 0 ]
}

if [ "${1:-}" = --sum ]; then
    sum "$results"/*.count
    exit
fi
# What else is handed down by make (a jobserver, SAN=...) is not meant for the suites.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL
files=()
for suite; do
    run_suite "$suite"
    files+=("$results/$suite.count")
done
sum "${files[@]}"
