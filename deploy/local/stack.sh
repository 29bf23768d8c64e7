#!/usr/bin/env bash
# The whole service on one machine, with real parts: PostgreSQL, PgBouncer, a model, N workers, and nginx when N > 1.
#
# shellcheck disable=SC2031,SC2034 # settings are used by the sourced files, some in a subshell
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=process.sh
. "$here/process.sh"
# shellcheck source=parts.sh
. "$here/parts.sh"

usage() {
    cat <<'END'
Usage: deploy/local/stack.sh COMMAND
  up                     start all; what runs already is left alone, and data is kept
  down                   stop all
  run                    up, say where to look, wait; Ctrl-C is down
  destroy                down, and remove the data
  status                 what runs
  url                    the public address
  env | get NAME         addresses and passwords as shell assignments | one of them
  psql ARGS              psql as superuser
  pooler ARGS            psql on PgBouncer's console; only if started with STACK_PGBOUNCER_CONF='disable_pqexec = 0'
  pgbench ARGS           pgbench as hansard_app through PgBouncer
  start|stop|pid PART    PART: postgres, pgbouncer, llm, worker1.., nginx
  kill PART [SIGNAL]     default KILL; KILL, STOP and CONT reach its children too
  restart-worker N, restart-workers
  logs [ARGS]            tail -F of every log

Environment (a stack remembers what it was started with):
  STACK_DIR      where all of it is kept, default .run in the project's folder
  STACK_PORT     public port, default 8080; PostgreSQL is at +1, PgBouncer +2, demo-llm +3, workers at +11 and up
  STACK_WORKERS  default 1; 0: only what a worker needs
  STACK_RESET=1  `up` begins with an empty database
  STACK_PG_CONF, STACK_PGBOUNCER_CONF   lines to add to their configuration
  STACK_SHARED_BUFFERS, STACK_LLM_THREADS, STACK_READY_SECONDS
  HANSARD_BIN, DEMO_LLM_BIN   other binaries
  HANSARD_*      goes to the workers; with HANSARD_LLM_URL no demo-llm is started
END
}

# ---- what a stack remembers ----------------------------------------------------------------------

# Names that are kept in the record and given back to later commands, unless those set them anew.
remembered() {
    compgen -e | grep -E '^(HANSARD_|STACK_|DEMO_LLM_BIN$|[A-Z]+SAN_OPTIONS$)' |
        grep -vxE 'STACK_DIR|STACK_RESET|HANSARD_FAILPOINT|HANSARD_DATABASE_URL|HANSARD_MIGRATE_URL' || true
}

write_record() {
    local name
    (
        umask 077
        for name in $(remembered); do
            # shellcheck disable=SC2016 # for the shell that reads it
            printf '[ -n "${%s+set}" ] || export %s=%q\n' "$name" "$name" "${!name}"
        done >"$state/record"
    )
}

read_settings() {
    state=${STACK_DIR:-$root/.run}
    case $state in /*) ;; *) state=$PWD/$state ;; esac
    # A new `up` is told anew; other commands mean the stack as it was started.
    if [ "$1" != up ] && [ "$1" != run ] && [ -f "$state/record" ]; then
        # shellcheck source=/dev/null
        . "$state/record"
    fi
    port=${STACK_PORT:-8080}
    workers=${STACK_WORKERS:-1}
    [[ $port =~ ^[0-9]+$ && $port -ge 1 && $port -le 65400 ]] || die "STACK_PORT must be 1..65400"
    [[ $workers =~ ^[0-9]+$ && $workers -le 99 ]] || die "STACK_WORKERS must be 0..99"
    postgres_port=$((port + 1))
    pgbouncer_port=$((port + 2))
    llm_port=$((port + 3))
    hansard_bin=${HANSARD_BIN:-$root/build/hansard}
    demo_llm_bin=${DEMO_LLM_BIN:-$root/build/demo-llm}
    STACK_PG_CONF=${STACK_PG_CONF:-}
    STACK_PGBOUNCER_CONF=${STACK_PGBOUNCER_CONF:-}
    # PostgreSQL and PgBouncer refuse to be root; so they, and nginx, run as somebody else when we are.
    service_user=
    as_service=()
    if [ "$(id -u)" = 0 ]; then
        service_user=nobody
        if id postgres >/dev/null 2>&1; then service_user=postgres; fi
        as_service=(setpriv --reuid="$service_user" --regid="$(id -g "$service_user")" --clear-groups --)
    fi
    pg_bin=$(newest_postgres)
}

open_state() {
    mkdir -p "$state/log" "$state/pid" "$state/secret"
    chmod 700 "$state/secret"
    make_home
    # As many connections as the machine allows; the default of 1024 is soon used up.
    ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
}

need_state() {
    [ -d "$state/pid" ] || die "no stack in $state; run up first"
    open_state
}

any_alive() {
    local file
    for file in "$state"/pid/*.start; do
        file=${file##*/}
        is_alive "${file%.start}" && return
    done
    return 1
}

parts() {
    local i
    echo postgres pgbouncer
    if has_demo_llm; then echo llm; fi
    for ((i = 1; i <= workers; i++)); do echo "worker$i"; done
    if [ "$workers" -gt 1 ]; then echo nginx; fi
}

# ---- addresses -----------------------------------------------------------------------------------

url() { echo "http://127.0.0.1:$port"; }
llm_url() { echo "http://127.0.0.1:$llm_port/v1"; }
database_url() { echo "postgresql://hansard_app:$(secret hansard_app)@127.0.0.1:$pgbouncer_port/hansard"; }
migrate_url() { echo "postgresql://postgres:$(secret postgres)@127.0.0.1:$postgres_port/hansard"; }

print_env() {
    cat <<END
STACK_DIR='$state'
STACK_URL='$(url)'
STACK_PORT='$port'
STACK_WORKERS='$workers'
LLM_URL='${HANSARD_LLM_URL:-$(llm_url)}'
HANSARD_DATABASE_URL='$(database_url)'
HANSARD_MIGRATE_URL='$(migrate_url)'
PGHOST='$socket_dir'
PGPORT='$postgres_port'
PGUSER='postgres'
PGDATABASE='hansard'
POOLER_PORT='$pgbouncer_port'
LLM_PORT='$llm_port'
END
}

get() {
    local value
    value=$(print_env | sed -n "s/^$1='\(.*\)'\$/\1/p")
    [ -n "$value" ] || die "no such name: $1"
    echo "$value"
}

# ---- commands ------------------------------------------------------------------------------------

up() {
    local part
    if [ "${STACK_RESET:-0}" = 1 ] && [ -d "$state/pid" ]; then destroy; fi
    open_state
    if [ "$(cat "$state/shape" 2>/dev/null || echo "$port $workers")" != "$port $workers" ] && any_alive; then
        die "it runs with another STACK_PORT or STACK_WORKERS ($(cat "$state/shape")); run down first"
    fi
    echo "$port $workers" >"$state/shape"
    write_record
    trap 'exit 130' INT TERM HUP
    trap '[ $? = 0 ] || { say "stack.sh: up failed, stopping what was started"; down; }' EXIT
    start_postgres
    make_database
    start_pgbouncer
    if has_demo_llm; then start_llm; fi
    if [ "$workers" -gt 0 ] || [ -x "$hansard_bin" ]; then migrate; fi
    for part in $(parts); do start_part "$part"; done
    trap - EXIT INT TERM HUP
    if [ "$workers" -gt 0 ]; then say "ready: $(url)"; else say "ready, without workers"; fi
}

# By what has a pid file, not by the settings: those may have changed since.
down() {
    local file pid stopping=()
    for file in "$state"/pid/nginx "$state"/pid/worker*; do
        case $file in *.start | *'*') continue ;; esac
        # Workers all together: one that drains for 30 s does not hold up the next.
        if [ -f "$file" ]; then
            stop_part "${file##*/}" &
            stopping+=($!)
        fi
    done
    for pid in "${stopping[@]}"; do wait "$pid" || true; done
    for file in llm pgbouncer postgres; do
        if [ -f "$state/pid/$file" ]; then stop_part "$file"; fi
    done
}

destroy() {
    local folder
    down
    for folder in "$(cat "$state/home" 2>/dev/null || true)" "$(cat "$state/sockets" 2>/dev/null || true)"; do
        case $folder in
        "$state"/* | /var/tmp/hansard-stack.* | /tmp/hansard-sock.*) rm -rf -- "$folder" ;;
        esac
    done
    rm -rf -- "${state:?}/pid" "$state/log" "$state/secret" "${state:?}/home" "$state/private" "$state/sockets" \
        "$state/record" "$state/shape"
    rmdir "$state" 2>/dev/null || true # unless somebody else keeps files there
}

status() {
    local part pid left=0
    for part in $(parts); do
        if pid=$(pid_of "$part"); then
            printf '%-10s running  pid %s\n' "$part" "$pid"
        else
            printf '%-10s stopped\n' "$part"
            left=1
        fi
    done
    return $left
}

restart_worker() {
    stop_part "worker$1"
    start_worker "$1"
}

run() {
    local part
    up
    trap 'trap "" INT TERM HUP; say "stopping"; down; exit 0' INT TERM HUP
    cat <<END

Hansard is ready.
  Ask        curl -s $(url)/chat -d '{"session_id":"a","message":"hi"}'
  Read SQL   deploy/local/stack.sh psql
  Metrics    $(url)/metrics
  Logs       $state/log/
Ctrl-C stops it; the data stays in $state.
END
    while :; do
        for part in $(parts); do
            is_alive "$part" || say "stack.sh: $part is not running (see $state/log/$part.log)"
        done
        sleep 5 &
        wait $! # unlike sleep itself, wait gives way to a signal at once
    done
}

main() {
    local command=${1:-help}
    [ $# -eq 0 ] || shift
    case $command in
    help | -h | --help)
        usage
        return
        ;;
    esac
    read_settings "$command"
    case $command in
    up | run)
        "$command"
        return
        ;;
    down | destroy)
        [ -d "$state/pid" ] || return 0
        open_state
        "$command"
        return
        ;;
    esac
    need_state
    case $command in
    status) status ;;
    url) url ;;
    env) print_env ;;
    get) get "${1:?name}" ;;
    psql) PGHOST=$socket_dir PGPORT=$postgres_port PGUSER=postgres PGDATABASE=hansard exec "$pg_bin/psql" "$@" ;;
    pooler) PGPASSWORD=$(secret postgres) PGHOST=127.0.0.1 PGPORT=$pgbouncer_port PGUSER=postgres \
        PGDATABASE=pgbouncer exec "$pg_bin/psql" "$@" ;;
    pgbench) PGPASSWORD=$(secret hansard_app) PGHOST=127.0.0.1 PGPORT=$pgbouncer_port PGUSER=hansard_app \
        PGDATABASE=hansard exec "$pg_bin/pgbench" "$@" ;;
    start) start_part "${1:?part}" ;;
    stop) stop_part "${1:?part}" ;;
    pid) pid_of "${1:?part}" ;;
    kill) kill_part "${1:?part}" "${2:-KILL}" ;;
    restart-worker) restart_worker "${1:?number}" ;;
    restart-workers) for ((i = 1; i <= workers; i++)); do restart_worker "$i"; done ;;
    logs) exec tail "$@" -F "$state"/log/*.log ;;
    *)
        usage >&2
        return 2
        ;;
    esac
}

main "$@"
