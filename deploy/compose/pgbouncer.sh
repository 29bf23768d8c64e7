#!/bin/sh
# Starts PgBouncer with a list of users made from APP_PASSWORD. Usage: start-pgbouncer CONFIGURATION
# PgBouncer needs the password itself (or the SCRAM secret the database has, which nobody knows before the first start).
set -eu
: "${APP_PASSWORD:?the password of hansard_app}"
configuration=$1

# Within double quotes, a double quote is written twice. printf is the shell's own, so the word is in no argument.
umask 077
quoted=$(printf '%s' "$APP_PASSWORD" | sed 's/"/""/g')
printf '"hansard_app" "%s"\n' "$quoted" >/run/pgbouncer/userlist.txt
unset APP_PASSWORD quoted
exec pgbouncer "$configuration"
