/*
 * schema.h - the columns and types of one archived table, as the row format needs them.
 *
 * A type says how PostgreSQL's text form of a value becomes JSON and back. It is a tree: arrays
 * have an element type, composites have fields; domains are resolved to their base type.
 */
#ifndef AMBER_SCHEMA_H
#define AMBER_SCHEMA_H

#include "amber/err.h"
#include "amber/mem.h"

#define AMBER_COLUMNS_MAX 4096U /* PostgreSQL allows 1,600 */

/* How a value's text is written as JSON; the same rules as row_to_json of PostgreSQL. */
enum amber_kind {
    AMBER_KIND_TEXT,        /* a JSON string of the text form: text, uuid, bytea, inet, interval, ... */
    AMBER_KIND_NUMBER,      /* int2..8, float4/8, numeric: verbatim, a string for NaN and Infinity */
    AMBER_KIND_BOOL,        /* t/f <-> true/false */
    AMBER_KIND_JSON,        /* json, jsonb: verbatim, line breaks replaced by spaces */
    AMBER_KIND_DATE,        /* ISO text */
    AMBER_KIND_TIMESTAMP,   /* "2024-01-01 00:00:00" <-> "2024-01-01T00:00:00" */
    AMBER_KIND_TIMESTAMPTZ, /* "2024-01-01 00:00:00+00" <-> "2024-01-01T00:00:00+00:00" */
    AMBER_KIND_ARRAY,       /* {..} <-> [..]; elements by the element type's kind */
    AMBER_KIND_VECTOR,      /* int2vector: "1 2" <-> [1,2]; oidvector: ["1","2"], since oid is TEXT */
    AMBER_KIND_COMPOSITE,   /* (..) <-> {..} */
    AMBER_KIND_HSTORE,      /* "k"=>"v" <-> {"k": "v"} */
    AMBER_KIND_SERVER,      /* a type with its own cast to json (PostGIS): the server sends
                               to_json(column) in a second COPY field right behind the first.
                               Columns only: an array or composite with such a type inside is
                               SERVER as a whole */
};

struct amber_field;
struct amber_type {
    enum amber_kind kind;
    char *name;                 /* owned; format_type() text: "numeric(12,6)", "app.mood[]" */
    char delim;                 /* ARRAY: typdelim of the element type, ',' or ';' (box) */
    struct amber_type *elem;    /* owned; arrays and vectors */
    struct amber_field *fields; /* owned; composites, dropped attributes left out */
    size_t n_fields;
};
struct amber_field {
    char *name; /* owned */
    struct amber_type type;
};

struct amber_column {
    char *name; /* owned */
    struct amber_type type;
    bool not_null;
    bool generated; /* GENERATED ALWAYS AS (...): archived, never restored */
    char identity;  /* 0, 'a' always, 'd' by default */
};

struct amber_schema {
    struct amber_column *columns; /* owned; in column order, dropped columns left out */
    size_t n_columns;
};

void amber_schema_clear(struct amber_schema *s);
void amber_type_clear(struct amber_type *t);
/* Deep copy. errors NOMEM; out is cleared on failure. */
enum amber_rc amber_schema_copy(const struct amber_schema *from, struct amber_schema *out,
                                struct amber_err *err) AMBER_MUST_CHECK;
/* Index of the column with this name, or -1. */
ptrdiff_t amber_schema_find(const struct amber_schema *s, const char *name, size_t len);
/* "text", "number", ...: the manifest's word. */
const char *amber_kind_name(enum amber_kind k);
bool amber_kind_parse(const char *word, enum amber_kind *out);

/* The schema as one JSON text (the manifest's "columns" and the archive's header unit), and back.
 * shape   out of parse: replaced; cleared on failure. out of encode: appended to
 * errors  parse: CORRUPT with the JSON path; UNSUPPORTED unknown kind; NOMEM. encode: LIMIT, NOMEM
 * source  docs/format.md */
enum amber_rc amber_schema_encode(const struct amber_schema *s, struct amber_buf *out,
                                  struct amber_err *err) AMBER_MUST_CHECK;
enum amber_rc amber_schema_parse(const char *text, size_t len, struct amber_schema *out,
                                 struct amber_err *err) AMBER_MUST_CHECK;

#endif
