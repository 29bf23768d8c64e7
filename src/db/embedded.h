/* embedded — the SQL that travels inside the binary.
 *
 * Does:      declares the tables that scripts/embed-sql.sh generates from sql/.
 * Does not:  hold any text itself.
 * Threads:   read-only.
 * Owns:      static text.
 */
#pragma once

#include <stddef.h>

struct embedded_sql {
    const char *name; /* file name without folder and .sql: "0001_record" */
    const char *text; /* NUL-terminated */
    size_t len;
};

extern const struct embedded_sql embedded_migrations[]; /* by name, which begins with the version */
extern const size_t embedded_migrations_count;
extern const struct embedded_sql embedded_functions[]; /* by name */
extern const size_t embedded_functions_count;
