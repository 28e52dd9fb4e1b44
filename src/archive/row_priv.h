/*
 * row_priv.h - what the encoder and the decoder of the row format share.
 *
 *   row_plan.c     the schema compiled for speed: ready-made keys, name lookup
 *   row_string.c   COPY text <-> JSON strings <-> raw text, with bounded output room
 *   text_json.c    raw text of nested types -> JSON   {1,2} (1,"a b") "k"=>"v"
 *   json_text.c    JSON -> raw text, the inverse
 *   row_parse.c    faults, and taking JSON objects apart
 *   row_encode.c, row_decode.c, row_overlay.c         whole rows
 *
 * "Raw text" is what the type's output function gives: a COPY field without COPY's escapes.
 */
#ifndef AMBER_ROW_PRIV_H
#define AMBER_ROW_PRIV_H

#include "amber/row.h"
#include "json_scan.h"

#define AMBER_TYPE_DEPTH_MAX 64U                /* arrays and composites inside each other */
#define AMBER_ARRAY_DIMS_MAX 6                  /* PostgreSQL's MAXDIM */
#define AMBER_FIELD_MAX (1024U * 1024U * 1024U) /* bytes of one value's raw text */

/* ---- plan ------------------------------------------------------------------------------- */

struct row_field;
struct row_type {
    enum amber_kind kind;
    char delim;
    bool list_elem; /* array whose elements may themselves be JSON arrays: json, vectors, arrays */
    struct row_type *elem;
    struct row_field *fields;
    size_t n_fields;
    uint32_t *by_name; /* indexes of fields, sorted by (length, bytes) of the name */
};
struct row_field {
    struct row_type type;
    const char *name; /* borrowed from the schema */
    size_t name_len;
    char *key; /* `,"name":`; the first field of an object leaves the comma out */
    size_t key_len;
};

/* Compile; the schema stays borrowed. The result is a composite with the columns as fields.
 * errors  INVALID the schema can't be converted (names it); NOMEM */
enum amber_rc amber_row_plan_new(const struct amber_schema *schema, struct row_type **out,
                                 struct amber_err *err) AMBER_MUST_CHECK;
void amber_row_plan_free(struct row_type *plan); /* NULL allowed */
/* Index of the field of that name, trying hint first; n_fields if there is none. */
size_t amber_row_find(const struct row_type *t, const char *name, size_t len, size_t hint);

/* ---- output ----------------------------------------------------------------------------- */

/*
 * Writing into an amber_buf without a call a byte. Between begin and end the buffer's len is old;
 * p is where the next byte goes. Room is asked for in advance, so a ceiling is reported up to
 * ROW_ROOM bytes early.
 */
struct row_out {
    struct amber_buf *buf;
    char *p, *lim;
};
#define ROW_CHUNK 1024                /* source bytes between two looks at the room */
#define ROW_WORK_KEEP (1024U * 1024U) /* bytes */
#define ROW_ROOM (6 * (ROW_CHUNK + AMBER_STEP) + 64)

enum amber_rc amber_row_out_grow(struct row_out *o, size_t room,
                                 struct amber_err *err) AMBER_MUST_CHECK;
static inline void row_out_begin(struct row_out *o, struct amber_buf *buf)
{
    o->buf = buf;
    o->p = buf->data ? buf->data + buf->len : NULL;
    o->lim = buf->data ? buf->data + buf->cap - 1 : NULL; /* one byte stays for the NUL */
}
static inline void row_out_end(struct row_out *o)
{
    if (!o->p)
        return;
    o->buf->len = (size_t)(o->p - o->buf->data);
    *o->p = '\0';
}
static inline size_t row_out_len(const struct row_out *o)
{
    return o->p ? (size_t)(o->p - o->buf->data) : 0;
}
AMBER_MUST_CHECK static inline enum amber_rc row_out_room(struct row_out *o, size_t room,
                                                          struct amber_err *err)
{
    if (__builtin_expect(o->p && (size_t)(o->lim - o->p) >= room, 1))
        return AMBER_OK;
    return amber_row_out_grow(o, room, err);
}
AMBER_MUST_CHECK static inline enum amber_rc row_out_put(struct row_out *o, const void *data,
                                                         size_t len, struct amber_err *err)
{
    enum amber_rc rc = row_out_room(o, len, err);
    if (rc == AMBER_OK) {
        memcpy(o->p, data, len);
        o->p += len;
    }
    return rc;
}
AMBER_MUST_CHECK static inline enum amber_rc row_out_char(struct row_out *o, char c,
                                                          struct amber_err *err)
{
    enum amber_rc rc = row_out_room(o, 1, err);
    if (rc == AMBER_OK)
        *o->p++ = c;
    return rc;
}

/* Working memory stays for the next row unless a huge one has made it large. */
static inline void row_work_shrink(struct amber_buf *work)
{
    if (work->cap > ROW_WORK_KEEP)
        amber_buf_clear(work);
}

/* ---- strings (row_string.c) ------------------------------------------------------------- */

/*
 * Each reads from *p on, moves *p behind what it read, and appends to o.
 * errors  CORRUPT (COPY side), INVALID (JSON side) with *p at the fault; LIMIT, NOMEM
 */
/* COPY field, up to a tab or end -> JSON string with its quotes. */
enum amber_rc amber_copy_to_string(const char **p, const char *end, struct row_out *o,
                                   struct amber_err *err) AMBER_MUST_CHECK;
/* COPY field, up to a tab or end -> raw text. breaks NULL: as it is; else line breaks become
 * spaces and *breaks says whether there were any. */
enum amber_rc amber_copy_to_raw(const char **p, const char *end, bool *breaks, struct row_out *o,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* Raw text -> JSON string with its quotes. */
enum amber_rc amber_raw_to_string(const char *s, size_t len, struct row_out *o,
                                  struct amber_err *err) AMBER_MUST_CHECK;
/* Raw text -> COPY field. */
enum amber_rc amber_raw_to_copy(const char *s, size_t len, struct row_out *o,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* JSON string, *p at its content -> COPY field or raw text; *p behind the closing quote. */
struct row_parse;
enum amber_rc amber_string_to_copy(struct row_parse *c, const char **p, const char *end,
                                   struct row_out *o, struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_string_to_raw(struct row_parse *c, const char **p, const char *end,
                                  struct row_out *o, struct amber_err *err) AMBER_MUST_CHECK;

/* "2024-01-01 00:00:00+00" -> "2024-01-01T00:00:00+00:00": returns the new length; dst has room
 * for len + 3. And back; dst has room for len and may be s. Texts of another shape pass. */
size_t amber_timestamp_to_json(char *dst, const char *s, size_t len, bool zone);
size_t amber_timestamp_from_json(char *dst, const char *s, size_t len, bool zone);

/* ---- nested values ---------------------------------------------------------------------- */

/* Raw text -> JSON, in place: s is overwritten. errors CORRUPT not a literal of the type; LIMIT,
 * NOMEM. */
enum amber_rc amber_text_to_json(struct amber_json_stack *stack, const struct row_type *t, char *s,
                                 size_t len, struct row_out *o,
                                 struct amber_err *err) AMBER_MUST_CHECK;

/* Where a member's value stands in a JSON text. start NULL: no such member. */
struct row_span {
    const char *start, *end;
};

/* State of JSON -> text. */
struct row_parse {
    bool any_keys;    /* a person's file: missing keys, and numbers for strings, are fine */
    const char *base; /* start of the JSON text: byte columns count from here */
    const char *what; /* "" or "overlay ": which text */
    const char *key;  /* top-level key under way, as the file has it; NULL outside */
    size_t key_len;
    struct amber_buf work;  /* raw text of nested values */
    struct row_span *spans; /* owned stack of members of the objects under way */
    size_t n_spans, cap_spans;
    struct amber_json_stack *stack; /* owned */
};
enum amber_rc amber_row_parse_init(struct row_parse *c, struct amber_err *err) AMBER_MUST_CHECK;
void amber_row_parse_clear(struct row_parse *c);

/* INVALID with byte column and key in front of the text. */
enum amber_rc amber_row_fault(const struct row_parse *c, const char *at, struct amber_err *err,
                              const char *fmt, ...) AMBER_PRINTF(4, 5);
/* The same for what the scanner found (LIMIT where it is too deep). */
enum amber_rc amber_row_json_fault(const struct row_parse *c, const struct amber_json_fault *f,
                                   struct amber_err *err);
/* "byte 7, key "x": <found> where <expected> is expected". */
enum amber_rc amber_row_mismatch(const struct row_parse *c, const char *at, const char *end,
                                 enum amber_kind expected, struct amber_err *err);

/*
 * One JSON value of type t -> its COPY field (`\N` for null), appended to o.
 * shape   *p: at the value's first byte; moved behind it
 */
enum amber_rc amber_json_to_copy(struct row_parse *c, const struct row_type *t, const char **p,
                                 const char *end, struct row_out *o,
                                 struct amber_err *err) AMBER_MUST_CHECK;

/*
 * Take the object at *p apart: push one span for each field of t and move *p behind it.
 * shape   spans: c->spans[*base + field index]; the caller pops them by setting c->n_spans = *base.
 *         c->key NULL: the object is the row itself, and faults name its keys
 */
enum amber_rc amber_row_members(struct row_parse *c, const struct row_type *t, const char **p,
                                const char *end, size_t *base,
                                struct amber_err *err) AMBER_MUST_CHECK;

/* Parse a row's overlay into one span a column, each at the content of a JSON string.
 * errors CORRUPT, LIMIT, NOMEM */
enum amber_rc amber_overlay_spans(struct row_parse *c, const struct row_type *plan,
                                  const char *overlay, size_t len, struct row_span *out,
                                  struct amber_err *err) AMBER_MUST_CHECK;

#endif
