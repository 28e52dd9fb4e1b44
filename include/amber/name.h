/*
 * name.h - names of archives: patterns, percent-encoding, suffixes.
 *
 * A logical name is the archive's path in the mounted tree, `flow_logs/flow_logs_2024-01-01_to_
 * 2024-03-31.json`; its store key has the codec's suffix behind it. Logical names are unique in a
 * store whatever the codec.
 */
#ifndef AMBER_NAME_H
#define AMBER_NAME_H

#include "amber/err.h"
#include "amber/mem.h"

#define AMBER_NAME_MAX 255 /* bytes of one path component */

/* Append text as part of a path component: letters, digits and "_-." (not leading) and UTF-8
 * letters pass, every other byte becomes %XX. A text too long for a name is cut and ends in a
 * digest of the whole. errors NOMEM, LIMIT. */
enum amber_rc amber_name_escape(const char *text, struct amber_buf *out, struct amber_err *err)
    AMBER_MUST_CHECK;

struct amber_name_fields {
    const char *table;          /* {table} */
    int64_t start_day, end_day; /* {start}, {end} */
    int64_t run_day;            /* {day} */
    int64_t run_ms;             /* {epoch_ms}: the run's start, ms since 1970 */
};
/* OK, or INVALID naming the unknown placeholder or the byte that a file name can't have. */
enum amber_rc amber_name_pattern_check(const char *pattern, struct amber_err *err) AMBER_MUST_CHECK;
/*
 * folder + "/" + pattern with its placeholders filled in + ("_" n if n > 1) + ".json".
 * errors  INVALID; LIMIT name over 247 bytes, or over what a manifest's key can hold; NOMEM
 */
enum amber_rc amber_name_format(const char *folder, const char *pattern,
                                const struct amber_name_fields *f, unsigned n, char **out,
                                struct amber_err *err) AMBER_MUST_CHECK;

#define AMBER_NAME_TRIES 10000 /* names that are tried for an archive: without, and with _2, _3, ... */
/* Whether all names that archives of a table may get are short enough, with the highest number.
 * errors  as amber_name_format */
enum amber_rc amber_name_fits(const char *folder, const char *pattern, const char *table,
                              struct amber_err *err) AMBER_MUST_CHECK;

/* Length of key without a known codec suffix (".gz", ".zst"). */
size_t amber_name_logical_len(const char *key);

#endif
