/*
 * document_priv.h - reading JSON documents of outside origin, with the path of what is wrong.
 *
 * A node is one value and the way to it, linked on the stack: "archive.blocks[3][1]" is only put
 * together when something is wrong. Every getter checks presence, type and limit.
 */
#ifndef AMBER_DOCUMENT_PRIV_H
#define AMBER_DOCUMENT_PRIV_H

#include <jansson.h>

#include "amber/digest.h"
#include "amber/mem.h"

struct doc_node {
    const struct doc_node *up; /* NULL: the document */
    const char *key;           /* member of an object; NULL: element of an array */
    size_t index;
    json_t *value; /* borrowed from the document */
};

#define DOC_TEXT_MAX (64U * 1024U) /* bytes of one string member */

void amber_doc_free(json_t **doc); /* for the cleanup attribute */

/*
 * Parse text as an object with "format": format, "version": 1 and the three flag lists.
 * shape   *out_write_unknown: an unknown write_incompat flag is there
 * errors  CORRUPT; UNSUPPORTED newer version or unknown read_incompat flag; LIMIT, NOMEM
 */
enum amber_rc amber_doc_open(const char *text, size_t len, const char *format, json_t **out_doc,
                             struct doc_node *out_root, bool *out_write_unknown,
                             struct amber_err *err) AMBER_MUST_CHECK;
/* Append `"format":...,"version":1` and the empty flag lists, each on its line, after a '{'. */
enum amber_rc amber_doc_head(struct amber_buf *out, const char *format,
                             struct amber_err *err) AMBER_MUST_CHECK;

/* "<path>: <text>" */
enum amber_rc amber_doc_fail(const struct doc_node *n, struct amber_err *err, enum amber_rc code,
                             const char *fmt, ...) AMBER_PRINTF(4, 5);

/* The member of an object. errors CORRUPT missing or of another type. */
enum amber_rc amber_doc_get(const struct doc_node *obj, const char *key, json_type type,
                            struct doc_node *out, struct amber_err *err) AMBER_MUST_CHECK;
/* The i-th element of an array, which must be of this type. */
enum amber_rc amber_doc_item(const struct doc_node *array, size_t i, json_type type,
                             struct doc_node *out, struct amber_err *err) AMBER_MUST_CHECK;
/* 0 .. max */
enum amber_rc amber_doc_to_uint(const struct doc_node *n, uint64_t max, uint64_t *out,
                                struct amber_err *err) AMBER_MUST_CHECK;

/* Members of an object, each checked; strings are owned copies of at most DOC_TEXT_MAX bytes. */
enum amber_rc amber_doc_string(const struct doc_node *obj, const char *key, char **out,
                               struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_doc_string_or_null(const struct doc_node *obj, const char *key, char **out,
                                       struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_doc_uuid(const struct doc_node *obj, const char *key, char out[AMBER_UUID_LEN],
                             struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_doc_uint(const struct doc_node *obj, const char *key, uint64_t max,
                             uint64_t *out, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_doc_int(const struct doc_node *obj, const char *key, int64_t *out,
                            struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_doc_bool(const struct doc_node *obj, const char *key, bool *out,
                             struct amber_err *err) AMBER_MUST_CHECK;
/* "2024-01-31T02:00:00Z" */
enum amber_rc amber_doc_time(const struct doc_node *obj, const char *key, int64_t *out_us,
                             struct amber_err *err) AMBER_MUST_CHECK;
/* "sha256:<64 hex digits>" */
enum amber_rc amber_doc_digest(const struct doc_node *obj, const char *key,
                               struct amber_sha256 *out, struct amber_err *err) AMBER_MUST_CHECK;

/* Append `"key":"text"`, with a comma and line break before it. NULL text: null. */
enum amber_rc amber_doc_put(struct amber_buf *out, const char *key, const char *text,
                            struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_doc_put_digest(struct amber_buf *out, const char *key,
                                   const struct amber_sha256 *d,
                                   struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_doc_put_time(struct amber_buf *out, const char *key, int64_t us,
                                 struct amber_err *err) AMBER_MUST_CHECK;

#endif
