#!/bin/sh
# One run of `hansard migrate`, then the password of hansard_app, which `hansard migrate` makes without one.
# Everything about the connection is in libpq's variables (PGHOST, PGUSER, PGPASSWORD ...); the new password is in
# APP_PASSWORD. Neither is ever an argument, which everybody could read.
set -eu
: "${APP_PASSWORD:?the password for hansard_app}"

# The new word is not meant for it.
env -u APP_PASSWORD hansard migrate

# psql takes it from its environment and quotes it. Whatever the server logs of statements, it does not log this one.
psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';
\getenv password APP_PASSWORD
ALTER ROLE hansard_app LOGIN PASSWORD :'password';
SQL
echo "hansard_app has its password"
