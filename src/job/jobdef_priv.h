/*
 * jobdef_priv.h - checking JSON objects against a table of their members, collecting every finding.
 *
 * A wrong member is a finding, not a failure: checking goes on, so that a person sees all of them
 * at once. Functions fail only where no checking is possible (no memory).
 */
#ifndef AMBER_JOBDEF_PRIV_H
#define AMBER_JOBDEF_PRIV_H

#include <jansson.h>

#include "amber/err.h"
#include "amber/mem.h"

#define AMBER_JSON_PATH_MAX 96 /* "jobs[12].tables[3]" */

enum amber_member_kind {
    AMBER_MEMBER_TEXT,  /* a string of 1 to max bytes */
    AMBER_MEMBER_INT,   /* a whole number, min to max */
    AMBER_MEMBER_BOOL,  /* true or false */
    AMBER_MEMBER_ARRAY, /* an array of min to max items */
};
/* One member that an object may have; values out of these bounds are findings. */
struct amber_member {
    const char *name;
    enum amber_member_kind kind;
    bool required;
    int64_t min, max;
};

struct amber_check {
    struct amber_buf *findings; /* borrowed; one a line, as far as its ceiling goes */
    size_t n;                   /* findings so far, those that found no room included */
    char first[768];            /* the first one */
};

/* Add "path.member: text"; member may be NULL. Control characters become spaces. errors NOMEM. */
enum amber_rc amber_check_add(struct amber_check *k, struct amber_err *err, const char *path,
                              const char *member, const char *fmt, ...)
    AMBER_PRINTF(5, 6) AMBER_MUST_CHECK;

/*
 * Check object's members against the table: unknown ones, missing ones, wrong types, bounds.
 * shape   values: n of them, in the table's order; NULL where a member is missing or not right
 * owner   values are borrowed from object
 * errors  NOMEM
 */
enum amber_rc amber_check_members(struct amber_check *k, const char *path, const json_t *object,
                                  const struct amber_member *members, size_t n,
                                  const json_t **values, struct amber_err *err) AMBER_MUST_CHECK;

/* "an object", "a string", ...: what a JSON value is, for messages. */
const char *amber_json_kind(const json_t *value);

#endif
