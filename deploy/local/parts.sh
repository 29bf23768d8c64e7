# shellcheck shell=bash
# parts — how each part of the stack is started; sourced by stack.sh after process.sh.
#
# start_NAME does nothing when NAME runs, and returns when it is ready.
#
# shellcheck disable=SC2154 # the settings are read by stack.sh

newest_postgres() {
    local folder
    folder=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    [ -x "$folder/postgres" ] || folder=$(dirname "$(command -v postgres || echo /nowhere/postgres)")
    [ -x "$folder/postgres" ] || die "no PostgreSQL server found; run make deps"
    echo "$folder"
}

random_word() { od -An -N 18 -tx1 /dev/urandom | tr -d ' \n'; }

# secret NAME: made at first use, kept in a file that only we can read.
secret() {
    local file=$state/secret/$1
    [ -s "$file" ] || (umask 077 && random_word >"$file")
    cat "$file"
}

# The folder of what the service user has to reach: data, sockets, generated configuration. Inside the stack's
# folder if that user can go there, else under /var/tmp; sockets need a path short enough for the kernel.
make_home() {
    home=$(cat "$state/home" 2>/dev/null || true)
    if [ -z "$home" ] || [ ! -d "$home" ]; then
        home=$state/private
        chmod 755 "$state"
        if ! "${as_service[@]}" test -x "$state"; then
            home=$(mktemp -d /var/tmp/hansard-stack.XXXXXX)
        fi
        mkdir -p "$home"
        chmod 700 "$home"
        [ -z "$service_user" ] || chown "$service_user:" "$home"
        echo "$home" >"$state/home"
    fi
    "${as_service[@]}" mkdir -p "$home/etc" "$home/tmp"
    socket_dir=$(cat "$state/sockets" 2>/dev/null || true)
    if [ -z "$socket_dir" ] || [ ! -d "$socket_dir" ]; then
        socket_dir=$home/sock
        if [ ${#socket_dir} -gt 85 ]; then
            socket_dir=$(mktemp -d /tmp/hansard-sock.XXXXXX)
            [ -z "$service_user" ] || chown "$service_user:" "$socket_dir"
        fi
        "${as_service[@]}" mkdir -p "$socket_dir"
        "${as_service[@]}" chmod 700 "$socket_dir"
        echo "$socket_dir" >"$state/sockets"
    fi
    data_dir=$home/data
}

# Generated files come in on stdin and belong to the service user.
# shellcheck disable=SC2016 # $1 is the inner shell's
put_file() { "${as_service[@]}" sh -c 'umask 077; cat >"$1"' sh "$1"; }

super() { "$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$socket_dir" -p "$postgres_port" -U postgres "$@"; }

# ---- PostgreSQL ----------------------------------------------------------------------------------

init_postgres() {
    local locale=C
    [ ! -f "$data_dir/PG_VERSION" ] || return 0
    if locale -a 2>/dev/null | grep -qix 'c.utf-\?8'; then locale=C.UTF-8; fi
    say "making a PostgreSQL cluster in $data_dir"
    secret postgres | put_file "$home/etc/pwfile"
    "${as_service[@]}" "$pg_bin/initdb" -D "$data_dir" -U postgres -E UTF8 --locale="$locale" --data-checksums \
        --auth-local=trust --auth-host=scram-sha-256 --pwfile="$home/etc/pwfile" \
        >"$state/log/initdb.log" 2>&1 || {
        cat "$state/log/initdb.log" >&2
        "${as_service[@]}" rm -rf "$data_dir"
        die "initdb failed"
    }
    "${as_service[@]}" rm -f "$home/etc/pwfile"
    echo "include 'stack.conf'" | "${as_service[@]}" tee -a "$data_dir/postgresql.conf" >/dev/null
}

# Sockets lie in a folder that only the service user enters: trust there, SCRAM over TCP.
configure_postgres() {
    put_file "$data_dir/stack.conf" <<END
listen_addresses = '127.0.0.1'
port = $postgres_port
unix_socket_directories = '$socket_dir'
max_connections = 100
shared_buffers = ${STACK_SHARED_BUFFERS:-256MB}
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = lz4
max_wal_size = 2GB
default_toast_compression = lz4
jit = off
timezone = 'UTC'
log_destination = stderr
logging_collector = off
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_lock_waits = on
log_min_duration_statement = 1s
log_checkpoints = on
cluster_name = 'hansard'
$STACK_PG_CONF
END
}

start_postgres() {
    is_alive postgres && return
    claim_port "$postgres_port" PostgreSQL
    init_postgres
    configure_postgres
    # When nobody works in the data folder, lock files are a dead postmaster's, whatever has its pid now (a zombie that
    # nobody has reaped yet, in a container).
    if [ -z "$(family_of postgres)" ]; then
        "${as_service[@]}" rm -f "$data_dir/postmaster.pid" "$socket_dir/.s.PGSQL.$postgres_port" \
            "$socket_dir/.s.PGSQL.$postgres_port.lock"
    fi
    launch postgres "${as_service[@]}" "$pg_bin/postgres" -D "$data_dir"
    wait_until 120 postgres "$pg_bin/pg_isready" -h "$socket_dir" -p "$postgres_port" -U postgres -d postgres -q
}

make_database() {
    if [ "$(super -d postgres -At -c "select 1 from pg_database where datname = 'hansard'")" != 1 ]; then
        super -d postgres -c 'create database hansard'
    fi
}

# ---- PgBouncer -----------------------------------------------------------------------------------

start_pgbouncer() {
    is_alive pgbouncer && return
    local bin
    bin=$(command -v pgbouncer || command -v /usr/sbin/pgbouncer) || die "no pgbouncer found; run make deps"
    claim_port "$pgbouncer_port" PgBouncer
    put_file "$home/etc/pgbouncer-base.ini" <"$root/deploy/pgbouncer/pgbouncer.ini"
    printf '"hansard_app" "%s"\n"postgres" "%s"\n' "$(secret hansard_app)" "$(secret postgres)" |
        put_file "$home/etc/userlist.txt"
    put_file "$home/etc/pgbouncer.ini" <<END
[databases]
hansard = host=$socket_dir port=$postgres_port dbname=hansard
[pgbouncer]
%include $home/etc/pgbouncer-base.ini
listen_addr = 127.0.0.1
listen_port = $pgbouncer_port
unix_socket_dir = $socket_dir
auth_file = $home/etc/userlist.txt
logfile =
pidfile =
admin_users = postgres
$STACK_PGBOUNCER_CONF
END
    launch pgbouncer "${as_service[@]}" "$bin" "$home/etc/pgbouncer.ini"
    wait_until 10 pgbouncer port_open "$pgbouncer_port"
}

# ---- the model, the workers, the proxy -----------------------------------------------------------

has_demo_llm() { [ -z "${HANSARD_LLM_URL:-}" ]; }

start_llm() {
    is_alive llm && return
    has_demo_llm || die "HANSARD_LLM_URL is set: this stack has no demo-llm"
    [ -x "$demo_llm_bin" ] || die "$demo_llm_bin does not exist; run make"
    claim_port "$llm_port" demo-llm
    launch llm "$demo_llm_bin" --listen "127.0.0.1:$llm_port" --threads "${STACK_LLM_THREADS:-1}"
    wait_until 15 llm port_open "$llm_port"
}

migrate() {
    # Only what concerns it: a failpoint is meant for a worker.
    env -u HANSARD_BIN -u HANSARD_FAILPOINT HANSARD_MIGRATE_URL="$(migrate_url)" \
        "$hansard_bin" migrate >>"$state/log/migrate.log" 2>&1 || {
        tail -n 20 "$state/log/migrate.log" >&2
        die "hansard migrate failed; see $state/log/migrate.log"
    }
    # By stdin: arguments can be read by everybody.
    echo "alter role hansard_app login password '$(secret hansard_app)'" | super -d hansard
}

worker_port() {
    if [ "$workers" -gt 1 ]; then echo $((port + 10 + $1)); else echo "$port"; fi
}

is_ready() { [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "http://127.0.0.1:$1/readyz")" = 200 ]; }

start_worker() {
    local name=worker$1 at
    is_alive "$name" && return
    at=$(worker_port "$1")
    [ -x "$hansard_bin" ] || die "$hansard_bin does not exist; run make"
    claim_port "$at" "$name"
    (
        unset HANSARD_BIN HANSARD_MIGRATE_URL
        [ -n "${HANSARD_FAILPOINT:-}" ] || unset HANSARD_FAILPOINT
        export HANSARD_LISTEN=127.0.0.1:$at
        HANSARD_DATABASE_URL=$(database_url)
        export HANSARD_DATABASE_URL
        export HANSARD_LLM_URL=${HANSARD_LLM_URL:-$(llm_url)}
        export HANSARD_LLM_MODEL=${HANSARD_LLM_MODEL:-demo}
        if [ "$workers" -gt 1 ]; then
            export HANSARD_TRUSTED_PROXIES=${HANSARD_TRUSTED_PROXIES:-127.0.0.1/32}
            export HANSARD_DRAIN_DELAY=${HANSARD_DRAIN_DELAY:-5s}
        fi
        launch "$name" "$hansard_bin" serve
    )
    wait_until "${STACK_READY_SECONDS:-60}" "$name" is_ready "$at"
}

start_nginx() {
    is_alive nginx && return
    local bin i
    bin=$(command -v nginx || command -v /usr/sbin/nginx) || die "no nginx found; run make deps"
    claim_port "$port" nginx
    put_file "$home/etc/nginx.conf" <"$root/deploy/nginx/nginx.conf"
    echo "listen 127.0.0.1:$port backlog=4096;" | put_file "$home/etc/hansard-listen.conf"
    for ((i = 1; i <= workers; i++)); do
        echo "server 127.0.0.1:$(worker_port "$i") max_fails=0;"
    done | put_file "$home/etc/hansard-workers.conf"
    put_file "$home/etc/hansard-paths.conf" <<END
client_body_temp_path $home/tmp/body;
proxy_temp_path $home/tmp/proxy;
fastcgi_temp_path $home/tmp/fastcgi;
uwsgi_temp_path $home/tmp/uwsgi;
scgi_temp_path $home/tmp/scgi;
END
    local -a invocation=("$bin" -e stderr -p "$home" -c "$home/etc/nginx.conf" -g "daemon off; pid $home/tmp/nginx.pid;")
    "${as_service[@]}" "${invocation[@]}" -t -q >>"$state/log/nginx.log" 2>&1 || {
        tail -n 5 "$state/log/nginx.log" >&2
        die "nginx refuses its configuration"
    }
    launch nginx "${as_service[@]}" "${invocation[@]}"
    wait_until 10 nginx port_open "$port"
}

start_part() {
    case $1 in
    postgres) start_postgres ;;
    pgbouncer) start_pgbouncer ;;
    llm) start_llm ;;
    nginx) start_nginx ;;
    worker[1-9] | worker[1-9][0-9]) start_worker "${1#worker}" ;;
    *) die "no such part: $1 (postgres, pgbouncer, llm, worker1.., nginx)" ;;
    esac
}

# Each in its own way of ending well.
stop_part() {
    case $1 in
    postgres) end_part postgres INT 30 ;; # fast shutdown
    pgbouncer) end_part pgbouncer TERM 5 ;;
    nginx) end_part nginx QUIT 5 ;;
    llm) end_part llm TERM 5 ;;
    worker*) end_part "$1" TERM 50 ;; # the delay, HANSARD_DRAIN_TIMEOUT, and 15 s
    *) die "no such part: $1" ;;
    esac
}
