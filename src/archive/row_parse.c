/*
 * row_parse.c - the state of reading a JSON text: what a fault says, and taking objects apart.
 *
 * A fault names the byte column and the row's key, never a value. An object is taken apart into
 * one span a field, whatever the order of its members; the spans of nested objects are stacked.
 */
#include <stdio.h>

#include "row_priv.h"

enum amber_rc amber_row_parse_init(struct row_parse *c, struct amber_err *err)
{
    memset(c, 0, sizeof(*c));
    c->what = "";
    amber_buf_init(&c->work, 2 * (size_t)AMBER_FIELD_MAX);
    return amber_calloc(1, sizeof(*c->stack), &c->stack, err);
}

void amber_row_parse_clear(struct row_parse *c)
{
    amber_buf_clear(&c->work);
    free(c->spans);
    free(c->stack);
    memset(c, 0, sizeof(*c));
}

enum amber_rc amber_row_fault(const struct row_parse *c, const char *at, struct amber_err *err,
                              const char *fmt, ...)
{
    char what[256];
    va_list args;
    size_t byte = (size_t)(at - c->base) + 1, shown = c->key_len;

    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    if (!c->key)
        return amber_fail(err, AMBER_E_INVALID, "%sbyte %zu: %s", c->what, byte, what);
    if (shown > 200) /* a foreign file's key may have any length */
        for (shown = 200; shown > 0 && ((unsigned char)c->key[shown] & 0xC0) == 0x80;)
            shown--;
    return amber_fail(err, AMBER_E_INVALID, "%sbyte %zu, key \"%.*s\": %s", c->what, byte,
                      (int)shown, c->key, what);
}

enum amber_rc amber_row_json_fault(const struct row_parse *c, const struct amber_json_fault *f,
                                   struct amber_err *err)
{
    enum amber_rc rc = amber_row_fault(c, f->at, err, "%s", f->what);

    if (f->too_deep)
        err->code = rc = AMBER_E_LIMIT;
    return rc;
}

static const char *found_word(const char *at, const char *end)
{
    if (at == end)
        return "the end of the text";
    switch (*at) {
    case '{':
        return "an object";
    case '[':
        return "an array";
    case '"':
        return "a string";
    case 't':
    case 'f':
        return "true or false";
    case 'n':
        return "null";
    default:
        return amber_json_number_end(at, end) ? "a number" : "no JSON value";
    }
}

static const char *expected_word(enum amber_kind k)
{
    switch (k) {
    case AMBER_KIND_NUMBER:
        return "a number";
    case AMBER_KIND_BOOL:
        return "true or false";
    case AMBER_KIND_ARRAY:
    case AMBER_KIND_VECTOR:
        return "an array";
    case AMBER_KIND_COMPOSITE:
    case AMBER_KIND_HSTORE:
        return "an object";
    case AMBER_KIND_JSON:
        return "a JSON value";
    case AMBER_KIND_SERVER:
        return "an overlay entry";
    case AMBER_KIND_TEXT:
    case AMBER_KIND_DATE:
    case AMBER_KIND_TIMESTAMP:
    case AMBER_KIND_TIMESTAMPTZ:
        break;
    }
    return "a string";
}

enum amber_rc amber_row_mismatch(const struct row_parse *c, const char *at, const char *end,
                                 enum amber_kind expected, struct amber_err *err)
{
    return amber_row_fault(c, at, err, "%s where %s is expected", found_word(at, end),
                           expected_word(expected));
}

/* The key whose opening quote is at *p; *name points into the text, or behind c->work's end if it
 * has escapes: valid until something is appended there. */
static enum amber_rc read_key(struct row_parse *c, const char **p, const char *end,
                              const char **name, size_t *len, struct amber_err *err)
{
    struct amber_json_fault f;
    const char *s = *p, *e;

    if (s == end || *s != '"')
        return amber_row_fault(c, s, err, "expected a key in quotation marks");
    if (!(e = amber_json_string_end(s + 1, end, &f)))
        return amber_row_json_fault(c, &f, err);
    *name = s + 1;
    *len = (size_t)(e - s) - 2;
    *p = e;
    if (!memchr(*name, '\\', *len))
        return AMBER_OK;
    size_t start = c->work.len;
    struct row_out o;
    row_out_begin(&o, &c->work);
    s++;
    enum amber_rc rc = amber_string_to_raw(c, &s, end, &o, err);
    row_out_end(&o);
    if (rc != AMBER_OK)
        return rc;
    *name = c->work.data + start;
    *len = c->work.len - start;
    c->work.len = start;
    return AMBER_OK;
}

/* One `"key": value` at *p: note its span. */
static enum amber_rc member(struct row_parse *c, const struct row_type *t, size_t base,
                            size_t *hint, const char **p, const char *end, bool top,
                            struct amber_err *err)
{
    const char *at = *p, *name = NULL;
    struct amber_json_fault f;
    size_t len = 0;
    enum amber_rc rc = read_key(c, p, end, &name, &len, err);

    if (rc != AMBER_OK)
        return rc;
    if (top) {
        c->key = at + 1; /* as the file spells it: no control characters */
        c->key_len = (size_t)(*p - at) - 2;
    }
    size_t i = amber_row_find(t, name, len, *hint);
    if (i == t->n_fields)
        return amber_row_fault(c, at, err,
                               top ? "the table has no such column" : "an unknown member");
    if (c->spans[base + i].start)
        return amber_row_fault(c, at, err, top ? "the key comes twice" : "a member comes twice");
    *hint = i + 1;
    const char *s = amber_json_space(*p, end);
    if (s == end || *s != ':')
        return amber_row_fault(c, s, err, "expected ':' behind a key");
    s = amber_json_space(s + 1, end);
    const char *e = amber_json_value_end(c->stack, s, end, &f);
    if (!e)
        return amber_row_json_fault(c, &f, err);
    c->spans[base + i] = (struct row_span){.start = s, .end = e};
    *p = e;
    if (top)
        c->key = NULL;
    return AMBER_OK;
}

enum amber_rc amber_row_members(struct row_parse *c, const struct row_type *t, const char **p,
                                const char *end, size_t *base, struct amber_err *err)
{
    const bool top = c->key == NULL;
    const char *s = amber_json_space(*p, end);
    size_t hint = 0;
    enum amber_rc rc =
        amber_grow(&c->spans, &c->cap_spans, c->n_spans + t->n_fields, sizeof(*c->spans), err);

    if (rc != AMBER_OK)
        return rc;
    *base = c->n_spans;
    c->n_spans += t->n_fields;
    if (t->n_fields)
        memset(c->spans + *base, 0, t->n_fields * sizeof(*c->spans));
    if (s == end || *s != '{')
        return amber_row_fault(c, s, err, "%s where an object is expected", found_word(s, end));
    s = amber_json_space(s + 1, end);
    for (bool first = true; s == end || *s != '}'; first = false) {
        if (!first) {
            if (s == end || *s != ',')
                return amber_row_fault(c, s, err, "expected ',' or '}'");
            s = amber_json_space(s + 1, end);
        }
        if ((rc = member(c, t, *base, &hint, &s, end, top, err)) != AMBER_OK)
            return rc;
        s = amber_json_space(s, end);
    }
    *p = s + 1;
    return AMBER_OK;
}
