#!/bin/sh
# Installs what is missing of what Hansard's development needs, with apt. Without anything missing: no network, no root.
# Usage: scripts/deps.sh [bench]
set -eu

command -v dpkg-query >/dev/null || {
    echo "deps: no dpkg here. Install the packages named in scripts/deps.sh, or their like, by hand." >&2
    exit 1
}

packages='build-essential make pkg-config
    libpq-dev libmicrohttpd-dev libcurl4-openssl-dev libjansson-dev libssl-dev libcmocka-dev
    postgresql libtap-parser-sourcehandler-pgtap-perl pgbouncer nginx-light curl procps
    python3 python3-pytest python3-psycopg2 python3-aiohttp python3-yaml docker-compose openssl
    clang clang-format clang-tidy libclang-rt-dev cppcheck shellcheck'
[ "${1:-}" != bench ] || packages='wrk redis-server python3-venv'

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Older and derived releases have the sanitizers' run time under its version's name only, or with clang itself.
is_provided() {
    case $1 in
    libclang-rt-dev) ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a ;;
    docker-compose) docker compose version ;; # the client alone is wanted, to read docker-compose.yml; no daemon
    nginx-light) is_installed nginx || is_installed nginx-core || is_installed nginx-full ;;
    *) false ;;
    esac >/dev/null 2>&1
}

missing=
for package in $packages; do
    is_installed "$package" || is_provided "$package" || missing="$missing $package"
done

# pgTAP is packaged for each version of PostgreSQL; ours is the one that the package `postgresql` stands for.
pgtap() {
    version=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1)
    [ -z "$version" ] || echo "postgresql-$version-pgtap"
}
has_pgtap() {
    for control in /usr/share/postgresql/*/extension/pgtap.control; do
        [ -f "$control" ] && return 0
    done
    return 1
}

if [ -z "$missing" ] && { [ "${1:-}" = bench ] || has_pgtap; }; then
    exit 0
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "deps: missing:$missing; neither root nor sudo to install them with" >&2
        exit 1
    }
    as_root=sudo
fi
run() {
    echo "deps: $*" >&2
    $as_root env DEBIAN_FRONTEND=noninteractive "$@"
}

# The stack starts its own PostgreSQL, PgBouncer, nginx and Redis. What the packages would start besides would only
# take ports: no cluster is made, and while we install, no service is started. Both only where nobody has decided
# otherwise, and the second is taken back.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.conf
made_policy=
undo() { [ -z "$made_policy" ] || $as_root rm -f "$policy"; }
trap undo EXIT
trap 'exit 1' INT TERM HUP
if [ ! -e "$policy" ]; then
    made_policy=1
    printf '#!/bin/sh\n# For the time of an installation: start nothing.\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi
if [ ! -e "$cluster" ] && [ "${1:-}" != bench ]; then
    $as_root mkdir -p "${cluster%/*}"
    echo 'create_main_cluster = false' | $as_root tee "$cluster" >/dev/null
fi

run apt-get update -q
# shellcheck disable=SC2046,SC2086 # lists of packages
if [ "${1:-}" = bench ]; then
    run apt-get install -y -q --no-install-recommends $missing
else
    has_pgtap || missing="$missing $(pgtap)"
    # Kept as it is written here: a conffile that is already there must not stop the installation.
    run apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-confold $missing
fi
