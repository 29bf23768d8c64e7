#!/usr/bin/env bash
# pgTAP over the stories here, then the written interleavings in races/, in a PostgreSQL of their own.
# Usage: tests/sql/run.sh [FILE...]   only these, .sql and .py; without: all
# Environment: HANSARD_BIN, PYTHON
#
# shellcheck disable=SC2317 # stop is called by its trap
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
stack=$root/deploy/local/stack.sh
python=${PYTHON:-/usr/bin/python3}

export HANSARD_BIN=${HANSARD_BIN:-$root/build/hansard}
[ -x "$HANSARD_BIN" ] || {
    echo "run.sh: $HANSARD_BIN does not exist; run make" >&2
    exit 1
}

stories=() races=()
[ $# -gt 0 ] || {
    cd "$root"
    set -- tests/sql/*.sql tests/sql/races/race_*.py
}
for file; do
    case $file in
    *.sql) stories+=("$file") ;;
    *.py) races+=("$file") ;;
    *)
        echo "run.sh: neither .sql nor .py: $file" >&2
        exit 2
        ;;
    esac
done

# ---- the stack, for as long as we run ------------------------------------------------------------

child=
STACK_DIR=$(mktemp -d /tmp/hansard-sql.XXXXXX)
export STACK_DIR
stop() {
    trap '' INT TERM HUP
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || true
        wait "$child" || true
    fi
    "$stack" destroy
    rm -rf "$STACK_DIR"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# In the background, since a shell hears of a signal only when its child in the foreground has ended.
run() {
    local status=0
    "$@" &
    child=$!
    wait "$child" || status=$?
    child=
    return "$status"
}

STACK_PORT=$(PYTHONPATH=$root/tests PYTHONDONTWRITEBYTECODE=1 "$python" -c \
    'from lib.ports import free_base; print(free_base(range(4)))')
export STACK_PORT STACK_WORKERS=0 STACK_SHARED_BUFFERS=64MB
export HANSARD_LLM_URL=http://127.0.0.1:9/v1 # nobody will ask a model: so none is started
run "$stack" up
addresses=$("$stack" env)
eval "$addresses"
export PGHOST PGPORT PGUSER PGDATABASE
run "$stack" psql -X -q -v ON_ERROR_STOP=1 --single-transaction -f "$here/lib/setup.sql"

# ---- the tests -----------------------------------------------------------------------------------

failed=0
if [ ${#stories[@]} -gt 0 ]; then
    PGOPTIONS='-c search_path=tap' run pg_prove "${stories[@]}" || failed=1
fi
if [ ${#races[@]} -gt 0 ]; then
    PYTHONDONTWRITEBYTECODE=1 run prove --exec "$python" "${races[@]}" || failed=1
fi
exit "$failed"
