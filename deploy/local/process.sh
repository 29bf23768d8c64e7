# shellcheck shell=bash
# process — processes that a stack owns, known by pid and start time.
#
# A pid alone may have been given to somebody else since; together with the start time it is one process for ever.
# Sourced by stack.sh; uses $state (the stack's folder) and $data_dir.
#
# shellcheck disable=SC2154 # which are set there

die() {
    echo "stack.sh: $*" >&2
    exit 1
}

say() { echo "$*" >&2; }

# The 22nd field of /proc/PID/stat; empty for a process that is gone or a zombie.
started_at() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    stat=${stat##*) }
    # shellcheck disable=SC2086 # fields are wanted
    set -- $stat
    [ "$1" = Z ] || [ "$1" = X ] || echo "${20}"
}

# Prints the pid of part NAME; false when it does not run.
pid_of() {
    local pid started now
    [ -f "$state/pid/$1" ] && [ -f "$state/pid/$1.start" ] || return 1
    pid=$(cat "$state/pid/$1")
    started=$(cat "$state/pid/$1.start")
    now=$(started_at "$pid")
    [ -n "$now" ] && [ "$now" = "$started" ] || return 1
    echo "$pid"
}

is_alive() { pid_of "$1" >/dev/null; }

# launch NAME COMMAND...: in the background, in a session of its own (Ctrl-C does not reach it), log/NAME.log.
launch() {
    local name=$1 pid
    shift
    setsid "$@" </dev/null >>"$state/log/$name.log" 2>&1 &
    pid=$!
    echo "$pid" >"$state/pid/$name"
    started_at "$pid" >"$state/pid/$name.start"
}

# wait_until SECONDS NAME COMMAND...: until the command succeeds; NAME has to stay alive.
wait_until() {
    local deadline=$((SECONDS + $1)) name=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! is_alive "$name"; then
            why="$name ended"
        elif [ $SECONDS -ge $deadline ]; then
            why="$name is not ready in time"
        else
            sleep 0.05
            continue
        fi
        say "stack.sh: $why; the end of $state/log/$name.log:"
        tail -n 20 "$state/log/$name.log" >&2
        return 1
    done
}

# Pids of NAME and of all that it started: a postmaster's or an nginx master's children outlive a kill -9.
family_of() {
    local pid folder
    if [ "$1" = postgres ] && [ -n "${data_dir:-}" ]; then
        for folder in /proc/[0-9]*; do
            [ "$(readlink "$folder/cwd" 2>/dev/null)" = "$data_dir" ] && echo "${folder#/proc/}"
        done
    fi
    pid=$(pid_of "$1") || return 0
    echo "$pid"
    pgrep -P "$pid" || true
}

# gone SECONDS PID...: waits for them to end; false when one is left.
gone() {
    local deadline=$((SECONDS + $1)) pid
    shift
    for pid; do
        while [ -n "$(started_at "$pid")" ]; do
            [ $SECONDS -lt $deadline ] || return 1
            sleep 0.02
        done
    done
}

# end_part NAME SIGNAL SECONDS: a polite signal, some time, then KILL.
end_part() {
    local pid
    pid=$(pid_of "$1") || {
        rm -f "$state/pid/$1" "$state/pid/$1.start"
        return 0
    }
    kill -CONT "$pid" 2>/dev/null || true # a stopped process hears nothing but KILL
    kill -s "$2" "$pid" 2>/dev/null || true
    if ! gone "$3" "$pid"; then
        say "stack.sh: $1 did not end within $3 s, killing it"
        kill_part "$1" KILL
    fi
    rm -f "$state/pid/$1" "$state/pid/$1.start"
}

# kill_part NAME SIGNAL: KILL, STOP and CONT reach the children too; after KILL none of them is left.
kill_part() {
    local name=$1 signal=${2#SIG} pid family
    pid=$(pid_of "$name") || die "$name is not running"
    case $signal in
    9 | KILL)
        family=$(family_of "$name")
        kill -KILL "$pid"
        # PostgreSQL's children end by themselves when the postmaster is gone, unless they are busy.
        # shellcheck disable=SC2086 # a list
        if [ "$name" != postgres ] || ! gone 3 $family; then
            kill -KILL $family 2>/dev/null || true
            gone 10 $family || die "$name does not die"
        fi
        ;;
    STOP | CONT | 19 | 18)
        # shellcheck disable=SC2046
        kill -s "$signal" $(family_of "$name")
        ;;
    *) kill -s "$signal" "$pid" ;;
    esac
}

# Is somebody listening on this port of 127.0.0.1?
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

claim_port() {
    if port_open "$1"; then
        die "port $1, wanted for $2, is taken by another process; choose another STACK_PORT"
    fi
}
