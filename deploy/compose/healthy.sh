#!/usr/bin/env bash
# Whether the process on this port of this machine is well, for health checks; without any program but bash.
#   healthy http PORT PATH [STATUS]   it answers, with this status if one is given
#   healthy pgbouncer PORT            it answers whether it speaks TLS, which it is asked before any login: so its loop
#                                     runs. (The kernel takes connections for a process that hangs, too.)
set -eu
kind=$1 port=$2 patience=2

exec 3<>"/dev/tcp/127.0.0.1/$port"
case $kind in
http)
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$3" >&3
    read -r -t "$patience" version status _ <&3
    [[ $version == HTTP/1.1 && ${status%$'\r'} == "${4:-$status}" ]]
    ;;
pgbouncer)
    printf '\0\0\0\010\004\322\026\057' >&3 # SSLRequest: its length, 80877103
    read -r -t "$patience" -N 1 answer <&3
    [[ $answer == [NS] ]]
    ;;
*) exit 1 ;;
esac
