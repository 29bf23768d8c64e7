#!/bin/sh
# Prints embedded_sql.c, which carries the SQL inside the binary (see src/db/embedded.h).
# Usage: scripts/embed-sql.sh sql
# Bytes are written as numbers: whatever a file holds comes out exactly.
set -eu
export LC_ALL=C

# table NAME FILE...: one array a file, then the table that names them in order.
table() {
    name=$1
    shift
    number=0
    for file; do
        [ -f "$file" ] || continue # a pattern that met nothing stays itself
        printf 'static const unsigned char %s_%d[] = {\n' "$name" "$number"
        od -An -v -tu1 "$file" | sed -e 's/^ *//' -e 's/  */,/g' -e 's/$/,/'
        printf '0};\n'
        number=$((number + 1))
    done
    printf 'const struct embedded_sql embedded_%s[] = {\n' "$name"
    number=0
    for file; do
        [ -f "$file" ] || continue
        printf '    {"%s", (const char *)%s_%d, sizeof(%s_%d) - 1},\n' \
            "$(basename "$file" .sql)" "$name" "$number" "$name" "$number"
        number=$((number + 1))
    done
    printf '    {0}};\nconst size_t embedded_%s_count = %d;\n\n' "$name" "$number"
}

cat <<END
/* Made by scripts/embed-sql.sh from $1/; do not edit. */
#include "db/embedded.h"

END
table migrations "$1"/migrations/[0-9]*.sql
table functions "$1"/functions/*.sql
