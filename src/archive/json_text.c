/*
 * json_text.c - one JSON value -> the text of its PostgreSQL type, as COPY field or raw.
 *
 * Flat kinds go straight into the COPY line. Nested ones are built as raw text in c->work, inner
 * values first: an element's text is appended, then quoted where it stands if its container needs
 * that, so the whole literal grows in one buffer. The text is what PostgreSQL itself would write:
 * quoted only where array_out, record_out and hstore_out quote.
 *
 * The input may be anything at all: grammar, depth and types are checked on the way, and recursion
 * is bounded by the type's depth and AMBER_ARRAY_DIMS_MAX.
 */
#include <strings.h>

#include "row_priv.h"

/* Behind the word at p, or NULL. */
static const char *word_end(const char *p, const char *end, const char *word, size_t len)
{
    return (size_t)(end - p) >= len && !memcmp(p, word, len) ? p + len : NULL;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Where a value's raw text goes: quoted by these rules. */
enum quoting {
    QUOTE_ARRAY,     /* if empty, NULL, or with special characters; \" and \\ */
    QUOTE_COMPOSITE, /* if empty or with special characters; "" and \\ doubled */
    QUOTE_HSTORE,    /* always; \" and \\ */
};

static bool needs_quotes(enum quoting q, char delim, const char *s, size_t len, size_t *n_escapes)
{
    bool need = q == QUOTE_HSTORE || len == 0 ||
                (q == QUOTE_ARRAY && len == 4 && !strncasecmp(s, "null", 4));
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (s[i] == '"' || s[i] == '\\')
            n++;
        else if (q == QUOTE_ARRAY)
            need |= s[i] == '{' || s[i] == '}' || s[i] == delim || is_space(s[i]);
        else
            need |= s[i] == '(' || s[i] == ')' || s[i] == ',' || is_space(s[i]);
    }
    *n_escapes = n;
    return need || n > 0;
}

/* Quote the text that stands from byte start to the end of c->work, from its end backwards. */
static enum amber_rc quote(struct row_parse *c, enum quoting q, char delim, size_t start,
                           struct amber_err *err)
{
    size_t len = c->work.len - start, n_escapes;
    enum amber_rc rc = amber_buf_reserve(&c->work, len + 2, err);

    if (rc != AMBER_OK)
        return rc;
    char *s = c->work.data + start;
    if (!needs_quotes(q, delim, s, len, &n_escapes))
        return AMBER_OK;
    char *d = s + len + n_escapes + 2;
    c->work.len = start + len + n_escapes + 2;
    *d = '\0';
    *--d = '"';
    for (size_t i = len; i-- > 0;) {
        char b = s[i];
        *--d = b;
        if (b == '"' || b == '\\')
            *--d = b == '"' && q == QUOTE_COMPOSITE ? '"' : '\\';
    }
    *--d = '"';
    return AMBER_OK;
}

static enum amber_rc work_put(struct row_parse *c, const char *s, size_t len, struct amber_err *err)
{
    return amber_buf_append(&c->work, s, len, err);
}

static enum amber_rc string_to_work(struct row_parse *c, const char **p, const char *end,
                                    struct amber_err *err)
{
    struct row_out o;
    enum amber_rc rc;

    ++*p;
    row_out_begin(&o, &c->work);
    rc = amber_string_to_raw(c, p, end, &o, err);
    row_out_end(&o);
    return rc;
}

/*
 * A flat value that isn't a string and stands as it is: numbers; and in a person's file numbers
 * and booleans where a string belongs. NULL: it can't stand here.
 */
static const char *bare_end(const struct row_parse *c, enum amber_kind k, const char *p,
                            const char *end)
{
    const char *e = NULL;

    if (k == AMBER_KIND_NUMBER || c->any_keys)
        e = amber_json_number_end(p, end);
    if (!e && c->any_keys && k == AMBER_KIND_TEXT) {
        e = word_end(p, end, "true", 4);
        if (!e)
            e = word_end(p, end, "false", 5);
    }
    return e;
}

/* The letter for true or false at p, 0 if there is none; *out_end behind it. */
static char bool_letter(const char *p, const char *end, const char **out_end)
{
    if ((*out_end = word_end(p, end, "true", 4)))
        return 't';
    if ((*out_end = word_end(p, end, "false", 5)))
        return 'f';
    return 0;
}

static enum amber_rc json_to_raw(struct row_parse *c, const struct row_type *t, const char **p,
                                 const char *end, struct amber_err *err);

/* An element or field: its raw text, quoted; null gives the container's word for it. */
static enum amber_rc nested(struct row_parse *c, const struct row_type *t, const char **p,
                            const char *end, enum quoting q, char delim, struct amber_err *err)
{
    size_t start = c->work.len;
    const char *e = word_end(*p, end, "null", 4);

    if (e) {
        *p = e;
        return q == QUOTE_COMPOSITE ? AMBER_OK : work_put(c, "NULL", 4, err);
    }
    enum amber_rc rc = json_to_raw(c, t, p, end, err);
    return rc == AMBER_OK ? quote(c, q, delim, start, err) : rc;
}

/* Go over a list [a, b, ...] at *p: true while an element stands at *p; false at its end with *p
 * behind it, or on a fault (*rc). first: before the first element. */
static bool list_next(struct row_parse *c, bool first, const char **p, const char *end,
                      enum amber_rc *rc, struct amber_err *err)
{
    const char *s = amber_json_space(*p, end);

    *rc = AMBER_OK;
    if (s < end && *s == ']') {
        *p = s + 1;
        return false;
    }
    if (!first) {
        if (s == end || *s != ',') {
            *rc = amber_row_fault(c, s, err, "expected ',' or ']'");
            return false;
        }
        s = amber_json_space(s + 1, end);
    }
    *p = s;
    return true;
}

/* [..] -> {..}, one dimension and those inside it. */
static enum amber_rc array_to_raw(struct row_parse *c, const struct row_type *t, const char **p,
                                  const char *end, unsigned dims, struct amber_err *err)
{
    enum amber_rc rc;

    if (dims > AMBER_ARRAY_DIMS_MAX)
        return amber_row_fault(c, *p, err, "an array of more than %d dimensions",
                               AMBER_ARRAY_DIMS_MAX);
    ++*p;
    if ((rc = work_put(c, "{", 1, err)) != AMBER_OK)
        return rc;
    for (bool first = true; list_next(c, first, p, end, &rc, err); first = false) {
        if (!first && (rc = work_put(c, &t->delim, 1, err)) != AMBER_OK)
            return rc;
        if (*p < end && **p == '[' && !t->list_elem)
            rc = array_to_raw(c, t, p, end, dims + 1, err);
        else
            rc = nested(c, t->elem, p, end, QUOTE_ARRAY, t->delim, err);
        if (rc != AMBER_OK)
            return rc;
    }
    return rc == AMBER_OK ? work_put(c, "}", 1, err) : rc;
}

static enum amber_rc vector_to_raw(struct row_parse *c, const struct row_type *t, const char **p,
                                   const char *end, struct amber_err *err)
{
    enum amber_rc rc;

    ++*p;
    for (bool first = true; list_next(c, first, p, end, &rc, err); first = false) {
        if (!first && (rc = work_put(c, " ", 1, err)) != AMBER_OK)
            return rc;
        if ((rc = json_to_raw(c, t->elem, p, end, err)) != AMBER_OK)
            return rc;
    }
    return rc;
}

static enum amber_rc composite_to_raw(struct row_parse *c, const struct row_type *t, const char **p,
                                      const char *end, struct amber_err *err)
{
    const char *start = *p;
    size_t base;
    enum amber_rc rc = amber_row_members(c, t, p, end, &base, err);

    if (rc != AMBER_OK || (rc = work_put(c, "(", 1, err)) != AMBER_OK)
        return rc;
    for (size_t i = 0; i < t->n_fields; i++) {
        struct row_span span = c->spans[base + i]; /* the array may move below */
        if (i > 0 && (rc = work_put(c, ",", 1, err)) != AMBER_OK)
            return rc;
        if (!span.start && !c->any_keys)
            return amber_row_fault(c, start, err, "the object has no member \"%s\"",
                                   t->fields[i].name);
        if (span.start)
            rc = nested(c, &t->fields[i].type, &span.start, span.end, QUOTE_COMPOSITE, ',', err);
        if (rc != AMBER_OK)
            return rc;
    }
    c->n_spans = base;
    return work_put(c, ")", 1, err);
}

static enum amber_rc hstore_to_raw(struct row_parse *c, const char **p, const char *end,
                                   struct amber_err *err)
{
    static const struct row_type text = {.kind = AMBER_KIND_TEXT};
    const char *s = amber_json_space(*p + 1, end);
    enum amber_rc rc = AMBER_OK;

    for (bool first = true; s == end || *s != '}'; first = false) {
        if (!first) {
            if (s == end || *s != ',')
                return amber_row_fault(c, s, err, "expected ',' or '}'");
            s = amber_json_space(s + 1, end);
            rc = work_put(c, ", ", 2, err);
        }
        if (rc == AMBER_OK && (s == end || *s != '"'))
            return amber_row_fault(c, s, err, "expected a key in quotation marks");
        if (rc == AMBER_OK)
            rc = nested(c, &text, &s, end, QUOTE_HSTORE, ',', err);
        if (rc != AMBER_OK)
            return rc;
        s = amber_json_space(s, end);
        if (s == end || *s != ':')
            return amber_row_fault(c, s, err, "expected ':' behind a key");
        s = amber_json_space(s + 1, end);
        if ((rc = work_put(c, "=>", 2, err)) != AMBER_OK ||
            (rc = nested(c, &text, &s, end, QUOTE_HSTORE, ',', err)) != AMBER_OK)
            return rc;
        s = amber_json_space(s, end);
    }
    *p = s + 1;
    return AMBER_OK;
}

static enum amber_rc json_verbatim(struct row_parse *c, const char **p, const char *end,
                                   struct amber_err *err)
{
    struct amber_json_fault f;
    const char *s = *p, *e = amber_json_value_end(c->stack, s, end, &f);

    if (!e)
        return amber_row_json_fault(c, &f, err);
    *p = e;
    return work_put(c, s, (size_t)(e - s), err);
}

/* Strings, numbers, booleans. */
static enum amber_rc flat_to_raw(struct row_parse *c, enum amber_kind k, const char **p,
                                 const char *end, struct amber_err *err)
{
    const char *s = *p, *e;
    size_t start = c->work.len;

    if (s < end && *s == '"' && (k != AMBER_KIND_BOOL || c->any_keys)) {
        enum amber_rc rc = string_to_work(c, p, end, err);
        if (rc == AMBER_OK && (k == AMBER_KIND_TIMESTAMP || k == AMBER_KIND_TIMESTAMPTZ)) {
            char *text = c->work.data + start;
            c->work.len = start + amber_timestamp_from_json(text, text, c->work.len - start,
                                                            k == AMBER_KIND_TIMESTAMPTZ);
        }
        return rc;
    }
    if (k == AMBER_KIND_BOOL) {
        char letter = bool_letter(s, end, &e);
        *p = e;
        return letter ? work_put(c, &letter, 1, err) : amber_row_mismatch(c, s, end, k, err);
    }
    if (!(e = bare_end(c, k, s, end)))
        return amber_row_mismatch(c, s, end, k, err);
    *p = e;
    return work_put(c, s, (size_t)(e - s), err);
}

/* Not null. Appends to c->work. */
static enum amber_rc json_to_raw(struct row_parse *c, const struct row_type *t, const char **p,
                                 const char *end, struct amber_err *err)
{
    char first = *p < end ? **p : 0;

    switch (t->kind) {
    case AMBER_KIND_JSON:
        return json_verbatim(c, p, end, err);
    case AMBER_KIND_ARRAY:
        if (first == '[')
            return array_to_raw(c, t, p, end, 1, err);
        break;
    case AMBER_KIND_VECTOR:
        if (first == '[')
            return vector_to_raw(c, t, p, end, err);
        break;
    case AMBER_KIND_COMPOSITE:
        if (first == '{')
            return composite_to_raw(c, t, p, end, err);
        break;
    case AMBER_KIND_HSTORE:
        if (first == '{')
            return hstore_to_raw(c, p, end, err);
        break;
    case AMBER_KIND_SERVER: /* a person's file: its literal as a string, or its JSON (GeoJSON) */
        if (!c->any_keys)
            break;
        return first == '"' ? string_to_work(c, p, end, err) : json_verbatim(c, p, end, err);
    case AMBER_KIND_TEXT:
    case AMBER_KIND_NUMBER:
    case AMBER_KIND_BOOL:
    case AMBER_KIND_DATE:
    case AMBER_KIND_TIMESTAMP:
    case AMBER_KIND_TIMESTAMPTZ:
        return flat_to_raw(c, t->kind, p, end, err);
    }
    if (c->any_keys && first == '"') /* the literal itself: '{1,2}' */
        return string_to_work(c, p, end, err);
    return amber_row_mismatch(c, *p, end, t->kind, err);
}

static enum amber_rc via_work(struct row_parse *c, const struct row_type *t, const char **p,
                              const char *end, struct row_out *o, struct amber_err *err)
{
    enum amber_rc rc;

    c->work.len = 0;
    if ((rc = json_to_raw(c, t, p, end, err)) != AMBER_OK)
        return rc;
    return amber_raw_to_copy(c->work.data ? c->work.data : "", c->work.len, o, err);
}

/* [1,2.5,-3] -> {1,2.5,-3} in one go, for vectors of embeddings; false: not such a list. */
static bool flat_numbers(const struct row_type *t, const char **p, const char *end,
                         struct row_out *o, enum amber_rc *rc, struct amber_err *err)
{
    const char *s = *p + 1;

    if (t->elem->kind != AMBER_KIND_NUMBER || t->delim != ',' || s >= end || s[-1] != '[')
        return false;
    if (*s != ']')
        for (;; s++) {
            if (!(s = amber_json_number_end(s, end)) || s == end)
                return false;
            if (*s != ',')
                break;
        }
    if (*s != ']')
        return false;
    size_t len = (size_t)(s + 1 - *p);
    if ((*rc = row_out_put(o, *p, len, err)) == AMBER_OK) {
        o->p[-(ptrdiff_t)len] = '{';
        o->p[-1] = '}';
        *p = s + 1;
    }
    return true;
}

/* The usual timestamp without escapes; else the long way. */
static enum amber_rc timestamp_to_copy(struct row_parse *c, const struct row_type *t,
                                       const char **p, const char *end, struct row_out *o,
                                       struct amber_err *err)
{
    const char *s = *p + 1, *e = s;
    enum amber_rc rc;

    if (*p == end || **p != '"')
        return via_work(c, t, p, end, o, err);
    while (e < end && e - s < 64 && *e != '"' && *e != '\\' && (unsigned char)*e >= 0x20)
        e++;
    if (e == end || *e != '"')
        return via_work(c, t, p, end, o, err);
    if ((rc = row_out_room(o, (size_t)(e - s), err)) != AMBER_OK)
        return rc;
    o->p += amber_timestamp_from_json(o->p, s, (size_t)(e - s), t->kind == AMBER_KIND_TIMESTAMPTZ);
    *p = e + 1;
    return AMBER_OK;
}

enum amber_rc amber_json_to_copy(struct row_parse *c, const struct row_type *t, const char **p,
                                 const char *end, struct row_out *o, struct amber_err *err)
{
    const char *s = *p, *e;
    enum amber_rc rc;

    if (s == end)
        return amber_row_mismatch(c, s, end, t->kind, err);
    if (*s == 'n' && (e = word_end(s, end, "null", 4))) {
        *p = e;
        return row_out_put(o, "\\N", 2, err);
    }
    switch (t->kind) {
    case AMBER_KIND_TEXT:
    case AMBER_KIND_DATE:
    case AMBER_KIND_NUMBER:
        if (*s == '"') {
            ++*p;
            return amber_string_to_copy(c, p, end, o, err);
        }
        if (!(e = bare_end(c, t->kind, s, end)))
            return amber_row_mismatch(c, s, end, t->kind, err);
        *p = e;
        return row_out_put(o, s, (size_t)(e - s), err);
    case AMBER_KIND_JSON: {
        struct amber_json_fault f;
        if (!(e = amber_json_value_end(c->stack, s, end, &f)))
            return amber_row_json_fault(c, &f, err);
        *p = e;
        return amber_raw_to_copy(s, (size_t)(e - s), o, err);
    }
    case AMBER_KIND_TIMESTAMP:
    case AMBER_KIND_TIMESTAMPTZ:
        return timestamp_to_copy(c, t, p, end, o, err);
    case AMBER_KIND_ARRAY:
        return flat_numbers(t, p, end, o, &rc, err) ? rc : via_work(c, t, p, end, o, err);
    case AMBER_KIND_BOOL:
    case AMBER_KIND_VECTOR:
    case AMBER_KIND_COMPOSITE:
    case AMBER_KIND_HSTORE:
    case AMBER_KIND_SERVER:
        break;
    }
    return via_work(c, t, p, end, o, err);
}
